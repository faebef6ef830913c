import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from frcore.data.benchmarks import Benchmark
from frcore.data.catalog import open_store
from frcore.data.clips import ClipRecord
from frcore.data.store import write_store
from frcore.errors import UserError
from frcore.skeleton import Skeleton

STICK = Skeleton("stick", ("hip", "neck", "head", "hand"), ((1, 0), (2, 1), (3, 1)))
TOY = Benchmark("toy", STICK, ("wave", "bow"), 2, 8, ("xsub", "xset"))
V, C = 4, 3


def walk(frames, seed=0, persons=None):
    shape = (frames, V, C) if persons is None else (frames, persons, V, C)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def record(name, *, label=0, data=None, split="train", **fields):
    data = walk(4, seed=len(name)) if data is None else data
    return ClipRecord(name, label, data, {"xsub": split}, **fields)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clip", "named"),
    [
        (record("x", data=walk(4)[:, :2]), "V=2 .expected 4"),
        (record("x", data=np.zeros((4, 4, 2))), "C=2 .expected 3"),
        (record("x", data=np.ones((7, 4, 3, 2))), r"transposed: try .transpose\(0, 3, 1, 2\)"),
        (record("x", data=np.zeros((4, 3))), "2 axes"),
        (record("x", data=np.zeros((0, 4, 3))), "0 frames"),
        (record("x", data=np.zeros((4, 0, 4, 3))), "0 persons"),
        (record("x", data=np.full((4, 4, 3), "1")), "type <U1"),
        (record("x", data=np.full((4, 4, 3), 1e300)), "NaN or Inf in frame"),
        (record("x", label=-1), "label of clip 'x' is -1; expected 0..1"),
        (record("x", label=2), "is 2; expected 0..1"),
        (record("x", label=1.0), "is 1.0; expected a whole number"),
        (record("x", label=None), "is None"),
        (record("x", label=True), "is True"),
        (record(""), "sample id ''"),
        (record("a\nb"), "printable"),
        (record("x", split="training"), "'training'; expected train, val"),
        (ClipRecord("x", 0, walk(2), {"xview": "train"}), "'xview'; expected: xsub, xset"),
        (record("x", extra={"offset": 1}), "store's own"),
        (record("x", extra={"a b": 1}), "'a b'"),
    ],
)
def test_fault_11_12_13_wrong_clip_is_refused_by_name_and_value(tmp_path, clip, named):
    with pytest.raises(UserError, match=named):
        write_store(tmp_path / "toy", TOY, [clip])
    assert list(tmp_path.iterdir()) == []


def test_fault_13_all_problems_come_at_once_and_the_first_ten_are_listed(tmp_path):
    clips = [record(f"bad{i:02}", label=9) for i in range(12)] + [record("ok"), record("ok")]
    with pytest.raises(UserError) as caught:
        write_store(tmp_path / "toy", TOY, clips)
    text = str(caught.value)
    assert "13 problem(s), the first 10" in text and "bad09" in text and "bad10" not in text


def test_fault_13_duplicate_ids_are_refused(tmp_path):
    with pytest.raises(UserError, match="'ok' occurs more than once: clips 0 and 1, counted"):
        write_store(tmp_path / "toy", TOY, [record("ok"), record("ok", split="test")])


def test_no_clips_are_refused(tmp_path):
    with pytest.raises(UserError, match="no clips"):
        write_store(tmp_path / "toy", TOY, [])


def test_fault_10_nan_is_refused_naming_clip_and_frames(tmp_path):
    data = walk(6)
    data[2, 1, 0], data[5] = np.nan, np.inf
    with pytest.raises(UserError, match=r"clip 'x' has NaN or Inf in frame\(s\) 2, 5"):
        write_store(tmp_path / "toy", TOY, [record("x", data=data)])
    kept = write_store(tmp_path / "toy", TOY, [record("x", data=data)], allow_nonfinite=True)
    np.testing.assert_array_equal(kept.clip("x")[:, 0], data)


def test_fault_10_repair_interpolates_in_time_and_leaves_out_what_cannot_be(tmp_path, caplog):
    data = np.ones((5, V, C), np.float32)
    data[:, 0, 0] = [np.nan, 2, np.nan, 6, np.inf]
    hopeless = np.ones((5, V, C))
    hopeless[:, 2, 1] = np.nan
    clips = [record("mend", data=data), record("never", data=hopeless), record("ok")]
    store = write_store(tmp_path / "toy", TOY, clips, repair="interpolate")
    np.testing.assert_array_equal(store.clip("mend")[:, 0, 0, 0], [2, 2, 4, 6, 6])
    assert store.samples.sample_id.tolist() == ["mend", "ok"] and np.isnan(data[0, 0, 0])
    counts = store.record["counts"]
    assert (counts["interpolated"], counts["left_out"], store.record["left_out"]) == (
        1,
        1,
        ["never"],
    )
    assert "1 clip(s) with NaN or Inf, left out: never" in caplog.text


