"""What every test shares: reference material, a data root of its own, one thread a process."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from frcore.data.store import Store

ROOT = Path(__file__).resolve().parents[1]

# Torch and NumPy read this when they are first imported, here and in processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Recorded outputs of the published models (tests/golden/README.md)."""
    return ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def reference() -> Path:
    """Reference material that is not part of the repository (the real data); skips without it."""
    folder = Path(os.environ.get("FRCORE_REFERENCE", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"No reference material at {folder}: set FRCORE_REFERENCE to its folder.")
    return folder


@pytest.fixture(scope="session", autouse=True)
def session_data_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """$FRCORE_DATA is an empty folder of this session (and xdist worker), never the user's data."""
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRCORE_DATA", str(root))
        yield root


@pytest.fixture(scope="session")
def synthetic_store(session_data_root: Path) -> "Store":
    """The embedded benchmark, generated once a session. Read it, do not change it."""
    from frcore.data.catalog import open_store

    return open_store("synthetic")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` skip where there is no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch  # only when a test asks for it: collecting stays fast

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as on a read-only file system, where even removing what is not there fails.

    A real one would have to be mounted.
    """
    folder = tmp_path / "read_only"
    folder.mkdir()

    def refuse(name: str, fails: Any) -> None:
        real = getattr(Path, name)

        def call(path: Path, *args: Any, **kwargs: Any) -> Any:
            if path.absolute().is_relative_to(folder) and fails(path, *args):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return real(path, *args, **kwargs)

        monkeypatch.setattr(Path, name, call)

    refuse("mkdir", lambda path, *_: not path.exists())
    refuse("open", lambda path, mode="r", *_: not mode.startswith("r"))
    refuse("touch", lambda *_: True)
    refuse("unlink", lambda *_: True)
    return folder


@pytest.fixture(scope="session")
def package_sources() -> dict[str, str]:
    """Source text of every module of both packages, by dotted name."""
    sources = {}
    for package in ("frcore", "frviz"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            sources[name] = path.read_text(encoding="utf-8")
    return sources
