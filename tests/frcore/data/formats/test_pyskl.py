"""Pickles of pyskl: names, splits and joints come out; everything else is refused by name."""

import os
import pickle
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frcore.data.benchmarks import NTU60
from frcore.data.formats.findings import Findings
from frcore.data.formats.importing import import_clips
from frcore.data.formats.pyskl import open_pyskl
from frcore.errors import UserError

NAMES = ("S001C001P001R001A001", "S001C002P003R001A002", "S002C003P001R002A060")
KEPT = {"xsub_train": [NAMES[0], NAMES[2]], "xsub_val": [NAMES[1]]}
KEPT |= {"xview_train": [NAMES[1], NAMES[2]], "xview_val": [NAMES[0]]}


def annotation(name, keypoint, **fields):
    label = int(name[17:20]) - 1 if len(name) == 20 else 0
    made = {"frame_dir": name, "label": label, "keypoint": keypoint, "total_frames": 0}
    made["total_frames"] = keypoint.shape[1] if keypoint.ndim == 4 else 0
    return made | fields


@pytest.fixture
def content(walk):
    """A whole file: one person; two; two of whom the second is zero throughout."""
    clips = [walk(30), walk(12, 2), walk(20, 2)]
    clips[2][:, 1] = 0
    arrays = [clip.transpose(1, 0, 2, 3).astype(np.float16) for clip in clips]
    annotations = [annotation(n, a, extra=(1, 2)) for n, a in zip(NAMES, arrays, strict=True)]
    return {"split": KEPT, "annotations": annotations}


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_clips_labels_splits_and_columns_come_from_the_file(
    content, write_pkl, tmp_path, protocol, caplog
):
    path = write_pkl(content, protocol=protocol)
    store = import_clips("ntu60", path, root=tmp_path / "root")
    samples = store.samples
    assert samples.sample_id.tolist() == list(NAMES)
    assert samples.label.tolist() == [0, 1, 59]
    assert samples.split_xsub.tolist() == ["train", "test", "train"]
    assert samples.split_xview.tolist() == ["test", "train", "train"]
    assert samples[["setup", "camera", "subject", "replication"]].to_numpy().tolist() == [
        [1, 1, 1, 1], [1, 2, 3, 1], [2, 3, 1, 2]
    ]  # fmt: skip
    assert samples.num_persons.tolist() == [1, 2, 1]
    for name, made in zip(NAMES, content["annotations"], strict=True):
        persons = store.clip(name).shape[1]
        expected = made["keypoint"].astype(np.float32).transpose(1, 0, 2, 3)[:, :persons]
        np.testing.assert_array_equal(store.clip(name), expected)
    (notice,) = store.notices
    assert "xsub train 2 of 40,091" in notice and "xview test 1 of 18,932" in notice
    assert f"{path}: Not the published set" in caplog.text
    assert store.split("train", val_subjects=[1]).empty


def test_the_record_of_ntu120_is_kept_whole(content, write_pkl, tmp_path):
    content["split"] = {"xset_train": [NAMES[2]], "xset_val": list(NAMES[:2])}
    store = import_clips("ntu120", write_pkl(content), root=tmp_path / "root")
    assert store.benchmark.absent_person == "copy"
    assert store.samples.split_xset.tolist() == ["test", "test", "train"]
    assert (store.samples.split_xsub == "").all()  # not in the file


def test_the_absent_person_of_ntu120_is_that_of_the_recipes_and_told(
    content, write_pkl, tmp_path, caplog
):
    content["split"] = {"xset_train": list(NAMES), "xset_val": []}
    path = write_pkl(content)
    store = import_clips("ntu120", path, root=tmp_path / "root")
    told = "Clips of one person have 'copy' for the second one, .*pyskl itself has 'zero'"
    assert re.search(told, store.notices[0]) and "'copy'" in caplog.text
    content["split"] = KEPT
    store = import_clips("ntu60", write_pkl(content), root=tmp_path / "root")
    assert not any("pyskl itself" in text for text in store.notices)  # there it is the same


def test_clips_in_no_split_of_a_protocol_are_told(content, write_pkl, tmp_path):
    content["split"] = {key: [n for n in names if n != NAMES[1]] for key, names in KEPT.items()}
    content["split"]["xsub_val"] = [NAMES[1]]
    store = import_clips("ntu60", write_pkl(content), root=tmp_path / "root")
    (told,) = [text for text in store.notices if "in no split" in text]
    assert told == (
        f"1 clip(s) are in no split of xview, which neither trains nor tests on them: {NAMES[1]}."
    )
    assert store.samples.split_xview.tolist() == ["test", "", "train"]


