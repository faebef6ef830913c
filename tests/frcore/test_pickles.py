"""Pickles of others: data come out as they are, everything else is refused by name."""

import collections
import contextlib
import json
import os
import pickle
import pickletools
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frcore import pickles
from frcore.errors import UserError
from frcore.pickled_arrays import StoredArray
from frcore.pickles import read_pickle

ROOT = Path(__file__).resolve().parents[2]
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def read(tmp_path: Path, data: bytes) -> Any:
    path = tmp_path / "file.pkl"
    path.write_bytes(data)
    return read_pickle(path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, "b": [1.5, None, True, "text"], "c": (b"bytes", -(2**70))},
        [{"file_name": "a01_s01_e00_v01", "length": 21, "label": 5}],
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        np.array(["S001", "S002"]),
        np.array([True, False]),
        np.zeros((0, 3)),
        {np.int64(3): np.float32([0.25, -1])},
        collections.OrderedDict([("b", 1), ("a", 2)]),
    ],
    ids=str,
)
def test_data_come_out_as_they_went_in(tmp_path: Path, protocol: int, value: Any) -> None:
    assert_same(read(tmp_path, pickle.dumps(value, protocol)), value)


def assert_same(found: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        assert found.dtype == value.dtype
        np.testing.assert_array_equal(found, value)
    elif isinstance(value, dict):
        assert list(found) == list(value)
        for key in value:
            assert_same(found[key], value[key])
    else:
        assert found == value


def test_python_2_wrote_bytes_as_text(tmp_path: Path) -> None:
    # What Python 2 and NumPy 1 made of np.array([1.0], dtype="<f4"), protocol 2.
    old = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85"
        b"U\x01b\x87Rq\x03(K\x01K\x01\x85cnumpy\ndtype\nq\x04U\x02f4K\x00K\x01\x87R(K\x03U\x01<"
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x00\x00\x80?tb."
    )
    np.testing.assert_array_equal(read(tmp_path, old), np.float32([1]))


class Reduce:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("function", "named"),
    [
        (os.system, f"{os.system.__module__}.system"),
        (eval, "eval"),
        (getattr, "getattr"),
        (np.load, "numpy"),
        (np.array, "array"),
        (pickle.loads, "loads"),
    ],
)
def test_fault_14_a_call_is_refused_by_name_and_not_made(
    tmp_path: Path, protocol: int, function: Any, named: str
) -> None:
    witness = tmp_path / "executed"
    arguments = (f"touch {witness}",) if function is os.system else ("0",)
    with pytest.raises(UserError, match=named) as caught:
        read(tmp_path, pickle.dumps({"x": Reduce(function, *arguments)}, protocol))
    assert "nothing was executed" in str(caught.value)
    assert "file.pkl" in str(caught.value)
    assert not witness.exists()


