"""What people do in the synthetic benchmark: body motions, and small cues that tell actions apart.

All actions of one `BodyMotion` move the body in the same way, drawn from the same distribution;
only a `Cue` is added, in the hands, the head or a few frames. Right-handed; angles in degrees, by
degree of freedom (`kinematics.DOFS`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from frcore.data.kinematics import DOFS, minimum_jerk, pose


@dataclass(frozen=True)
class Cue:
    """What an action adds to its group's body motion; degrees by degree of freedom."""

    hold: Mapping[str, float] = field(default_factory=dict)  # all the time that the cue shows
    shake: Mapping[str, float] = field(default_factory=dict)  # back and forth; sign = phase
    hertz: float = 3.0  # of the shake
    pulse: Mapping[str, float] = field(default_factory=dict)  # once, for `PULSE` seconds


@dataclass(frozen=True)
class Motion:
    """One person's movement: T frames.

    Args:
        base: (D,) the pose it starts from.
        movement: (T, D) what the body does on top of it; scaled by a person's amplitude.
        window: (T,) 0..1, where in time a cue shows.
        rise: (T,) metres that the lower foot is above the floor.
    """

    base: np.ndarray
    movement: np.ndarray
    window: np.ndarray
    rise: np.ndarray


@dataclass(frozen=True)
class BodyMotion:
    """A group of actions that differ in a cue only; a single action has no look-alike.

    Args:
        draw: (random generator, (T,) seconds) -> the movement of person 1.
        actions: action name -> cue.
        partner: the same for person 2, with person 1's random numbers; None: nobody is there.
        apart: metres between the two people.
    """

    draw: Callable[[np.random.Generator, np.ndarray], Motion]
    actions: Mapping[str, Cue]
    partner: Callable[[np.random.Generator, np.ndarray], Motion] | None = None
    apart: float = 0.0


PULSE = 0.35  # seconds

_STANDING = pose(
    {"both plane": 70, "both elevation": 8, "both rotation": 10, "both elbow": 10, "both curl": 20}
    | {"both hip abduction": 3, "both knee": 3, "both hip flexion": 2}
)
_SITTING = pose(
    {"both hip flexion": 84, "both knee": 84, "both hip abduction": 6, "lumbar pitch": 10}
    | {"chest pitch": 8, "neck pitch": 22, "both elevation": 34, "both plane": 12}
    | {"both rotation": 26, "both elbow": 65, "both pronation": 55, "both curl": 25}
)


def _from_standing(angles: dict[str, float]) -> np.ndarray:
    """(D,) degrees from standing to a pose in which the named joints have these angles."""
    named = pose(dict.fromkeys(angles, 1.0))
    return named * (pose(angles) - _STANDING)