def test_names_of_another_kind_give_no_columns_and_a_notice(content, write_pkl, tmp_path):
    content["annotations"][1]["frame_dir"] = "clip7"
    content["split"] = {"xsub_train": ["clip7"], "xsub_val": list(NAMES[::2])}
    store = import_clips("ntu60", write_pkl(content), root=tmp_path / "root")
    assert "subject" not in store.samples and "clip7" in set(store.samples.sample_id)
    assert any("do not tell setup, camera and subject" in text for text in store.notices)


def test_names_of_ntu120_alone_tell_nothing_of_ntu60(content, write_pkl, tmp_path):
    content["annotations"][1]["frame_dir"] = "S018C002P003R001A002"
    content["split"] = {"xsub_train": list(NAMES[::2])}
    store = import_clips("ntu60", write_pkl(content), root=tmp_path / "root")
    assert "subject" not in store.samples and len(store) == 3


def test_memory_stays_far_below_the_size_of_the_file(write_pkl, tmp_path):
    names = [f"S001C001P001R001A{action:03}" for action in range(1, 61)]
    keypoint = np.ones((1, 2000, 25, 3), np.float16)  # 60 of 0.3 MB
    made = [annotation(name, keypoint + np.float16(i)) for i, name in enumerate(names)]
    path = write_pkl({"split": {"xsub_train": names}, "annotations": made})
    del made
    tracemalloc.start()
    store = import_clips("ntu60", path, root=tmp_path / "root")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (store.clip(names[59]) == 60).all()
    assert path.stat().st_size > 18e6 and peak < 6e6


def test_a_split_that_the_names_contradict_is_kept_and_told(content, write_pkl, tmp_path):
    content["split"] = {"xsub_train": list(NAMES[:2]), "xsub_val": [NAMES[2]]}
    store = import_clips("ntu60", write_pkl(content), root=tmp_path / "root")
    assert store.samples.split_xsub.tolist() == ["train", "train", "test"]
    (notice,) = [text for text in store.notices if "another split than their names say" in text]
    assert notice.startswith("2 clip(s)") and NAMES[1] in notice and NAMES[2] in notice


# --- clips that cannot be used --------------------------------------------------------------------

MISTAKES = {
    "label 60; expected a whole number, 0..59": {"label": 60},
    "label True; expected": {"label": True},
    "label None; expected": {"label": None},
    "label 5, but its name says action 2: 1": {"label": 5},
    "total_frames is 11, its array has 12 frames": {"total_frames": 11},
    "total_frames is array": {"total_frames": np.arange(3)},
    "'frame_dir' is no printable text": {"frame_dir": 7},
    "its 'frame_dir' is no": {"frame_dir": "a\x1b[2Jb"},
    "its name occurs more than once": {"frame_dir": NAMES[0]},
    "'keypoint' is no array": {"keypoint": [1.0]},
    "'keypoint' is no array of": {"keypoint": np.ones((1, 12, 25, 3), np.int16)},
    "'keypoint' is no array of f": {"keypoint": "text" * 1000},
    "'keypoint' has shape (12, 25, 3); expected (M, T, 25, 3)": {"keypoint": np.ones((12, 25, 3))},
    "'keypoint' has shape (1, 12, 20, 3)": {"keypoint": np.ones((1, 12, 20, 3))},
    "'keypoint' has shape (0, 12, 25, 3)": {"keypoint": np.ones((0, 12, 25, 3))},
    "NaN or Inf in frame 0": {"keypoint": np.full((1, 12, 25, 3), np.inf)},
    "NaN or Inf in frame": {"keypoint": np.full((1, 12, 25, 3), 1e300)},
    "zeros only": {"keypoint": np.zeros((1, 12, 25, 3))},
}


@pytest.mark.parametrize(("said", "fields"), MISTAKES.items(), ids=MISTAKES)
def test_an_unusable_clip_is_named_or_left_out(content, write_pkl, tmp_path, said, fields):
    content["annotations"][1] |= fields
    content["split"] = {"xsub_train": [NAMES[0], NAMES[2]]}
    path = write_pkl(content)
    with pytest.raises(UserError) as caught:
        import_clips("ntu60", path, root=tmp_path / "root")
    assert said in str(caught.value) and "1 problem(s)" in str(caught.value)
    named = NAMES[1] if "frame_dir" not in fields else fields["frame_dir"]
    assert (named if named in NAMES else "annotations[1]") in str(caught.value)
    store = import_clips("ntu60", path, root=tmp_path / "root", skip_bad=True)
    assert store.samples.sample_id.tolist() == [NAMES[0], NAMES[2]]
    assert said[:20] in (store.path / "left_out.csv").read_text().replace('""', '"')


