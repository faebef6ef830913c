"""Skeletons: graphs against recorded ones, distances by hand, and what is not a tree."""

import dataclasses
import json

import numpy as np
import pytest

from frcore.errors import UserError
from frcore.skeleton import COCO17, NTU25, UCLA20, Skeleton, get_skeleton

ALL = (NTU25, UCLA20, COCO17)
#     0 - 1 - 2
#         |
#         3 - 4
SMALL = Skeleton("small", ("a", "b", "c", "d", "e"), bones=((0, 1), (2, 1), (3, 1), (4, 3)))


@pytest.mark.parametrize(
    ("skeleton", "key"), [(NTU25, "spatial_ntu"), (UCLA20, "spatial_ucla")], ids=["ntu", "ucla"]
)
def test_adjacency_equals_the_recorded_graphs(skeleton, key, golden):
    recorded = np.load(golden / "initial_adjacency.npz")[key]
    ours = skeleton.adjacency()
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, recorded, rtol=1e-6)


def test_adjacency_of_a_small_tree_by_hand():
    identity, inward, outward = SMALL.adjacency()
    np.testing.assert_array_equal(identity, np.eye(5))
    expected = np.zeros((5, 5))
    expected[1, [0, 2, 3]] = expected[3, 4] = 1  # row: parent, column: child
    np.testing.assert_array_equal(inward, expected)
    expected = np.zeros((5, 5))
    expected[[0, 2, 3], 1] = 1 / 3  # joint b has three children
    expected[4, 3] = 1
    np.testing.assert_allclose(outward, expected, rtol=1e-6)


def test_ntu_graph_has_the_published_counts_and_values():
    stack = NTU25.adjacency()
    assert [np.count_nonzero(graph) for graph in stack] == [25, 24, 24]
    assert set(np.unique(stack[2])) == {0, 0.25, 0.5, 1}


def test_hop_distances_by_hand():
    expected = [
        [0, 1, 2, 2, 3],
        [1, 0, 1, 1, 2],
        [2, 1, 0, 2, 3],
        [2, 1, 2, 0, 1],
        [3, 2, 3, 1, 0],
    ]
    np.testing.assert_array_equal(SMALL.hop_distance, expected)


def test_parents_and_root_by_hand():
    assert SMALL.root == 1
    assert SMALL.num_joints == 5
    assert SMALL.parents.tolist() == [1, 1, 1, 1, 3]  # the root is its own
    assert SMALL.parents.dtype == np.int64


@pytest.mark.parametrize("skeleton", ALL, ids=lambda s: s.name)
def test_known_bodies_are_sane(skeleton):
    v = skeleton.num_joints
    assert v == len(skeleton.joints) == len(set(skeleton.joints)) == len(skeleton.bones) + 1
    assert skeleton.hop_distance.min() == 0
    np.testing.assert_array_equal(skeleton.hop_distance, skeleton.hop_distance.T)
    grouped = sorted(joint for part in skeleton.parts.values() for joint in part)
    assert grouped == list(range(v))  # every joint in one part


@pytest.mark.parametrize("skeleton", ALL, ids=lambda s: s.name)
def test_left_and_right_mirror_each_other(skeleton):
    names, mirror = skeleton.joints, np.arange(skeleton.num_joints)
    for left, right in skeleton.left_right:
        assert names[left].startswith("left ")
        assert names[left].replace("left", "right") == names[right]
        mirror[[left, right]] = right, left
    sided = sum(name.startswith(("left ", "right ")) for name in names)
    assert sided == 2 * len(skeleton.left_right)
    # A mirrored body has the same bones.
    np.testing.assert_array_equal(mirror[skeleton.parents], skeleton.parents[mirror])
    for name, joints in skeleton.parts.items():
        twin = name.replace("left", "right") if "left" in name else name.replace("right", "left")
        assert set(mirror[list(joints)]) == set(skeleton.parts[twin])


