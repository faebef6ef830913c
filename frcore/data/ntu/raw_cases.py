"""What can stand in a raw file of NTU RGB+D, case by case, and what the field makes of it.

A case says which bodies are seen when, which are wide and who moves most; from that alone follows
who is kept, in which slot, and who is dropped and why (Chen et al., ICCV 2021, after Zhang et al.,
CVPR 2020). The joints are made to fit (`stage`), so nothing has to be computed to know the outcome.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Reason = Literal["short", "spread", "no_slot"]
Frames = Callable[[int], Iterable[int]]  # frames of a body in a recording of so many

_MARGIN = 0.15  # square metres between the motions of bodies that a case ranks
_UPRIGHT, _WIDE = 0.6, 4.0  # x-range over y-range; the field's limit is 0.8


def _all(frames: int) -> range:
    return range(frames)


@dataclass(frozen=True)
class Body:
    """One body of a case.

    Args:
        frames: when it is seen.
        wide: share of its frames, from the first on, that are much wider than high.
    """

    frames: Frames = _all
    wide: float = 0.0


@dataclass(frozen=True)
class Case:
    """The bodies of a file and what becomes of them.

    Args:
        bodies: in order of first sight.
        slots: bodies of slots 1 and 2, in the order in which they are written.
        dropped: why each other body is not used.
        motion: bodies by their motion over valid frames, descending; () as they are seen.
    """

    bodies: tuple[Body, ...]
    slots: tuple[tuple[int, ...], ...] = ((), ())
    dropped: tuple[tuple[int, Reason], ...] = ()
    motion: tuple[int, ...] = ()


def _part(start: float, stop: float, *, earlier: int = 0) -> Body:
    """A body that is seen in this part of the recording, and so many frames before."""
    return Body(lambda frames: range(int(start * frames) - earlier, int(stop * frames)))


def _brief(start: float, count: int) -> Body:
    """A body that is seen in so many frames."""
    return Body(lambda frames: range(int(start * frames), int(start * frames) + count))


def _leaves(start: float, stop: float) -> Body:
    """A body that is gone for a part of the recording and comes back under its id."""
    return Body(lambda frames: [*range(int(start * frames)), *range(int(stop * frames), frames)])


ALONE = {
    "one body": Case((Body(),), ((0,), ())),
    "leaves and returns": Case((_leaves(0.3, 0.5),), ((0,), ())),
    "wide but alone": Case((Body(wide=1.0),), ((0,), ())),
}
NOISE = {
    "body of 11 frames": Case((Body(), _brief(0.3, 11)), ((0,), ()), ((1, "short"),)),
    "short body after the person left": Case(
        (_part(0, 0.6), _brief(0.65, 11)), ((0,), ()), ((1, "short"),)
    ),
    "wide body": Case((Body(wide=1.0), Body()), ((1,), ()), ((0, "spread"),)),
    "mostly wide body": Case((Body(), Body(wide=0.75)), ((0,), ()), ((1, "spread"),)),
    "two wide bodies": Case((Body(wide=1.0), Body(wide=1.0)), ((1,), ()), ((0, "spread"),)),
    "wide, and the other one short": Case(
        (Body(wide=1.0), _brief(0.4, 11)), ((0,), ()), ((1, "short"),)
    ),
    "no body": Case(()),
}
TOGETHER = {
    "two bodies": Case((Body(), Body()), ((0,), (1,))),
    "second moves more": Case((Body(), Body()), ((1,), (0,)), motion=(1, 0)),
    "body of 12 frames": Case((Body(), _brief(0.3, 12)), ((0,), (1,))),
    "main body comes later": Case((Body(), _part(0.2, 1)), ((1,), (0,)), motion=(1, 0)),
    "returns to company": Case((_leaves(0.3, 0.6), Body()), ((0,), (1,))),
    "partly wide": Case((Body(wide=0.3), Body()), ((1,), (0,)), motion=(1, 0)),
    "disjoint bodies": Case(
        (_part(0, 0.4), Body(), _part(0.5, 1)), ((0, 2), (1,)), motion=(0, 2, 1)
    ),
    "a frame written twice": Case(
        (_part(0, 0.4), Body(), _part(0.4, 1, earlier=1)), ((0, 2), (1,)), motion=(0, 2, 1)
    ),
    "two in slot 2": Case((Body(), _part(0, 0.4), _part(0.5, 1)), ((0,), (1, 2))),
    "slot 2 begins at 0": Case(
        (Body(), _part(0.1, 0.4), _part(0.5, 1)), ((0,), (2,)), ((1, "no_slot"),), motion=(0, 2, 1)
    ),
    "four bodies": Case(
        (_brief(0, 11), Body(), Body(), _part(0.1, 0.9)),
        ((1,), (3,)),
        ((0, "short"), (2, "no_slot")),
        motion=(1, 3, 2),
    ),
}
CASES = ALONE | NOISE | TOGETHER


def stage(case: Case, people: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames (n,) and joints (n, 25, 3) of the bodies of a case, made to fit it.

    Args:
        case: what is to happen.
        people: (T, 25, 3) each, metres, for as many bodies as the case has.
    """
    bodies = []
    for body, points in zip(case.bodies, people, strict=True):
        frames = np.array([*body.frames(len(points))])
        num_wide = round(body.wide * len(frames))
        bodies.append((frames, _with_spread(points[frames], num_wide), num_wide))
    unused = {k for k, reason in case.dropped if reason != "no_slot"}
    ranked = [k for k in case.motion or range(len(bodies)) if k not in unused]
    least = 0.0
    for k in reversed(ranked):  # who should move more than the next one walks to and fro
        _, joints, num_wide = bodies[k]
        valid = slice(num_wide % len(joints), None)  # all, where all are wide
        joints += _sway(joints, valid, least)
        least = motion(joints[valid]) + _MARGIN
    return [(frames, joints) for frames, joints, _ in bodies]


def motion(joints: np.ndarray) -> float:
    """The variances of x, y and z over all joints (n, 25, 3) and frames, summed."""
    return float(joints.reshape(-1, 3).var(axis=0).sum())


def _with_spread(joints: np.ndarray, num_wide: int) -> np.ndarray:
    """Stretched along x: the first frames to be wide, the others so that none is."""
    joints = joints.astype(np.float64)
    x, y = joints[..., 0], joints[..., 1]
    ratio = np.ptp(x, axis=1) / np.ptp(y, axis=1)
    wanted = np.where(np.arange(len(joints)) < num_wide, _WIDE, ratio.clip(max=_UPRIGHT))
    centre = x.mean(axis=1, keepdims=True)
    joints[..., 0] = centre + (x - centre) * (wanted / ratio)[:, None]
    return joints


def _sway(joints: np.ndarray, valid: slice, least: float) -> np.ndarray:
    """(n, 1, 3) metres along x that lift the motion of the valid frames to at least `least`."""
    missing = least - motion(joints[valid])
    step = np.zeros((len(joints), 1, 3))
    if missing <= 0:
        return step
    step[:, 0, 0] = np.sin(np.linspace(0, 2 * np.pi, len(joints)))
    along = np.broadcast_to(step[valid, :, 0], joints[valid, :, 0].shape).ravel()
    (_, covariance), (_, variance) = np.cov(joints[valid, :, 0].ravel(), along, bias=True)
    # The motion grows by 2 size covariance + size^2 variance.
    return step * (-covariance + np.sqrt(covariance**2 + variance * missing)) / variance
