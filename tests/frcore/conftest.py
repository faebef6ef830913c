"""A data set and a model small enough to train in two seconds; recorded values."""

import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from torch import Tensor

    from frcore.data.store import Store
    from frcore.run import Run

CLASSES = ("wave", "clap", "kick", "bow", "jump")
SPLITS = ["train"] * 32 + ["val"] * 12 + ["test"] * 20


def tiny_clips(count: int = 64, *, seed: int = 0, joints: int = 25, channels: int = 3) -> tuple:
    """Clips (T, V, C) of 12 to 29 frames, a pose a class under noise; labels 0, 1, 2, ..."""
    rng = np.random.default_rng(seed)
    poses = rng.normal(size=(len(CLASSES), 1, joints, channels))
    labels = np.arange(count) % len(CLASSES)
    clips = [
        (poses[k] + rng.normal(size=(rng.integers(12, 30), joints, channels))).astype(np.float32)
        for k in labels
    ]
    return clips, labels


@pytest.fixture(scope="session")
def make_store(session_data_root: Path) -> Callable[..., "Store"]:
    """Makes a store of 64 tiny clips; arguments as `from_arrays`, `clips` to replace them."""
    from frcore.data import from_arrays

    def make(name: str, *, clips: list | None = None, seed: int = 0, **changes: Any) -> "Store":
        made, labels = tiny_clips(seed=seed)
        given = {"split": SPLITS, "skeleton": "ntu25", "class_names": CLASSES} | changes
        return from_arrays(name, clips or made, labels, **given)

    return make


@pytest.fixture(scope="session")
def tiny_store(make_store: Callable[..., "Store"]) -> "Store":
    """64 clips of 25 joints in 5 classes: 32 to train, 12 to validate, 20 to test."""
    return make_store("tiny")


@pytest.fixture(scope="session")
def tiny_config(tiny_store: "Store") -> dict[str, Any]:
    """FR Head, dropout, repeats; 3 epochs of 3 steps (24, 24 and 16 views) on `tiny_store`."""
    return tiny_settings()


def tiny_settings() -> dict[str, Any]:
    return {
        "name": "tiny_run",
        "benchmark": "tiny",
        "data": {
            "repeats": 2,
            "transform": {"frames": 16, "rotation": [0, 20, 0]},
        },
        "model": {"backbone": "ctrgcn_tiny", "overrides": {"width": 8}, "dropout": 0.2},
        "head": {"warm_start": True},
        "optim": {"lr": 0.05, "warmup_epochs": 1, "milestones": [2]},
        "train": {"epochs": 3, "batch_size": 24, "threads": 1, "precision": "fp32"},
    }


@pytest.fixture(scope="session")
def trained(tiny_store: "Store", tmp_path_factory: pytest.TempPathFactory) -> "Run":
    """The run of `tiny_config`, finished. Read it, do not change it."""
    import frcore

    return frcore.fit(tiny_settings(), out=tmp_path_factory.mktemp("trained") / "tiny_run")


@pytest.fixture(scope="session")
def copied_store(make_store: Callable[..., "Store"]) -> "Store":
    """As `tiny_store`, but the first 3 test clips are copies of training clips, 1 of a val clip."""
    clips, _ = tiny_clips()
    clips[44:48] = clips[4], clips[10], clips[21], clips[40]
    return make_store("copied", clips=clips)


@pytest.fixture(scope="session")
def run_jobs() -> Callable[..., dict[str, tuple[Path, Any]]]:
    """Trainings that end in unusual ways, in a process of their own (which takes seconds to start).

    `run_jobs(script, config, folder, jobs)` runs them one after another; it gives their directories
    and what became of them, by name.
    """

    def run(
        script: Path, config: dict[str, Any], folder: Path, jobs: Mapping[str, dict[str, Any]]
    ) -> dict[str, tuple[Path, Any]]:
        plan = [{"out": str(folder / str(n)), **job} for n, job in enumerate(jobs.values())]
        done = subprocess.run(
            [sys.executable, str(script), json.dumps({"config": config, "jobs": plan})],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            timeout=800,
        )
        assert done.returncode == 0, done.stderr
        results = json.loads(done.stdout)
        outs = (Path(job["out"]) for job in plan)
        return dict(zip(jobs, zip(outs, results, strict=True), strict=True))

    return run


@pytest.fixture(scope="session")
def mutated() -> Callable[[bytes, random.Random], bytes]:
    """Content with one to three changes of a kind that disks, networks and editors make."""

    def change(content: bytes, rng: random.Random) -> bytes:
        data = bytearray(content)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(data) + 1)
            size = rng.choice((1, 1, 2, 5, 60, 500))
            kind = rng.randrange(8)
            if kind == 0:
                del data[place : place + size]
            elif kind == 1:
                data[place:place] = rng.randbytes(size)
            elif kind == 2 and place < len(data):
                data[place] ^= 1 << rng.randrange(8)
            elif kind == 3:
                del data[place:]
            elif kind == 4:
                data[place:place] = data[rng.randrange(len(data) + 1) :][:size]
            elif kind == 5:
                data[place : place + 1] = rng.choice(_SIGNS).to_bytes()
            elif kind == 6:
                data[place : place + 1] = rng.randbytes(1)
            else:
                data[place:place] = rng.choice(_WORDS)
        return bytes(data)

    return change


_SIGNS = b"0123456789+-.eE \r\n\t/,:;'\"()[]{}&*!<>~|\xff"
_WORDS = (b"nan", b"-inf", b"1e999", b"9" * 40, b"9" * 5000, b"\r\n", b"\n25\n", b"null", b"-1")
_WORDS += (b"2001-13-40", b"[" * 2000, b"2.5")


# ---- recorded values of the published models (tests/golden) ------------------------------------


@pytest.fixture(scope="session")
def values(golden: Path) -> ModuleType:
    """`fill(key, shape)` and `uniform(name, count)` of tests/golden/fill.py."""
    spec = importlib.util.spec_from_file_location("golden_fill", golden / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def recorded(golden: Path) -> Callable[[str], Mapping[str, np.ndarray]]:
    """The arrays of one golden file by name."""
    return lambda name: np.load(golden / f"{name}.npz")


@pytest.fixture(scope="session")
def published_state(golden: Path, values: ModuleType) -> Callable[[str], "dict[str, Tensor]"]:
    """The state dict of a published model, by the name of its list of shapes."""

    def load(name: str) -> "dict[str, Tensor]":
        import torch

        shapes = json.loads((golden / f"{name}_state_shapes.json").read_text(encoding="utf-8"))
        return {
            key: torch.from_numpy(np.asarray(values.fill(key, tuple(shape))))
            for key, shape in shapes.items()
        }

    return load


@pytest.fixture(scope="session")
def difference() -> Callable[[Any, Any], float]:
    """max |ours - golden| / max |golden|."""

    def relative(ours: Any, theirs: Any) -> float:
        ours, theirs = (x.detach().numpy() if hasattr(x, "detach") else x for x in (ours, theirs))
        assert ours.shape == theirs.shape
        return float(np.abs(ours - theirs).max() / np.abs(theirs).max())

    return relative
