"""Models with scores and features, a store of their clips, and the run of one of them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from frcore.data.benchmarks import Benchmark
from frcore.data.store import ClipRecord, Store, write_store
from frcore.predictions import Predictions
from frcore.run import Run
from frcore.skeleton import Skeleton

BODY = Skeleton(name="body", joints=("hip", "head", "hand"), bones=((1, 0), (2, 1)))
CLASSES = ("read", "write", "type", "walk")
Scored = Callable[..., Predictions]


@pytest.fixture
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layouts and stores of a test are its own."""
    monkeypatch.setenv("FRVIZ_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="session")
def scored() -> Scored:
    """Predictions with scores (3 for the predicted class, 1 for the next one) and features."""

    def made(
        labels: Sequence[int],
        predicted: Sequence[int],
        k: int = len(CLASSES),
        *,
        seed: int = 0,
        width: int = 8,
        spaces: Sequence[str] = ("backbone",),
        **fields: object,
    ) -> Predictions:
        labels, predicted = np.asarray(labels, int), np.asarray(predicted, int)
        rows, rng = np.arange(len(labels)), np.random.default_rng(seed)
        logits = np.zeros((len(labels), k))
        logits[rows, (predicted + 1) % k] = 1
        logits[rows, predicted] = 3
        centres = np.random.default_rng(1).normal(size=(k, width))
        features = centres[labels] + 0.3 * rng.normal(size=(len(labels), width))
        fields = {
            "class_names": CLASSES if k == len(CLASSES) else [f"c{n}" for n in range(k)],
            "features": dict.fromkeys(spaces, features),
            **fields,
        }
        ids = fields.pop("ids", None) or [f"s{row:05}" for row in rows]
        return Predictions(tuple(ids), labels, logits=logits, **fields)

    return made


@pytest.fixture
def pair(scored: Scored) -> tuple[Predictions, Predictions]:
    """24 clips of 4 classes; A takes a third of "read" for "write", B some of "type" for "read"."""
    labels = np.arange(24) % 4
    a = np.where((labels == 0) & (np.arange(24) % 3 == 0), 1, labels)
    b = np.where((labels == 2) & (np.arange(24) < 12), 0, labels)
    return scored(labels, a), scored(labels, b, seed=1)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Store]:
    """A store of clips of 5 frames: the first coordinate of clip n, frame t is n + t / 10."""

    def made(path: Path, ids: Sequence[str], labels: Sequence[int], channels: int = 3) -> Store:
        record = Benchmark(
            name=path.name, skeleton=BODY, class_names=CLASSES, num_persons=2, num_frames=5,
            protocols=("xsub",), channels=channels,
        )  # fmt: skip
        clips = []
        for number, (name, label) in enumerate(zip(ids, labels, strict=True)):
            clip = np.ones((5, 1, 3, channels), np.float32) * np.arange(1, 4)[:, None]
            clip[..., 0] = number + np.arange(5)[:, None, None] / 10
            clips.append(ClipRecord(name, int(label), clip, {"xsub": "test"}))
        return write_store(path, record, clips)

    return made


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """A run with a history: predicted classes by epoch (rows) and clip; -1: not seen."""

    def made(
        predictions: Predictions, predicted: Sequence[Sequence[int]], split: str = "test"
    ) -> Run:
        folder = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"name": "x"}))
        predicted = np.asarray(predicted)
        right = predicted == predictions.labels
        fixed = {
            f"{split}_sample_ids": np.array(predictions.sample_ids),
            f"{split}_labels": predictions.labels,
        }
        np.savez(
            folder / "history.npz", _fixed=np.array(list(fixed)), **fixed,
            epoch=np.arange(1, len(predicted) + 1),
            **{
                f"{split}_predicted": predicted.astype("int16"),
                f"{split}_p_true": np.where(predicted < 0, np.nan, 0.2 + 0.5 * right).astype("f4"),
            },
        )  # fmt: skip
        return Run(folder)

    return made
