"""Raw files: what is read, exactly; what is refused, by line. Both readers, and mutated bytes."""

import importlib.util
import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frcore.data.ntu import raw_fast
from frcore.data.ntu.raw import NoBodyError, RawError, parse_skeleton, read_exact
from frcore.data.ntu.raw_fast import _eight_digits, read_fast
from frcore.errors import UserError

ROOT = Path(__file__).resolve().parents[4]
Mutated = Callable[[bytes, random.Random], bytes]
ID = 72057594037944738  # more than float64 can hold


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The plain parser that the fast one is measured against."""
    spec = importlib.util.spec_from_file_location(
        "ntu_reference", ROOT / "benchmarks" / "ntu_reference.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def body(body_id=ID, xyz=None, *, seed=0) -> list[str]:
    """The 27 lines of a body."""
    rng = np.random.default_rng(seed)
    xyz = rng.normal(0, 1, (25, 3)) + (0, 0, 3) if xyz is None else np.broadcast_to(xyz, (25, 3))
    joints = [
        " ".join(v if isinstance(v, str) else f"{v:.7g}" for v in point)
        + " 277.419 191.8218 1036.233 519.1677 -0.2059419 0.05349901 0.9692109 -4.5E-05 2"
        for point in xyz
    ]
    return [f"{body_id} 0 1 1 1 1 0 0.02764709 -0.05745083 2", "25", *joints]


def file(*frames: list[list[str]], ending="\r\n") -> bytes:
    """A file from the bodies of its frames."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines += [str(len(bodies)), *(line for lines_ in bodies for line in lines_)]
    return "".join(line + ending for line in lines).encode()


def lines_of(content: bytes) -> list[bytes]:
    return content.split(b"\r\n")[:-1]


def joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\r\n" for line in lines)


GOOD = file([body(seed=1)], [], [body(seed=2), body(7, seed=3)], [body(7, seed=4)])
# Lines: 1 frames; 2 bodies, 3-29 body; 30 no body; 31 bodies, 32-58, 59-85 bodies; 86, 87-113.


def assert_equal(clip, expected) -> None:
    assert [b.body_id for b in clip.bodies] == [body_id for body_id, _, _ in expected]
    for found, (_, joints, frames) in zip(clip.bodies, expected, strict=True):
        assert found.joints.dtype == np.float32 and found.frames.dtype == np.int64
        assert found.joints.tobytes() == np.stack(joints).tobytes()  # bit-equal, the sign of 0 too
        assert found.frames.tolist() == frames


def test_bodies_in_order_of_first_sight_and_frames_renumbered(reference):
    clip = parse_skeleton(GOOD)
    assert (clip.num_frames, clip.dropped_frames) == (3, 1)
    assert [b.body_id for b in clip.bodies] == [ID, 7]
    assert [b.frames.tolist() for b in clip.bodies] == [[0, 1], [1, 2]]
    assert clip.bodies[0].joints.shape == (2, 25, 3)
    assert_equal(clip, reference.read_line_by_line(GOOD))


def test_body_twice_in_a_frame_appears_twice():
    clip = parse_skeleton(file([body(5, 1.0), body(9, 2.0), body(5, 3.0)], [body(5, 4.0)]))
    assert [b.body_id for b in clip.bodies] == [5, 9]
    assert clip.bodies[0].frames.tolist() == [0, 0, 1]
    assert clip.bodies[0].joints[:, 0, 0].tolist() == [1, 3, 4]


def test_body_that_returns_keeps_its_frames():
    clip = parse_skeleton(file([body(5)], [body(6)], [], [body(5)]))
    assert [b.frames.tolist() for b in clip.bodies] == [[0, 2], [1]]
    assert (clip.num_frames, clip.dropped_frames) == (3, 1)


@pytest.mark.parametrize("body_id", [0, 2**53 + 1, 2**63, 2**64 - 1, -(2**63)])
def test_ids_are_64_bit_integers(body_id):
    assert parse_skeleton(file([body(body_id)])).bodies[0].body_id == body_id


