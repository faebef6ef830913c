"""Reads a raw `.skeleton` file as a whole, in NumPy; declines whatever is not quite as usual.

All blanks of the file are found at once, the walk through frames and bodies becomes comparisons of
line numbers, and eight digits are one 64-bit word. Of the twelve numbers of a joint's line three
are converted; of the others it is checked that they are there and of a number's characters.
"""

from dataclasses import dataclass

import numpy as np

BODY_FIELDS, JOINT_FIELDS, NUM_JOINTS = 10, 12, 25
_BODY_LINES = 2 + NUM_JOINTS  # the body's own, the joint count, the joints
_MAX_BYTES = 16 * 1024 * 1024  # memory is some five times the file's; real ones have 0.1 to 5 MB
_BLOCK = 1 << 16  # bytes looked at together: they and what is made of them stay in the cache
_BYTES_PER_BLANK = 4  # at least, on average: bounds the memory for the places of all blanks
_SLACK = 64  # but for files of a few lines
_FRACTION = 8  # digits after the point that a word holds; Kinect's files have 6 to 8, seldom more
_LF, _CR, _SPACE, _MINUS, _POINT, _NINE, _ZERO = b"\n\r -.90"


@dataclass(frozen=True, eq=False)
class Skeletons:
    """The skeletons of a file, in its order.

    Args:
        bodies_per_frame: (T,) int64, of all frames.
        body_ids: n of them, the sum of `bodies_per_frame`.
        joints: (n, 25, 3) float32, metres.
    """

    bodies_per_frame: np.ndarray
    body_ids: list[int]
    joints: np.ndarray


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where lines and fields are.

    Args:
        blanks: places of all blanks; each field is followed by one.
        newlines: of each line, the index in `blanks` of its LF.
        ending: bytes that end a line: 1 (LF) or 2 (CRLF).
    """

    blanks: np.ndarray
    newlines: np.ndarray
    ending: int

    @property
    def num_fields(self) -> np.ndarray:
        """Of each line."""
        return np.diff(self.newlines, prepend=-1) + 1 - self.ending

    def starts(self, lines: np.ndarray) -> np.ndarray:
        """Places of the lines' first bytes; any lines but the first."""
        return self.blanks[self.newlines[lines - 1]] + 1

    def ends(self, lines: np.ndarray) -> np.ndarray:
        """Places after the lines' first fields; any lines but the first."""
        return self.blanks[self.newlines[lines - 1] + 1]


def read_fast(content: bytes) -> Skeletons | None:
    """The skeletons of a file as Kinect's recordings are; None where the exact reader must decide.

    That is: one space between numbers, all lines ending in CRLF or all in LF, counts in their
    shortest spelling, nothing after the last frame.
    """
    if not content.endswith(b"\n"):
        content = content.rstrip(b"\r") + (b"\r\n" if b"\r" in content else b"\n")
    layout = _find_fields(content)
    if layout is None:
        return None
    bodies = np.flatnonzero(layout.num_fields == BODY_FIELDS)
    headers = _walk(layout.num_fields, bodies)
    if headers is None:
        return None
    counts = np.diff(headers, append=len(layout.newlines)) // _BODY_LINES
    said = content[: layout.blanks[0]]
    if said != b"%d" % len(counts) or not _spelled(content, layout, headers, bodies, counts):
        return None
    # The blanks before x (at the end of the last line) and after x, y and z.
    before = layout.newlines[bodies + 1][:, None] + np.arange(NUM_JOINTS) * (
        JOINT_FIELDS - 1 + layout.ending
    )
    around = layout.blanks[before.ravel() + np.arange(4)[:, None]]
    places = zip(layout.starts(bodies).tolist(), layout.ends(bodies).tolist(), strict=True)
    try:
        ids = [int(content[start:end]) for start, end in places]
        metres = _numbers(content, around[:-1] + 1, around[1:])
    except ValueError:
        return None
    joints = np.ascontiguousarray(metres.T, np.float32).reshape(-1, NUM_JOINTS, 3)
    if not np.isfinite(joints).all() or min(ids) < -(2**63) or max(ids) >= 2**64:
        return None
    return Skeletons(counts, ids, joints)


def _find_fields(content: bytes) -> _Layout | None:
    """Where the blanks are, if there is one between numbers and nothing else in the file."""
    text = np.frombuffer(content, np.uint8)
    if len(text) > _MAX_BYTES or b"/" in content:
        return None
    found = [_find_blanks(text[start : start + _BLOCK]) for start in range(0, len(text), _BLOCK)]
    if any(places is None for places in found):
        return None
    for block, places in enumerate(found):
        places += block * _BLOCK
    blanks = np.concatenate(found)
    kinds, gaps = text[blanks], np.diff(blanks, prepend=-1)
    newlines = np.flatnonzero(kinds == _LF)
    returns = np.count_nonzero(kinds == _CR)
    before_lf = np.count_nonzero((kinds[newlines - 1] == _CR) & (gaps[newlines] == 1))
    if returns not in (0, len(newlines)) or before_lf != returns:
        return None
    one_each = np.count_nonzero(gaps == 1) == returns  # none but LF follows on another
    spaces = np.count_nonzero(kinds == _SPACE)
    if not one_each or spaces + len(newlines) + returns < len(blanks):
        return None
    return _Layout(blanks, newlines, ending=2 if returns else 1)