def test_a_sample_of_a_split_without_annotation_is_named(content, write_pkl, tmp_path):
    content["split"] = KEPT | {"xview_val": [NAMES[0], "S017C001P020R002A001"]}
    with pytest.raises(UserError, match="'S017C001P020R002A001': a split names it"):
        import_clips("ntu60", write_pkl(content), root=tmp_path / "root")
    content["split"] = KEPT | {"xview_val": [NAMES[0], "\x1b[2J"]}
    store = import_clips("ntu60", write_pkl(content), root=tmp_path / "root", skip_bad=True)
    assert len(store) == 3
    assert all(text.isprintable() for text in store.notices)


# --- files that are refused -----------------------------------------------------------------------


def test_poses_in_two_dimensions_are_refused_with_what_they_are(content, write_pkl, tmp_path):
    flat = annotation(NAMES[0], np.ones((1, 30, 17, 2), np.float16))
    flat["keypoint_score"] = np.ones((1, 30, 17), np.float16)
    content["annotations"] = [flat]
    with pytest.raises(UserError, match=r"2-D poses \(17 joints.*from_arrays.*coco17"):
        import_clips("ntu60", write_pkl(content, name="ntu60_hrnet.pkl"), root=tmp_path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"split": {**KEPT, "xset_train": []}},
            "split 'xset_train'; ntu60 has xsub_train, .*anoth",
        ),
        ({"split": {"xsub_train": [NAMES[0]], "xsub_val": [NAMES[0]]}}, f"{NAMES[0]}' is in"),
        ({"split": {"xsub_train": NAMES[0]}}, "'xsub_train' is not a list of sample names"),
        ({"split": {"xsub_train": [1]}}, "not a list of sample names"),
        ({"split": {}}, "'split' is no dictionary of lists"),
        ({"split": [NAMES[0]]}, "'split' is no dictionary"),
        ({"annotations": {}}, "'annotations' is not a list"),
        ({"annotations": [1]}, "'annotations' is not a list of dictionaries"),
        ({"annotations": []}, "a split names it"),
    ],
)
def test_another_structure_is_refused(content, write_pkl, tmp_path, changes, named):
    with pytest.raises(UserError, match=f"(?s)ntu60_3danno.pkl.*{named}"):
        import_clips("ntu60", write_pkl(content | changes), root=tmp_path / "root")


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"split": {}}, 7], ids=str)
def test_another_pickle_is_refused(write_pkl, tmp_path, content):
    with pytest.raises(UserError, match="is no pickle of pyskl"):
        import_clips("ntu60", write_pkl(content), root=tmp_path)


class Attack:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_fault_14_code_is_refused_by_name_and_not_executed(
    content, write_pkl, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    content["annotations"][0]["keypoint"] = Attack()
    with pytest.raises(UserError, match=r"system'.*nothing was executed"):
        import_clips("ntu60", write_pkl(content), root=tmp_path / "root")
    assert not (tmp_path / "executed").exists()


def test_a_protocol_is_not_taken(content, write_pkl, tmp_path):
    with pytest.raises(UserError, match="leave out --protocol"):
        import_clips("ntu60", write_pkl(content), protocol="xsub", root=tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.sampled_from([0, 2, 4, 5]),
)
def test_changed_bytes_give_clips_or_an_error_of_the_user(tmp_path, changes, protocol):
    made = annotation(NAMES[0], np.ones((1, 8, 25, 3), np.float16))
    whole = {"split": {"xsub_train": [NAMES[0]]}, "annotations": [made]}
    data = bytearray(pickle.dumps(whole, protocol))
    plain = [place for place, byte in enumerate(data) if byte not in (0, 0x3C)]  # not the ones
    for place, byte in changes:
        data[plain[int(place * (len(plain) - 1))]] = byte
    path = tmp_path / "ntu60_3danno.pkl"
    path.write_bytes(data)
    found = Findings(path, NTU60, skip_bad=True)
    try:
        with open_pyskl(path, NTU60, None) as source:
            assert len(list(found.watch(source.records(found)))) <= 1
    except UserError as error:
        assert "ntu60_3danno.pkl" in str(error)