def test_known_bodies_have_the_roots_and_centres_of_their_benchmarks():
    assert NTU25.joints[NTU25.root] == "spine shoulder"  # joint 21 of the papers
    assert UCLA20.joints[UCLA20.root] == "shoulder center"
    assert COCO17.joints[COCO17.root] == "nose"
    assert NTU25.joints[NTU25.center] == "spine middle"
    assert UCLA20.joints[UCLA20.center] == "spine"


@pytest.mark.parametrize("skeleton", [*ALL, SMALL], ids=lambda s: s.name)
def test_a_skeleton_survives_json(skeleton):
    again = Skeleton.from_dict(json.loads(json.dumps(skeleton.to_dict())))
    assert again == skeleton
    assert again.bones == skeleton.bones  # tuples again, not lists


def test_a_body_without_a_trunk_has_lines_across_that_are_in_no_graph():
    assert COCO17.lines == (*COCO17.bones, (5, 6), (11, 12))
    for body in (NTU25, UCLA20, SMALL):
        assert body.lines == body.bones
    assert not COCO17.adjacency()[:, [5, 11], [6, 12]].any()
    # Nothing of it is stored: fingerprints stay, and bodies stored before have the lines, too.
    assert set(COCO17.to_dict()) == {field.name for field in dataclasses.fields(Skeleton)}
    assert Skeleton.from_dict(COCO17.to_dict()).lines == COCO17.lines


def test_lists_are_as_good_as_tuples():
    listed = Skeleton("small", list("abcde"), bones=[[0, 1], [2, 1], [3, 1], [4, 3]])
    assert listed == SMALL


def test_a_skeleton_introduces_itself():
    assert repr(SMALL) == "Skeleton('small', 5 joints, root 'b')"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bones": [(1, 0), (2, 1), (0, 2)]}, "must make a tree: 2 pairs .* got 3 pairs"),
        ({"bones": [(1, 0), (1, 2)]}, r"joints \[1\] more than once"),  # two parents
        ({"bones": [(1, 0)]}, "got 1 pairs"),
        ({"bones": [(1, 2), (2, 1)]}, "do not connect all joints"),  # a circle beside joint 0
        ({"bones": [(1, 0), (2, 2)]}, "do not connect all joints"),
        ({"bones": [(1, 0), (3, 1)]}, r"has 3 joints; indices \[3\] are outside 0..2.*0-based"),
        ({"bones": [(1, 0), (2, -1)]}, r"indices \[-1\] are outside"),
        ({"center": 3}, r"indices \[3\]"),
        ({"parts": {"arm": (0, 7)}}, r"indices \[7\]"),
        ({"left_right": [(1, 9)]}, r"indices \[9\]"),
        ({"bones": [(1, 0, 2), (2, 1)]}, "Not pairs of joint indices"),
        ({"bones": [("b", "a"), ("c", "a")]}, "Not pairs of joint indices"),
        ({"bones": [(1, 0.5), (2, 1)]}, "Not pairs of joint indices"),
        ({"joints": (), "bones": ()}, "has 0 joints"),
    ],
)
def test_what_is_no_tree_is_refused(change, message):
    fields = {"joints": ("a", "b", "c"), "bones": [(1, 0), (2, 1)]} | change
    with pytest.raises(UserError, match=message) as error:
        Skeleton("odd", **fields)
    assert "odd" in str(error.value) or "pairs" in str(error.value)


def test_one_joint_is_a_tree():
    point = Skeleton("point", ("p",), bones=())
    assert point.root == 0
    np.testing.assert_array_equal(point.adjacency(), [[[1]], [[0]], [[0]]])


def test_skeletons_are_found_by_name_or_passed_through():
    assert [get_skeleton(s.name) for s in ALL] == list(ALL)
    assert get_skeleton(SMALL) is SMALL
    with pytest.raises(UserError, match="Unknown skeleton 'coco'. Did you mean 'coco17'.*ucla20"):
        get_skeleton("coco")
    with pytest.raises(UserError, match=r"Unknown skeleton '\[25\]'.*Available: ntu25"):
        get_skeleton([25])


def test_joints_of_one_name_are_refused():
    with pytest.raises(UserError, match="several joints named a"):
        Skeleton("pair", ("a", "a"), ((1, 0),))
