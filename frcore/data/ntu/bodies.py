"""From the bodies of a raw file to a clip of one or two persons: which are kept, where they stand.

The Kinect sees bodies where there are none, and one person as several bodies in turn. The rules are
those of a preset (`frcore.data.ntu.presets`); what they did is counted.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from frcore.data.ntu.presets import NtuPreset
from frcore.errors import UserError, counted

if TYPE_CHECKING:
    from frcore.data.ntu.raw import RawBody, RawClip

ORIGIN = 1  # the joint that is subtracted: the middle of the spine, `NTU25.center`


class NoBodyLeft(UserError):
    """The rules leave no body of a clip, or one that is zero throughout (published code stops)."""


@dataclass(frozen=True, eq=False)
class ChosenBodies:
    """A clip, and what happened to its bodies."""

    joints: np.ndarray  # (T, M, V, C) float32, metres; M = 1 or 2
    short: int = 0  # bodies dropped because they were seen too few times
    spread: int = 0  # bodies dropped because they were too wide too often
    merged: int = 0  # bodies written into a slot in which there was one already
    discarded: int = 0  # bodies that fitted into no slot
    empty_frames: int = 0  # frames dropped because nobody was left in them


@dataclass(eq=False)
class _Body:
    joints: np.ndarray  # (n, V, C) float32
    frames: np.ndarray  # (n,) where they stand, ascending
    motion: np.float32 = np.float32(0)


def choose_bodies(clip: "RawClip", preset: NtuPreset) -> ChosenBodies:
    """One or two persons out of all bodies of a raw file, centred if the preset says so.

    Raises:
        NoBodyLeft: all bodies are too short, or the first of those that are kept is all zero.
        UserError: a body occurs more often than there are frames.
    """
    # A hostile file may hold 1e38: its variance is infinite, which sorts as well.
    with np.errstate(over="ignore", invalid="ignore"):
        if len(clip.bodies) == 1:
            slot = _Slot(clip.num_frames, preset)
            slot.write(_place(clip.bodies[0], preset))
            return _finish(slot.joints[:, None], preset, drop_empty=preset.drop_empty_of_one)
        bodies = [_place(body, preset) for body in clip.bodies]
        for body in bodies:
            body.motion = _motion(body.joints)
        longer = [body for body in bodies if len(body.joints) >= preset.min_frames]
        if not longer:
            raise NoBodyLeft(
                f"none of its {len(bodies)} bodies was seen {preset.min_frames} times or more"
            )
        upright = _without_spread(longer, preset)
        joints, merged, discarded = _fill_slots(upright, clip.num_frames, preset)
        return _finish(
            joints,
            preset,
            drop_empty=True,
            short=len(bodies) - len(longer),
            spread=len(longer) - len(upright),
            merged=merged,
            discarded=discarded,
        )


def _place(body: "RawBody", preset: NtuPreset) -> _Body:
    """A body with the frames at which it stands."""
    if preset.intervals == "compressed":
        return _Body(body.joints, body.frames[0] + np.arange(len(body.joints)))
    frames, first = np.unique(body.frames, return_index=True)
    return _Body(body.joints[first], frames)


def _motion(joints: np.ndarray) -> np.float32:
    """Variance over all joints and frames of (n, V, C), summed over the axes.

    In float32 throughout, as published: rows of all frames' joints, reduced row by row.
    """
    return np.var(joints.reshape(-1, joints.shape[-1]), axis=0).sum()


def _without_spread(bodies: list[_Body], preset: NtuPreset) -> list[_Body]:
    """Drops bodies that are wide rather than high too often, never the last one.

    Those that stay get the motion of their upright frames, where that is less.
    """
    kept = list(bodies)
    for body in bodies:
        if len(kept) == 1:
            break
        upright = _upright(body.joints, preset.spread_ratio)
        noisy = len(upright) - int(upright.sum())
        if noisy / len(upright) >= preset.max_spread_share:
            kept.remove(body)
        elif noisy and preset.upright_motion:
            body.motion = min(body.motion, _motion(body.joints[upright]))
    return kept


def _upright(joints: np.ndarray, ratio: float) -> np.ndarray:
    """(n,) bool: frames of (n, V, C) in which x extends at most `ratio` times as far as y.

    The extents are float32, their comparison is float64: so it was under NumPy 1, with which the
    published files were made.
    """
    width, height = np.ptp(joints[..., 0], axis=1), np.ptp(joints[..., 1], axis=1)
    return width.astype(np.float64) <= ratio * height.astype(np.float64)


def _fill_slots(
    bodies: list[_Body], num_frames: int, preset: NtuPreset
) -> tuple[np.ndarray, int, int]:
    """Joints (T, M, V, C), how many bodies joined another one, how many fitted nowhere."""
    bodies = sorted(bodies, key=lambda body: body.motion, reverse=True)  # equal ones: as they were
    first = _Slot(num_frames, preset)
    first.write(bodies[0])
    if len(bodies) == 1:
        return first.joints[:, None], 0, 0
    second = _Slot(num_frames, preset, starts_at_zero=preset.second_slot_from_zero)
    merged = discarded = 0
    for body in bodies[1:]:
        slot = next((slot for slot in (first, second) if slot.fits(body)), None)
        if slot is None:
            discarded += 1
            continue
        merged += bool(slot.filled.any())
        slot.write(body)
    if not (preset.keep_empty_slot or second.filled.any()):
        return first.joints[:, None], merged, discarded
    return np.stack([first.joints, second.joints], axis=1), merged, discarded


class _Slot:
    """A person of the clip: the bodies written into it, one after the other."""

    def __init__(self, num_frames: int, preset: NtuPreset, *, starts_at_zero: bool = False) -> None:
        self.preset = preset
        self.joints = np.zeros((num_frames, 25, 3), dtype=np.float32)
        self.filled = np.zeros(num_frames, dtype=bool)
        self.interval: tuple[int, int] | None = (0, 0) if starts_at_zero else None  # inclusive

    def fits(self, body: _Body) -> bool:
        """Whether the body and the slot share no more than the preset allows."""
        if self.preset.overlap == "frames":
            return len(np.intersect1d(np.flatnonzero(self.filled), body.frames)) <= 1
        if self.interval is None:
            return True
        start, end = self.interval
        # Both ends belong to an interval: bodies that have one frame in common still fit.
        return min(end, body.frames[-1]) - max(start, body.frames[0]) <= 0

    def write(self, body: _Body) -> None:
        """Writes a body, and widens the slot's interval by it."""
        joints, frames = body.joints, body.frames
        if frames[-1] >= len(self.filled):
            raise UserError(
                f"a body that is first seen in frame {frames[0]} (from 0, frames without bodies "
                f"not counted) occurs {len(frames)} times, more than once in a frame; "
                f"there are {len(self.filled)} frames"
            )
        if not self.preset.overwrite:
            free = ~self.filled[frames]
            joints, frames = joints[free], frames[free]
        self.joints[frames] = joints
        self.filled[frames] = True
        start, end = self.interval or (body.frames[0], body.frames[-1])
        self.interval = min(start, body.frames[0]), max(end, body.frames[-1])


