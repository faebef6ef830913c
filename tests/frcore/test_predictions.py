"""Predictions: checked at birth, matched by sample id, inert in HTML, exact through a file."""

import json
import math
import os
import zipfile

import numpy as np
import pandas as pd
import pytest

from frcore.errors import UserError
from frcore.predictions import Predictions

NAMES = ("wave", "clap", "sit")
IDS = ("a", "b", "c", "d")
LABELS = np.array([0, 1, 2, 2])
LOGITS = np.array(
    [[2, 1, 0], [3, 1, 0], [0, 1, 2], [0, 2, 1]], np.float32
)  # right, wrong, right, wrong


def make(**changes):
    fields = {"sample_ids": IDS, "labels": LABELS, "class_names": NAMES, "logits": LOGITS}
    return Predictions(**{**fields, **changes})


def test_accuracy_is_the_share_of_right_clips_and_leaves_out_copies_when_asked():
    p = make(copies=np.array([True, True, False, False]))
    assert p.predicted.tolist() == [0, 0, 2, 1]
    assert p.correct.tolist() == [True, False, True, False]
    assert p.accuracy() == 0.5
    assert p.accuracy(top=2) == 1.0  # b: 1 is second; d: 2 is second
    assert make(copies=np.array([0, 1, 0, 0], bool)).accuracy(unseen_only=True) == 2 / 3


def test_top_k_breaks_ties_like_argmax_so_that_constant_scores_win_nothing():
    p = make(logits=np.zeros((4, 3)))
    assert p.accuracy() == p.accuracy(top=1) == 0.25  # only label 0
    assert p.accuracy(top=2) == 0.5
    assert p.accuracy(top=3) == p.accuracy(top=99) == 1.0


def test_probabilities_are_the_softmax_even_of_huge_scores():
    p = make(logits=np.array([[1e30, 0, 0], [0, math.log(3), 0], [0, 0, 0], [-1e30, 0, 0]]))
    expected = [[1, 0, 0], [0.2, 0.6, 0.2], [1 / 3] * 3, [0, 0.5, 0.5]]
    np.testing.assert_allclose(p.probabilities, expected, atol=1e-7)


def test_frame_holds_a_row_a_clip_with_confidence_and_probability_of_the_truth():
    frame = make().frame()
    assert list(frame.columns) == [
        *("sample_id", "label", "class", "predicted", "predicted_class"),
        *("correct", "confidence", "p_true", "copy"),
    ]
    row = frame.set_index("sample_id").loc["b"]
    total = math.exp(3) + math.exp(1) + 1
    assert (row["class"], row["predicted_class"]) == ("clap", "wave")
    assert row["confidence"] == pytest.approx(math.exp(3) / total)
    assert row["p_true"] == pytest.approx(math.exp(1) / total)


