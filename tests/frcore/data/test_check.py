import json

import numpy as np
import pytest

from frcore.data.benchmarks import Benchmark
from frcore.data.check import check_store
from frcore.data.clips import ClipRecord
from frcore.data.store import write_store
from frcore.data.ucla import prepare
from frcore.errors import UserError
from frcore.skeleton import Skeleton

STICK = Skeleton("stick", ("hip", "neck", "head", "hand"), ((1, 0), (2, 1), (3, 1)))
TOY = Benchmark("toy", STICK, ("wave", "bow\x1b[2J"), 1, 8, ("xsub", "xset"))


def walk(frames=4, seed=0):
    return np.random.default_rng(seed).normal(size=(frames, 4, 3)).astype(np.float32)


@pytest.fixture
def store(tmp_path):
    """One clip of each fault; "copy" and "again" have the content of training clips t1 and t2."""
    nan = walk(seed=1)
    nan[2, 1, 0], nan[3] = np.nan, np.inf
    still = np.repeat(walk(1, seed=2), 5, axis=0)
    planar = walk(seed=3)
    planar[..., 2] = 1.5
    same = walk(seed=4)
    clips = {
        "t1": (same, 0, "train"),
        "t2": (same, 1, "train"),
        "nan": (nan, 0, "train"),
        "zero": (np.zeros((3, 4, 3)), 0, "train"),
        "one": (walk(1, seed=5), 0, "test"),
        "still": (still, 0, "train"),
        "planar": (planar, 0, "test"),
        "copy": (same, 1, "test"),
        "again": (same, 0, "val"),
        "spare": (same, 0, ""),
    }
    records = [ClipRecord(n, k, x, {"xsub": split}) for n, (x, k, split) in clips.items()]
    return write_store(tmp_path / "toy", TOY, records, allow_nonfinite=True)


def test_fault_10_every_fault_is_listed_by_clip(store):
    report = check_store(store)
    assert (report.clips, report.frames, report.lengths) == (10, 37, (1, 4.0, 5))
    assert report.nonfinite == {"nan": [2, 3]}
    assert report.empty == ["zero"] and report.single_frame == ["one"]
    assert report.flat == {"still": "no motion", "planar": "axis z constant"}
    assert report.damaged == []


def _moves_late(clip):
    clip[1] = clip[0]


def _extends_late(clip):
    clip[0, ..., 1] = clip[0, 0, 0, 1]


def _still_but_for_one_value(clip):
    clip[:] = clip[0]
    clip[-1, 0, 3, 2] += 1


def _flat_in_two_axes(clip):
    clip[..., 0], clip[..., 2] = 0, -7


def _second_person_flat(clip):
    clip[:, 1, :, 0] = clip[0, 0, 0, 0]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda clip: None, None),
        (_moves_late, None),
        (_extends_late, None),
        (_still_but_for_one_value, None),
        (_second_person_flat, None),
        (_flat_in_two_axes, "axis x and z constant"),
    ],
)
def test_a_clip_is_flat_only_if_all_of_it_is(tmp_path, change, why):
    clip = np.random.default_rng(0).normal(size=(5, 2, 4, 3)).astype(np.float32)
    change(clip)
    pair = Benchmark("pair", STICK, ("wave",), 2, 8, ("xsub",))
    report = check_store(write_store(tmp_path / "pair", pair, [ClipRecord("a", 0, clip)]))
    assert report.flat == ({} if why is None else {"a": why})
    assert report.empty == [] and report.nonfinite == {}


def test_an_empty_clip_is_not_called_flat_whatever_its_length(tmp_path):
    clips = [ClipRecord(str(n), 0, np.zeros((n, 4, 3))) for n in (1, 2, 5)]
    report = check_store(write_store(tmp_path / "toy", TOY, clips))
    assert report.empty == ["1", "2", "5"] and report.flat == {}


def test_fault_13_copies_across_the_split_are_pairs_of_test_and_training_id(store):
    report = check_store(store)
    assert report.copies == [("copy", "t1")] and report.val_copies == [("again", "t1")]
    assert report.splits == {"train": 5, "val": 1, "test": 3, "": 1}
    bow = {"label": 1, "name": TOY.class_names[1], "train": 1, "val": 0, "test": 1, "copies": 1}
    assert report.classes[1] == bow
    assert report.classes[0]["copies"] == 0 and report.classes[0]["test"] == 2
    assert check_store(store, "xset").copies == []


def test_report_is_json_text_and_one_line(store):
    report = check_store(store)
    fields = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert fields["copies"] == [["copy", "t1"]] and fields["nonfinite"] == {"nan": [2, 3]}
    assert "\n" not in repr(report) and repr(report).startswith(
        "StoreReport('toy/xsub', 10 clips, 1 "
    )
    text = str(report)
    assert (
        "copy = t1" in text and "nan (frames 2, 3)" in text and "planar (axis z constant)" in text
    )
    assert "\x1b" not in text and "class 1 'bow?[2J': 1 of 1 test clips are copies" in text


def test_changed_values_are_found(store):
    with (store.path / "clips.npy").open("r+b") as file:
        file.seek(-4, 2)
        file.write(np.float32(7).tobytes())
    assert check_store(store).damaged == ["spare"]


def test_unknown_protocol_names_the_choices(store):
    with pytest.raises(UserError, match="Did you mean 'xsub'"):
        check_store(store, "xsubj")


def test_nw_ucla_has_95_copies_and_two_single_frames(reference, tmp_path):
    report = check_store(prepare(reference / "data/nw_ucla/all_sqe.zip", root=tmp_path))
    assert report.clips == 1484 and report.splits == {"train": 1020, "val": 0, "test": 464}
    assert len(report.copies) == 95
    assert all(test == train[:-1] + "3" and train[-1] == "2" for test, train in report.copies)
    assert [row["copies"] for row in report.classes] == [0, 50, 45, 0, 0, 0, 0, 0, 0, 0]
    assert report.single_frame == ["a02_s09_e04_v02", "a02_s09_e04_v03"]
    assert not report.nonfinite and not report.empty and not report.damaged
