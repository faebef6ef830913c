"""The explorer's modules: their own tests (node), their size, and the bundle that is committed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import frviz

JS = Path(frviz.__file__).parent / "explorer" / "js"
STATIC = JS.parent / "static"
MAX_LINES = 350
NODE = shutil.which("node")
SOURCES = sorted(p for p in JS.rglob("*.js") if "node_modules" not in p.parts)

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed: users need none")


@needs_node
def test_pure_modules_pass_their_own_tests() -> None:
    done = subprocess.run([NODE, "--test"], cwd=JS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.search(r"# pass (\d+)", done.stdout)[1]) >= 39


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with the pinned esbuild installed."""
    if NODE is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed: users need neither")
    folder = tmp_path_factory.mktemp("explorer") / "js"
    shutil.copytree(JS, folder, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if done.returncode and not os.environ.get("CI"):
        pytest.skip("the pinned esbuild cannot be installed here")
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["explorer.js", "explorer.css"])
def test_the_committed_bundle_is_that_of_the_sources(tools: Path, name: str) -> None:
    made = tools.parent / "static"
    if not made.exists():
        subprocess.run([NODE, "build.js", str(made)], cwd=tools, check=True)
    assert (made / name).read_bytes() == (STATIC / name).read_bytes(), (
        "run make explorer and commit what it makes"
    )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_modules_stay_short_and_never_write_markup(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= MAX_LINES
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    assert not re.search(forbidden, source)


def test_the_bundle_is_plain_ascii_and_fits_in_a_page() -> None:
    bundle = (STATIC / "explorer.js").read_bytes()
    assert bundle.isascii()
    assert len(bundle) < 150_000
    assert b"d3-quadtree" in bundle.splitlines()[0]  # whose licence asks to be named
