"""A human body as a tree of rotations: joint angles in, NTU25 joint positions out.

Body frame: x to the subject's left, y up, z forward; metres. Bone lengths follow Drillis and
Contini's fractions of the body height, with Kinect v2's joint positions (its "spine base" lies
above the hips, its "hand" in the palm).
"""

import numpy as np

from frcore.errors import unknown_name
from frcore.skeleton import NTU25

_J = {name: index for index, name in enumerate(NTU25.joints)}
FEET = ((_J["left ankle"], _J["left foot"]), (_J["right ankle"], _J["right foot"]))
SOLE = 0.02  # metres between the floor and the lowest foot joint

# NTU25's tree, from the spine base up; hand tips grow from palms (NTU25 joins them to thumbs).
KINEMATIC_PARENTS = NTU25.parents.copy()
for _child, _parent in (
    ("spine base", "spine base"),
    ("spine middle", "spine base"),
    ("spine shoulder", "spine middle"),
    ("left hand tip", "left hand"),
    ("right hand tip", "right hand"),
):
    KINEMATIC_PARENTS[_J[_child]] = _J[_parent]
KINEMATIC_PARENTS.flags.writeable = False

# Joint minus parent; standing, arms hanging, thumbs forward. Fractions of the body height.
_REST = {
    "spine middle": (0, 0.165, 0),
    "spine shoulder": (0, 0.125, 0),
    "neck": (0, 0.045, 0),
    "head": (0, 0.062, 0.004),
    "shoulder": (0.098, -0.022, 0),
    "elbow": (0, -0.172, 0),
    "wrist": (0, -0.150, 0),
    "hand": (0, -0.045, 0),
    "hand tip": (0, -0.050, 0),
    "thumb": (0, -0.022, 0.032),
    "hip": (0.050, -0.022, 0),
    "knee": (0, -0.245, 0),
    "ankle": (0, -0.246, 0),
    "foot": (0, -0.024, 0.070),
}
# Bones that vary together from person to person.
_PROPORTIONS = {
    "trunk": ("spine middle", "spine shoulder", "neck", "head"),
    "shoulders": ("shoulder",),
    "arms": ("elbow", "wrist"),
    "hands": ("hand", "hand tip", "thumb"),
    "hips": ("hip",),
    "legs": ("knee", "ankle", "foot"),
}

# A degree of freedom turns the bone that ends in a joint about an axis of the parent bone's frame.
# Degrees; positive is forward (pitch), to the left (yaw, roll), flexion, inward rotation.
_TRUNK_DOFS = {
    "pelvis pitch": ("spine base", 0, 1),
    "pelvis yaw": ("spine base", 1, 1),
    "lumbar pitch": ("spine middle", 0, 1),
    "lumbar yaw": ("spine middle", 1, 1),
    "lumbar roll": ("spine middle", 2, -1),
    "chest pitch": ("spine shoulder", 0, 1),
    "neck pitch": ("head", 0, 1),
    "neck yaw": ("head", 1, 1),
    "neck roll": ("head", 2, -1),
}
# Given for the left side; the right one mirrors them (rotations about y and z change sign).
_SIDE_DOFS = {
    "shrug": ("shoulder", 2, 1),
    "plane": ("elbow", 1, 1),  # of arm elevation: 0 forward, 90 sideways
    "elevation": ("elbow", 0, -1),  # of the upper arm: 0 hangs, 90 horizontal
    "rotation": ("elbow", 2, -1),  # of the upper arm about itself
    "elbow": ("wrist", 0, -1),
    "pronation": ("wrist", 1, -1),  # 0 thumb up when the forearm is horizontal, 90 palm down
    "wrist deviation": ("hand", 0, -1),  # towards the thumb
    "wrist flexion": ("hand", 2, -1),
    "curl": ("hand tip", 2, -1),  # of the fingers
    "thumb": ("thumb", 2, -1),  # across the palm
    "hip flexion": ("knee", 0, -1),
    "hip abduction": ("knee", 2, 1),
    "knee": ("ankle", 0, 1),
    "ankle": ("foot", 0, 1),  # toes down
}
_MIRRORED = {0: 1, 1: -1, 2: -1}


def _degrees_of_freedom() -> dict[str, tuple[int, int, int]]:
    dofs = {name: (_J[joint], axis, sign) for name, (joint, axis, sign) in _TRUNK_DOFS.items()}
    for name, (joint, axis, sign) in _SIDE_DOFS.items():
        dofs[f"left {name}"] = _J[f"left {joint}"], axis, sign
        dofs[f"right {name}"] = _J[f"right {joint}"], axis, sign * _MIRRORED[axis]
    return dofs


def _root_first() -> list[int]:
    """Joints but the root, parents before their children."""
    order = [_J["spine base"]]
    for joint in order:
        order += [
            child for child, parent in enumerate(KINEMATIC_PARENTS) if parent == joint != child
        ]
    return order[1:]


_ROOT_FIRST = _root_first()
_DOFS = _degrees_of_freedom()
DOFS = tuple(_DOFS)  # D names, the columns of every angle array
_DOF_JOINT, _DOF_AXIS, _DOF_SIGN = (
    np.array(column) for column in zip(*_DOFS.values(), strict=True)
)
_UPPER_ARMS = [_J["left elbow"], _J["right elbow"]]
_HINGES = [
    DOFS.index(f"{side} {joint}") for side in ("left", "right") for joint in ("elbow", "knee")
]


