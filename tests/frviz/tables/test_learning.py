"""When clips are learnt and forgotten, from a history written by hand; and from real runs."""

import json
from pathlib import Path

import numpy as np
import pytest

import frviz
from frcore.errors import UserError
from frcore.run import Run

# clip: right at epochs             status         first  learnt  forgettings
#  a    1 2 3 4                     learnt         1      1       0
#  b    2 4                         learnt         2      4       1
#  c    1 3                         forgotten      1      -       2
#  d    never                       never learnt   -      -       0
#  e    2, not seen at 3, 4         learnt         2      2       0
RIGHT = ["1111", "0101", "1010", "0000", "01.."]
LABELS = [0, 0, 1, 1, 2]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "config.json").write_text(json.dumps({"name": "x"}))
    labels = np.array(LABELS)
    code = np.array([list(row) for row in RIGHT]).T  # (epochs, N)
    predicted = np.where(code == ".", -1, np.where(code == "1", labels, (labels + 1) % 3))
    p_true = np.where(code == ".", np.nan, np.where(code == "1", 0.8, 0.2)).astype("float32")
    fixed = {
        "class_names": np.array(["x", "y", "z"]),
        "train_sample_ids": np.array(list("abcde")),
        "train_labels": labels,
    }
    np.savez(
        tmp_path / "history.npz", _fixed=np.array(list(fixed)), **fixed,
        epoch=np.arange(1, 5), train_predicted=predicted.astype("int16"), train_p_true=p_true,
    )  # fmt: skip
    return Run(tmp_path)


def test_history_by_hand(run: Run) -> None:
    table = frviz.learning_history(run)
    assert list(table.index) == list("abcde")
    assert table["class"].tolist() == ["x", "x", "y", "y", "z"]
    assert table["status"].tolist() == [
        "learnt", "learnt", "forgotten", "never learnt", "learnt",
    ]  # fmt: skip
    assert table["first_right"].fillna(0).tolist() == [1, 2, 1, 0, 2]
    assert table["learnt_at"].fillna(0).tolist() == [1, 4, 0, 0, 2]
    assert table["forgettings"].tolist() == [0, 1, 2, 0, 0]
    np.testing.assert_allclose(table["mean_p_true"], [0.8, 0.5, 0.5, 0.2, 0.5], atol=1e-6)
    np.testing.assert_allclose(table["last_p_true"], [0.8, 0.8, 0.2, 0.2, 0.8], atol=1e-6)


def test_curves_by_hand(run: Run) -> None:
    table = frviz.learning_curves(run, split="train")
    assert table["x"].tolist() == [0.5, 1, 0.5, 1]
    assert table["y"].tolist() == [0.5, 0, 0.5, 0]
    assert table.index.tolist() == [1, 2, 3, 4]


def test_epochs_and_clips_that_were_not_seen_do_not_count(run: Run) -> None:
    curve = frviz.learning_curves(run, split="train")["z"]  # its only clip: wrong, right, unseen
    assert curve.tolist()[:2] == [0, 1]
    assert curve[2:].isna().all()


def test_what_is_not_there_is_said(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no history of 'val'; it has: train"):
        frviz.learning_history(run, split="val")
    with pytest.raises(UserError, match="trained without FR Head"):
        frviz.calibration_history(run)
    with pytest.raises(UserError, match="No run in"):
        frviz.learning_history(tmp_path / "nowhere")


def test_calibration_history_by_hand(run: Run) -> None:
    fixed = {"spaces": np.array(["s.one", "s.two"]), "class_names": np.array(["x", "y"])}
    np.savez(
        run.path / "calibration.npz", _fixed=np.array(list(fixed)), **fixed,
        epoch=np.array([1, 2]), tp=np.array([[5, 6], [7, 8]]), fn=np.array([[1, 0], [0, 0]]),
        fp=np.array([[0, 1], [0, 0]]),
        fn_cosine=np.arange(8, dtype="float32").reshape(2, 2, 2),
        fp_cosine=-np.arange(8, dtype="float32").reshape(2, 2, 2),
    )  # fmt: skip
    table = frviz.calibration_history(run)
    assert table.index.names == ["epoch", "space", "class"]
    assert table.loc[(1, "s.two", "y")].tolist() == [6, 0, 1, 3, -3]
    assert table.loc[(2, "s.one", "x")].tolist() == [7, 0, 0, 4, -4]
    assert len(table) == 8
