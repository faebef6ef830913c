"""Published score files become predictions, joined by id; what does not fit is listed."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import frcore
from frcore import Predictions, UserError, ensemble_weights, read_scores
from frcore.predictions_file import write_csv

SCORES = np.float32([[0.1, 2.0, 0.0], [3.0, 0.0, 1.0], [0.0, 0.5, 0.25], [0.0, 1.0, 4.0]])
IDS = ["a", "b", "c", "d"]
LABELS = [1, 0, 2, 2]


def dump(path: Path, value: Any) -> Path:
    path.write_bytes(pickle.dumps(value))
    return path


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A `val_label.pkl`: labels from 1."""
    rows = [{"file_name": n, "length": 9, "label": k + 1} for n, k in zip(IDS, LABELS, strict=True)]
    return dump(tmp_path / "val_label.pkl", rows)


def check(found: Predictions) -> None:
    assert found.sample_ids == tuple(IDS)
    np.testing.assert_array_equal(found.labels, LABELS)
    np.testing.assert_array_equal(found.logits, SCORES)
    assert found.accuracy() == 3 / 4


@pytest.mark.parametrize(
    ("stream", "right"), [("joint", 438), ("bone", 432)], ids=["joint", "bone"]
)
def test_published_nw_ucla_scores(reference: Path, stream: str, right: int) -> None:
    folder = reference / "data" / "scores" / "nw_ucla"
    found = read_scores(
        folder / stream / "epoch1_test_score.pkl",
        labels=folder / "val_label.pkl",
        benchmark="nw_ucla",
    )
    assert (int(found.correct.sum()), len(found)) == (right, 464)
    assert found.sample_ids[0] == "a05_s04_e02_v03"
    assert found.class_names[found.labels[0]] == "sit down"  # action a05 is the fifth class
    assert found.logits.shape == (464, 10)


def test_published_streams_together_beat_each(reference: Path) -> None:
    folder = reference / "data" / "scores" / "nw_ucla"
    streams = ("joint", "bone")
    members = [
        read_scores(folder / s / "epoch1_test_score.pkl", labels=folder / "val_label.pkl")
        for s in streams
    ]
    both = Predictions.ensemble(members, weights=ensemble_weights("nw_ucla", streams=streams))
    scores = sum(0.6 * m.logits.astype(float) for m in members)
    assert both.accuracy() == (scores.argmax(1) == members[0].labels).mean()
    assert both.accuracy() > max(m.accuracy() for m in members)


@pytest.mark.parametrize(("name", "percent"), [("agcn_joint", 85.78), ("agcn_bone", 86.65)])
def test_published_ntu60_predictions(reference: Path, name: str, percent: float) -> None:
    path = reference / "data" / "scores" / "ntu60_xsub_predictions.npz"
    found = read_scores(path, scores=name)
    assert (len(found), found.num_classes, found.logits) == (16_487, 60, None)
    assert round(100 * found.accuracy(), 2) == percent
    assert found.sample_ids[1] == "S001C001P003R001A002"


