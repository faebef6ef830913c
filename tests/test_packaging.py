"""The wheel holds both packages with all their data, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import frcore

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def names(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if ".dist-info/" not in name}


def test_wheel_holds_every_file_of_both_packages(wheel: zipfile.ZipFile) -> None:
    inside = {
        path.relative_to(ROOT).as_posix()
        for package in ("frcore", "frviz")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".yaml", ".js", ".css", ".typed")
        and "node_modules" not in path.parts
    }
    assert names(wheel) >= inside
    assert {name.partition("/")[0] for name in names(wheel)} == {"frcore", "frviz"}


def test_wheel_holds_recipes_and_type_markers(wheel: zipfile.ZipFile) -> None:
    recipes = {Path(name).stem for name in names(wheel) if name.startswith("frcore/recipes/")}
    assert {"synthetic_tiny", "synthetic_tiny_frhead", "nw_ucla_joint_quick_frhead"} <= recipes
    assert {"frcore/py.typed", "frviz/py.typed"} <= names(wheel)


def test_wheel_knows_its_version_licence_and_command(wheel: zipfile.ZipFile) -> None:
    info = f"frcore-{frcore.__version__}.dist-info"
    assert "frcore = frcore.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert b"Apache License" in wheel.read(f"{info}/licenses/LICENSE")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {frcore.__version__}\n" in citation
