"""One raw `.skeleton` file of NTU RGB+D: joints of every body, or an error that names the line.

Two readers of the same format: `raw_fast` takes files as Kinect wrote them, the one here takes
every legal spelling, line by line, and says what is wrong and where.
"""

import io
import re
from dataclasses import dataclass

import numpy as np

from frcore.data.ntu.raw_fast import (
    BODY_FIELDS,
    JOINT_FIELDS,
    MAX_LINE_BYTES,
    NUM_JOINTS,
    Skeletons,
    read_fast,
)
from frcore.errors import UserError, counted

MAX_FRAMES = 100_000  # almost an hour; the longest clips have 300
_COUNT = re.compile(rb"\+?\d{1,18}")
_BODY_ID = re.compile(rb"[-+]?\d{1,20}")
_NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,9})?")
# What Kinect and the C libraries of several times write for numbers that are none.
_NOT_FINITE = re.compile(rb"[-+]?(nan|inf(inity)?|1\.#\w{2,5})(\(\w*\))?", re.IGNORECASE)
_LOOKS_LIKE_NUMBERS = re.compile(rb"[-+.0-9eE\s]+")  # enough for fields that nothing uses


class RawError(UserError):
    """A raw file that is not as the format says.

    Attributes:
        line: where, counted from 1.
    """

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")
        self.line = line


class NoBodyError(RawError):
    """A raw file none of whose frames has a body: there is nothing to learn from it."""


@dataclass(frozen=True, eq=False)
class RawBody:
    """What Kinect tracked under one body id.

    Args:
        body_id: 64-bit number, as written.
        joints: (n, 25, 3) float32, metres, camera frame; in order of appearance.
        frames: (n,) int64: the frame of each appearance, as renumbered by `RawClip`; a body that
            is twice in a frame appears twice.
    """

    body_id: int
    joints: np.ndarray
    frames: np.ndarray


@dataclass(frozen=True, eq=False)
class RawClip:
    """The bodies of one raw file.

    Args:
        num_frames: frames with at least one body; they alone are numbered, from 0.
        dropped_frames: frames without a body.
        bodies: in order of first sight.
    """

    num_frames: int
    dropped_frames: int
    bodies: tuple[RawBody, ...]


def parse_skeleton(content: bytes) -> RawClip:
    """The bodies in a raw `.skeleton` file; each value is `np.float32(float(text))`, exactly.

    Lines end in CRLF or LF, fields are separated by blanks. Fields that the pipeline of the field
    does not use (all but a body's id and a joint's x, y, z) have to be there and look like numbers.

    Args:
        content: the whole file.

    Raises:
        NoBodyError: if no frame has a body.
        RawError: for anything else that is not as the format says, with the line.
    """
    if not content or content.isspace():
        raise RawError(1, "the file is empty; expected the number of frames.")
    with np.errstate(over="ignore"):  # what is beyond float32 is refused, not warned of
        skeletons = read_fast(content) or read_exact(content)
    return _by_body(skeletons)


def read_exact(content: bytes) -> Skeletons:
    """The skeletons of a file, line by line: what decides where `read_fast` declines.

    Raises:
        RawError: as `parse_skeleton`.
    """
    return _Reader(content).read()


def _by_body(skeletons: Skeletons) -> RawClip:
    """Sorts skeletons by body id and numbers the frames that have any."""
    counts = skeletons.bodies_per_frame[skeletons.bodies_per_frame > 0]
    frames = np.repeat(np.arange(len(counts)), counts)
    order: dict[int, list[int]] = {}
    for place, body_id in enumerate(skeletons.body_ids):
        order.setdefault(body_id, []).append(place)
    bodies = [
        RawBody(body_id, skeletons.joints[places], frames[places])
        for body_id, places in order.items()
    ]
    dropped = len(skeletons.bodies_per_frame) - len(counts)
    return RawClip(len(counts), dropped, tuple(bodies))