_HAND_AT_MOUTH = _from_standing(
    {"right elevation": 74, "right plane": 12, "right rotation": 38, "right elbow": 131}
    | {"right pronation": 10, "right curl": 40, "neck pitch": 6, "lumbar pitch": 3}
)
_HAND_SHOWN = _from_standing(
    {"right elevation": 42, "right plane": 22, "right rotation": 2, "right elbow": 88}
    | {"right pronation": 20, "right curl": 35, "neck pitch": 3}
)
_CROUCH = _from_standing(
    {"both hip flexion": 66, "both knee": 92, "both ankle": -26, "lumbar pitch": 22}
    | {"neck pitch": -12, "both plane": 0, "both elevation": -30, "both elbow": 20}
)
_FLIGHT = _from_standing(
    {"both hip flexion": 10, "both knee": 13, "both ankle": 34, "lumbar pitch": 3}
    | {"both plane": 20, "both elevation": 70, "both elbow": 45}
)
_ARMS_RAISED = _from_standing(
    {"both plane": 60, "both elevation": 150, "both elbow": 35, "neck pitch": -8, "both curl": 50}
)
_LEG_BACK = _from_standing({"right hip flexion": -18, "right knee": 65, "left elevation": 25})
_LEG_KICKS = _from_standing(
    {"right hip flexion": 70, "right knee": 15, "right ankle": 22, "left knee": 10}
    | {"lumbar pitch": -8, "both elevation": 35}
)
_HANDSHAKE = _from_standing(
    {"right elevation": 38, "right plane": -6, "right rotation": 22, "right elbow": 48}
    | {"lumbar pitch": 8}
)
_HANDS_BACK = _from_standing(
    {"both elevation": 22, "both plane": 30, "both elbow": 105, "both pronation": 60}
    | {"lumbar pitch": -4}
)
_HANDS_PUSH = _from_standing(
    {"both elevation": 84, "both plane": 4, "both elbow": 12, "both pronation": 70}
    | {"both wrist flexion": -45, "lumbar pitch": 16, "left hip flexion": 16, "left knee": 15}
)
_PUSHED = _from_standing(
    {"pelvis pitch": -10, "lumbar pitch": -14, "neck pitch": 12, "both plane": 40}
    | {"both elevation": 42, "both elbow": 45, "right hip flexion": -16, "right knee": 18}
)
_HANDS = pose(
    {
        "both wrist flexion": 1,
        "both wrist deviation": 1,
        "both pronation": 1,
        "both curl": 1,
        "both thumb": 1,
    }
)
_RIGHT_ARM = pose(
    {
        "right elevation": 1,
        "right plane": 1,
        "right rotation": 1,
        "right elbow": 1,
        "right pronation": 1,
    }
)


def cue_angles(
    cue: Cue, rng: np.random.Generator, time: np.ndarray, window: np.ndarray
) -> np.ndarray:
    """(T, D) degrees that a cue adds; clips differ in its strength, tempo, phase and moment."""
    strength, tempo = np.exp(rng.normal(0.0, (0.35, 0.15)))
    phase, moment = rng.uniform(0.0, 1.0, 2)
    swing = np.sin(2 * np.pi * (cue.hertz * tempo * time + phase))
    shown = time[window > 0.5]
    start = shown[0] + moment * max(shown[-1] - shown[0] - PULSE, 0.0)
    pulse = bump(time, start, start + PULSE)
    steady = window[:, None] * pose(cue.hold)
    return strength * (
        steady + np.outer(window * swing, pose(cue.shake)) + np.outer(pulse, pose(cue.pulse))
    )


def bump(time: np.ndarray, start: float, end: float) -> np.ndarray:
    """(T,) up from 0 to 1 and back, between two moments."""
    middle = (start + end) / 2
    return minimum_jerk(time, start, middle) - minimum_jerk(time, middle, end)