def _finish(
    joints: np.ndarray, preset: NtuPreset, *, drop_empty: bool, **counts: int
) -> ChosenBodies:
    """Drops empty frames of (T, M, V, C) and centres the rest."""
    num_frames = len(joints)
    if drop_empty:
        joints = joints[~_empty(joints.reshape(num_frames, -1), preset)]
    if not joints[:, 0].any():
        raise NoBodyLeft(f"all {counted(num_frames, 'frame')} of the body that moves most: zeros")
    if preset.center:
        joints = _centered(joints, preset)
    return ChosenBodies(joints, empty_frames=num_frames - len(joints), **counts)


def _empty(values: np.ndarray, preset: NtuPreset) -> np.ndarray:
    """(T,) bool: rows of (T, D) that count as empty."""
    if preset.empty_frame == "all":
        return ~values.any(axis=1)
    return values.sum(axis=1) == 0  # in float32, as published


def _centered(joints: np.ndarray, preset: NtuPreset) -> np.ndarray:
    """The clip (T, M, V, C) around the first person's spine at the beginning.

    What a model's pipeline subtracts from it again is then zero (`pack_frames`), which changes no
    bit. One case is excepted: of a single body whose first frames are all zero these become minus
    the origin, as in the published files, and the pipeline takes them for a body.
    """
    there = joints[:, 0].any(axis=(1, 2))
    centered = joints - joints[there.argmax(), 0, ORIGIN]
    if joints.shape[1] > 1:
        for slot in range(joints.shape[1]):
            empty = _empty(joints[:, slot].reshape(len(joints), -1), preset)
            centered[empty, slot] = 0
    return centered
