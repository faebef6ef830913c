"""The npz files of the CTR-GCN family (Chen et al., ICCV 2021): NTU RGB+D, padded, one protocol.

`x_train (N, T, 150)` and `y_train (N, K)` one-hot, `x_test`, `y_test`; 150 = 2 persons x 25 joints
x 3. Clips are centred and padded with zeros to the longest one. A store keeps those frames that
the published feeder uses, so that a pipeline gives what the feeder gives.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from frcore.data.benchmarks import AbsentPerson, Benchmark
from frcore.data.clips import SHOWN, ClipRecord, Problems
from frcore.data.formats.findings import Findings
from frcore.data.formats.npz_rows import NpzArray, open_npz
from frcore.data.ntu.protocols import PUBLISHED, looks_like
from frcore.errors import UserError, counted, unknown_name

PERSONS, JOINTS, CHANNELS = 2, 25, 3
_SPLITS = ("train", "test")
_MAX_CLIPS, _MAX_FRAMES = 1_000_000, 10_000  # NTU RGB+D 120: 113,945 and 300
_LOOKED_AT = 200  # clips that tell how absent persons are written

# The names under which the family's scripts save them, in lower case.
_PROTOCOL_OF_NAME = {
    "ntu60_cs": ("ntu60", "xsub"),
    "ntu60_cv": ("ntu60", "xview"),
    "ntu120_csub": ("ntu120", "xsub"),
    "ntu120_cset": ("ntu120", "xset"),
}


class CtrgcnFile:
    """An opened npz, made by `open_ctrgcn`."""

    preset = "ctrgcn npz"

    def __init__(self, benchmark: Benchmark, protocol: str, arrays: dict[str, NpzArray]) -> None:
        self.benchmark, self.protocol = benchmark, protocol
        self._clips = {split: arrays[f"x_{split}"] for split in _SPLITS}
        for split in _SPLITS:
            _check_shapes(self._clips[split], arrays[f"y_{split}"], benchmark)
        _check_counts(arrays, benchmark, protocol)
        self._labels = {split: _read_labels(arrays[f"y_{split}"]) for split in _SPLITS}
        self._absent_person = self._find_absent_person() or benchmark.absent_person

    def changes(self) -> dict[str, Any]:
        """Fields of the benchmark's record that such a file decides.

        Its protocol comes first, so it is the default; clips are in no split of the others.
        """
        protocols = sorted(self.benchmark.protocols, key=lambda name: name != self.protocol)
        return {
            "protocols": tuple(protocols),
            "absent_person": self._absent_person,
            "centered": True,
        }

    def records(self, found: Findings) -> Iterator[ClipRecord]:
        """The clips `train/000000`, ..., `test/000000`, ..., numbered as in the file."""
        if self._absent_person != self.benchmark.absent_person:
            found.note(
                f"Clips of one person have '{self._absent_person}' for the second one, not "
                f"'{self.benchmark.absent_person}' as published for {self.benchmark.name}."
            )
        gaps = []
        total = sum(map(len, self._labels.values()))
        with tqdm(total=total, desc=self.benchmark.name, unit="clip") as bar:
            for split in _SPLITS:
                rows = zip(self._rows(split), self._labels[split], strict=True)
                for number, (padded, label) in enumerate(rows):
                    name = f"{split}/{number:06}"
                    data, whole = cut_padding(padded)
                    bar.update()
                    if problem := _problem(data):
                        found.leave_out(name, problem)
                        continue
                    if not whole:
                        gaps.append(name)
                    data = data[:, : 1 if _second(data) == self._absent_person else 2]
                    splits = {self.protocol: split}
                    yield ClipRecord(name, int(label), data, splits, keep_empty=True)
        if gaps:
            more = ", ..." if len(gaps) > SHOWN else ""
            found.note(
                f"{len(gaps):,} clip(s) have frames that sum to 0 between others. As in the "
                "published feeder, these stay, and as many of the last frames are left out: "
                f"{', '.join(gaps[:SHOWN])}{more}."
            )

    def _rows(self, split: str) -> Iterator[np.ndarray]:
        """Each clip (T, M, V, C) as in the file."""
        for block in self._clips[split].blocks():
            yield from block.reshape(len(block), -1, PERSONS, JOINTS, CHANNELS)

    def _find_absent_person(self) -> AbsentPerson | None:
        """What most of the first clips of one person have in the second slot."""
        first = (cut_padding(padded)[0] for padded in islice(self._rows("train"), _LOOKED_AT))
        kinds = Counter(filter(None, map(_second, first)))
        return kinds.most_common(1)[0][0] if kinds else None


@contextmanager
def open_ctrgcn(path: Path, benchmark: Benchmark, protocol: str | None) -> Iterator[CtrgcnFile]:
    """Opens an npz, checks what it claims, and reads its labels.

    Args:
        path: the file.
        benchmark: NTU RGB+D 60 or 120.
        protocol: the one by which it is split; None: as its name says (NTU60_CS.npz, ...).

    Raises:
        UserError: naming the file, the array, and what was expected.
    """
    protocol = _find_protocol(path, benchmark, protocol)
    names = [f"{what}_{split}" for split in _SPLITS for what in "xy"]
    with open_npz(path, names) as arrays:
        yield CtrgcnFile(benchmark, protocol, dict(zip(names, arrays, strict=True)))


def cut_padding(padded: np.ndarray) -> tuple[np.ndarray, bool]:
    """The frames of a clip (T, M, V, C) that the published feeder uses; whether these are all.

    It counts the frames whose values do not sum to 0, say n, and takes the first n.
    """
    filled = np.flatnonzero(padded.any(axis=(1, 2, 3)))
    data = padded[: filled[-1] + 1 if len(filled) else 0]
    with np.errstate(all="ignore"):
        # In the feeder's order of axes and of sums: roundings decide what is exactly 0.
        counts = data.transpose(3, 0, 2, 1).sum(0).sum(-1).sum(-1) != 0
    length = int(counts.sum())
    return data[:length], bool(counts[:length].all())


def _second(data: np.ndarray) -> AbsentPerson | None:
    """What stands in the second slot of a clip of one person; None: a second person."""
    if not data[:, 1].any():
        return "zero"
    return "copy" if np.array_equal(data[:, 0], data[:, 1]) else None


def _problem(data: np.ndarray) -> str:
    """Why a clip cannot be used; "" if it can."""
    if len(data) == 0:
        return "no frame whose values sum to other than 0"
    with np.errstate(over="ignore"):
        broken = ~np.isfinite(data.astype(np.float32)).all(axis=(1, 2, 3))
    if broken.any():
        return f"NaN or Inf in frame {broken.argmax()}"
    if not data.any():
        looked_at = counted(len(data), "frame")
        return f"zeros only in its first {looked_at}, those that the published feeder takes"
    return ""


def _find_protocol(path: Path, benchmark: Benchmark, protocol: str | None) -> str:
    if protocol is not None and protocol not in benchmark.protocols:
        raise unknown_name(f"protocol of {benchmark.name}", protocol, benchmark.protocols)
    of, said = _PROTOCOL_OF_NAME.get(path.stem.lower(), (benchmark.name, protocol))
    if said is None:
        raise UserError(
            f"{path} does not say by which protocol it is split: add --protocol (protocol=), one "
            f"of {', '.join(benchmark.protocols)}."
        )
    if (of, said) != (benchmark.name, protocol or said):
        asked = " ".join(filter(None, (benchmark.name, protocol)))
        raise UserError(
            f"{path} has the name of {of} {said}, not of {asked}. Import it as that, or rename it "
            "if its name is wrong."
        )
    return said


def _check_shapes(clips: NpzArray, labels: NpzArray, benchmark: Benchmark) -> None:
    width = PERSONS * JOINTS * CHANNELS
    if clips.dtype.kind != "f" or len(clips.shape) != 3 or clips.shape[2] != width:
        raise UserError(
            f"{clips.where} is {clips.dtype}{list(clips.shape)}; expected float32 (N, T, {width}): "
            f"{PERSONS} persons x {JOINTS} joints x {CHANNELS}."
        )
    if clips.shape[0] > _MAX_CLIPS or clips.shape[1] > _MAX_FRAMES:
        raise UserError(
            f"{clips.where} has {counted(clips.shape[0], 'clip')} of "
            f"{counted(clips.shape[1], 'frame')}; at most {_MAX_CLIPS:,} of {_MAX_FRAMES:,} are "
            "read."
        )
    expected = (clips.shape[0], benchmark.num_classes)
    if labels.shape != expected:
        raise UserError(
            f"{labels.where} has shape {labels.shape}; expected {expected}: one-hot labels of the "
            f"{counted(expected[0], 'clip')}, {expected[1]} classes of {benchmark.name}."
        )


def _check_counts(arrays: dict[str, NpzArray], benchmark: Benchmark, protocol: str) -> None:
    train, test = (arrays[f"x_{split}"].shape[0] for split in _SPLITS)
    like = looks_like(benchmark.name, train, test)
    if like not in (None, protocol):
        published = PUBLISHED[benchmark.name][protocol]
        raise UserError(
            f"{arrays['x_train'].where} and 'x_test' have {train:,} and {test:,} clips: that is "
            f"{like} of {benchmark.name}, not {protocol} ({published['train']:,} and "
            f"{published['test']:,}). Import it with --protocol {like} (protocol={like!r}), under "
            "a name that does not say otherwise."
        )


def _read_labels(one_hot: NpzArray) -> np.ndarray:
    """(N,) int64.

    Raises:
        UserError: listing rows that are not one-hot.
    """
    labels, problems = np.zeros(one_hot.shape[0], dtype=np.int64), Problems()
    start = 0
    for block in one_hot.blocks():
        good = ((block == 0) | (block == 1)).all(axis=1) & ((block != 0).sum(axis=1) == 1)
        for row in np.flatnonzero(~good):
            values = block[row][block[row] != 0]
            found = f"{counted(len(values), 'value')} other than 0, {values[:3]}"
            problems.add(f"row {start + row}: {found if len(values) else 'zeros alone'}")
        labels[start : start + len(block)] = block.argmax(axis=1)
        start += len(block)
    problems.raise_if_any(f"{one_hot.where} is not one-hot (one 1 in each row, else 0)")
    return labels