@pytest.mark.parametrize(
    "text",
    [
        "0.1843969", "-0.1843969", "3.712826", "0", "-0", "-0.0", "12.5", "1.", ".5", "-.5", "+.5",
        "0.04286791", "0.004286791", "0.0004286791", "-4.286791E-05", "1e-40", "1e-400", "1E+2",
        "0.12345678901234567", "9007199254740993", "0.00000001", "9.99999999", "00.5", "-3",
        "+1.5", "1.0e0", "0.1000000014901161", "3.4028235e38",
        "0.10000000894069671630859375",
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["\r\n", "\n"])
def test_values_are_what_float_reads(text, ending):
    values = [["0.25", "0.5", "0.75"]] * 25
    values[3] = [text, "0.5", text]
    values[24] = ["0.5", text, "0.5"]
    (found,) = parse_skeleton(file([body(5, np.array(values, object))], ending=ending)).bodies
    expected = np.array(values).astype(object)
    expected = np.array([[float(v) for v in row] for row in expected]).astype(np.float32)
    assert found.joints[0].tobytes() == expected.tobytes()


@pytest.mark.parametrize("zeros", [10, 40, 46, 47, 48, 50, 52, 55, 60, 100])
def test_a_number_is_never_cut_however_long(zeros):
    values = [["0.25", "0.5", "0" * zeros + "5.5"]] * 25
    (found,) = parse_skeleton(file([body(5, np.array(values, object))])).bodies
    assert (found.joints[..., 2] == 5.5).all()


@given(
    st.lists(
        st.one_of(
            st.floats(-9, 9).map(lambda v: f"{v:.7g}"),
            st.floats(-9, 9).map(lambda v: f"{v:.8f}"),
            st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
            st.from_regex(
                r"[-+]?[0-9]{1,3}(\.[0-9]{0,12})?([eE][-+]?[0-9])?", fullmatch=True
            ).filter(str.isascii),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_number_is_what_float_reads(texts):
    texts = (texts * 75)[:75]
    values = np.array(texts, object).reshape(25, 3)
    (found,) = parse_skeleton(file([body(5, values)])).bodies
    expected = np.array([float(v) for v in texts]).astype(np.float32)
    assert found.joints.tobytes() == expected.tobytes()


def test_usual_files_take_the_fast_way_and_unusual_ones_give_the_same(reference):
    assert read_fast(GOOD) is not None
    expected = reference.read_line_by_line(GOOD)
    usual = [GOOD.replace(b"\r\n", b"\n"), GOOD[:-2], GOOD.replace(b"\r\n", b"\n")[:-1]]
    lines = lines_of(GOOD)
    unusual = [
        GOOD + b"\r\n \r\n\n",
        GOOD.replace(b" ", b"  "),
        GOOD.replace(b" ", b"\t"),
        b"\r\n".join(line + b" " for line in lines),
        b"\r\n".join(b" " + line for line in lines),
        joined(lines[:5]) + b"\n".join(lines[5:]),  # LF and CRLF in one file
        GOOD.replace(b"277.419", b"-Infinity").replace(b"191.8218", b"-1.#IND"),
        joined([b"004", *lines[1:]]),
        joined([b"+4", *lines[1:]]),
        joined([*lines[:3], b"025", *lines[4:]]),
    ]
    for content in usual:
        assert read_fast(content) is not None
        assert_equal(parse_skeleton(content), expected)
    for content in unusual:
        assert read_fast(content) is None
        assert_equal(parse_skeleton(content), expected)


def test_huge_files_are_read_line_by_line(monkeypatch, reference):
    monkeypatch.setattr(raw_fast, "_MAX_BYTES", len(GOOD) - 1)
    assert read_fast(GOOD) is None
    assert_equal(parse_skeleton(GOOD), reference.read_line_by_line(GOOD))


def test_ten_bodies_in_a_frame_are_read(reference):
    content = file([body(k, seed=k) for k in range(10)], [body(3)])
    assert_equal(parse_skeleton(content), reference.read_line_by_line(content))


def replaced(line: int, text: bytes) -> bytes:
    """GOOD with another line (from 1)."""
    lines = lines_of(GOOD)
    lines[line - 1] = text
    return joined(lines)


def without(line: int) -> bytes:
    lines = lines_of(GOOD)
    del lines[line - 1]
    return joined(lines)


def moved_line(source: int, target: int) -> bytes:
    """GOOD with a line at another place: the number of lines stays."""
    lines = lines_of(GOOD)
    lines.insert(target - 1, lines.pop(source - 1))
    return joined(lines)


X = b"0.1 0.2 0.3 277.419 191.8218 1036.233 519.1677 -0.2059419 0.05349901 0.9692109 0.1 2"
DOUBLE = X[:-2].replace(b"519.1677 ", b"519.1677  ")  # a field less, as many blanks


@pytest.mark.parametrize(
    ("content", "line", "named"),
    [
        (b"", 1, "the file is empty"),
        (b"\r\n \r\n", 1, "the file is empty"),
        (GOOD[:490], 8, r"joint 4 of 25 \(12 fields\), found \d+ fields"),
        (joined(lines_of(GOOD)[:40]), 40, "the file ends where joint 8 of 25 should follow"),
        (joined(lines_of(GOOD)[:86]), 86, "file ends where body 1 of 1 in frame 4 should"),
        (joined(lines_of(GOOD)[:85]), 85, "file ends where the number of bodies in frame 4 of 4"),
        (b"4\r\n", 1, "file ends where the number of bodies in frame 1 of 4"),
        (replaced(1, b"5"), 113, "file ends where the number of bodies in frame 5 of 5"),
        (replaced(1, b"3"), 86, "goes on after the last of 3 frames"),
        (replaced(1, b"-4"), 1, "the number of frames is '-4'; expected a whole number"),
        (replaced(1, b"4.0"), 1, "'4.0'; expected a whole number"),
        (replaced(1, b"four"), 1, "'four'; expected a whole number"),
        (replaced(1, b"100000"), 113, "file ends where the number of bodies"),
        (replaced(1, b"999999999999999999"), 1, "999,999,999,999 frames; expected at most 100,000"),
        (replaced(1, b"9" * 30), 1, "the number of frames is '9999"),
        (replaced(2, b"2"), 30, "expected body 2 of 2 in frame 1 .*, found 1 field: '0'"),
        (replaced(2, b"0"), 3, "number of bodies in frame 2 of 4 .1 field., found 10 fields"),
        (replaced(2, b"-1"), 2, "bodies in frame 1 of 4 is '-1'"),
        (replaced(2, b"999999999999"), 30, "expected body 2 of 999999999999"),
        (replaced(31, b"1"), 59, "number of bodies in frame 4 of 4 .*, found 10 fields"),
        (replaced(4, b"24"), 4, "the body has 24 joints; expected 25"),
        (replaced(4, b"26"), 4, "the body has 26 joints; expected 25"),
        (replaced(4, b"e7"), 4, "the number of joints is 'e7'"),
        (replaced(4, b"250"), 4, "the body has 250 joints; expected 25"),
        (replaced(4, b"35"), 4, "the body has 35 joints; expected 25"),
        (replaced(4, b"25 7"), 4, "the number of joints .1 field., found 2 fields"),
        (replaced(2, b"12"), 30, "expected body 2 of 12 in frame 1"),
        (replaced(30, b"0\r\n0"), 87, "file goes on after the last of 4 frames"),
        (replaced(30, b"0\r\n1 2 3 4 5"), 31, "number of bodies in frame 3 .*found 5 fields"),
        (replaced(30, b"0\r\n" + X), 31, "number of bodies in frame 3 .*found 12 fields"),
        (moved_line(10, 40), 29, "expected joint 25 of 25 .*, found 1 field: '0'"),
        (joined([b"1", *lines_of(GOOD)[2:29], b"0"]), 2, "number of bodies in frame 1 .*10 fields"),
        (joined([b"1" + b" 0" * 9, *lines_of(GOOD)[3:29], b"1", b"0"]), 1, "the number of frames"),
        (without(10), 29, "expected joint 25 of 25 .*, found 1 field: '0'"),
        (replaced(10, X + b"\r\n" + X), 30, "expected the number of bodies in frame 2"),
        (replaced(10, X + b" 7"), 10, "joint 6 of 25 .12 fields., found 13 fields"),
        (replaced(10, X[:-2]), 10, "found 11 fields"),
        (replaced(10, X[:-2].replace(b" ", b"  ", 1)), 10, "found 11 fields"),
        (replaced(10, X[:-2].replace(b" ", b"  ", 1).replace(b" -", b"\r-")), 10, "11 fields"),
        (replaced(10, DOUBLE), 10, "11 fields"),
        (replaced(10, DOUBLE).replace(lines_of(GOOD)[11] + b"\r", X + b" 7"), 10, "11 fields"),
        (GOOD.replace(b"\r\n", b"\n", 1).replace(b" 0 1 1", b"  1 1", 1), 3, "found 9 fields"),
        (replaced(10, X.replace(b"0.2", b"e.5", 1)), 10, "y is 'e.5'; expected a number"),
        (replaced(10, X.replace(b"0.2", b"-e.5", 1)), 10, "y is '-e.5'; expected a number"),
        (replaced(3, b"5 0 1 1 1 1 0 0.1 0.2"), 3, "body 1 of 1 .*10 fields.*found 9 fields"),
        (replaced(3, b"5.5 0 1 1 1 1 0 0.1 0.2 2"), 3, "the body id is '5.5'; expected a 64-bit"),
        (replaced(3, b"%d 0 1 1 1 1 0 0.1 0.2 2" % 2**64), 3, "expected a 64-bit"),
        (replaced(3, b"5 0 1 1 one 1 0 0.1 0.2 2"), 3, "field 5 is 'one'; expected a number"),
        (replaced(10, X.replace(b"0.2", b"abc", 1)), 10, "y is 'abc'; expected a number"),
        (replaced(10, X.replace(b"0.2", b"0,2", 1)), 10, "y is '0,2'; expected a number"),
        (replaced(10, X.replace(b"0.2", b"0/2", 1)), 10, "y is '0/2'; expected a number"),
        (replaced(10, X.replace(b"0.2", b"0.2.1", 1)), 10, "y is '0.2.1'; expected a number"),
        (replaced(10, X.replace(b"0.2", b"--0.2", 1)), 10, "y is '--0.2'; expected a number"),
        (replaced(10, X.replace(b"0.2", b"1_0", 1)), 10, "y is '1_0'; expected a number"),
        (replaced(10, X.replace(b"0.2", b"0x10", 1)), 10, "y is '0x10'; expected a number"),
        (replaced(10, X.replace(b"0.2", b"-", 1)), 10, "y is '-'; expected a number"),
        (replaced(10, X.replace(b"0.2", b".", 1)), 10, "y is '.'; expected a number"),
        (replaced(10, X.replace(b"0.3", b"NaN", 1)), 10, "z is 'NaN'; expected a finite number"),
        (replaced(10, X.replace(b"0.1", b"-inf", 1)), 10, "x is '-inf'; expected a finite"),
        (replaced(10, X.replace(b"0.1", b"-1.#IND", 1)), 10, "x is '-1.#IND'; expected a finite"),
        (replaced(10, X.replace(b"0.1", b"1e39", 1)), 10, "x is '1e39'; expected metres, at most"),
        (replaced(10, X.replace(b"0.1", b"1e999", 1)), 10, "x is '1e999'; expected metres, at"),
        (replaced(10, X.replace(b"277.419", b"abc", 1)), 10, "field 4 is 'abc'; expected a number"),
        (replaced(10, X.replace(b"0.1", b"0\xff1", 1)), 10, "not ASCII text: '0.xff1"),
        (replaced(10, X.replace(b"0.1", b"0\0001", 1)), 10, "x is .0.x001.; expected a number"),
        (replaced(10, X.replace(b"0.1", "0\u0661".encode(), 1)), 10, "not ASCII text"),
        (replaced(10, X.replace(b"0.1", b"0.1\r", 1)[:-2]), 10, "found 11 fields"),
        (replaced(10, b""), 10, "joint 6 of 25 .12 fields., found 0 fields"),
        (replaced(10, b"0 " * 5000), 10, "longer than 4,096 bytes"),
        # in a field that nothing uses, of a line that is usual in all else
        (replaced(10, b"0.1 " * 10 + b"9" * 4060 + b" 2"), 10, "longer than 4,096 bytes"),
        (GOOD + b"1\r\n", 114, "the file goes on after the last of 4 frames"),
        (GOOD + b"\r\n\r\nx", 114, "the file goes on after the last of 4 frames"),
        (b"PK\x03\x04" + bytes(range(256)) * 40, 1, "not ASCII|number of frames"),
        (b"\xef\xbb\xbf" + GOOD, 1, "not ASCII text"),
        (GOOD.replace(b"\r\n", b"\r"), 1, "longer than"),
    ],
)  # fmt: skip
def test_damage_is_named_with_its_line(content, line, named):
    for text in (content, content.replace(b"\r\n", b"\n")):
        with pytest.raises(RawError, match=rf"^line {line}: .*({named})") as caught:
            parse_skeleton(text)
        assert caught.value.line == line and not isinstance(caught.value, NoBodyError)
        assert isinstance(caught.value, UserError) and len(str(caught.value)) < 300


@pytest.mark.parametrize("content", [b"0\r\n", b"1\r\n0\r\n", b"3\r\n0\r\n0\r\n0", b"0"])
def test_file_without_any_body_has_an_error_of_its_own(content):
    with pytest.raises(
        NoBodyError, match=r"^line 1: none of the (1 frame|[03] frames) holds a body"
    ):
        parse_skeleton(content)


def test_eight_digits_know_digits_from_all_other_bytes():
    for place in range(8):
        for byte in range(256):
            text = bytearray(b"12345678")
            text[place] = byte
            words = np.frombuffer(text, "<u8").repeat(9)
            values, digits_only = _eight_digits(words, np.arange(9))
            for length in range(9):
                kept = bytes(text[:length])
                is_number = all(byte in b"0123456789" for byte in kept)
                assert digits_only[length] == is_number
                assert not is_number or values[length] == int(kept.ljust(8, b"0"))


# ---- damaged at random --------------------------------------------------------------------------


def edited(content: bytes, rng: random.Random) -> bytes:
    """With one to three changes that leave lines and fields as such."""
    lines = [line.split(b" ") for line in content.split(b"\r\n")]
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(lines))
        line = lines[place]
        kind = rng.randrange(6)
        if kind == 0 and len(lines) > 1:
            lines.insert(rng.randrange(len(lines)), lines.pop(place))
        elif kind == 1:
            lines.insert(rng.randrange(len(lines)), list(line))
        elif kind == 2 and len(lines) > 1:
            del lines[place]
        elif kind == 3:
            line[rng.randrange(len(line))] = rng.choice(ODD_FIELDS)
        elif kind == 4:
            line.insert(rng.randrange(len(line) + 1), rng.choice(ODD_FIELDS))
        else:
            del line[rng.randrange(len(line)) :][:1]
    ending = rng.choice((b"\r\n", b"\n", b" \n"))
    return ending.join(rng.choice((b" ",) * 99 + (b"\r",)).join(line) for line in lines)


ODD_FIELDS = (
    b"",
    b"0",
    b"1",
    b"2",
    b"12",
    b"25",
    b"250",
    b"-",
    b".",
    b"e",
    b"+.5",
    b"5.",
    b"-.5e1",
)
ODD_FIELDS += (
    b"1.25",
    b"1.2.5",
    b"1..5",
    b"..5",
    b"e.5",
    b"-0",
    b"1e400",
    b"\r",
    b"1-2",
    b"9.123456789",
)


def fuzz(count: int, seed: int, reference: ModuleType, mutated: Mutated) -> tuple[int, int]:
    """Parses mutated files; what is accepted has to be what the plain parser reads."""
    rng, accepted, named = random.Random(seed), 0, 0
    for _ in range(count):
        content = (mutated if rng.random() < 0.5 else edited)(GOOD, rng)
        with np.errstate(over="ignore"):
            usual = read_fast(content)
        if usual is not None:  # the exact reader accepts it too, and reads the same
            exact = read_exact(content)
            assert usual.body_ids == exact.body_ids
            assert usual.joints.tobytes() == exact.joints.tobytes()
            assert usual.bodies_per_frame.tolist() == exact.bodies_per_frame.tolist()
        try:
            clip = parse_skeleton(content)
        except RawError as error:
            assert 1 <= error.line <= content.count(b"\n") + 1
            named += 1
        else:
            accepted += 1
            try:
                expected = reference.read_line_by_line(content)
            except ValueError:  # in fields that nothing uses, characters of a number are enough
                continue
            assert_equal(clip, expected)
    return accepted, named


def test_mutated_bytes_give_a_named_error_or_what_stands_there(reference, mutated):
    accepted, named = fuzz(400, 0, reference, mutated)
    assert accepted > 20 and named > 100


@pytest.mark.slow
def test_many_mutated_bytes_give_a_named_error_or_what_stands_there(reference, mutated):
    accepted, named = fuzz(20_000, 1, reference, mutated)
    assert accepted > 1000 and named > 5000


@pytest.mark.parametrize(
    "content",
    [
        b"\n" * 4_000_000,
        b" " * 4_000_000,
        b"0 " * 2_000_000,
        b"0\n" * 2_000_000,
        b"10\r\n" * 1_000_000,
        b"1" * 4_000_000,
        b"-1.5e3 " * 600_000,
        b"999999\n" + b"0\n" * 999_998,
        b"999999999999\r\n99999999999\r\n" + b"1 2 3 4 5 6 7 8 9 0\r\n25\r\n" * 100_000,
        b"1\n1\n" + b"0 0 0 0 0 0 0 0 0 0\n" * 200_000,
    ],
    ids=lambda content: repr(content[:12]),
)
def test_memory_and_time_are_bounded_by_the_bytes_that_are_there(content):
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(RawError):
            parse_skeleton(content)
        assert tracemalloc.get_traced_memory()[1] < 12 * len(content)
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 5


@pytest.mark.slow
def test_much_faster_than_line_by_line(reference):  # 7 to 15 times, as busy as the machine is
    content = file(*[[body(seed=seed)] for seed in range(150)])
    times = {parse_skeleton: [], reference.read_line_by_line: []}
    for _ in range(15):  # in turn, so that both see the same machine
        for parse, taken in times.items():
            start = time.perf_counter()
            parse(content)
            taken.append(time.perf_counter() - start)
    fast, plain = map(min, times.values())
    assert plain > 5 * fast
