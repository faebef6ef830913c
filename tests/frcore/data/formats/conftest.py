"""Small files as others write them, and what is in them."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Npz = Callable[..., Path]


@pytest.fixture
def write_npz(tmp_path: Path) -> Npz:
    """Writes an npz of the CTR-GCN family: clips (T, M, 25, 3) are padded with zeros.

    Arguments: train and test clips; name; classes; T of the file; other arrays by name.
    """

    def write(
        train: list[np.ndarray],
        test: list[np.ndarray],
        *,
        name: str = "NTU60_CS.npz",
        num_classes: int = 60,
        length: int = 40,
        packed: bool = True,
        **others: Any,
    ) -> Path:
        arrays = {}
        for split, clips in (("train", train), ("test", test)):
            x = np.zeros((len(clips), length, 2, 25, 3), dtype=np.float32)
            for row, clip in zip(x, clips, strict=True):
                row[: len(clip), : clip.shape[1]] = clip
            arrays[f"x_{split}"] = x.reshape(len(clips), length, 150)
            labels = (7 * np.arange(len(clips)) + 3) % num_classes
            arrays[f"y_{split}"] = np.eye(num_classes)[labels]  # float64, as published
        arrays |= others
        arrays = {key: value for key, value in arrays.items() if value is not None}
        path = tmp_path / name
        (np.savez_compressed if packed else np.savez)(path, **arrays)
        return path

    return write


@pytest.fixture
def write_pkl(tmp_path: Path) -> Callable[..., Path]:
    """Pickles a value."""

    def write(content: Any, *, name: str = "ntu60_3danno.pkl", protocol: int = 2) -> Path:
        path = tmp_path / name
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        return path

    return write


@pytest.fixture
def walk() -> Callable[..., np.ndarray]:
    """A clip (T, M, 25, 3) that moves; joint 1 of person 0 begins at the origin."""

    def make(frames: int, persons: int = 1, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng((seed, frames, persons))
        clip = np.cumsum(rng.normal(0, 0.03, (frames, persons, 25, 3)), axis=0)
        clip += rng.normal(0, 0.4, (1, persons, 25, 3))
        return (clip - clip[:1, :1, 1:2]).astype(np.float32)

    return make
