import numpy as np
import pytest

from frcore.data.arrays import from_arrays
from frcore.data.catalog import open_store
from frcore.errors import UserError
from frcore.skeleton import COCO17, Skeleton

STICK = Skeleton("stick", ("hip", "neck", "head", "hand"), ((1, 0), (2, 1), (3, 1)))


def walk(frames, *, seed=0, shape=(4, 2)):
    return np.random.default_rng(seed).normal(size=(frames, *shape)).astype(np.float32)


CLIPS = [walk(t, seed=t) for t in (3, 5, 4, 6)]
LABELS = [0, 1, 1, 0]
SPLIT = ["train", "test", "train", "val"]


def make(tmp_path, name="gestures", clips=CLIPS, labels=LABELS, ids=None, **fields):
    defaults = {"split": SPLIT, "skeleton": STICK, "root": tmp_path}
    return from_arrays(name, clips, labels, ids, **(defaults | fields))


def test_own_data_open_by_name_with_ids_counted_within_splits(tmp_path):
    made = make(tmp_path, class_names=("wave", "bow"), num_frames=16)
    store = open_store("gestures", root=tmp_path)
    assert store.fingerprint == made.fingerprint
    expected = ["train/000000", "test/000000", "train/000001", "val/000000"]
    assert store.samples.sample_id.tolist() == expected
    assert store.split("train").label.tolist() == [0, 1]
    np.testing.assert_array_equal(store.clip("train/000001")[:, 0], CLIPS[2])
    record = store.benchmark
    assert (record.num_classes, record.num_persons, record.num_frames) == (2, 1, 16)
    assert record.channels == 2 and record.skeleton == STICK
    assert record.class_names == ("wave", "bow")


def test_persons_are_the_last_axis_and_only_those_who_appear(tmp_path):
    clips = [walk(5, shape=(4, 3, 3)), walk(4, shape=(4, 3))]
    clips[0][..., 1] = 0
    store = make(tmp_path, clips=clips, labels=[0, 1], split=["train", "test"])
    assert store.benchmark.num_persons == 2 and store.benchmark.channels == 3
    stored = store.clip("train/000000")  # (T, M, V, C)
    np.testing.assert_array_equal(stored[:, 0], clips[0][..., 0])
    np.testing.assert_array_equal(stored[:, 1], clips[0][..., 2])


def test_scores_in_the_place_of_z_are_pointed_out(tmp_path, caplog):
    pixels = [100 * np.abs(walk(t, seed=t, shape=(4, 3))) for t in (3, 5, 4, 6)]
    make(tmp_path, "depth", clips=pixels)
    assert "score" not in caplog.text
    for clip in pixels:
        clip[..., 2] = np.clip(clip[..., 2], 0, 1)
    make(tmp_path, "keypoints", clips=pixels)
    assert "score of a keypoint detector" in caplog.text
    caplog.clear()
    make(tmp_path, "flat", clips=[clip[:, :, :2] for clip in pixels])
    make(tmp_path, "unit", clips=[clip / 1000 for clip in pixels])  # x and y are as small
    assert "score" not in caplog.text


def test_known_skeletons_go_by_name(tmp_path):
    clips = np.ones((2, 5, 17, 2))  # one array of equally long clips
    store = make(tmp_path, clips=clips, labels=np.array([0, 2]), split=["train"] * 2,
                 skeleton="coco17")  # fmt: skip
    assert store.benchmark.skeleton == COCO17
    assert store.benchmark.class_names == ("0", "1", "2")


def test_split_by_id_and_subjects(tmp_path):
    split = dict(zip("abcd", SPLIT, strict=True))
    store = make(tmp_path, ids=list("abcd"), split=split, subjects=["ann", "bob", "cem", "bob"])
    assert store.split("train").sample_id.tolist() == ["a", "c"]
    assert store.split("val", val_subjects=["cem"]).sample_id.tolist() == ["c", "d"]


def test_split_by_id_must_cover_exactly_the_clips(tmp_path):
    with pytest.raises(UserError) as caught:
        make(
            tmp_path, ids=list("abcd"), split={"a": "train", "b": "test", "c": "train", "z": "val"}
        )
    assert "'d' has no entry" in str(caught.value) and "'z', which is no clip" in str(caught.value)
    with pytest.raises(UserError, match="pass sample_ids too"):
        make(tmp_path, split={"a": "train"})


def test_existing_data_are_replaced_only_on_request(tmp_path, caplog):
    made = make(tmp_path)
    again = make(tmp_path)  # a notebook's cell, run twice
    assert again.fingerprint == made.fingerprint and again.path == made.path
    for change in (
        {"labels": [0, 0, 0, 0]},
        {"clips": [*CLIPS[:3], CLIPS[3] + 1]},
        {"class_names": ("a", "b")},
        {"num_frames": 9},
        {"subjects": [1, 2, 3, 4]},
    ):
        with pytest.raises(UserError, match="holds something else; pass overwrite=True"):
            make(tmp_path, **change)
    assert open_store("gestures", root=tmp_path).fingerprint == made.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["gestures"]
    store = make(tmp_path, labels=[0, 0, 0, 0], overwrite=True)
    assert store.samples.label.tolist() == [0] * 4 and "Replacing" in caplog.text


