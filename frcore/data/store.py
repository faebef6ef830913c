"""Packed stores: a memory-mapped array of variable-length clips and a table of samples. No torch.

A folder holds `clips.npy` (flat float32; a clip is a contiguous (T, M, V, C) block), `samples.csv`
(one row a clip) and `store.json` (format, benchmark, fingerprint, counts). What is read is checked
before it is used.
"""

import logging
import mmap
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from frcore.data.benchmarks import Benchmark
from frcore.data.clips import SPLITS, ClipRecord, Repair, content_hash
from frcore.data.reader import StoreError, read_files
from frcore.data.writer import RECORD, write_files
from frcore.display import short
from frcore.errors import UserError, counted, did_you_mean, unknown_name

__all__ = [
    "ClipRecord",
    "Store",
    "StoreError",
    "StoreNotFound",
    "content_hash",
    "data_root",
    "has_store",
    "read_store",
    "write_store",
]

log = logging.getLogger(__name__)

Split = Literal["train", "val", "test", "all"]


class StoreNotFound(UserError):
    """There is no such store; the text holds the command that makes it, where there is one."""


def data_root() -> Path:
    """The folder of all stores: `$FRCORE_DATA`, or `data` in the working directory."""
    return Path(os.environ.get("FRCORE_DATA") or "data")


class Store:
    """A benchmark's clips, opened but not loaded. Made by `read_store`.

    Attributes:
        path: the folder.
        benchmark: its record.
        samples: one row a clip: sample_id, label, num_frames, num_persons, offset (in floats),
            content_hash, split_<protocol>, and what else is known (subject, camera, ...).
        frames: (total,) float32, memory-mapped, read-only.
        fingerprint: 64 hex digits over ids, labels, contents and splits, and the skeleton.
        record: `store.json` as it stands (preset, counts, ...).
        preset: how the clips were made, such as "field" or "clean"; "" where there is one way.
        notices: what was remarkable when it was made, such as an incomplete set.
    """

    def __init__(
        self,
        path: Path,
        benchmark: Benchmark,
        samples: pd.DataFrame,
        frames: np.memmap,
        record: dict[str, Any],
    ) -> None:
        self.path, self.benchmark, self.samples, self.frames = path, benchmark, samples, frames
        self.record = record
        self.fingerprint: str = record["fingerprint"]
        self.preset: str = record.get("preset", "")
        self.notices: tuple[str, ...] = tuple(record.get("notices", ()))

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        protocol = self.protocol(None)
        counts = self.samples[f"split_{protocol}"].value_counts()
        splits = ", ".join(f"{counts[s]:,} {s}" for s in SPLITS[:3] if counts.get(s))
        made = f", preset '{short(self.preset)}'" if self.preset else ""
        return (
            f"Store('{self.benchmark.name}'{made}, {counted(len(self), 'clip')}, "
            f"{counted(self.benchmark.num_classes, 'class', 'classes')}, {protocol}: {splits})"
        )

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.samples["sample_id"])}

    def clip(self, sample_id: str) -> np.ndarray:
        """(T, M, V, C) float32, a read-only view, in the source's own units.

        Raises:
            UserError: if there is no such sample, with the nearest id.
        """
        if sample_id not in self._rows:
            near = did_you_mean(sample_id, self._rows) if len(self) < 20_000 else ""
            raise UserError(
                f"No sample '{sample_id}' among the {len(self):,} of {self.path}.{near}"
            )
        return self.clip_at(self._rows[sample_id])

    def clip_at(self, row: int) -> np.ndarray:
        """The clip of a row of `samples`, as `clip` gives it."""
        frames, persons, start, end = (int(column[row]) for column in self._layout)
        size = (frames, persons, self.benchmark.skeleton.num_joints, self.benchmark.channels)
        return self._flat[start:end].reshape(size)

    def blocks(self, values: int = 2_000_000) -> list[range]:
        """All rows of `samples` in runs of neighbours, to go through the store part by part.

        Args:
            values: floats in the clips of a run; a clip that has more is one of its own.
        """
        *_, starts, ends = self._layout
        edges = [0]
        while edges[-1] < len(self):
            last = int(np.searchsorted(ends, starts[edges[-1]] + values, "right"))
            edges.append(max(last, edges[-1] + 1))
        return [range(*pair) for pair in pairwise(edges)]

    def release(self, rows: range) -> None:
        """Takes neighbouring clips out of this process's memory; they stay readable.

        What was looked at through the map counts as this process's own for as long as the system
        sees fit. Where the system knows no such call, nothing happens.
        """
        *_, starts, ends = self._layout
        mapped = self.frames.base
        if not hasattr(mmap, "MADV_DONTNEED") or not isinstance(mapped, mmap.mmap):
            return
        page, size = mmap.ALLOCATIONGRANULARITY, self.frames.itemsize
        header = self.frames.offset % page  # NumPy maps from the page in which the values begin
        first = (header + int(starts[rows[0]]) * size) // page * page
        mapped.madvise(mmap.MADV_DONTNEED, first, header + int(ends[rows[-1]]) * size - first)

    @cached_property
    def _layout(self) -> tuple[np.ndarray, ...]:
        """Frames, persons, first value and end of each clip."""
        names = ("num_frames", "num_persons", "offset")
        frames, persons, start = (self.samples[name].to_numpy() for name in names)
        per_person = self.benchmark.skeleton.num_joints * self.benchmark.channels
        return frames, persons, start, start + frames * persons * per_person

    @cached_property
    def _flat(self) -> np.ndarray:
        return np.asarray(self.frames)  # slicing a plain array is faster than a memmap

    def protocol(self, protocol: str | None = None) -> str:
        """The protocol of that name, or the default where None."""
        if protocol is None:
            return self.benchmark.protocols[0]
        if protocol not in self.benchmark.protocols:
            raise unknown_name(
                f"protocol of {self.benchmark.name}", protocol, self.benchmark.protocols
            )
        return protocol

    def split(
        self,
        split: Split,
        *,
        protocol: str | None = None,
        val_subjects: Sequence[int | str] = (),
        duplicates: Literal["keep", "drop"] = "keep",
    ) -> pd.DataFrame:
        """Rows of `samples` in a split, in store order; the index is the position in `samples`.

        Args:
            split: "train", "val", "test", or "all" of them.
            protocol: which way to split; None: the default.
            val_subjects: training subjects whose clips become split "val".
            duplicates: "drop" leaves out clips whose content also judges them: train clips that
                are in val or test too, val clips that are in test too.

        Raises:
            UserError: for an unknown split, protocol or subject.
        """
        if split not in ("train", "val", "test", "all"):
            raise unknown_name("split", split, ("train", "val", "test", "all"))
        if duplicates not in ("keep", "drop"):
            raise unknown_name("value of duplicates", duplicates, ("keep", "drop"))
        part = self._assignment(self.protocol(protocol), val_subjects)
        wanted = part != "" if split == "all" else part == split
        if duplicates == "drop":
            for own, judges in (("train", ("val", "test")), ("val", ("test",))):
                wanted &= ~((part == own) & self._also_in(part, *judges))
        return self.samples[wanted]

    def _also_in(self, part: np.ndarray, *splits: str) -> np.ndarray:
        """(N,) bool: clips whose content occurs in these splits."""
        hashes = self.samples["content_hash"]
        return hashes.isin(hashes[np.isin(part, splits)]).to_numpy(dtype=bool)

    def _assignment(self, protocol: str, val_subjects: Sequence[int | str]) -> np.ndarray:
        """(N,) object: each clip's split, with the training clips of `val_subjects` in "val"."""
        part = self.samples[f"split_{protocol}"].to_numpy(dtype=object, copy=True)
        if len(val_subjects) == 0:
            return part
        if "subject" not in self.samples:
            raise UserError(
                f"val_subjects needs each clip's subject; {self.benchmark.name} has no such column "
                "(own data: from_arrays(subjects=...))."
            )
        subjects = self.samples["subject"].astype(str).to_numpy(dtype=object)
        known = sorted(set(subjects[part == "train"]), key=lambda s: (len(s), s))
        absent = [s for s in val_subjects if str(s) not in known]
        if absent:
            raise UserError(
                f"val_subjects {absent} have no training clips in {self.benchmark.name}/{protocol}."
                f" Training subjects: {', '.join(known)}."
            )
        held_out = pd.Series(subjects).isin([str(s) for s in val_subjects]).to_numpy(dtype=bool)
        part[(part == "train") & held_out] = "val"
        return part

    def copies(
        self,
        split: Literal["val", "test"] = "test",
        *,
        protocol: str | None = None,
        val_subjects: Sequence[int | str] = (),
    ) -> pd.Series:
        """(N,) bool over `samples`: clips of a split whose content is also in training.

        Args:
            split, protocol, val_subjects: see `split`.
        """
        part = self._assignment(self.protocol(protocol), val_subjects)
        found = (part == split) & self._also_in(part, "train")
        return pd.Series(found, index=self.samples.index)