def wander(rng: np.random.Generator, time: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """(T, D) slow random drift: a constant and two sines; `degrees` is each column's spread."""
    hertz, phase = (
        rng.uniform(0.1, 0.7, (2, len(degrees))),
        rng.uniform(0, 2 * np.pi, (2, len(degrees))),
    )
    waves = np.sin(2 * np.pi * hertz * time[:, None, None] + phase).sum(axis=1)
    return degrees * (0.8 * rng.normal(size=len(degrees)) + 0.6 * waves)


def _fidget(rng: np.random.Generator, time: np.ndarray, degrees: float) -> np.ndarray:
    """(T, D) idle movement of the hands, as fast as the cues are."""
    size = np.abs(rng.normal(0.0, degrees, len(DOFS))) * _HANDS
    hertz, phase = rng.uniform(1.0, 4.0, len(DOFS)), rng.uniform(0.0, 1.0, len(DOFS))
    return size * np.sin(2 * np.pi * (hertz * time[:, None] + phase))


def _share(time: np.ndarray) -> np.ndarray:
    """(T,) time as a share of the clip, 0..1."""
    return time / time[-1]


def _at_desk(rng: np.random.Generator, time: np.ndarray) -> Motion:
    u, start = _share(time), rng.uniform(0.0, 0.6)
    reach = bump(u, start, start + rng.uniform(0.3, 0.6)) * abs(rng.normal(0.0, 1.0))
    target = pose({"right plane": 10, "right elbow": -10, "neck yaw": -6, "lumbar pitch": 3})
    movement = np.outer(reach, target) + _fidget(rng, time, 5.0)
    return Motion(_SITTING, movement, np.ones_like(u), np.zeros_like(u))


def _hand_to_face(rng: np.random.Generator, time: np.ndarray) -> Motion:
    u, up, down = _share(time), rng.uniform(0.02, 0.15), rng.uniform(0.72, 0.85)
    there = up + rng.uniform(0.18, 0.28)
    lift = minimum_jerk(u, up, there) - rng.uniform(0, 1) * minimum_jerk(u, down, down + 0.25)
    target = _HAND_AT_MOUTH + rng.normal(0.0, 5.0, len(DOFS)) * _RIGHT_ARM
    window = minimum_jerk(u, there - 0.08, there + 0.04) - minimum_jerk(u, down - 0.04, down + 0.08)
    return Motion(
        _STANDING, np.outer(lift, target) + _fidget(rng, time, 4.0), window, np.zeros_like(u)
    )


def _show_hand(rng: np.random.Generator, time: np.ndarray) -> Motion:
    u, up, down = _share(time), rng.uniform(0.02, 0.2), rng.uniform(0.7, 0.85)
    there = up + rng.uniform(0.15, 0.28)
    lift = minimum_jerk(u, up, there) - rng.uniform(0, 1) * minimum_jerk(u, down, down + 0.25)
    target = _HAND_SHOWN + rng.normal(0.0, 7.0, len(DOFS)) * _RIGHT_ARM
    window = minimum_jerk(u, there - 0.08, there + 0.04) - minimum_jerk(u, down - 0.04, down + 0.08)
    return Motion(
        _STANDING, np.outer(lift, target) + _fidget(rng, time, 6.0), window, np.zeros_like(u)
    )


def _jump(rng: np.random.Generator, time: np.ndarray) -> Motion:
    height, crouch = rng.uniform(0.12, 0.30), rng.uniform(0.35, 0.55)  # metres, seconds
    flight = 2 * np.sqrt(2 * height / 9.81)
    start = rng.uniform(0.05, 0.3)
    off = start + crouch
    land = off + flight
    depth = rng.uniform(0.6, 1.1)
    down = bump(time, start, off) * depth + bump(time, land - 0.05, land + 0.5) * depth * 0.7
    air = minimum_jerk(time, off - 0.12, off + 0.05) - minimum_jerk(time, land - 0.08, land + 0.1)
    window = minimum_jerk(time, off, off + flight / 2) - minimum_jerk(time, off + flight / 2, land)
    rise = (9.81 / 2 * (time - off) * (land - time)).clip(0)
    movement = np.outer(down, _CROUCH) + np.outer(air, _FLIGHT)
    return Motion(_STANDING, movement, window, rise)


def _cheer(rng: np.random.Generator, time: np.ndarray) -> Motion:
    u, up = _share(time), rng.uniform(0.02, 0.2)
    shake = np.sin(2 * np.pi * (rng.uniform(1.2, 2.2) * time + rng.uniform()))
    lift = minimum_jerk(u, up, up + rng.uniform(0.2, 0.3))
    movement = np.outer(lift, _ARMS_RAISED) + np.outer(lift * shake, pose({"both elbow": 22}))
    return Motion(_STANDING, movement, lift, np.zeros_like(u))


def _kick(rng: np.random.Generator, time: np.ndarray) -> Motion:
    u, start = _share(time), rng.uniform(0.05, 0.35)
    hit = start + rng.uniform(0.28, 0.36)
    back = bump(u, start, hit)
    leg = bump(u, hit - 0.14, hit + 0.22)
    movement = np.outer(back, _LEG_BACK) + np.outer(leg, _LEG_KICKS)
    return Motion(_STANDING, movement, leg, np.zeros_like(u))


def _shake_hands(rng: np.random.Generator, time: np.ndarray) -> Motion:
    u, up, down = _share(time), rng.uniform(0.02, 0.15), rng.uniform(0.75, 0.9)
    there = up + rng.uniform(0.18, 0.25)
    lift = minimum_jerk(u, up, there) - rng.uniform(0.3, 1) * minimum_jerk(u, down, down + 0.2)
    window = minimum_jerk(u, there - 0.03, there + 0.05) - minimum_jerk(u, down - 0.05, down)
    pump = window * np.sin(2 * np.pi * (rng.uniform(1.5, 2.5) * time + rng.uniform()))
    movement = np.outer(lift, _HANDSHAKE) + np.outer(
        pump, pose({"right elbow": 9, "right elevation": 3})
    )
    return Motion(_STANDING, movement, window, np.zeros_like(u))


def _push_timing(rng: np.random.Generator) -> tuple[float, float]:
    start = rng.uniform(0.02, 0.25)
    return start, start + rng.uniform(0.28, 0.36)


def _push(rng: np.random.Generator, time: np.ndarray) -> Motion:
    u, (start, hit) = _share(time), _push_timing(rng)
    draw, out = bump(u, start, hit), bump(u, hit - 0.15, hit + 0.3)
    return Motion(
        _STANDING, np.outer(draw, _HANDS_BACK) + np.outer(out, _HANDS_PUSH), out, np.zeros_like(u)
    )


def _be_pushed(rng: np.random.Generator, time: np.ndarray) -> Motion:
    u, (_, hit) = _share(time), _push_timing(rng)
    fall = minimum_jerk(u, hit, hit + 0.16) - 0.8 * minimum_jerk(u, hit + 0.2, hit + 0.5)
    return Motion(_STANDING, np.outer(fall, _PUSHED), fall, np.zeros_like(u))


# The cues' sizes make a plain classifier err mostly inside the groups; `cue_size` scales them all.
BODY_MOTIONS = (
    BodyMotion(
        _at_desk,
        {
            "writing": Cue(
                hold={"right pronation": -25, "right curl": 22},
                shake={"right wrist flexion": 17, "right wrist deviation": 12},
            ),
            "reading": Cue(
                hold={"both pronation": -35, "both elbow": 8},
                pulse={"right pronation": -60, "right rotation": 22},
            ),
            "typing on a keyboard": Cue(
                hold={"both pronation": 18, "both wrist deviation": -8},
                shake={"right curl": 28, "left curl": -28, "left wrist deviation": 8},
                hertz=3.6,
            ),
            "playing with phone": Cue(
                hold={"both elbow": 14, "neck pitch": 9, "both pronation": -14},
                shake={"right thumb": 30},
                hertz=2.2,
            ),
        },
    ),
    BodyMotion(
        _hand_to_face,
        {
            "drink water": Cue(hold={"neck pitch": -26, "right wrist deviation": 30}),
            "eat snack": Cue(
                pulse={"right wrist flexion": 60, "right elbow": -32, "neck pitch": 18}
            ),
            "brush teeth": Cue(shake={"right elbow": 10, "right wrist deviation": 22}, hertz=3.2),
            "phone call": Cue(
                hold={"neck roll": -16, "right rotation": -24, "right pronation": -30}
            ),
        },
    ),
    BodyMotion(
        _show_hand,
        {
            "thumb up": Cue(hold={"right pronation": -32, "right wrist deviation": 22}),
            "thumb down": Cue(hold={"right pronation": 52, "right wrist deviation": -32}),
            "make ok sign": Cue(
                hold={"right thumb": 60, "right wrist flexion": -42, "right curl": -20}
            ),
        },
    ),
    BodyMotion(
        _jump,
        {
            "jump up": Cue(hold={"both elevation": 24}),
            "one foot jumping": Cue(hold={"right knee": 44, "right hip flexion": 24}),
            "butt kicks": Cue(hold={"both knee": 34}),
        },
    ),
    BodyMotion(_cheer, {"cheer up": Cue()}),
    BodyMotion(_kick, {"kicking something": Cue()}),
    BodyMotion(_shake_hands, {"shaking hands": Cue()}, partner=_shake_hands, apart=0.88),
    BodyMotion(_push, {"pushing other person": Cue()}, partner=_be_pushed, apart=0.8),
)