def _find_blanks(block: np.ndarray) -> np.ndarray | None:
    """Places of blanks and control characters, if all else are number's characters or "/"."""
    mask = block <= _SPACE
    if _BYTES_PER_BLANK * np.count_nonzero(mask) > len(block) + _SLACK:
        return None
    places = np.flatnonzero(mask)
    known = len(places) + np.count_nonzero(block - np.uint8(_MINUS) <= _NINE - _MINUS)  # -./0..9
    if known < len(block):  # numbers such as 4.5E-05
        known += sum(np.count_nonzero(block == letter) for letter in b"eE+")
    return places if known == len(block) else None


def _walk(num_fields: np.ndarray, bodies: np.ndarray) -> np.ndarray | None:
    """The lines with body counts, if all lines after the first are frames of whole bodies.

    Args:
        num_fields: of each line.
        bodies: the lines with as many fields as a body has.
    """
    if len(bodies) == 0 or bodies[-1] + _BODY_LINES > len(num_fields):
        return None
    joints = num_fields == JOINT_FIELDS
    single = num_fields == 1
    if not joints[bodies[:, None] + np.arange(2, _BODY_LINES)].all():
        return None
    if np.count_nonzero(joints) != NUM_JOINTS * len(bodies) or not single[bodies + 1].all():
        return None
    single[bodies + 1] = False  # joint counts: what is left are the counts of frames and bodies
    headers = np.flatnonzero(single)
    in_bodies = _BODY_LINES * len(bodies)
    if len(headers) + in_bodies != len(num_fields) or headers[:2].tolist() != [0, 1]:
        return None
    return headers[1:]


def _spelled(
    content: bytes, layout: _Layout, headers: np.ndarray, bodies: np.ndarray, counts: np.ndarray
) -> bool:
    """Whether the lines say as many bodies and joints as follow, with one and two digits."""
    text = np.frombuffer(content, np.uint8)
    start, joints = layout.starts(headers), layout.starts(bodies + 1)
    tens, ones = b"%d" % NUM_JOINTS
    return bool(
        (layout.ends(headers) - start == 1).all()
        and np.array_equal(text[start] - np.uint8(_ZERO), counts)
        and (layout.ends(bodies + 1) - joints == 2).all()
        and (text[joints] == tens).all()
        and (text[joints + 1] == ones).all()
    )


def _numbers(content: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The numbers in the fields, as `float()` reads them.

    A sign, one digit, a point and up to eight digits are a whole number of at most nine digits over
    10^8. Both are exact in float64, so their quotient is rounded once, as `float()` rounds. Other
    spellings go to `float()`. After each field at least eight bytes must follow.

    Raises:
        ValueError: for a field that is no number.
    """
    text = np.frombuffer(content, np.uint8)
    negative = text[starts] == _MINUS
    lead = starts + negative
    digit = text[lead] - np.uint8(_ZERO)
    length = ends - lead - 2
    usual = (digit <= 9) & (text[lead + 1] == _POINT) & (length >= 0) & (length <= _FRACTION)
    words = np.ndarray(len(content) - 7, "<u8", content, strides=(1,))  # eight bytes from each on
    fraction, digits_only = _eight_digits(words[lead + 2], length.clip(0, _FRACTION))
    values = (digit * 1e8 + fraction) / 1e8
    np.negative(values, out=values, where=negative)
    other = ~(usual & digits_only)
    places = zip(starts[other].tolist(), ends[other].tolist(), strict=True)
    values[other] = [float(content[start:end]) for start, end in places]
    return values


def _eight_digits(words: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decimal fractions from their digits' characters: the number, times 10^8, in uint64.

    Neighbouring digits become pairs, pairs become fours, and these one number (D. Lemire, "Quickly
    parsing eight digits", 2018).

    Args:
        words: uint64, eight characters each, the first one in the lowest byte.
        length: how many of them count, 0 to 8; the others are taken as zeros.

    Returns:
        The numbers, and whether all characters that count are digits.
    """
    kept = np.array([(1 << 8 * count) - 1 for count in range(_FRACTION + 1)], np.uint64)
    words = (words ^ _every_byte(_ZERO)) & kept[length]
    digits_only = ((words + _every_byte(127 - 9)) | words) & _every_byte(128) == 0
    pairs = words * np.uint64(10) + (words >> np.uint64(8))  # in bytes 0, 2, 4, 6
    mask = np.uint64(0x000000FF_000000FF)
    first = (pairs & mask) * np.uint64(100 + (1_000_000 << 32))
    second = ((pairs >> np.uint64(16)) & mask) * np.uint64(1 + (10_000 << 32))
    return (first + second) >> np.uint64(32), digits_only


def _every_byte(value: int) -> np.uint64:
    """A word of eight times the same byte."""
    return np.uint64(value * 0x01010101_01010101)
