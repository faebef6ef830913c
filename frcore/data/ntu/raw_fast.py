"""Reads a raw `.skeleton` file as a whole, in NumPy; declines whatever is not quite as usual.

The file becomes one bit a byte, blank or not: numbers of fields are counts of bits between line
ends, the walk through frames and bodies becomes comparisons of line numbers, and eight digits are
one 64-bit word. Of the twelve numbers of a joint's line three are converted; of the others it is
checked that they are there and of a number's characters.
"""

from dataclasses import dataclass

import numpy as np

BODY_FIELDS, JOINT_FIELDS, NUM_JOINTS = 10, 12, 25
MAX_LINE_BYTES = 4096  # a joint's line has some 130
_BODY_LINES = 2 + NUM_JOINTS  # the body's own, the joint count, the joints
_MAX_BYTES = 16 * 1024 * 1024  # real files have 0.1 to 5 MB
_BYTES_PER_BLANK = 4  # at least, on average: bounds the memory for what is kept of each line
_WINDOW = 57  # bytes of a line whose blanks are looked at together; x, y and z take some 30
_FRACTION = 8  # digits after the point that a word holds; Kinect's files have 6 to 8, seldom more
_KNOWN = b"+-.0123456789eE \r\n"
_LF, _SPACE, _MINUS, _POINT, _ZERO = b"\n -.0"
_ONE = np.uint64(1)
_KEPT = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(16)], np.uint64)  # first n bytes


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
class _Lines:
    """The lines of a file.

    Args:
        blanks: one bit a byte of the file, the first one lowest, as uint64.
        starts: places of first bytes.
        num_fields: of each line.
        ending: the bytes that end a line.
    """

    blanks: np.ndarray
    starts: np.ndarray
    num_fields: np.ndarray
    ending: bytes


def read_fast(content: bytes) -> Skeletons | None:
    """The skeletons of a file as Kinect's recordings are; None where the exact reader must decide.

    That is: one space between numbers, all lines ending in CRLF or all in LF, counts in their
    shortest spelling, nothing after the last frame.
    """
    if not content.endswith(b"\n"):
        content = content.rstrip(b"\r") + (b"\r\n" if b"\r" in content else b"\n")
    lines = _find_lines(content)
    if lines is None:
        return None
    bodies = np.flatnonzero(lines.num_fields == BODY_FIELDS)
    counts = _bodies_per_frame(content, lines, bodies)
    if counts is None:
        return None
    rows = (bodies[:, None] + np.arange(2, _BODY_LINES)).ravel()
    starts = lines.starts[np.append(rows, bodies)]
    blanks = _first_blanks(lines, starts)
    if blanks is None:
        return None
    fields = np.stack([starts, blanks[0] + 1, blanks[1] + 1])  # places of the first three
    split = len(rows)
    ids = zip(starts[split:].tolist(), blanks[0, split:].tolist(), strict=True)
    try:
        body_ids = [int(content[start:end]) for start, end in ids]
        metres = _numbers(content, fields[:, :split], blanks[:, :split])
    except ValueError:
        return None
    joints = np.ascontiguousarray(metres.T, np.float32).reshape(-1, NUM_JOINTS, 3)
    if not np.isfinite(joints).all() or min(body_ids) < -(2**63) or max(body_ids) >= 2**64:
        return None
    return Skeletons(counts, body_ids, joints)


