"""Writes raw `.skeleton` files in the format of NTU RGB+D, as test material and for trying out.

What a Kinect v2 adds to the joints' places is made up here, and plausible: pixels by its usual
intrinsics, orientations, hand states. Numbers have seven significant digits, lines end in CRLF.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from frcore.data.ntu.raw_fast import JOINT_FIELDS, NUM_JOINTS
from frcore.errors import UserError

# Pixels = centre + focal length * (x, -y) / z.
_DEPTH_FOCAL, _DEPTH_CENTRE = 366.0, np.array([258.0, 205.0])
_COLOUR_FOCAL, _COLOUR_CENTRE = 1063.0, np.array([972.0, 537.0])
_NO_ORIENTATION = (3, 15, 19, 21, 22, 23, 24)  # head, feet, hand tips, thumbs: nothing grows there
_TRACKED, _INFERRED = 2, 1
_STATES = np.full(NUM_JOINTS, _TRACKED)
_STATES[[15, 19]] = _INFERRED  # feet
_SPINE_BASE, _SPINE_SHOULDER = 0, 20


def write_skeleton(frames: Iterable[Sequence[tuple[int, np.ndarray]]], *, digits: int = 7) -> bytes:
    """A raw file.

    Args:
        frames: of each frame its bodies, none to six in Kinect's recordings: a 64-bit body id and
            joints (25, 3), metres, camera frame, z > 0.
        digits: significant ones a number; 7 are Kinect's, 9 give any float32 back bit for bit.

    Raises:
        UserError: for joints of another shape or that are not finite, or an id beyond 64 bits.
    """
    joint_line = f"%.{digits}g " * (JOINT_FIELDS - 1) + "%d\r\n"
    body_text = f"%d 0 1 1 1 1 0 %.{digits}g %.{digits}g 2\r\n{NUM_JOINTS}\r\n"
    body_text += joint_line * NUM_JOINTS
    frames = list(frames)
    texts = [f"{len(frames)}\r\n"]
    for bodies in frames:
        texts.append(f"{len(bodies)}\r\n")
        for body_id, joints in bodies:
            joints = _checked(body_id, joints)
            lean = joints[_SPINE_SHOULDER, [0, 2]] - joints[_SPINE_BASE, [0, 2]]
            values = (int(body_id), *lean.tolist(), *_joint_fields(joints).ravel().tolist())
            texts.append(body_text % values)
    return "".join(texts).encode()


def _checked(body_id: int, joints: np.ndarray) -> np.ndarray:
    """(25, 3) float64."""
    if not -(2**63) <= body_id < 2**64:
        raise UserError(f"Body id {body_id} cannot be written: expected a 64-bit integer.")
    joints = np.asarray(joints, np.float64)
    if joints.shape != (NUM_JOINTS, 3) or not np.isfinite(joints).all():
        raise UserError(
            f"Body {body_id} has joints {joints.shape} that cannot be written: expected "
            f"({NUM_JOINTS}, 3) finite numbers (x, y, z in metres)."
        )
    return joints


def _joint_fields(joints: np.ndarray) -> np.ndarray:
    """(25, 12): the fields of the joints' lines."""
    fields = np.zeros((NUM_JOINTS, JOINT_FIELDS))
    fields[:, :3] = joints
    depth = np.maximum(joints[:, 2:], 0.1)  # pixels exist in front of the camera only
    ray = joints[:, :2] * (1, -1) / depth
    fields[:, 3:5] = _DEPTH_CENTRE + _DEPTH_FOCAL * ray
    fields[:, 5:7] = _COLOUR_CENTRE + _COLOUR_FOCAL * ray
    turn = np.column_stack([np.ones(NUM_JOINTS), joints - joints.mean(axis=0)])
    fields[:, 7:11] = turn / np.linalg.norm(turn, axis=1, keepdims=True)
    fields[_NO_ORIENTATION, 7:11] = 0
    fields[:, 11] = _STATES
    return fields