def pose(angles: dict[str, float]) -> np.ndarray:
    """(D,) degrees from named ones, others 0; "both elbow" is the left and the right one."""
    values = np.zeros(len(DOFS))
    for name, degrees in angles.items():
        sides = ("left", "right") if name.startswith("both ") else ("",)
        for column in (name.replace("both", side) for side in sides):
            if column not in _DOFS:
                raise unknown_name("degree of freedom", column, DOFS)
            values[DOFS.index(column)] = degrees
    return values


def draw_bones(rng: np.random.Generator, height: float) -> np.ndarray:
    """A person's bones: (V, 3) joint minus parent in the rest pose, metres, left and right alike.

    Args:
        rng: source of the person's proportions (3 % a body part, 2 % a bone).
        height: of the body, metres.
    """
    part_scale = {part: rng.normal(1.0, 0.03) for part in _PROPORTIONS}
    rest = np.zeros((NTU25.num_joints, 3))
    for part, bones in _PROPORTIONS.items():
        for bone in bones:
            offset = np.array(_REST[bone]) * height * part_scale[part] * rng.normal(1.0, 0.02)
            if bone in _J:
                rest[_J[bone]] = offset
            else:
                rest[_J[f"left {bone}"]] = offset
                rest[_J[f"right {bone}"]] = offset * (-1, 1, 1)
    return rest


def forward_kinematics(bones: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Joint positions of a body in given poses, its spine base at the origin.

    Args:
        bones: (V, 3) metres, as `draw_bones` gives them.
        angles: (T, D) degrees, columns as in `DOFS`. Elbows and knees do not bend backwards:
            angles below 0 count as 0.

    Returns:
        (T, V, 3) metres, body frame.
    """
    angles = angles.copy()
    angles[:, _HINGES] = angles[:, _HINGES].clip(0, 150)
    turns = _local_rotations(angles)
    points = np.zeros((len(angles), NTU25.num_joints, 3))
    for joint in _ROOT_FIRST:
        parent = KINEMATIC_PARENTS[joint]
        turns[:, joint] = turns[:, parent] @ turns[:, joint]
        points[:, joint] = points[:, parent] + turns[:, joint] @ bones[joint]
    return points


def _local_rotations(angles: np.ndarray) -> np.ndarray:
    """(T, V, 3, 3): each joint's bone against its parent bone."""
    turn = np.zeros((len(angles), NTU25.num_joints, 3))
    turn[:, _DOF_JOINT, _DOF_AXIS] = angles * _DOF_SIGN
    matrices = rotation(0, turn[..., 0]) @ rotation(1, turn[..., 1]) @ rotation(2, turn[..., 2])
    # Swing, then twist: raising an arm in any plane adds no rotation of the arm about itself.
    elevation, plane, twist = np.moveaxis(turn[:, _UPPER_ARMS], -1, 0)  # (T, 2) each
    swing = rotation(1, plane) @ rotation(0, elevation)
    matrices[:, _UPPER_ARMS] = swing @ rotation(1, twist - plane)
    return matrices


def rotation(axis: int, degrees: np.ndarray | float) -> np.ndarray:
    """(..., 3, 3): right-handed turns about x, y or z (0, 1, 2) by (...,) degrees."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.zeros((*np.shape(degrees), 3, 3))
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix[..., axis, axis] = 1.0
    matrix[..., a, a] = matrix[..., b, b] = cos
    matrix[..., a, b], matrix[..., b, a] = -sin, sin
    return matrix


def floor_shift(points: np.ndarray) -> np.ndarray:
    """What to add to a body so that its lower foot rests on the floor (y = 0) and does not slide.

    Args:
        points: (T, V, 3) metres, any place.

    Returns:
        (T, 3) metres; the spine base of the first frame comes to stand above the origin.
    """
    feet = points[:, FEET]  # (T, 2 sides, 2 joints, 3)
    lowest = feet[..., 1].min(axis=2)  # (T, 2)
    weight = np.exp((lowest.min(axis=1, keepdims=True) - lowest) / 0.02)
    weight /= weight.sum(axis=1, keepdims=True)
    steps = np.diff(feet.mean(axis=2), axis=0)  # (T - 1, 2, 3)
    slide = ((weight[1:] + weight[:-1]) / 2)[..., None] * steps
    shift = np.zeros((len(points), 3))
    shift[1:] = -slide.sum(axis=1).cumsum(axis=0)
    shift[:, 1] = SOLE - lowest.min(axis=1)
    return shift - points[0, _J["spine base"]] * (1, 0, 1)


def mirror(points: np.ndarray) -> np.ndarray:
    """The mirror image in the body frame: left and right joints change places, x its sign.

    Args:
        points: (..., V, 3), body frame.
    """
    source = np.arange(NTU25.num_joints)
    for left, right in NTU25.left_right:
        source[[left, right]] = right, left
    return points[..., source, :] * (-1, 1, 1)


def minimum_jerk(time: np.ndarray, start: float, end: float) -> np.ndarray:
    """(T,) from 0 before `start` to 1 after `end`, as hands move (Flash and Hogan, 1985)."""
    u = ((time - start) / (end - start)).clip(0, 1)
    return u**3 * (10 - 15 * u + 6 * u**2)
