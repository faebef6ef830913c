"""Raw files in the real format, small and different enough for every rule to have its turn."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from frcore.data.ntu.raw_writer import write_skeleton

Skeletons = list[tuple[int, np.ndarray]]  # of one frame: body id, joints (25, 3)


def person(frames: int, *, seed: int, x: float = 0.0, width: float = 0.5) -> np.ndarray:
    """(frames, 25, 3): somebody of height 2 who moves at random around `x`."""
    rng = np.random.default_rng(seed)
    line = np.linspace(0, 2, 25)
    pose = np.stack([x + width * line, line, np.full(25, 3.0)], axis=1)
    return pose + rng.normal(scale=0.05, size=(frames, 25, 3))


def together(length: int, *bodies: tuple[int, int, np.ndarray]) -> list[Skeletons]:
    """Frames out of bodies (id, first frame, joints); frames without any stay empty."""
    frames: list[Skeletons] = [[] for _ in range(length)]
    for body_id, start, joints in bodies:
        for t, pose in enumerate(joints):
            frames[start + t].append((body_id, pose))
    return frames


def raw_set() -> dict[str, bytes]:
    """Names and contents: 8 plain clips of NTU 60, 4 of NTU 120 alone, 5 odd ones."""
    plain = {
        f"S{setup:03}C{1 + setup % 3:03}P{subject:03}R001A{action:03}": write_skeleton(
            together(14 + action % 5, (7, 0, person(14 + action % 5, seed=action)))
        )
        for setup, subject, action in [
            (1, 1, 1), (1, 3, 2), (2, 3, 60), (2, 8, 12), (3, 10, 33), (4, 2, 5), (16, 7, 7),
            (17, 38, 59), (18, 41, 61), (19, 45, 62), (30, 103, 119), (31, 106, 120),
        ]
    }  # fmt: skip
    two = (7, 0, person(20, seed=1)), (8, 2, person(18, seed=2, x=1))
    joined = (7, 0, person(15, seed=3)), (8, 15, person(15, seed=4))
    ghosts = (8, 1, person(6, seed=6)), (9, 3, person(15, seed=7, width=3))
    haunted = (7, 1, person(20, seed=5)), *ghosts
    brief = (7, 0, person(8, seed=8)), (8, 0, person(8, seed=9))
    return plain | {
        "S005C001P001R001A050": write_skeleton(together(20, *two)),
        "S005C001P001R001A051": write_skeleton(together(30, *joined)),
        "S005C001P001R001A052": write_skeleton(together(22, *haunted)),  # begins and ends without a body
        "S005C001P001R001A053": write_skeleton(together(5)),  # nobody is ever there
        "S005C001P001R001A054": write_skeleton(together(8, *brief)),
    }  # fmt: skip


@pytest.fixture(scope="session")
def raw_files() -> dict[str, bytes]:
    """Sample name -> content. Do not change it; `raw_files | {...}` makes another."""
    return raw_set()


def write_raw(path: Path, files: Mapping[str, bytes]) -> Path:
    """Writes files into a folder, or a zip where the path says so; returns the path."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(f"nturgb+d_skeletons/{name}.skeleton", content)
        return path
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / f"{name}.skeleton").write_bytes(content)
    return path


@pytest.fixture
def write_files() -> Callable[[Path, Mapping[str, bytes]], Path]:
    """`write_files(path, {name: content})`: a folder, or a zip."""
    return write_raw


@pytest.fixture(scope="session")
def raw_folder(raw_files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files as a folder. Do not change it."""
    return write_raw(tmp_path_factory.mktemp("raw") / "files", raw_files)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four files a block, so that a handful of files makes several."""
    monkeypatch.setattr("frcore.data.ntu.blocks.FILES_PER_BLOCK", 4)