def _find_lines(content: bytes) -> _Lines | None:
    """The lines, if there is one blank between numbers and nothing else in the file."""
    if len(content) > _MAX_BYTES or content.translate(None, delete=_KNOWN):
        return None
    text = np.frombuffer(content, np.uint8)
    blanks = np.zeros(len(text) // 64 + 2, "<u8")  # longer than the file: a window fits everywhere
    packed = np.packbits(text <= _SPACE, bitorder="little")
    blanks.view(np.uint8)[: len(packed)] = packed
    blanks_up_to = np.bitwise_count(blanks).cumsum(dtype=np.int64)  # each word's end
    if _BYTES_PER_BLANK * blanks_up_to[-1] > len(text):
        return None
    ends = np.flatnonzero(text == _LF)
    # Two blanks together are CRLF, at the end of each line and nowhere else.
    followed = blanks >> _ONE
    followed[:-1] |= blanks[1:] << np.uint64(63)
    pairs = int(np.bitwise_count(blanks & followed).sum())
    if pairs and (pairs != len(ends) or (text[ends - 1] > _SPACE).any()):
        return None
    word, bit = ends >> 6, (ends & 63).astype(np.uint64)
    from_end = np.bitwise_count(blanks[word] >> bit)  # blanks of the word, from the LF on
    after = np.zeros(len(ends) + 1, np.int64)  # blanks before and at each LF
    after[1:] = blanks_up_to[word] - from_end + 1
    num_fields = after[1:] - after[:-1] - (pairs > 0)
    starts = np.zeros(len(ends), np.int64)
    starts[1:] = ends[:-1] + 1
    if (ends - starts).max() >= MAX_LINE_BYTES:
        return None
    return _Lines(blanks, starts, num_fields, b"\r\n" if pairs else b"\n")


def _bodies_per_frame(content: bytes, lines: _Lines, bodies: np.ndarray) -> np.ndarray | None:
    """(T,) int64, if the file is frames of whole bodies and says so in shortest spelling.

    Args:
        content: of the file.
        lines: of the file.
        bodies: lines with as many fields as a body has.
    """
    if len(bodies) == 0 or bodies[-1] + _BODY_LINES > len(lines.starts):
        return None
    expected = np.ones(len(lines.starts), np.int64)
    expected[bodies] = BODY_FIELDS
    expected[bodies[:, None] + np.arange(2, _BODY_LINES)] = JOINT_FIELDS
    if not np.array_equal(lines.num_fields, expected):
        return None
    expected[bodies + 1] = 0  # joint counts: what is left are the counts of frames and bodies
    headers = np.flatnonzero(expected == 1)
    if headers[:2].tolist() != [0, 1]:
        return None
    headers = headers[1:]
    counts = (np.append(headers[1:], len(lines.starts)) - headers) // _BODY_LINES
    first = b"%d%b" % (len(counts), lines.ending)
    digit_and_end = _ZERO + (lines.ending[0] << 8)
    joints = int.from_bytes(b"%d%c" % (NUM_JOINTS, lines.ending[0]), "little")
    if (
        content.startswith(first)
        and (_every_place(content, "<u2")[lines.starts[headers]] == counts + digit_and_end).all()
        and (_every_place(content, "<u4")[lines.starts[bodies + 1]] & 0xFFFFFF == joints).all()
    ):
        return counts
    return None


def _first_blanks(lines: _Lines, starts: np.ndarray) -> np.ndarray | None:
    """(3, n) places of the first three blanks from given ones on; None if one is too far."""
    bits = _every_place(lines.blanks.view(np.uint8), "<u8")[starts >> 3]
    bits >>= (starts & 7).astype(np.uint64)
    blanks = np.empty((3, len(starts)), np.int64)
    for k in range(3):
        below = bits - _ONE  # flips the lowest bit and those under it
        blanks[k] = np.bitwise_count(bits ^ below)
        bits &= below
    if blanks[-1].max() > _WINDOW:
        return None
    blanks += starts - 1
    return blanks


def _numbers(content: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The numbers in the fields, as `float()` reads them.

    A sign, one digit, a point and up to eight digits are a whole number of at most nine digits over
    10^8. Both are exact in float64, so their quotient is rounded once, as `float()` rounds. Other
    spellings go to `float()`. After each field at least eight bytes must follow.

    Raises:
        ValueError: for a field that is no number.
    """
    negative = np.frombuffer(content, np.uint8)[starts] == _MINUS
    lead = starts + negative
    # Digit and point as one number: from "0." to "9." they are ten in a row.
    digit = _every_place(content, "<u2")[lead] - np.uint16(_ZERO + (_POINT << 8))
    lead += 2
    length = ends - lead
    usual = (digit <= 9) & (length <= _FRACTION)
    fraction, digits_only = _eight_digits(_every_place(content, "<u8")[lead], length)
    usual &= digits_only
    fraction += digit * np.uint64(10**_FRACTION)
    values = fraction.view(np.int64) / 10.0**_FRACTION
    np.negative(values, out=values, where=negative)
    other = ~usual
    places = zip(starts[other].tolist(), ends[other].tolist(), strict=True)
    values[other] = [float(content[start:end]) for start, end in places]
    return values


def _eight_digits(words: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decimal fractions from their digits' characters: the number, times 10^8, in uint64.

    Args:
        words: uint64, eight characters each, the first one in the lowest byte.
        length: how many of them count, the others are taken as zeros; nothing is said of words
            with other lengths than 0 to 8.

    Returns:
        The numbers, and whether all characters that count are digits.
    """
    digits = words ^ _every_byte(_ZERO)
    digits &= _KEPT[length & 15]
    beyond = digits + _every_byte(127 - 9)  # the highest bit says so
    beyond |= digits
    beyond &= _every_byte(128)
    pairs = digits.view("<u2")  # the first digit is in the lower byte
    pairs = (pairs & 0xFF) * 10 + (pairs >> 8)
    fours = pairs.view("<u4")
    fours = (fours & 0xFFFF) * 100 + (fours >> 16)
    eights = fours.view("<u8")
    eights = (eights & 0xFFFFFFFF) * 10_000 + (eights >> 32)
    return eights, beyond == 0


def _every_place(content: bytes | np.ndarray, dtype: str) -> np.ndarray:
    """A number at each place of the bytes, aligned or not; nothing is copied."""
    kind = np.dtype(dtype)
    return np.ndarray(len(content) + 1 - kind.itemsize, kind, content, strides=(1,))


def _every_byte(value: int) -> np.uint64:
    """A word of eight times the same byte."""
    return np.uint64(value * 0x01010101_01010101)
