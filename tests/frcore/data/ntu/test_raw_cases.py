"""Bodies are made to fit a case, whoever they are."""

import numpy as np
import pytest

from frcore.data.ntu.raw_cases import CASES, motion, stage

FIELD_LIMIT = 0.8  # x-range over y-range


def crowd(count: int, *, width: float = 0.3) -> list[np.ndarray]:
    """Still people of equal motion, all over each other."""
    person = np.random.default_rng(0).uniform(-1, 1, (25, 3)) * (width, 0.9, 0.1) + (0, 0, 3)
    return [np.repeat(person[None], 60, axis=0) for _ in range(count)]


def ratio(joints: np.ndarray) -> np.ndarray:
    return np.ptp(joints[..., 0], axis=1) / np.ptp(joints[..., 1], axis=1)


@pytest.mark.parametrize("width", [0.1, 0.3, 3.0])
@pytest.mark.parametrize("case", [name for name, case in CASES.items() if case.bodies])
def test_bodies_are_wide_when_the_case_says_so_and_never_else(case, width):
    case = CASES[case]
    for body, (frames, joints) in zip(
        case.bodies, stage(case, crowd(len(case.bodies), width=width)), strict=True
    ):
        assert frames.tolist() == list(body.frames(60)) and joints.shape == (len(frames), 25, 3)
        num_wide = round(body.wide * len(frames))
        assert (ratio(joints[:num_wide]) > 1.5 * FIELD_LIMIT).all()
        assert (ratio(joints[num_wide:]) < 0.9 * FIELD_LIMIT).all()


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if len(case.bodies) > 1])
def test_who_has_to_move_more_does_by_far(case):
    case = CASES[case]
    unused = {k for k, reason in case.dropped if reason != "no_slot"}
    ranked = [k for k in case.motion or range(len(case.bodies)) if k not in unused]
    bodies = stage(case, crowd(len(case.bodies)))
    valid = [joints[ratio(joints) < FIELD_LIMIT] for _, joints in bodies]
    motions = [motion(valid[k]) for k in ranked if len(valid[k])]
    assert all(more >= less + 0.149 for more, less in zip(motions, motions[1:], strict=False))


def test_partly_wide_body_moves_most_unless_its_wide_frames_are_left_out():
    (_, first), (_, second) = stage(CASES["partly wide"], crowd(2))
    assert motion(first) > motion(second) + 0.2
    assert motion(first[18:]) < motion(second) - 0.1


def test_motion_is_the_sum_of_the_variances_over_joints_and_frames():
    joints = np.zeros((2, 25, 3))
    joints[1] = 1, 2, -4  # variances 1/4, 1, 4
    assert motion(joints) == pytest.approx(5.25)