def write_store(
    path: str | Path,
    benchmark: Benchmark,
    clips: Iterable[ClipRecord],
    *,
    preset: str = "",
    allow_nonfinite: bool = False,
    repair: Repair | None = None,
    notices: Sequence[str] = (),
    report: Mapping[str, Any] | None = None,
    tables: Mapping[str, str] | None = None,
) -> Store:
    """Writes clips as a store and opens it. Clips stream: memory holds the table only.

    The folder appears when it is complete; an existing store is replaced only then. One process at
    a time writes a store.

    Args:
        path: the store's folder.
        benchmark: its record; every clip is checked against it.
        clips: in the order in which they are stored.
        preset: how the clips were made, where there is more than one way.
        allow_nonfinite: keep NaN and Inf as they are (for `check_store` to list).
        repair: what to do with NaN and Inf. "interpolate": fill in from the same joint's
            neighbouring frames, and leave out clips in which a joint has no value at all; "drop":
            leave such clips out. Both are counted in `store.json` and logged.
        notices: kept in `store.json`, for `check_store` to repeat.
        report: how the source became these clips, JSON-ready; kept in `store.json`.
        tables: file name -> CSV text, written into the folder (such as what was left out).

    Raises:
        UserError: listing the first ten problems of all clips (shape, NaN, label, id, split).
    """
    options = {"preset": preset, "allow_nonfinite": allow_nonfinite, "repair": repair}
    options |= {"notices": notices, "report": report, "tables": tables}
    write_files(Path(path), benchmark, clips, **options)
    return read_store(path)


def read_store(path: str | Path) -> Store:
    """Opens the store in a folder; `frcore.data.open_store` also finds one by its name.

    Raises:
        StoreNotFound: there is none.
        StoreError: if its files are damaged or do not agree.
    """
    path = Path(path)
    if not has_store(path):
        raise StoreNotFound(f"No store at {path}: it has no {RECORD}.")
    return Store(path, *read_files(path))


def has_store(path: Path) -> bool:
    """Whether a folder holds a store."""
    return (path / RECORD).is_file()