GLOBAL = b"cnumpy.core.multiarray\n_reconstruct\n"
HOSTILE = {
    "sets an attribute of a builder": GLOBAL + b"(N}S'x'\nI1\nstb.",
    "gives a builder a dictionary": GLOBAL + b"}S'x'\nI1\nsb.",
    "returns a builder": GLOBAL + b".",
    "makes an instance": b"\x80\x02" + GLOBAL + b")\x81.",
    "old instance": b"(inumpy.core.multiarray\n_reconstruct\n.",
    "persistent id": b"Pfile\n.",
    "extension": b"\x80\x02\x82\x01.",
    "huge bytes": b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\x00\x00.",
    "calls ndarray": b"cnumpy\nndarray\n(I10\ntR.",
    "an array of objects": b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.",
    "a dtype for itself": b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR.",
    "an array without content": GLOBAL + b"(cnumpy\nndarray\n(I0\ntS'b'\ntR.",
    "a scalar of the wrong size": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'f4'\nI0\nI1"
    b"\ntRS'ab'\ntR.",
    "another encoding": b"c_codecs\nencode\n(S'x'\nS'zlib'\ntR.",
    "a dictionary of itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    "hashes a tuple of tuples": b"\x80\x02}(K\x01" + b"q\x00h\x00\x86" * 70 + b"K\x02u.",
    "hashes a deep tuple": b"\x80\x02}N" + b"\x85" * 400_000 + b"Ns.",
    "doubles": b"\x80\x02}N" + b"2\x86" * 70 + b"Ns.",
    "a type of tuples": b"cnumpy\ndtype\n(K\x01" + b"q\x00h\x00\x86" * 70 + b"tR.",
    "a set": b"\x80\x04\x8f.",
    "too little on the stack": b"\x80\x02N\x87.",
    "a list of a tuple": b"\x80\x02)Na.",
    "a deep list": b"\x80\x02" + b"]" * 30 + b"a" * 29 + b".",
    "a call of text": b"\x80\x02U\x01x)R.",
    "nothing": b"",
    "cut": pickle.dumps([1.0] * 100)[:-20],
    "no pickle": b"sample_id,label\n",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_fault_14_hostile_and_damaged_files_are_errors_of_the_user(
    tmp_path: Path, data: bytes
) -> None:
    with pytest.raises(UserError, match=r"file\.pkl"):
        read(tmp_path, data)


NESTED = Reduce(getattr, Reduce(__import__, "os"), "system")  # a call as the argument of a call
BOMBS = {
    "nested calls": pickle.dumps([Reduce(map, NESTED, ["touch executed"])], 4),
    "a stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0etouch executed\x85R.",
    "a stack global from the memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93)R.",
    "lists of lists": b"\x80\x02](" + b"]q\x00" + b"(h\x00h\x00eq\x00" * 60 + b"e.",
    "a long memo": b"\x80\x02N" + b"".join(b"r" + n.to_bytes(4, "little") for n in range(99_999)),
    "much text": b"\x80\x02(" + b"X\x00\x00\x10\x00" + b"x" * 2**20 + b"2" * 100_000 + b"l.",
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells the peak of memory")
def test_fault_14_hostile_files_take_less_than_2_seconds_and_200_mb(tmp_path: Path) -> None:
    for number, data in enumerate([*HOSTILE.values(), *BOMBS.values()]):
        (tmp_path / f"{number}.pkl").write_bytes(data)
    code = (
        "import json, time\n"
        "from pathlib import Path\n"
        "from frcore.errors import UserError\n"
        "from frcore.pickles import read_pickle\n"
        "taken = []\n"
        "for path in sorted(Path.cwd().glob('*.pkl')):\n"
        "    for lazy in (False, True):\n"
        "        begin = time.process_time()\n"
        "        try:\n"
        "            read_pickle(path, lazy=lazy)\n"
        "            taken.append([path.name, 'read'])\n"
        "        except UserError:\n"
        "            taken.append([path.name, time.process_time() - begin])\n"
        "status = Path('/proc/self/status').read_text()\n"
        "peak = int(status.partition('VmHWM:')[2].split()[0])\n"  # maxrss counts the parent's too
        "print(json.dumps([taken, 1024 * peak]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    taken, peak = json.loads(done.stdout)
    assert len(taken) == 2 * (len(HOSTILE) + len(BOMBS))
    assert [name for name, seconds in taken if seconds == "read"] == []
    assert max(seconds for _, seconds in taken) < 2
    assert peak < 200e6
    assert not (tmp_path / "executed").exists()


def test_a_huge_memo_number_costs_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, b"\x80\x02Nr\xff\xff\xff\x7f.") is None


def test_an_array_that_declares_more_than_it_has_is_refused(tmp_path: Path) -> None:
    good = pickle.dumps(np.zeros(10, "f4"), 2)
    assert good.count(b"K\x0a") == 1  # the length, as BININT1
    with pytest.raises(UserError, match="bytes do not make"):
        read(tmp_path, good.replace(b"K\x0a", b"K\xfa"))


def test_what_a_list_repeats_is_converted_once(tmp_path: Path) -> None:
    row: list[Any] = [0]
    for _ in range(6):
        row = [row] * 200  # 200 ** 6 elements when written out
    found = read(tmp_path, pickle.dumps(row))
    assert found[0] is found[199]


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_changed_bytes_give_data_or_an_error_of_the_user(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, place: int, byte: int
) -> None:
    data = bytearray(pickle.dumps({"a": np.arange(3.0), "b": ["x", 1]}, 2) + tail)
    data[place % len(data)] = byte
    with contextlib.suppress(UserError):
        read(tmp_path_factory.mktemp("fuzz"), bytes(data))


# --- large files, left on the disk until wanted ---------------------------------------------------


def read_lazily(tmp_path: Path, data: bytes) -> Any:
    path = tmp_path / "file.pkl"
    path.write_bytes(data)
    return read_pickle(path, lazy=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6000, dtype=np.float16).reshape(2, 30, 100),
        np.asfortranarray(np.arange(3000, dtype=">i2").reshape(30, 100)),
        np.arange(2400).reshape(20, 30, 4).transpose(2, 0, 1),
        np.array(["S001C001", "S002C001"] * 200),
        np.arange(6, dtype=np.float32),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_arrays_read_lazily_are_the_same(tmp_path: Path, protocol: int, array: Any) -> None:
    found = read_lazily(tmp_path, pickle.dumps({"a": array, "b": [1, "x"]}, protocol))
    assert found["b"] == [1, "x"]
    assert found["a"].shape == array.shape and found["a"].dtype == array.dtype
    assert_same(np.asarray(found["a"]), array)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_large_arrays_stay_in_the_file(tmp_path: Path, protocol: int) -> None:
    arrays = [np.full((200, 1000), number, dtype=np.float32) for number in range(40)]  # 32 MB
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol))
    tracemalloc.start()
    found = read_pickle(path, lazy=True)
    for number, array in enumerate(found):
        assert isinstance(array, StoredArray)
        assert np.asarray(array, dtype=np.float64).mean() == number
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6  # a few arrays


