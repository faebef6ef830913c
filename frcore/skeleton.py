"""The one place that knows a body: joints, bones, parts, and the graphs built on them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import index
from typing import Any

import numpy as np

from frcore.errors import UserError, unknown_name


@dataclass(frozen=True)
class Skeleton:
    """A body as a tree of joints. All indices are 0-based.

    Args:
        name: short name, e.g. "ntu25".
        joints: V joint names, in the order of the data's joint axis.
        bones: V - 1 pairs (child, parent) that make a tree; the joint that is no child is the root.
        center: joint that is subtracted when a clip is centred.
        parts: named groups of joints, for plots and explanations.
        left_right: pairs (left joint, right joint), for symmetric augmentation.

    Raises:
        UserError: if the bones are not a tree over the joints, or an index is out of range.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    center: int = 0
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    left_right: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        # Lists are as good as tuples to a user; equality needs one of them.
        object.__setattr__(self, "joints", tuple(str(j) for j in self.joints))
        object.__setattr__(self, "bones", _int_pairs(self.bones))
        object.__setattr__(self, "left_right", _int_pairs(self.left_right))
        parts = {str(k): tuple(index(j) for j in v) for k, v in self.parts.items()}
        object.__setattr__(self, "parts", parts)
        self._check()

    def _check(self) -> None:
        same = sorted({joint for joint in self.joints if self.joints.count(joint) > 1})
        if same:
            raise UserError(f"Skeleton '{self.name}' has several joints named {', '.join(same)}.")
        used = {j for pair in (*self.bones, *self.left_right) for j in pair}
        used |= {self.center, *(j for part in self.parts.values() for j in part)}
        outside = sorted(j for j in used if not 0 <= j < len(self.joints))
        if outside:
            raise UserError(
                f"Skeleton '{self.name}' has {len(self.joints)} joints; "
                f"indices {outside} are outside 0..{len(self.joints) - 1}. Indices are 0-based."
            )
        children = [child for child, _ in self.bones]
        twice = sorted({c for c in children if children.count(c) > 1})
        if twice or len(children) != len(self.joints) - 1:
            raise UserError(
                f"The bones of skeleton '{self.name}' must make a tree: {len(self.joints) - 1} "
                f"pairs (child, parent), each joint but the root a child once; got {len(children)} "
                "pairs" + (f", joints {twice} more than once." if twice else ".")
            )
        if (self.hop_distance < 0).any():
            raise UserError(f"The bones of skeleton '{self.name}' do not connect all joints.")

    @property
    def num_joints(self) -> int:
        """V."""
        return len(self.joints)

    @property
    def root(self) -> int:
        """The joint without a parent; its bone vector is zero in the bone stream."""
        return next(iter(set(range(self.num_joints)) - {child for child, _ in self.bones}))

    @property
    def lines(self) -> tuple[tuple[int, int], ...]:
        """Pairs of joints that are drawn as lines: the bones, and across shoulders and hips.

        The latter only in a body without joints in its trunk, whose shoulders a tree joins at the
        face. They are in no graph: models know `bones` alone.
        """
        if "trunk" in self.parts:
            return self.bones
        across = (
            (left, right)
            for left, right in self.left_right
            if self.joints[left].lower().endswith(("shoulder", "hip"))
        )
        return (*self.bones, *across)

    @cached_property
    def parents(self) -> np.ndarray:
        """(V,) int64: each joint's parent; the root is its own."""
        parents = np.arange(self.num_joints)
        for child, parent in self.bones:
            parents[child] = parent
        return parents

    @cached_property
    def hop_distance(self) -> np.ndarray:
        """(V, V) int64: bones between two joints; -1 where there is no path."""
        distance = np.where(np.eye(self.num_joints, dtype=bool), 0, -1)
        reached = frontier = np.eye(self.num_joints, dtype=bool)
        neighbour = np.zeros_like(reached)
        for child, parent in self.bones:
            neighbour[child, parent] = neighbour[parent, child] = True
        for hops in range(1, self.num_joints):
            frontier = (frontier @ neighbour) & ~reached
            distance[frontier] = hops
            reached = reached | frontier
        return distance

    def adjacency(self) -> np.ndarray:
        """(3, V, V) float32: identity, inward and outward graph, where CTR-GCN and AAGCN start.

        An edge i -> j sets A[j, i] = 1 (inward: child to parent; outward: parent to child); each
        column is divided by its sum, empty columns stay zero.
        """
        inward = np.zeros((self.num_joints, self.num_joints))
        for child, parent in self.bones:
            inward[parent, child] = 1
        stack = np.stack([np.eye(self.num_joints), inward, inward.T])
        return (stack / np.maximum(stack.sum(axis=1, keepdims=True), 1)).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values; `from_dict` is its inverse."""
        return {
            "name": self.name,
            "joints": list(self.joints),
            "bones": [list(pair) for pair in self.bones],
            "center": self.center,
            "parts": {k: list(v) for k, v in self.parts.items()},
            "left_right": [list(pair) for pair in self.left_right],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Skeleton":
        """A skeleton from `to_dict`'s values; checked like any other."""
        return cls(**fields)

    def __repr__(self) -> str:
        root = self.joints[self.root]
        return f"Skeleton('{self.name}', {self.num_joints} joints, root '{root}')"