def test_an_empty_folder_and_what_a_killed_comparison_left_are_no_store(tmp_path):
    (tmp_path / "gestures").mkdir()
    made = make(tmp_path)
    (tmp_path / ".gestures.compare" / "gestures").mkdir(parents=True)
    (tmp_path / ".gestures.compare" / "gestures" / "clips.npy").touch()
    assert make(tmp_path).fingerprint == made.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["gestures"]


@pytest.mark.parametrize(
    "name", ["nw_ucla", "ntu120", "synthetic", "../x", "a/b", "", ".hidden", "CON:"]
)
def test_unsafe_and_built_in_names_are_refused(tmp_path, name):
    with pytest.raises(UserError):
        make(tmp_path, name=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"labels": [0, 1]}, "4 clips, but 2 labels"),
        ({"ids": ["a"], "subjects": [1, 2]}, "1 sample_ids, 2 subjects"),
        ({"split": ["train"]}, "1 split"),
        ({"split": "train"}, "for each clip"),
        ({"split": ["train", "test", "train", "dev"]}, "'dev'; expected train, val, test"),
        ({"labels": [0, 1, 2, -1], "class_names": ["a", "b"]}, "is 2; expected 0..1"),
        ({"labels": [0, 1, 1.5, 0]}, "is 1.5; expected a whole number"),
        ({"labels": [0, 1, None, 0]}, "is None; expected a whole number"),
        ({"labels": [0, 1, np.nan, 0]}, "is nan; expected a whole number"),
        ({"labels": [0, 1, 10**9, 0]}, "largest label is 1000000000"),
        ({"ids": ["a", "b", "b", "c"]}, "'b' occurs more than once"),
        ({"ids": [1, 2, 3, 4]}, "sample id 1 is not"),
        ({"skeleton": "coco"}, "Did you mean 'coco17'"),
        ({"clips": [], "labels": [], "split": []}, "no clips"),
        ({"num_frames": 0}, "num_frames"),
        ({"class_names": "ab"}, "class_names is one text, 'ab'"),
        ({"clips": [clip.reshape(len(clip), -1) for clip in CLIPS]}, r"has 2 axes .* \(T, V=4, C="),
    ],
)
def test_fault_13_mistakes_are_named_with_value_and_choices(tmp_path, fields, named):
    with pytest.raises(UserError, match=named):
        make(tmp_path, **fields)
    assert list(tmp_path.iterdir()) == []


def test_fault_11_clips_with_the_coordinates_first_get_the_transposition_that_fits(tmp_path):
    clips = [clip.transpose(2, 0, 1) for clip in CLIPS]  # (C, T, V)
    with pytest.raises(UserError, match=r"'train/000000' has shape .* try .transpose\(1, 2, 0\)"):
        make(tmp_path, clips=clips)
    clips = [clip[None] for clip in CLIPS]  # (M, T, V, C)
    with pytest.raises(UserError, match=r"try .transpose\(1, 2, 3, 0\)"):
        make(tmp_path, clips=clips)


@pytest.mark.parametrize("joints", [20, 24, 26])
def test_fault_11_another_number_of_joints_than_the_body_has_is_named(tmp_path, joints):
    clips = [walk(9, shape=(joints, 3))] * 4
    with pytest.raises(UserError, match=rf"V={joints} \(expected 25\)"):
        make(tmp_path, clips=clips, skeleton="ntu25")
    with pytest.raises(UserError, match=r"C=4 .*\(T, V=25, C=2 or C=3\)|C=4"):
        make(tmp_path, clips=[walk(9, shape=(25, 4))] * 4, skeleton="ntu25")
    with pytest.raises(UserError, match=r"try .transpose\(2, 1, 0\)"):
        make(tmp_path, clips=[walk(3, shape=(25, 9))] * 4, skeleton="ntu25")


def test_problems_of_all_clips_come_at_once_in_the_users_axes(tmp_path):
    bad = [walk(3), walk(3, shape=(5, 2)), walk(3, shape=(2, 4)), walk(3, shape=(2, 4, 1))]
    with pytest.raises(UserError) as caught:
        make(tmp_path, clips=bad, labels=[7, 0, 0, 0], class_names=["a", "b"])
    text = str(caught.value)
    assert "4 problem(s)" in text and "'train/000000' is 7" in text
    assert "V=5 (expected 4)" in text and ".transpose(0, 2, 1)" in text
    assert "(T, V=4, C=2, M)" in text and ".transpose(0, 2, 1, 3)" in text


def test_fault_10_nan_is_refused_or_mended(tmp_path):
    clips = [c.copy() for c in CLIPS]
    clips[1][2] = np.nan
    with pytest.raises(UserError, match=r"'test/000000' has NaN or Inf in frame\(s\) 2"):
        make(tmp_path, clips=clips)
    store = make(tmp_path, clips=clips, repair="interpolate")
    expected = (clips[1][1] + clips[1][3]) / 2
    np.testing.assert_allclose(store.clip("test/000000")[2, 0], expected, rtol=1e-6)
