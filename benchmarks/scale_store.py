"""A simulated NTU RGB+D 120, generated directly: real names and splits, made-up motion.

Names are those that the data set's raw files could have: 318 pairs of setup and subject, three
cameras, two replications, 60 actions each, less 535 clips. How many pairs and missing clips fall
on either side of both protocols is chosen such that all 113,945 clips split exactly as the real
ones do. A clip depends on its name alone, so a smaller store holds clips of the whole one.
"""

from collections.abc import Iterator
from dataclasses import astuple
from itertools import product
from typing import NamedTuple

import numpy as np

from frcore.data.benchmarks import NTU120
from frcore.data.clips import ClipRecord
from frcore.data.kinematics import DOFS, draw_bones, forward_kinematics, rotation
from frcore.data.ntu.protocols import NTU120_TRAIN_SUBJECTS, NtuName, parse_name

CLIPS = 113_945
_SEED = 120
_SHORTEST, _MEDIAN, _LONGEST = 10, 72, 300  # frames; lengths are log-normal between these ends
_SPREAD = 0.4  # of the logarithm of a length
_CURVES = 4  # cosines a coordinate follows, of at most so many half periods
_COPY_EVERY = 2_000  # clips of the store for each planted copy
_FARTHER = np.array((0.9, 0.0, 0.2), np.float32)  # metres from the first person to the second


class Part(NamedTuple):
    """Setups and subjects that were recorded together, and what they did."""

    setups: range
    subjects: range
    actions: range
    pairs: dict[tuple[bool, bool], int]  # (training subject, even setup) -> pairs of the two


PARTS = (
    Part(
        range(1, 18),
        range(1, 41),
        range(1, 61),
        {(True, True): 53, (True, False): 59, (False, True): 22, (False, False): 24},
    ),
    Part(
        range(18, 33),
        range(41, 107),
        range(61, 121),
        {(True, True): 31, (True, False): 33, (False, True): 46, (False, False): 50},
    ),
)
MISSING = {(True, True): 157, (True, False): 177, (False, True): 95, (False, False): 106}


def all_names() -> list[str]:
    """The 113,945 names, sorted."""
    rng = np.random.default_rng(_SEED)
    names: list[str] = []
    for side, missing in MISSING.items():
        group = [name for part in PARTS for name in _recorded(part, side, rng)]
        left_out = set(rng.choice(len(group), missing, replace=False).tolist())
        names += [name for row, name in enumerate(group) if row not in left_out]
    return sorted(names)


def _recorded(part: Part, side: tuple[bool, bool], rng: np.random.Generator) -> list[str]:
    """All clips of the pairs on one side of both protocols."""
    possible = [
        (setup, subject)
        for setup, subject in product(part.setups, part.subjects)
        if (subject in NTU120_TRAIN_SUBJECTS, setup % 2 == 0) == side
    ]
    chosen = rng.choice(len(possible), part.pairs[side], replace=False)
    return [
        f"S{setup:03}C{camera:03}P{subject:03}R{replication:03}A{action:03}"
        for setup, subject in (possible[row] for row in chosen)
        for camera, replication, action in product((1, 2, 3), (1, 2), part.actions)
    ]


class SimulatedSet:
    """So many clips of the simulated set, in the order of their names.

    Args:
        clips: how many, up to 113,945; drawn evenly from all names.

    Attributes:
        names: of the clips.
        copies: test clip -> the training clip (of X-Sub) whose content it has.
    """

    def __init__(self, clips: int = CLIPS) -> None:
        names = all_names()
        if not 2 <= clips <= len(names):
            raise SystemExit(f"A simulated set has 2 to {len(names):,} clips, not {clips:,}.")
        rng = np.random.default_rng(_SEED + 1)
        rows = np.sort(rng.choice(len(names), clips, replace=False))
        self.names = [names[row] for row in rows]
        sides: dict[str, list[str]] = {"train": [], "test": []}
        for name in self.names:
            sides[parse_name(name).splits(NTU120.name)["xsub"]].append(name)
        count = min(1 + clips // _COPY_EVERY, *map(len, sides.values()))
        pairs = (rng.choice(len(sides[s]), count, replace=False) for s in ("test", "train"))
        self.copies = {
            sides["test"][test]: sides["train"][train] for test, train in zip(*pairs, strict=True)
        }
        self._bodies = _Bodies()

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[ClipRecord]:
        for sample_id in self.names:
            name = parse_name(sample_id)
            yield ClipRecord(
                sample_id=sample_id,
                label=name.label,
                data=self._bodies.clip(parse_name(self.copies.get(sample_id, sample_id))),
                splits=name.splits(NTU120.name),
                extra=name.columns(),
            )


class _Bodies:
    """Moves a standing body along low-frequency curves; no kinematics a frame, so it is cheap."""

    def __init__(self) -> None:
        rng = np.random.default_rng(_SEED + 2)
        still = np.zeros((1, len(DOFS)))
        bodies = forward_kinematics(draw_bones(rng, height=1.7), still)
        self.rest = (bodies[0] - bodies[0, 1]).astype(np.float32)  # (25, 3), metres
        reach = np.linalg.norm(self.rest, axis=1)[:, None]  # what is farther out moves more
        shape = (NTU120.num_classes, _CURVES, *self.rest.shape)
        self.actions = (0.25 * reach * rng.normal(size=shape)).astype(np.float32)
        self.reach = (0.05 * reach).astype(np.float32)
        views = (rotation(1, degrees).astype(np.float32) for degrees in (-45, 0, 45))
        self.views = dict(zip((1, 2, 3), views, strict=True))

    def clip(self, name: NtuName) -> np.ndarray:
        """(T, M, 25, 3) float32, metres; its middle-spine joint starts at the origin."""
        rng = np.random.default_rng((_SEED, *astuple(name)))
        frames = int(np.clip(_MEDIAN * np.exp(_SPREAD * rng.normal()), _SHORTEST, _LONGEST))
        mutual = name.label in NTU120.mutual
        second = rng.random() < (0.98 if mutual else 0.03)
        clip = np.zeros((frames, 2 if second else 1, *self.rest.shape), np.float32)
        clip[:, 0] = self._person(name, frames, rng)
        if second:
            start = 0 if mutual else int(rng.integers(frames))  # others pass by
            there = self._person(name, frames, rng)[start:] * (-1, 1, -1) + _FARTHER
            clip[start:, 1] = there
        clip = clip @ self.views[name.camera].T
        origin = clip[0, 0, 1].copy()
        return np.where(clip.any(axis=(2, 3), keepdims=True), clip - origin, 0)

    def _person(self, name: NtuName, frames: int, rng: np.random.Generator) -> np.ndarray:
        """(T, 25, 3): the action's curves, and some of this clip's own."""
        time = (np.arange(frames, dtype=np.float32) + 0.5) / frames
        waves = np.cos(np.pi * time[:, None] * np.arange(1, _CURVES + 1, dtype=np.float32))
        own = rng.standard_normal(self.actions.shape[1:], dtype=np.float32) * self.reach
        curves = (self.actions[name.label] + own).reshape(_CURVES, -1)  # (curves, 75)
        size = np.float32(rng.uniform(0.85, 1.15))
        return size * (self.rest + (waves @ curves).reshape(frames, *self.rest.shape))