def _int_pairs(pairs: Any) -> tuple[tuple[int, int], ...]:
    try:
        return tuple((index(a), index(b)) for a, b in pairs)
    except (TypeError, ValueError):
        raise UserError(f"Not pairs of joint indices, such as (child, parent): {pairs}.") from None


def get_skeleton(skeleton: "str | Skeleton") -> Skeleton:
    """The skeleton of that name ("ntu25", "ucla20", "coco17"), or the one given."""
    if isinstance(skeleton, Skeleton):
        return skeleton
    known = {s.name: s for s in (NTU25, UCLA20, COCO17)}
    if not isinstance(skeleton, str) or skeleton not in known:
        raise unknown_name("skeleton", skeleton, known)
    return known[skeleton]


def _zero_based(pairs: str) -> tuple[tuple[int, int], ...]:
    """Pairs written as in the papers, "child-parent" from 1, to 0-based indices."""
    split = (pair.split("-") for pair in pairs.split())
    return tuple((int(child) - 1, int(parent) - 1) for child, parent in split)


# Kinect v2, as NTU RGB+D numbers it (Shahroudy et al., CVPR 2016); root: spine shoulder.
NTU25 = Skeleton(
    name="ntu25",
    joints=(
        "spine base", "spine middle", "neck", "head",
        "left shoulder", "left elbow", "left wrist", "left hand",
        "right shoulder", "right elbow", "right wrist", "right hand",
        "left hip", "left knee", "left ankle", "left foot",
        "right hip", "right knee", "right ankle", "right foot",
        "spine shoulder", "left hand tip", "left thumb", "right hand tip", "right thumb",
    ),
    bones=_zero_based(
        "1-2 2-21 3-21 4-3 5-21 6-5 7-6 8-7 9-21 10-9 11-10 12-11 13-1 14-13 15-14 16-15"
        " 17-1 18-17 19-18 20-19 22-23 23-8 24-25 25-12"
    ),
    center=1,
    parts={
        "trunk": (0, 1, 2, 3, 20),
        "left arm": (4, 5, 6, 7, 21, 22),
        "right arm": (8, 9, 10, 11, 23, 24),
        "left leg": (12, 13, 14, 15),
        "right leg": (16, 17, 18, 19),
    },
    left_right=(
        (4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19),
        (21, 23), (22, 24),
    ),
)  # fmt: skip

# Kinect v1, as NW-UCLA numbers it (Wang et al., CVPR 2014).
UCLA20 = Skeleton(
    name="ucla20",
    joints=(
        "hip center", "spine", "shoulder center", "head",
        "left shoulder", "left elbow", "left wrist", "left hand",
        "right shoulder", "right elbow", "right wrist", "right hand",
        "left hip", "left knee", "left ankle", "left foot",
        "right hip", "right knee", "right ankle", "right foot",
    ),
    bones=_zero_based(
        "1-2 2-3 4-3 5-3 6-5 7-6 8-7 9-3 10-9 11-10 12-11 13-1 14-13 15-14 16-15"
        " 17-1 18-17 19-18 20-19"
    ),
    center=1,
    parts={
        "trunk": (0, 1, 2, 3),
        "left arm": (4, 5, 6, 7),
        "right arm": (8, 9, 10, 11),
        "left leg": (12, 13, 14, 15),
        "right leg": (16, 17, 18, 19),
    },
    left_right=((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19)),
)  # fmt: skip

# MS COCO keypoints, as 2-D pose estimators give them; root: nose.
COCO17 = Skeleton(
    name="coco17",
    joints=(
        "nose", "left eye", "right eye", "left ear", "right ear",
        "left shoulder", "right shoulder", "left elbow", "right elbow", "left wrist", "right wrist",
        "left hip", "right hip", "left knee", "right knee", "left ankle", "right ankle",
    ),
    bones=(
        (1, 0), (2, 0), (3, 1), (4, 2), (5, 0), (6, 0), (7, 5), (8, 6),
        (9, 7), (10, 8), (11, 5), (12, 6), (13, 11), (14, 12), (15, 13), (16, 14),
    ),
    center=0,
    parts={
        "head": (0, 1, 2, 3, 4),
        "left arm": (5, 7, 9),
        "right arm": (6, 8, 10),
        "left leg": (11, 13, 15),
        "right leg": (12, 14, 16),
    },
    left_right=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
)  # fmt: skip