@pytest.mark.parametrize("what", sorted(HOSTILE.keys() - {"hashes a deep tuple"}))  # a second each
def test_hostile_files_are_refused_lazily_too(tmp_path: Path, what: str) -> None:
    data = HOSTILE[what]
    with pytest.raises(UserError, match=r"file\.pkl"):
        read_lazily(tmp_path, data)


@pytest.mark.parametrize("size", [100, 4000])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_lazy_array_that_declares_another_size_is_refused(
    tmp_path: Path, size: int, protocol: int
) -> None:
    good = pickle.dumps(np.zeros(size, "f4"), protocol)
    number = pickle.dumps(size, 2)[2:-1]
    assert number in good
    with pytest.raises(UserError, match="bytes do not make"):
        read_lazily(tmp_path, good.replace(number, pickle.dumps(size + 1, 2)[2:-1]))


@pytest.mark.parametrize("read", [read, read_lazily])
def test_an_order_of_axes_that_is_none_is_refused(tmp_path: Path, read: Any) -> None:
    good = pickle.dumps(np.zeros((9, 20, 30)).transpose(2, 0, 1), 5)
    assert good.count(b"K\x02K\x00K\x01\x87") == 1
    with pytest.raises(UserError, match=r"file\.pkl"):
        read(tmp_path, good.replace(b"K\x02K\x00K\x01\x87", b"K\x02K\x00K\x00\x87"))


def test_bytes_beyond_the_end_are_not_allocated(tmp_path: Path) -> None:
    for code, width in ((b"X", 4), (b"B", 4), (b"\x8d", 8), (b"\x8e", 8), (b"\x96", 8)):
        claim = (2**31).to_bytes(width, "little")
        with pytest.raises(UserError, match="2147483648 bytes are announced, 2 are there"):
            read_lazily(tmp_path, b"\x80\x05" + code + claim + b"a.")


def test_long_text_that_is_no_bytes_is_an_error_when_it_is_wanted(tmp_path: Path) -> None:
    good = pickle.dumps(np.ones(2000, "u1"), 2)
    changed = good.replace(b"\x01" * 2000, "\u0416".encode() * 1000)
    assert len(changed) == len(good)
    with pytest.raises(UserError, match="1000 bytes do not make"):
        read_lazily(tmp_path, changed)
    place = changed.index(b"M\xd0\x07")  # the shape
    found = read_lazily(tmp_path, changed[:place] + b"M\xe8\x03" + changed[place + 3 :])
    with pytest.raises(ValueError, match="latin-1"):
        np.asarray(found)


def test_operations_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frcore.pickles.MAX_STEPS", 1000)
    assert len(read(tmp_path, b"\x80\x02](" + b"K\x01" * 990 + b"e.")) == 990
    with pytest.raises(UserError, match="more than 1,000 operations"):
        read(tmp_path, b"\x80\x02]" + b"]" * 1000 + b".")


def test_the_published_files_need_no_more_than_the_table(reference: Path) -> None:
    for name in ("joint/epoch1_test_score.pkl", "bone/epoch1_test_score.pkl", "val_label.pkl"):
        path = reference / "data" / "scores" / "nw_ucla" / name
        named = {
            argument for opcode, argument, _ in pickletools.genops(path.read_bytes())
            if opcode.name == "GLOBAL"
        }  # fmt: skip
        assert named <= {
            "numpy dtype",
            "numpy ndarray",
            "numpy.core.multiarray scalar",
            "numpy.core.multiarray _reconstruct",
        }
        assert len(read_pickle(path)) == 464


def test_a_bar_follows_the_file_to_its_end(tmp_path, monkeypatch):
    class Bar(pickles.tqdm):
        def update(self, n=1):
            super().update(n)
            seen.append((self.n, self.total, self.desc))

    seen = []
    monkeypatch.setattr(pickles, "tqdm", Bar)
    monkeypatch.setattr(pickles, "_STEPS_A_LOOK", 100)
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps([*range(300), np.zeros(5000)]))
    size = path.stat().st_size
    for lazy in (True, False):
        seen.clear()
        read_pickle(path, lazy=lazy)
        places = [place for place, *_ in seen]
        assert len(places) >= 4 and places == sorted(places)
        assert seen[-1] == (size, size, "file.pkl")