def test_hard_predictions_have_no_scores():
    p = Predictions.from_labels(IDS, LABELS, [0, 0, 2, 1], NAMES, metadata={"benchmark": "x"})
    assert p.logits is None and p.probabilities is None and p.accuracy() == 0.5
    assert p.frame()["confidence"].isna().all()
    with pytest.raises(UserError, match="needs logits"):
        p.accuracy(top=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 1, 2, 3]}, r"outside 0..2 .*'d' = 3"),
        ({"labels": [0, -1, 2, 2]}, r"'b' = -1"),
        ({"labels": [0.5, 1, 2, 2]}, "expected integers"),
        ({"labels": [0, 1, 2]}, r"shape \(4,\); got \(3,\)"),
        ({"sample_ids": ("a", "b", "a", "d")}, "more than once: 'a'"),
        ({"sample_ids": ("a", "", "c", "d")}, "non-empty strings; 1 of 4 are not: ''"),
        ({"sample_ids": ("a", 7, "c", "d")}, "non-empty strings; 1 of 4 are not: 7"),
        ({"logits": LOGITS[:, :2]}, r"shape \(4, 3\)"),
        ({"logits": np.where(LOGITS == 3, np.nan, LOGITS)}, "NaN or infinity in 1 clips: 'b'"),
        (
            {"logits": np.where(LOGITS == 3, 1e300, LOGITS.astype(float))},
            "NaN or infinity in 1 clips: 'b'",
        ),
        ({"logits": None}, "Neither logits nor predicted"),
        ({"predicted": [0, 1, 2, 1]}, "argmax of logits for 1 of 4 clips: 'b' = 1"),
        ({"class_names": ()}, "one or more strings"),
        ({"features": {"backbone": np.zeros((3, 8))}}, r"features\['backbone'\].*\(4, D\)"),
        ({"features": {"backbone": np.full((4, 8), np.inf)}}, "finite"),
        ({"prototypes": {"fin": np.zeros((4, 8))}}, r"prototypes\['fin'\].*\(3, D\)"),
        ({"copies": [True]}, "booleans of shape"),
        ({"metadata": {"x": object()}}, "plain JSON"),
    ],
)
def test_fault_23_a_mistake_is_refused_at_birth_and_named(changes, message):
    with pytest.raises(UserError, match=message):
        make(**changes)


def test_prototypes_have_the_width_of_their_space():
    spaces = {"features": {"fin": np.zeros((4, 8))}, "prototypes": {"fin": np.zeros((3, 7))}}
    with pytest.raises(UserError, match=r"\(3, 8\)"):
        make(**spaces)


def test_only_the_first_ten_offenders_are_listed():
    ids = [f"clip{i:02}" for i in range(12)]
    with pytest.raises(UserError) as caught:
        Predictions.from_labels(ids, [9] * 12, [0] * 12, NAMES)
    assert "12 outside" in str(caught.value) and "clip09" in str(caught.value)
    assert "clip10" not in str(caught.value)


def test_arrays_are_copies_that_cannot_be_written():
    labels = LABELS.copy()
    p = make(labels=labels)
    labels[0] = 2
    assert p.labels[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        p.logits[0, 0] = 1
    with pytest.raises(AttributeError):
        p.labels = labels


def test_select_takes_ids_in_order_or_a_mask():
    p = make(features={"backbone": np.arange(8.0).reshape(4, 2)})
    assert p.select(["d", "a"]).features["backbone"].tolist() == [[6, 7], [0, 1]]
    assert p.select(~p.correct).sample_ids == ("b", "d")
    assert p.select(pd.Series(["c"])).predicted.tolist() == [2]
    assert len(p.select([])) == 0 and math.isnan(p.select([]).accuracy())
    with pytest.raises(UserError, match="1 of 2 sample ids are not here: 'x'"):
        p.select(["a", "x"])
    with pytest.raises(UserError, match="mask"):
        p.select(np.array([True]))


def test_fault_23_ensemble_matches_clips_by_id_and_adds_weighted_logits():
    other = make(logits=LOGITS[:, ::-1] * 2).select(["d", "c", "b", "a"])
    both = Predictions.ensemble([make(), other], weights=(0.6, 0.4))
    assert both.sample_ids == IDS
    np.testing.assert_allclose(both.logits, 0.6 * LOGITS + 0.8 * LOGITS[:, ::-1], rtol=1e-6)
    np.testing.assert_allclose(Predictions.ensemble([make(), make()]).logits, 2 * LOGITS)


def test_ensemble_keeps_what_members_share_and_that_one_was_selected_on_test():
    a = make(metadata={"benchmark": "x", "stream": "joint", "select": "last"})
    b = make(metadata={"benchmark": "x", "stream": "bone", "select": "test_best"})
    both = Predictions.ensemble([a, b])
    assert both.metadata["benchmark"] == "x" and "stream" not in both.metadata
    assert both.metadata["select"] == "test_best"
    assert [m["stream"] for m in both.metadata["ensemble"]] == ["joint", "bone"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"sample_ids": ("a", "b", "c", "x")}, "member 2 .*Missing 1: 'd'; foreign 1: 'x'"),
        ({"labels": [0, 1, 2, 0]}, "other labels than the first for 1 of 4 clips: 'd'"),
        ({"logits": LOGITS[:, [0, 1, 2, 2]], "class_names": (*NAMES, "run")}, "has 4 classes"),
        ({"logits": None, "predicted": [0, 0, 2, 1]}, "hard predictions only"),
    ],
)
def test_fault_23_ensemble_refuses_what_does_not_fit_and_lists_it(other, message):
    with pytest.raises(UserError, match=message):
        Predictions.ensemble([make(), make(**other)])


