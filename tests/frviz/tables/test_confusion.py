"""Confusion tables, by hand and against scikit-learn."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

import frviz
from frcore.errors import UserError
from frcore.predictions import Predictions

LABELS = [0, 0, 0, 1, 1, 2, 2, 2, 2]
PREDICTED = [0, 1, 1, 1, 0, 2, 2, 1, 1]


def test_counts_by_hand(make) -> None:
    table = frviz.confusion(make(LABELS, PREDICTED, 4))
    assert table.to_numpy().tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [0, 2, 2, 0], [0, 0, 0, 0]]
    assert (table.index.name, table.columns.name) == ("true", "predicted")
    assert list(table.index) == list(table.columns) == ["c0", "c1", "c2", "c3"]


@pytest.mark.parametrize(
    ("normalize", "cell"), [("true", 2 / 3), ("predicted", 2 / 5), ("all", 2 / 9)]
)
def test_shares_by_hand(make, normalize: str, cell: float) -> None:
    table = frviz.confusion(make(LABELS, PREDICTED, 4), normalize=normalize)
    assert table.loc["c0", "c1"] == pytest.approx(cell)
    if normalize == "true":
        assert table.loc["c3"].isna().all()
    with pytest.raises(UserError, match="count, true, predicted, all"):
        frviz.confusion(make(LABELS, PREDICTED), normalize="rows")


labelled = st.integers(1, 7).flatmap(
    lambda k: st.tuples(
        st.just(k), st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), max_size=60)
    )
)


@given(labelled)
def test_equals_scikit_learn(make, case: tuple[int, list[tuple[int, int]]]) -> None:
    k, clips = case
    true, predicted = [t for t, _ in clips], [p for _, p in clips]
    x = make(true, predicted, k)
    table = frviz.confusion(x)
    classes = frviz.per_class(x)
    assert table.shape == (k, k)
    assert table.to_numpy().sum() == len(clips)
    if clips:
        if k > 1:  # it warns of one class
            np.testing.assert_array_equal(table, confusion_matrix(true, predicted, labels=range(k)))
        theirs = precision_recall_fscore_support(
            true, predicted, labels=range(k), zero_division=np.nan
        )
        ours = classes[["precision", "recall", "f1", "support"]].to_numpy().T
        np.testing.assert_allclose(ours.astype(float), np.array(theirs, float), equal_nan=True)


@given(labelled, st.randoms())
def test_the_order_of_clips_does_not_matter(make, case, random) -> None:
    k, clips = case
    shuffled = random.sample(clips, len(clips))
    tables = []
    for rows in (clips, shuffled):
        x = make([t for t, _ in rows], [p for _, p in rows], k)
        tables.append((frviz.confusion(x), frviz.per_class(x), frviz.top_confusions(x)))
    for one, other in zip(*tables, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_fault_25_a_perfect_model_one_class_and_no_clip(make) -> None:
    perfect = make([0, 1, 2], [0, 1, 2], 4)
    classes = frviz.per_class(perfect)
    assert classes["f1"].tolist()[:3] == [1, 1, 1]
    assert classes.loc["c3"].isna().tolist() == [False, False, False, True, True, True]
    assert len(frviz.top_confusions(perfect)) == 0
    assert len(frviz.top_confusions(perfect, symmetric=True)) == 0
    assert frviz.confusion(make([0, 0], [0, 0], 1)).to_numpy().tolist() == [[2]]
    assert frviz.confusion(make([], [], 2)).to_numpy().tolist() == [[0, 0], [0, 0]]


def test_top_confusions_by_hand(make) -> None:
    x = make(LABELS, PREDICTED)
    top = frviz.top_confusions(x)
    # c0 -> c1 and c2 -> c1 twice each: the class that comes first is named first
    assert top[["true", "predicted", "clips"]].to_numpy().tolist() == [
        ["c0", "c1", 2], ["c2", "c1", 2], ["c1", "c0", 1],
    ]  # fmt: skip
    np.testing.assert_allclose(top["share"], [2 / 3, 2 / 4, 1 / 2])
    both = frviz.top_confusions(x, symmetric=True, n=1)
    assert both.to_dict("records") == [
        {"class_a": "c0", "class_b": "c1", "clips": 3, "a_as_b": 2, "b_as_a": 1, "share": 3 / 5}
    ]


def test_top_k_by_hand(make) -> None:
    logits = np.array([[3, 2, 1], [1, 2, 3], [2, 3, 1]])
    x = Predictions(
        ("a", "b", "c"), np.array([1, 1, 0]), class_names=("x", "y", "z"), logits=logits
    )
    assert frviz.top_k_accuracy(x, (1, 2, 3))["accuracy"].tolist() == [0, 1, 1]
    with pytest.raises(UserError, match=r"hard predictions: give ks=\(1,\)"):
        frviz.top_k_accuracy(make([0], [0]))
    assert frviz.top_k_accuracy(make([0], [0]), (1,))["accuracy"].tolist() == [1]
    with pytest.raises(UserError, match="from 1"):
        frviz.top_k_accuracy(x, (0,))


def test_classes_of_the_same_name_stay_apart(make) -> None:
    table = frviz.confusion(make([0, 1], [0, 0], class_names=["wave", "wave"]))
    assert list(table.index) == ["wave (0)", "wave (1)"]


def test_sources(make, tmp_path: Path) -> None:
    x = make(LABELS, PREDICTED)
    saved = x.save(tmp_path / "p.npz")
    pd.testing.assert_frame_equal(frviz.confusion(saved), frviz.confusion(x))
    np.savez(tmp_path / "foreign.npz", names=list(x.sample_ids), y=LABELS, predicted=PREDICTED)
    assert frviz.confusion(tmp_path / "foreign.npz").to_numpy().tolist() == (
        frviz.confusion(x).to_numpy().tolist()
    )
    with pytest.raises(UserError, match="give a run, a path or Predictions"):
        frviz.confusion(3)
    with pytest.raises(UserError, match="nowhere"):
        frviz.confusion(tmp_path / "nowhere")
    np.save(tmp_path / "scores.npy", np.eye(3))
    with pytest.raises(UserError, match="read_scores"):
        frviz.confusion(tmp_path / "scores.npy")
