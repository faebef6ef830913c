"""Reads a store's files. Nothing in them is believed: sizes, types and offsets are checked."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frcore.data.benchmarks import Benchmark
from frcore.data.clips import SPLITS
from frcore.data.writer import CLIPS, FIXED_COLUMNS, FORMAT, RECORD, SAMPLES
from frcore.errors import UserError


class StoreError(UserError):
    """A store's files are damaged, foreign or do not agree; the text names the file."""


def read_files(path: Path) -> tuple[Benchmark, pd.DataFrame, np.memmap, dict[str, Any]]:
    """A store's benchmark, samples, memory-mapped frames and record (see `Store`).

    Raises:
        StoreError: naming the file that is damaged or does not agree with the others.
    """
    try:
        record = json.loads((path / RECORD).read_bytes())
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']!r}, this version reads {FORMAT}")
        benchmark = Benchmark.from_dict(record["benchmark"])
        columns = {str(c): _column_type(k) for c, k in record["columns"].items()}
        expected_hash, expected_bytes = (
            str(record["files"][SAMPLES]["sha256"]),
            record["files"][CLIPS]["bytes"],
        )
        record["fingerprint"] = str(record["fingerprint"])
        record["preset"] = str(record.get("preset", ""))
        record["notices"] = [str(text) for text in _list(record.get("notices", []))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path / RECORD, f"{type(error).__name__}: {error}") from error
    samples = _read_samples(path / SAMPLES, benchmark, columns, expected_hash)
    frames = _map_frames(path / CLIPS, expected_bytes)
    _check_layout(path, samples, frames, benchmark)
    return benchmark, samples, frames, record


def _read_samples(
    path: Path, benchmark: Benchmark, columns: dict[str, str], expected_hash: str
) -> pd.DataFrame:
    types = FIXED_COLUMNS | {f"split_{p}": "str" for p in benchmark.protocols} | columns
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != expected_hash:
            raise ValueError("its sha256 is not the one in store.json; it was changed or damaged")
        samples = pd.read_csv(io.BytesIO(content), dtype=types, na_filter=False, encoding="utf-8")
        if list(samples.columns) != list(types):
            raise ValueError(f"columns {list(samples.columns)}; expected {list(types)}")
    except (OSError, ValueError, OverflowError) as error:
        raise _damaged(path, str(error)) from error
    return samples


def _map_frames(path: Path, expected_bytes: object) -> np.memmap:
    try:
        if path.stat().st_size != expected_bytes:
            raise ValueError(f"{path.stat().st_size} bytes; expected {expected_bytes}")
        # Maps the file: a header that claims more than there is fails here, nothing is allocated.
        frames = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(frames, np.memmap) or frames.dtype.str != "<f4" or frames.ndim != 1:
            raise ValueError("not a flat float32 array")
    except Exception as error:  # NumPy parses the header as Python, and raises as many kinds
        raise _damaged(path, str(error)) from error
    return frames


def _check_layout(
    path: Path, samples: pd.DataFrame, frames: np.ndarray, benchmark: Benchmark
) -> None:
    """Offsets and sizes must tile the file exactly: nothing later reads outside it."""
    length, persons = samples["num_frames"].to_numpy(), samples["num_persons"].to_numpy()
    per_person = benchmark.skeleton.num_joints * benchmark.channels
    bounded = (length >= 1) & (length <= frames.size) & (persons >= 1)
    bounded &= persons <= benchmark.num_persons
    if len(samples) == 0 or not bounded.all():
        raise _damaged(path / SAMPLES, "num_frames or num_persons out of range")
    ends = np.cumsum(length * persons * per_person)
    if (
        ends[-1] != frames.size
        or (samples["offset"].to_numpy() != ends - length * persons * per_person).any()
    ):
        raise _damaged(
            path / SAMPLES, f"offsets and sizes do not fit the {frames.size} values of {CLIPS}"
        )
    if not samples["label"].between(0, benchmark.num_classes - 1).all():
        raise _damaged(path / SAMPLES, f"labels outside 0..{benchmark.num_classes - 1}")
    if samples["sample_id"].duplicated().any():
        raise _damaged(path / SAMPLES, "sample ids occur more than once")
    for protocol in benchmark.protocols:
        if not samples[f"split_{protocol}"].isin(SPLITS).all():
            raise _damaged(path / SAMPLES, f"unknown values in split_{protocol}")


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, not {type(value).__name__}")
    return value


def _column_type(kind: object) -> str:
    if kind not in ("int64", "float64", "str"):
        raise ValueError(f"unknown column type {kind!r}")
    return str(kind)


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path} is damaged or not of this version: {why[:300]}. Make the store again."
    )
