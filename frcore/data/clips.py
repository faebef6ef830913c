"""One clip at a time: what is accepted, which persons are kept, how missing values are mended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

import numpy as np

from frcore.data.benchmarks import Benchmark
from frcore.errors import UserError
from frcore.shapes import check_shape

Repair = Literal["interpolate", "drop"]
SPLITS = ("train", "val", "test", "")
STORED_AXES = "T M V C"
SHOWN = 10  # offenders listed in an error or a notice


@dataclass
class ClipRecord:
    """A clip on its way into a store.

    Args:
        sample_id: the key of the clip everywhere; unique in its store.
        label: 0..K-1.
        data: (T, V, C), or (T, M, V, C) in the order of `axes`, in the source's own units.
        splits: protocol -> "train", "val", "test" or "" (not used, as is a missing protocol).
        extra: what the benchmark knows besides (subject, camera, ...): the same keys in every clip.
        axes: the order of a 4-D array's axes, e.g. "T V C M".
        keep_empty: store persons that are zero throughout as well, each in its place.
    """

    sample_id: str
    label: int
    data: np.ndarray
    splits: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, int | float | str] = field(default_factory=dict)
    axes: str = STORED_AXES
    keep_empty: bool = False


@dataclass
class TidyClip:
    """A clip as it is stored, and what had to be done to it."""

    data: np.ndarray | None  # (T, M, V, C) float32; None: left out, nothing could be mended
    dropped_persons: bool = False
    moved_persons: bool = False
    repaired: bool = False


class Problems:
    """Collects what is wrong with many clips, to say it all at once."""

    def __init__(self) -> None:
        self.count = 0
        self._shown: list[str] = []

    def __len__(self) -> int:
        return self.count

    def add(self, problem: object) -> None:
        """Counts a problem and keeps the text of the first ten."""
        self.count += 1
        if self.count <= SHOWN:
            self._shown.append(str(problem)[:500])

    def raise_if_any(self, what: str) -> None:
        """Raises a UserError with the first ten problems and the count of all."""
        if self.count:
            first = f", the first {SHOWN}" if self.count > SHOWN else ""
            listed = "\n".join(f"  - {text}" for text in self._shown)
            raise UserError(f"{what}: {self.count} problem(s){first}:\n{listed}")


def content_hash(data: np.ndarray) -> str:
    """32 hex digits over shape and float32 little-endian bytes: equal clips have equal hashes."""
    array = np.ascontiguousarray(data, dtype="<f4")
    digest = blake2b(repr(array.shape).encode(), digest_size=16)
    digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def tidy_clip(
    record: ClipRecord,
    benchmark: Benchmark,
    *,
    allow_nonfinite: bool = False,
    repair: Repair | None = None,
) -> TidyClip:
    """Checks a clip and puts it into the shape in which it is stored.

    Persons that are zero throughout are not stored (so a clip with only a second person has it in
    slot 0), unless the record says so; of more persons than the benchmark holds, those with the
    most energy stay, in their order. Energy is the variance over joints and frames, summed over
    the axes.

    Raises:
        UserError: naming the clip, what is wrong and what was expected.
    """
    name = f"clip '{record.sample_id}'"
    array = np.asarray(record.data)
    if array.dtype.kind not in "fiu":
        raise UserError(f"{name} has type {array.dtype}; expected numbers (float32).")
    sizes = {"V": benchmark.skeleton.num_joints, "C": benchmark.channels}
    if array.ndim not in (3, 4):
        raise UserError(
            f"{name} has {array.ndim} axes {array.shape}; expected (T, V={sizes['V']}, "
            f"C={sizes['C']}) or, with several persons, ({', '.join(record.axes.split())})."
        )
    check_shape(array, "T V C" if array.ndim == 3 else record.axes, name=name, **sizes)
    if array.ndim == 4:
        array = array.transpose([record.axes.split().index(a) for a in STORED_AXES.split()])
    with np.errstate(over="ignore"):
        # A copy: mending must not change the caller's array.
        data = array.astype(np.float32, order="C")
    if data.ndim == 3:
        data = data[:, None]  # (T, 1, V, C)
    if 0 in data.shape:
        raise UserError(
            f"{name} has 0 {'frames' if not data.shape[0] else 'persons'}; expected 1 or more."
        )
    clip = TidyClip(data)
    _mend(clip, name, allow_nonfinite, repair)
    if clip.data is not None:
        _choose_persons(clip, benchmark.num_persons, record.keep_empty)
    return clip


def _mend(clip: TidyClip, name: str, allow_nonfinite: bool, repair: Repair | None) -> None:
    bad = ~np.isfinite(clip.data)
    if not bad.any():
        return
    if repair == "drop":
        clip.data = None
    elif repair == "interpolate":
        clip.repaired = _interpolate(clip.data, bad)
        clip.data = clip.data if clip.repaired else None
    elif not allow_nonfinite:
        frames = np.flatnonzero(bad.any(axis=(1, 2, 3)))
        more = f" and {len(frames) - SHOWN} more" if len(frames) > SHOWN else ""
        raise UserError(
            f"{name} has NaN or Inf in frame(s) {', '.join(map(str, frames[:SHOWN]))}{more} "
            "(0-based); mend the data, or choose repair='interpolate' or 'drop' (--repair)."
        )


def _interpolate(data: np.ndarray, bad: np.ndarray) -> bool:
    """Fills `bad` in place, linearly in time, held at the ends; False if a joint has no value."""
    series, holes = data.reshape(len(data), -1), bad.reshape(len(bad), -1)
    if holes.all(axis=0).any():
        return False
    for column in np.flatnonzero(holes.any(axis=0)):
        missing, known = np.flatnonzero(holes[:, column]), np.flatnonzero(~holes[:, column])
        series[missing, column] = np.interp(missing, known, series[known, column])
    return True


def _choose_persons(clip: TidyClip, num_persons: int, keep_empty: bool) -> None:
    data = clip.data  # (T, M, V, C)
    if keep_empty and data.shape[1] <= num_persons:
        return
    present = np.flatnonzero((data != 0).any(axis=(0, 2, 3)))
    clip.moved_persons = len(present) > 0 and present[-1] != len(present) - 1
    if len(present) > num_persons:
        energy = [_energy(data[:, m]) for m in present]
        most = np.argsort(energy, kind="stable")[::-1][:num_persons]
        present = np.sort(present[most])
        clip.dropped_persons = True
    if len(present) == 0:
        present = np.array([0])  # an all-zero clip keeps one person
    clip.data = np.ascontiguousarray(data[:, present])


def _energy(person: np.ndarray) -> float:
    """How much a person (T, V, C) moves and extends, over the frames in which there is one."""
    seen = person[(person != 0).any(axis=(1, 2))].astype(np.float64)
    return float(np.nan_to_num(seen).reshape(-1, person.shape[-1]).var(axis=0).sum())
