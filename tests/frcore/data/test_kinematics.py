"""The body: proportions, the directions in which joints bend, rigid bones, feet on the floor."""

import numpy as np
import pytest

from frcore.data.kinematics import (
    DOFS,
    KINEMATIC_PARENTS,
    SOLE,
    draw_bones,
    floor_shift,
    forward_kinematics,
    minimum_jerk,
    mirror,
    pose,
    rotation,
)
from frcore.skeleton import NTU25

J = {name: index for index, name in enumerate(NTU25.joints)}


@pytest.fixture(scope="module")
def bones() -> np.ndarray:
    return draw_bones(np.random.default_rng(0), height=1.70)


def stand(bones: np.ndarray, angles: dict[str, float]) -> np.ndarray:
    """(V, 3) one pose, feet on the floor."""
    points = forward_kinematics(bones, pose(angles)[None])
    return (points + floor_shift(points)[:, None])[0]


def test_rotations_turn_by_the_right_hand_rule():
    x, y, z = np.eye(3)
    np.testing.assert_allclose(rotation(0, 90.0) @ y, z, atol=1e-12)
    np.testing.assert_allclose(rotation(1, 90.0) @ z, x, atol=1e-12)
    np.testing.assert_allclose(rotation(2, 90.0) @ x, y, atol=1e-12)
    assert rotation(0, np.zeros((4, 2))).shape == (4, 2, 3, 3)


def test_standing_body_has_human_proportions(bones):
    body = stand(bones, {})
    height = body[:, 1] / 1.70
    assert 0.88 < height[J["head"]] < 0.98
    assert 0.75 < height[J["left shoulder"]] < 0.88
    assert 0.46 < height[J["left hip"]] < 0.58
    assert 0.24 < height[J["left knee"]] < 0.33
    assert 0.33 < height[J["left hand tip"]] < 0.46  # hanging arms end at mid-thigh
    assert body[:, 1].min() == pytest.approx(SOLE)
    assert body[J["left foot"], 2] > body[J["left ankle"], 2]  # toes forward
    assert body[J["left shoulder"], 0] > 0 > body[J["right shoulder"], 0]
    assert 0.25 < np.linalg.norm(body[J["left shoulder"]] - body[J["right shoulder"]]) < 0.42


def test_joints_bend_the_right_way(bones):
    rest = stand(bones, {})

    bent = stand(bones, {"both elbow": 90})
    forearm = bent[J["left wrist"]] - bent[J["left elbow"]]
    np.testing.assert_allclose(forearm / np.linalg.norm(forearm), [0, 0, 1], atol=1e-9)

    knee = stand(bones, {"right knee": 90})
    shank = knee[J["right ankle"]] - knee[J["right knee"]]
    np.testing.assert_allclose(shank / np.linalg.norm(shank), [0, 0, -1], atol=1e-9)

    raised = stand(bones, {"both elevation": 90, "left plane": 90})
    left = raised[J["left elbow"]] - raised[J["left shoulder"]]
    right = raised[J["right elbow"]] - raised[J["right shoulder"]]
    np.testing.assert_allclose(left / np.linalg.norm(left), [1, 0, 0], atol=1e-9)  # sideways
    np.testing.assert_allclose(right / np.linalg.norm(right), [0, 0, 1], atol=1e-9)  # forward

    nod = stand(bones, {"neck pitch": 30, "lumbar pitch": 20})
    assert nod[J["head"], 2] > rest[J["head"], 2] + 0.1
    hip = stand(bones, {"left hip flexion": 60})
    assert hip[J["left knee"], 2] > hip[J["left hip"], 2] + 0.2


def test_elbows_and_knees_do_not_bend_backwards(bones):
    angles = {"both elbow": -40, "both knee": -40}
    np.testing.assert_array_equal(stand(bones, angles), stand(bones, {}))


def test_pronation_turns_the_thumb_from_up_to_inwards(bones):
    def thumb(degrees: float) -> np.ndarray:
        body = stand(bones, {"both elbow": 90, "both pronation": degrees})
        return body[J["left thumb"]] - body[J["left hand"]]

    assert thumb(0)[1] > 0.02
    assert abs(thumb(90)[1]) < 1e-9
    assert thumb(90)[0] < -0.02  # of the left hand: to the right


def test_right_side_mirrors_the_left(bones):
    values = np.random.default_rng(1).uniform(0, 60, len(DOFS))
    left = dict(zip(DOFS, values, strict=True))
    left = {n: v for n, v in left.items() if n.startswith("left")}
    right = {n.replace("left", "right"): v for n, v in left.items()}
    np.testing.assert_allclose(
        forward_kinematics(bones, pose(right)[None]),
        mirror(forward_kinematics(bones, pose(left)[None])),
        atol=1e-12,
    )


def test_mirror_is_its_own_inverse(bones):
    points = np.random.default_rng(2).normal(size=(3, NTU25.num_joints, 3))
    np.testing.assert_array_equal(mirror(mirror(points)), points)
    assert mirror(points)[0, J["left wrist"], 0] == -points[0, J["right wrist"], 0]


def test_bones_keep_their_lengths_in_any_pose(bones):
    angles = np.random.default_rng(3).uniform(-80, 80, (50, len(DOFS)))
    points = forward_kinematics(bones, angles)
    lengths = np.linalg.norm(points - points[:, KINEMATIC_PARENTS], axis=-1)
    expected = np.linalg.norm(bones, axis=-1)
    np.testing.assert_allclose(lengths, np.broadcast_to(expected, lengths.shape), atol=1e-12)


def test_people_differ_in_height_and_in_proportions():
    small, tall = (draw_bones(np.random.default_rng(0), height=h) for h in (1.5, 1.8))
    np.testing.assert_allclose(tall, small * 1.2)
    other = draw_bones(np.random.default_rng(1), height=1.5)
    ratio = np.linalg.norm(other[1:], axis=1) / np.linalg.norm(small[1:], axis=1)
    assert ratio.std() > 0.01
    np.testing.assert_allclose(other, mirror(other))


def test_standing_foot_stays_where_it_is(bones):
    kick = minimum_jerk(np.arange(30), 3, 20)[:, None] * pose({"right hip flexion": 70})
    bow = minimum_jerk(np.arange(30), 3, 20)[:, None] * pose({"pelvis pitch": 20})
    points = forward_kinematics(bones, kick + bow)
    placed = points + floor_shift(points)[:, None]
    ankle = placed[:, J["left ankle"]]
    # Until the kicking foot has left the floor, both feet share the weight.
    assert np.ptp(ankle[12:], axis=0)[[0, 2]].max() < 0.02
    np.testing.assert_allclose(placed[..., 1].min(axis=1), SOLE)


def test_minimum_jerk_starts_and_ends_at_rest():
    time = np.linspace(0, 3, 301)
    path = minimum_jerk(time, 1.0, 2.0)
    assert (path[time <= 1] == 0).all()
    np.testing.assert_allclose(path[time >= 2], 1.0)
    assert path[150] == pytest.approx(0.5)
    assert path[101] < 1e-4  # hardly moves in the first hundredth
    assert np.gradient(path, time).max() == pytest.approx(1.875, abs=0.01)  # 30/16 of the mean


def test_pose_names_one_side_or_both():
    both = pose({"both elbow": 30, "neck yaw": 5})
    assert both[DOFS.index("left elbow")] == both[DOFS.index("right elbow")] == 30
    assert both[DOFS.index("neck yaw")] == 5
    assert np.count_nonzero(both) == 3
    with pytest.raises(ValueError, match="right tail"):
        pose({"right tail": 1.0})