def test_fault_10_repair_drop_leaves_the_clips_out_and_counts_them(tmp_path, caplog):
    data = np.full((3, V, C), np.nan)
    store = write_store(
        tmp_path / "toy", TOY, [record("x", data=data), record("ok")], repair="drop"
    )
    assert store.samples.sample_id.tolist() == ["ok"] and store.record["counts"]["left_out"] == 1
    assert "left out: x" in caplog.text
    with pytest.raises(UserError, match="repair is 'dorp'"):
        write_store(tmp_path / "toy", TOY, [record("ok")], repair="dorp")


# --- persons ------------------------------------------------------------------------------------


def test_fault_12_second_person_alone_moves_to_the_first_slot(tmp_path, caplog):
    data = walk(4, persons=2)
    data[:, 0] = 0
    store = write_store(tmp_path / "toy", TOY, [record("x", data=data)])
    np.testing.assert_array_equal(store.clip("x"), data[:, 1:])
    assert "moved" in caplog.text and store.record["counts"]["persons_moved"] == 1


def test_fault_12_third_person_is_dropped_by_energy_with_a_notice(tmp_path, caplog):
    data = walk(4, persons=3)
    data[:, 0] *= 0.1  # moves least
    store = write_store(tmp_path / "toy", TOY, [record("x", data=data)])
    np.testing.assert_array_equal(store.clip("x"), data[:, 1:])
    assert "least energy dropped: x" in caplog.text


def test_fault_12_empty_persons_are_not_stored_and_empty_clips_keep_one(tmp_path, caplog):
    data = walk(4, persons=2)
    data[:, 1] = 0
    clips = [record("one", data=data), record("none", data=np.zeros((4, 2, V, C)))]
    store = write_store(tmp_path / "toy", TOY, clips)
    assert store.samples.num_persons.tolist() == [1, 1] and caplog.text == ""
    np.testing.assert_array_equal(store.clip("none"), np.zeros((4, 1, V, C)))


# --- the folder -------------------------------------------------------------------------------


def test_existing_store_survives_a_failed_replacement(tmp_path):
    store = write_store(tmp_path / "toy", TOY, [record("a")])
    before = {p.name: p.read_bytes() for p in store.path.iterdir()}
    with pytest.raises(UserError):
        write_store(store.path, TOY, [record("x", label=5)])
    with pytest.raises(ZeroDivisionError):
        write_store(store.path, TOY, (record(str(1 // i)) for i in (1, 0)))
    assert {p.name: p.read_bytes() for p in store.path.iterdir()} == before
    assert [p.name for p in store.path.parent.iterdir()] == ["toy"]


def test_store_is_replaced_whole_and_open_ones_stay_readable(tmp_path):
    store = write_store(tmp_path / "toy", TOY, [record("a")])
    old = store.clip("a").copy()
    new = write_store(store.path, TOY, [record("z")])
    assert new.samples.sample_id.tolist() == ["z"] and len(list(new.path.iterdir())) == 3
    np.testing.assert_array_equal(store.clip("a"), old)


def test_folder_with_other_files_is_never_replaced(tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="other files"):
        write_store(tmp_path / "toy", TOY, [record("a")])
    assert (tmp_path / "toy" / "thesis.tex").exists()


def test_disk_limit_while_writing_leaves_the_old_store_and_names_the_file(tmp_path):
    path = write_store(tmp_path / "toy", TOY, [record("a")]).path
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UserError, match=r"Cannot write .*toy/clips\.npy"):
            write_store(path, TOY, [record("b", data=walk(50_000))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert open_store(path).samples.sample_id.tolist() == ["a"]
    assert [p.name for p in tmp_path.iterdir()] == ["toy"]


def test_killed_writer_leaves_no_store_and_the_next_one_clears_up(tmp_path):
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2]); import test_writer as t\n"
        "def clips():\n    yield t.record('a')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "t.write_store(t.Path(sys.argv[1]), t.TOY, clips())"
    )
    here = Path(__file__).parent
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path / "toy"), str(here)])
    assert result.returncode == -signal.SIGKILL
    assert not (tmp_path / "toy").exists() and (tmp_path / ".toy.tmp").exists()
    write_store(tmp_path / "toy", TOY, [record("a")])
    assert [p.name for p in tmp_path.iterdir()] == ["toy"]


def test_second_writer_of_a_store_is_refused_by_pid(tmp_path):
    def clips():
        with pytest.raises(UserError, match=f"process {os.getpid()}"):
            write_store(tmp_path / "toy", TOY, [record("b")])
        yield record("a")

    assert write_store(tmp_path / "toy", TOY, clips()).samples.sample_id.tolist() == ["a"]


def test_unwritable_place_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write .*toy"):
        write_store(tmp_path / "file" / "toy", TOY, [record("a")])