@pytest.fixture(scope="module")
def nw_ucla(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the real NW-UCLA."""
    from frcore.data import ucla

    root = tmp_path_factory.mktemp("nw_ucla")
    ucla.prepare(reference / "data" / "nw_ucla" / "all_sqe.zip", root=root)
    return root


@pytest.mark.parametrize(("stream", "percent"), [("joint", 92.95), ("bone", None)])
def test_published_nw_ucla_scores_on_unseen_clips(
    reference: Path, nw_ucla: Path, monkeypatch, caplog, stream: str, percent: float | None
) -> None:
    monkeypatch.setenv("FRCORE_DATA", str(nw_ucla))
    folder = reference / "data" / "scores" / "nw_ucla"
    where = (folder / stream / "epoch1_test_score.pkl", folder / "val_label.pkl")
    found = read_scores(*where, benchmark="nw_ucla")
    # all of a02 and a03 in view 3 equal the files of the same name in view 2
    assert found.copies.tolist() == [n.startswith(("a02", "a03")) for n in found.sample_ids]
    assert found.copies.sum() == 95
    right = sum(found.correct[row] for row in range(464) if not found.copies[row])
    assert found.accuracy(unseen_only=True) == right / 369
    assert percent is None or round(100 * found.accuracy(unseen_only=True), 2) == percent
    store = frcore.data.open_store("nw_ucla")
    assert found.metadata == {
        "source": f"{stream}/epoch1_test_score.pkl",
        "benchmark": "nw_ucla",
        "split": "test",
        "protocol": "xview",
        "fingerprint": store.fingerprint,
    }
    assert caplog.text == ""
    assert not read_scores(*where).copies.any()  # of no benchmark that is named


def test_copies_that_cannot_be_known_are_spoken_of(
    reference: Path, nw_ucla: Path, tmp_path: Path, monkeypatch, caplog
) -> None:
    folder = reference / "data" / "scores" / "nw_ucla"
    where = (folder / "joint" / "epoch1_test_score.pkl", folder / "val_label.pkl")
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path))
    found = read_scores(*where, benchmark="nw_ucla")
    assert "not known" in caplog.text and "frcore data prepare nw_ucla" in caplog.text
    assert caplog.text.count("\n") == 1
    assert not found.copies.any() and "fingerprint" not in found.metadata
    monkeypatch.setenv("FRCORE_DATA", str(nw_ucla))
    caplog.clear()
    np.save(tmp_path / "s.npy", found.logits)
    nameless = read_scores(tmp_path / "s.npy", labels=found.labels, benchmark="nw_ucla")
    assert "does not hold 464 of the 464 clips: 'test/000000'" in caplog.text
    assert nameless.sample_ids[0] == "test/000000" and not nameless.copies.any()
    caplog.clear()
    wrong = dict(zip(found.sample_ids, (found.labels + 1) % 10, strict=True))
    assert not read_scores(where[0], labels=wrong, benchmark="nw_ucla").copies.any()
    assert "464 of the 464 clips have other labels" in caplog.text
    caplog.clear()
    val = read_scores(*where, benchmark="nw_ucla", metadata={"split": "val"})
    assert "do not lie within one split (val)" in caplog.text and val.metadata["split"] == "val"


def test_copies_of_your_own_data_and_of_training_clips(copied_store, tmp_path: Path) -> None:
    for split, copies in (("test", 3), ("val", 0), ("train", 0)):
        rows = copied_store.split(split)
        names, labels = rows["sample_id"].to_list(), rows["label"].to_numpy()
        np.savez(tmp_path / "s.npz", names=names, y=labels, predicted=labels)
        found = read_scores(tmp_path / "s.npz", benchmark="copied")
        assert found.copies.sum() == copies
        assert (found.metadata["split"], found.metadata["protocol"]) == (split, "default")
        assert found.metadata["fingerprint"] == copied_store.fingerprint


def test_reading_scores_of_the_embedded_benchmark_does_not_make_it(
    tmp_path: Path, monkeypatch, caplog
) -> None:
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path / "data"))
    np.savez(tmp_path / "s.npz", names=["a"], y=[0], predicted=[17])
    assert read_scores(tmp_path / "s.npz", benchmark="synthetic").num_classes == 18
    assert "frcore data prepare synthetic" in caplog.text
    assert not (tmp_path / "data").exists()


def test_ntu60_predictions_have_the_names_of_its_actions(reference: Path, caplog) -> None:
    path = reference / "data" / "scores" / "ntu60_xsub_predictions.npz"
    found = read_scores(path, scores="agcn_joint", benchmark="ntu60")
    first = found.sample_ids[1]  # S001C001P003R001A002
    assert found.class_names[found.labels[1]] == "eat meal" and first.endswith("A002")
    for name, label in zip(found.sample_ids, found.labels, strict=True):
        assert int(name[-3:]) == label + 1  # so names are those of the actions
    assert found.metadata["benchmark"] == "ntu60"
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_an_npz_with_several_arrays_asks_which(reference: Path) -> None:
    with pytest.raises(UserError, match="agcn_joint, agcn_bone"):
        read_scores(reference / "data" / "scores" / "ntu60_xsub_predictions.npz")


def test_fault_23_names_join_whatever_the_order(tmp_path: Path, records: Path) -> None:
    rows = dict(zip(IDS, SCORES, strict=True))
    path = dump(tmp_path / "s.pkl", {name: rows[name] for name in reversed(IDS)})
    check(read_scores(path, labels=records))


def test_indices_count_in_the_order_of_the_labels(tmp_path: Path, records: Path) -> None:
    path = dump(tmp_path / "s.pkl", {np.int64(i): SCORES[i] for i in (2, 0, 3, 1)})
    check(read_scores(path, labels=records))


def test_names_and_labels_in_a_tuple_count_from_0(tmp_path: Path) -> None:
    labels = dump(tmp_path / "val_label.pkl", (IDS, LABELS))
    path = dump(tmp_path / "s.pkl", dict(zip(IDS, SCORES, strict=True)))
    check(read_scores(path, labels=labels))


def test_a_list_of_scores_takes_labels_as_they_are(tmp_path: Path) -> None:
    path = dump(tmp_path / "result.pkl", list(SCORES))
    found = read_scores(path, labels=LABELS)
    assert found.sample_ids[0] == "test/000000"
    assert found.accuracy() == 3 / 4
    path = dump(tmp_path / "named.pkl", dict(zip(IDS, SCORES, strict=True)))
    check(read_scores(path, labels=dict(zip(IDS, LABELS, strict=True))))


def test_one_hot_labels_of_the_ctrgcn_npz_without_reading_the_clips(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", SCORES)
    np.savez(tmp_path / "ntu.npz", x_test=np.zeros((4, 300)), y_test=np.eye(3)[LABELS])
    found = read_scores(tmp_path / "s.npy", labels=tmp_path / "ntu.npz")
    np.testing.assert_array_equal(found.labels, LABELS)
    np.testing.assert_array_equal(found.logits, SCORES)


def test_npz_with_everything(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", names=IDS, y=LABELS, logits=SCORES)
    check(read_scores(tmp_path / "s.npz"))


def test_csv_of_scores_and_of_classes(tmp_path: Path) -> None:
    table = pd.DataFrame({"name": IDS, "label": LABELS})
    table[[f"score_{k}" for k in (2, 0, 1)]] = SCORES[:, [2, 0, 1]]
    table.to_csv(tmp_path / "s.csv", index=False)
    check(read_scores(tmp_path / "s.csv"))
    hard = table[["name", "label"]].assign(pred=SCORES.argmax(1))
    hard.to_csv(tmp_path / "hard.csv", index=False)
    found = read_scores(tmp_path / "hard.csv", class_names=["x", "y", "z"])
    assert (found.accuracy(), found.logits, found.class_names) == (3 / 4, None, ("x", "y", "z"))


def test_csv_that_frcore_wrote_comes_back(tmp_path: Path) -> None:
    ids = ["=1+1", "b", "-c", "'d"]
    made = Predictions.from_labels(ids, LABELS, [1, 0, 1, 2], ["x", "y", "=z"])
    found = read_scores(write_csv(tmp_path / "p.csv", made.frame()))
    assert found.sample_ids == tuple(ids)
    np.testing.assert_array_equal(found.predicted, made.predicted)
    assert found.class_names == ("x", "y", "=z")


def test_probabilities_stay_what_they_are(tmp_path: Path) -> None:
    shares = np.float32([[0.5, 0.5, 0], [0.9, 0.05, 0.05], [0.2, 0.2, 0.6], [0, 0, 1]])
    np.save(tmp_path / "p.npy", shares)
    found = read_scores(tmp_path / "p.npy", labels=LABELS, kind="probabilities")
    np.testing.assert_allclose(found.probabilities, shares, atol=1e-6)
    np.save(tmp_path / "p.npy", SCORES)
    with pytest.raises(UserError, match="sum 1"):
        read_scores(tmp_path / "p.npy", labels=LABELS, kind="probabilities")


def test_fault_23_what_does_not_fit_is_listed(tmp_path: Path, records: Path) -> None:
    rows = dict(zip(["a", "b", "c", "other"], SCORES, strict=True))
    with pytest.raises(UserError, match=r"1: 'd'; without label 1: 'other'"):
        read_scores(dump(tmp_path / "s.pkl", rows), labels=records)
    with pytest.raises(UserError, match=r"1 of 0\.\.3 are missing: 3"):
        read_scores(dump(tmp_path / "s.pkl", {0: [1, 2], 1: [1, 2], 2: [1, 2], 4: [1, 2]}), records)
    with pytest.raises(UserError, match=r"3 clips and .* 4"):
        read_scores(dump(tmp_path / "s.pkl", list(SCORES[:3])), labels=records)
    np.savez(tmp_path / "twice.npz", names=["a", "a", "b", "c"], y=LABELS, logits=SCORES)
    with pytest.raises(UserError, match="more than once: 'a'"):
        read_scores(tmp_path / "twice.npz")
    with pytest.raises(UserError, match=r"2 of shape \(2,\), 1 of shape \(3,\)"):
        read_scores(dump(tmp_path / "s.pkl", [[1, 2], [1, 2], [1, 2, 3]]), labels=[0, 0, 0])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("s.txt", "expected a .pkl, .npz, .npy or .csv"),
        ("missing.npz", "No file"),
        ("s.npy", "labels="),
        ("empty.npz", "Cannot read"),
        ("objects.npy", "Cannot read"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path: Path, name: str, said: str) -> None:
    np.save(tmp_path / "s.npy", SCORES)
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=said) as caught:
        read_scores(tmp_path / name)
    assert name in str(caught.value)


def test_an_array_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, monkeypatch) -> None:
    np.savez_compressed(tmp_path / "s.npz", names=IDS, y=LABELS, logits=np.zeros((4, 5000)))
    assert read_scores(tmp_path / "s.npz").num_classes == 5000
    monkeypatch.setattr("frcore.score_files._UNPACKED", 2**16)
    with pytest.raises(UserError, match="'logits' of .*s.npz: it would unpack to 160,128 bytes"):
        read_scores(tmp_path / "s.npz")


def test_class_names_must_fit(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", SCORES)
    with pytest.raises(UserError, match="3 classes, benchmark 'nw_ucla' has 10"):
        read_scores(tmp_path / "s.npy", labels=LABELS, benchmark="nw_ucla")
    with pytest.raises(UserError, match=r"labels: 1 outside 0\.\.2"):
        read_scores(tmp_path / "s.npy", labels=[0, 1, 2, 3])


def test_scores_of_several_crops_are_not_taken_for_more_classes(tmp_path: Path) -> None:
    crops = [row.reshape(1, 3).repeat(2, axis=0) for row in SCORES]
    with pytest.raises(UserError, match=r"4 of shape \(2, 3\)"):
        read_scores(dump(tmp_path / "s.pkl", crops), labels=LABELS)
    one = read_scores(dump(tmp_path / "s.pkl", [row[None] for row in SCORES]), labels=LABELS)
    np.testing.assert_array_equal(one.logits, SCORES)


def test_lists_within_lists_are_not_unfolded(tmp_path: Path) -> None:
    row: list[Any] = [0.0]
    for _ in range(6):
        row = [row] * 200  # 200 ** 6 numbers when written out
    with pytest.raises(UserError, match="nested lists"):
        read_scores(dump(tmp_path / "s.pkl", [row, row]), labels=[0, 1])
    with pytest.raises(UserError):
        read_scores(dump(tmp_path / "s.pkl", [[1.0, 2.0]]), labels=dump(tmp_path / "l.pkl", row))


def test_absurd_classes_and_kinds_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", names=["a"], y=[0], predicted=[2**40])
    with pytest.raises(UserError, match="class_names="):
        read_scores(tmp_path / "s.npz")
    np.save(tmp_path / "s.npy", SCORES)
    with pytest.raises(UserError, match="Did you mean 'probabilities'"):
        read_scores(tmp_path / "s.npy", labels=LABELS, kind="probability")


def test_names_as_bytes_and_a_wrong_suffix(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", names=np.array(IDS, dtype="S"), y=LABELS, logits=SCORES)
    (tmp_path / "s.npz").rename(tmp_path / "s.npy")
    check(read_scores(tmp_path / "s.npy"))


def test_published_weights() -> None:
    assert frcore.ensemble_weights("nw_ucla") == (0.6, 0.6, 0.4, 0.4)
    assert ensemble_weights("ntu60", "xsub") == (2, 2, 1, 1)
    assert ensemble_weights("ntu120", streams=("bone", "joint_motion")) == (0.75, 0.3)
    with pytest.raises(UserError, match="depend on the protocol: give one of xsub, xview") as said:
        ensemble_weights("ntu60")
    assert "None" not in str(said.value)
    with pytest.raises(UserError, match="Did you mean 'nw_ucla'"):
        ensemble_weights("nwucla")
    with pytest.raises(UserError, match="joint_motion"):
        ensemble_weights("nw_ucla", streams=("motion",))