class _Reader:
    """Walks through a file line by line, knowing what has to come next."""

    def __init__(self, content: bytes) -> None:
        self._lines = io.BytesIO(content.rstrip())  # one line at a time is split
        self._line = 0  # the last one read

    def read(self) -> Skeletons:
        """All skeletons of the file.

        Raises:
            RawError: where something else stands than has to.
        """
        num_frames = self._count("the number of frames")
        if num_frames > MAX_FRAMES:
            raise self._error(f"{counted(num_frames, 'frame')}; expected at most {MAX_FRAMES:,}")
        counts: list[int] = []
        ids: list[int] = []
        joints: list[np.ndarray] = []  # (25, 3) each: grows with what is there, not what is said
        for frame in range(1, num_frames + 1):
            count = self._count("the number of bodies in frame %d of %d", frame, num_frames)
            for body in range(1, count + 1):
                ids.append(self._body_id(body, count, frame))
                joints.append(self._joints())
            counts.append(count)
        if self._next() is not None:
            raise self._error(
                f"the file goes on after the last of {counted(num_frames, 'frame')}; the number of "
                "frames in line 1, or a count after it, is too low"
            )
        if not joints:
            raise NoBodyError(1, f"none of the {counted(num_frames, 'frame')} holds a body.")
        return Skeletons(np.array(counts), ids, np.stack(joints))

    def _body_id(self, *place: int) -> int:
        fields = self._fields(BODY_FIELDS, "body %d of %d in frame %d", *place)
        if not _BODY_ID.fullmatch(fields[0]) or not -(2**63) <= int(fields[0]) < 2**64:
            raise self._error(f"the body id is {_shown(fields[0])}; expected a 64-bit integer")
        self._check_unused(fields, first=1)
        return int(fields[0])

    def _joints(self) -> np.ndarray:
        """(25, 3) float32, from the line with the joint count on."""
        num_joints = self._count("the number of joints")
        if num_joints != NUM_JOINTS:
            raise self._error(f"the body has {counted(num_joints, 'joint')}; expected {NUM_JOINTS}")
        joints = np.empty((NUM_JOINTS, 3), np.float32)
        for joint in range(NUM_JOINTS):
            fields = self._fields(JOINT_FIELDS, "joint %d of %d", joint + 1, NUM_JOINTS)
            joints[joint] = [
                self._metres(name, text) for name, text in zip("xyz", fields[:3], strict=True)
            ]
            self._check_unused(fields, first=3)
        return joints

    def _metres(self, name: str, text: bytes) -> float:
        if _NUMBER.fullmatch(text):
            if np.isfinite(value := np.float32(float(text))):
                return value
            raise self._error(
                f"{name} is {_shown(text)}; expected metres, at most 3.4e38 (float32)"
            )
        kind = "a finite number" if _NOT_FINITE.fullmatch(text) else "a number"
        raise self._error(f"{name} is {_shown(text)}; expected {kind} (metres)")

    def _check_unused(self, fields: list[bytes], first: int) -> None:
        if _LOOKS_LIKE_NUMBERS.fullmatch(b" ".join(fields[first:])):
            return
        for place, text in enumerate(fields[first:], first + 1):
            if not (_LOOKS_LIKE_NUMBERS.fullmatch(text) or _NOT_FINITE.fullmatch(text)):
                raise self._error(f"field {place} is {_shown(text)}; expected a number")

    def _count(self, what: str, *place: int) -> int:
        (text,) = self._fields(1, what, *place)
        if not _COUNT.fullmatch(text):
            said = f"{what % place} is {_shown(text)}"
            raise self._error(f"{said}; expected a whole number, 0 or more")
        return int(text)

    def _fields(self, count: int, what: str, *place: int) -> list[bytes]:
        """The next line's fields; `what % place` should be there."""
        line = self._next()
        if line is None:
            raise RawError(
                max(self._line, 1),
                f"the file ends where {what % place} should follow: it is cut off, or a count is "
                "too high.",
            )
        fields = line.split()
        if len(fields) != count:
            raise self._error(
                f"expected {what % place} ({counted(count, 'field')}), "
                f"found {counted(len(fields), 'field')}: {_shown(line.strip())}; a line is "
                "damaged, or a count before it is wrong"
            )
        return fields

    def _next(self) -> bytes | None:
        """The next line; None at the end of the file."""
        line = self._lines.readline(MAX_LINE_BYTES + 1)
        if not line:
            return None
        self._line += 1
        if len(line) > MAX_LINE_BYTES:
            raise self._error(f"the line is longer than {MAX_LINE_BYTES:,} bytes")
        if not line.isascii():
            raise self._error(f"the line is not ASCII text: {_shown(line.strip())}")
        return line

    def _error(self, text: str) -> RawError:
        return RawError(self._line, f"{text}.")


def _shown(text: bytes) -> str:
    """Bytes of a file as a message may show them: escaped and short."""
    short = repr(text[:40])[2:-1]
    return f"'{short}{'...' * (len(text) > 40)}'"