@pytest.mark.parametrize("weights", [(1,), (1, math.nan), (0, 0), (1, -1)])
def test_ensemble_refuses_useless_weights(weights):
    with pytest.raises(UserError, match="weights"):
        Predictions.ensemble([make(), make()], weights=weights)
    with pytest.raises(UserError, match="0 members"):
        Predictions.ensemble([])


def full():
    return make(
        sample_ids=("a\x00", "<img src=x>", "ü/\ud800", "d" * 10_000),
        features={"backbone": np.arange(8.0).reshape(4, 2), "../fin": np.ones((4, 1))},
        prototypes={"../fin": np.arange(3.0)[:, None]},
        metadata={"benchmark": "x", "epoch": np.int64(3), "accuracy": math.nan},
        copies=np.array([1, 0, 0, 0], bool),
    )


def test_a_file_gives_back_exactly_what_was_saved(tmp_path):
    p = full()
    q = Predictions.load(p.save(tmp_path / "new" / "p.npz"))
    assert (q.sample_ids, q.class_names) == (p.sample_ids, p.class_names)
    assert q.metadata["epoch"] == 3 and math.isnan(q.metadata["accuracy"])
    for name in ("labels", "logits", "predicted", "copies"):
        np.testing.assert_array_equal(getattr(q, name), getattr(p, name), strict=True)
    for kind in ("features", "prototypes"):
        assert list(getattr(q, kind)) == list(getattr(p, kind))
        for space, array in getattr(p, kind).items():
            np.testing.assert_array_equal(getattr(q, kind)[space], array, strict=True)
    assert list((tmp_path / "new").iterdir()) == [
        tmp_path / "new" / "p.npz"
    ]  # no stray temporary file
    hard = Predictions.from_labels(IDS, LABELS, [0, 0, 2, 1], NAMES)
    assert Predictions.load(hard.save(tmp_path / "hard")).logits is None
    with np.load(tmp_path / "hard", allow_pickle=False) as arrays:  # plain NumPy reads it
        assert arrays["predicted"].tolist() == [0, 0, 2, 1]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = make().save(tmp_path / "p.npz")
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "disk on fire")))
    with pytest.raises(UserError, match=r"Cannot write .*p.npz: disk on fire"):
        full().save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def rewrite(path, out, **changes):
    """Copies a predictions file with some members replaced by raw bytes (None leaves one out)."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = changes.get(name.removesuffix(".npy"), old.read(name))
            if data is not None:
                new.writestr(name, data)
    return out


def npy(array, shape=None):
    """Bytes of an .npy whose header may lie about the shape."""
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": shape or array.shape}
    text = repr(header).ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + array.tobytes()


def header(**changes):
    fields = {"format": "frcore.predictions", "version": 1, "sample_ids": IDS, "metadata": {}}
    fields |= {"class_names": NAMES, "features": [], "prototypes": [], "logits": True}
    return npy(np.frombuffer(json.dumps({**fields, **changes}).encode(), np.uint8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "labels"),
        ({"labels": npy(LABELS, (2**60,))}, "its size does not fit"),
        ({"labels": npy(LABELS, (-4,))}, "expected int64"),
        ({"labels": npy(LABELS.astype("<i4"))}, "is int32"),
        ({"labels": npy(np.array([0, 1, 2, 9]))}, "outside 0..2"),
        ({"logits": b"\x93NUMPY\x01\x00\x05\x00{'de'"}, "not a readable predictions file"),
        ({"header": npy(np.frombuffer(b"{", np.uint8))}, "not a readable"),
        ({"header": npy(np.frombuffer(b"[" * 100_000, np.uint8))}, "not a readable"),
        ({"header": header(version=2)}, "format version 2, this frcore reads 1"),
        ({"header": header(format="other")}, "not one of predictions"),
        ({"header": header(sample_ids=5)}, "not a readable"),
        ({"header": header(sample_ids=[["a"], "b", "c", "d"])}, "non-empty strings"),
        ({"header": header(features=["backbone"])}, "features_0"),
        ({"header": header(features=3)}, "not a readable"),
    ],
)
def test_a_hostile_file_is_refused_by_name(tmp_path, changes, message):
    bad = rewrite(make().save(tmp_path / "good.npz"), tmp_path / "bad.npz", **changes)
    with pytest.raises(UserError, match=message) as caught:
        Predictions.load(bad)
    assert str(bad) in str(caught.value)


def test_fault_15_a_pickled_object_array_is_refused_without_being_run(tmp_path):
    class Canary:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    np.savez(tmp_path / "bad.npz", header=np.array([Canary()], dtype=object))
    with pytest.raises(UserError, match=r"bad\.npz"):
        Predictions.load(tmp_path / "bad.npz")
    assert not (tmp_path / "canary").exists()


def test_fault_15_a_compressed_file_could_be_a_bomb_and_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "bad.npz", header=np.zeros(10_000_000, np.uint8))
    with pytest.raises(UserError, match="is compressed"):
        Predictions.load(tmp_path / "bad.npz")


def test_every_damage_of_a_byte_is_an_error_or_harmless(tmp_path):
    path = make().save(tmp_path / "p.npz")
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for position in rng.choice(len(data), 300, replace=False):
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            p = Predictions.load(path)
        except UserError as error:
            assert str(path) in str(error)
        else:
            np.testing.assert_array_equal(p.logits, LOGITS)
            assert p.sample_ids == IDS
    for cut in range(0, len(data), 97):
        path.write_bytes(data[:cut])
        with pytest.raises(UserError, match=r"p\.npz"):
            Predictions.load(path)


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"No predictions file .*none\.npz"):
        Predictions.load(tmp_path / "none.npz")
    with pytest.raises(UserError, match="Cannot read"):
        Predictions.load(tmp_path)


def test_it_introduces_itself_in_one_line():
    metadata = {"benchmark": "nw_ucla", "split": "test", "model": "ctrgcn+fr"}
    plain = make(metadata=metadata)
    assert repr(plain) == "Predictions('nw_ucla/test', ctrgcn+fr, 4 clips, 3 classes, top1=50.0%)"
    seen = make(metadata=metadata, copies=np.array([0, 1, 0, 0], bool))
    assert "top1=50.0% (unseen 66.7%)" in repr(seen)
    assert "50.0% (unseen 66.7%)" in seen._repr_html_()
    assert repr(make()) == "Predictions(4 clips, 3 classes, top1=50.0%)"
    best = make(metadata={"select": "test_best"})
    assert "selected on test" in repr(best) and "best on test" in best._repr_html_()
    assert "\n" not in repr(make(metadata={"model": "a\nb"}))


def test_fault_18_hostile_names_are_inert_in_html():
    names = (
        "<img src=x onerror=alert(1)>",
        '"><script>alert(1)</script>',
        "\u202egnp.exe" + "x" * 10_000,
    )
    page = make(class_names=names, metadata={"benchmark": "<b>", "model": "<script>"})._repr_html_()
    assert "<img" not in page and "<script" not in page and "<b>" not in page
    assert "\u202e" not in page and len(page) < 2000
