import hashlib
import json

import numpy as np
import pytest

from frcore.data.benchmarks import Benchmark
from frcore.data.catalog import open_store
from frcore.data.clips import ClipRecord
from frcore.data.store import StoreError, write_store
from frcore.errors import UserError
from frcore.skeleton import Skeleton

STICK = Skeleton("stick", ("hip", "neck", "head", "hand"), ((1, 0), (2, 1), (3, 1)))
TOY = Benchmark("toy", STICK, ("wave", "bow"), 2, 8, ("xsub", "xset"))
V, C = 4, 3


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    clips = [
        ClipRecord(name, 0, rng.normal(size=(frames, V, C)), {"xsub": "train"}, {"subject": 1})
        for name, frames in zip("abcde", (5, 3, 2, 5, 1), strict=True)
    ]
    return write_store(tmp_path / "toy", TOY, clips)


def test_every_truncation_or_extension_is_refused_by_file_name(store):
    for name in ("clips.npy", "samples.csv", "store.json"):
        path = store.path / name
        content = path.read_bytes()
        for cut in range(0, len(content), max(1, len(content) // 20)):
            path.write_bytes(content[:cut])
            with pytest.raises(UserError, match=name):
                open_store(store.path)
        path.write_bytes(content + b"x")
        with pytest.raises(StoreError, match=name):
            open_store(store.path)
        path.write_bytes(content)
    assert len(open_store(store.path)) == 5


def _with_sha(path, table):
    """Writes a table together with its hash, as a hostile author would."""
    (path / "samples.csv").write_bytes(table)
    record = json.loads((path / "store.json").read_text())
    record["files"]["samples.csv"]["sha256"] = hashlib.sha256(table).hexdigest()
    (path / "store.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a,0,5,1,0,", "a,0,5,1,9,"),
        ("a,0,5,1,0,", "a,0,-5,1,0,"),
        ("a,0,5,1,0,", "a,0,9223372036854775807,2,0,"),
        ("a,0,5,1,0,", "a,0,5,3,0,"),
        ("a,0,5,1,0,", "a,2,5,1,0,"),
        ("a,0,5,1,0,", "b,0,5,1,0,"),
        ("a,0,5,1,0,", "a,0,5.5,1,0,"),
        ("label,num_frames", "num_frames,label"),
        ("train", "training"),
    ],
)
def test_hostile_tables_are_refused(store, old, new):
    table = (store.path / "samples.csv").read_text()
    assert old in table
    _with_sha(store.path, table.replace(old, new, 1).encode())
    with pytest.raises(StoreError, match=r"samples\.csv"):
        open_store(store.path)


@pytest.mark.parametrize("kind", ["object", "huge", "float64"])
def test_fault_15_hostile_arrays_are_refused_without_allocating(store, kind):
    path = store.path / "clips.npy"
    if kind == "huge":
        with path.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (2**60,)}
            np.lib.format.write_array_header_1_0(file, header)
    else:
        values = np.array([print, 1]) if kind == "object" else np.zeros(3)
        np.save(path, values, allow_pickle=True)
    record = json.loads((store.path / "store.json").read_text())
    record["files"]["clips.npy"]["bytes"] = path.stat().st_size
    (store.path / "store.json").write_text(json.dumps(record))
    with pytest.raises(StoreError, match=r"clips\.npy"):
        open_store(store.path)


def test_mutated_bytes_never_end_in_another_error(store):
    rng = np.random.default_rng(0)
    for name in ("store.json", "samples.csv"):
        path = store.path / name
        content = path.read_bytes()
        for _ in range(100):
            changed = bytearray(content)
            changed[rng.integers(len(content))] = rng.integers(256)
            path.write_bytes(changed)
            try:
                open_store(store.path)  # a changed class name, say, is still a store
            except UserError:
                continue
        path.write_bytes(content)


def test_notices_are_kept_and_may_be_missing_but_not_anything(store, tmp_path):
    made = write_store(tmp_path / "n", TOY, [ClipRecord("a", 0, store.clip("a"))], notices=["odd"])
    assert made.notices == ("odd",) and store.notices == ()
    path = made.path / "store.json"
    record = json.loads(path.read_text())
    del record["notices"]  # as an older version wrote it
    path.write_text(json.dumps(record))
    assert open_store(made.path).notices == ()
    path.write_text(json.dumps({**record, "notices": "odd"}))
    with pytest.raises(StoreError, match="expected a list, not str"):
        open_store(made.path)
