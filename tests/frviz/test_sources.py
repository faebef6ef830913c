"""What tables accept: lists of runs that are not seeds of one model, epochs chosen on test."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import frcore
import frviz
from frcore.data.store import StoreNotFound
from frcore.predictions import Predictions
from frviz.explorer.subject import find_store
from frviz.sources import BEST_ON_TEST, judges_of

LABELS = [0, 0, 0, 1, 1, 2, 2, 2]
PREDICTED = [0, 0, 1, 1, 1, 2, 0, 2]
SUFFIX = f" ({BEST_ON_TEST})"


@pytest.fixture
def run(make) -> Callable[..., Predictions]:
    """Predictions of a run as frcore.inference describes it, with features and scores."""

    def made(name: str, seed: int = 0, **changes: object) -> Predictions:
        rng = np.random.default_rng(seed)
        known = {"model": "m", "run": name, "seed": seed, "epoch": 7, "select": "last",
                 "duplicates": "drop", "preset": "field", "config": "c1",
                 "checkpoint": name}  # fmt: skip
        return Predictions(
            tuple(f"s{n}" for n in range(len(LABELS))),
            np.array(LABELS),
            class_names=("a", "b", "c"),
            logits=3 * np.eye(3)[PREDICTED] + rng.random((len(LABELS), 3)),
            features={"backbone": rng.normal(size=(len(LABELS), 4))},
            prototypes={"backbone": rng.normal(size=(3, 4))},
            metadata=known | changes,
        )

    return made


def test_seeds_of_one_model_need_no_word(run, caplog) -> None:
    frviz.compare(
        [run("x", 0), run("x-s1", 1)], [run("y", 0, model="n"), run("y-s1", 1, model="n")]
    )
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epoch": 3}, "differ in their epoch (run 1 (x): 7; run 2 (y): 3)"),
        ({"select": "val_best"}, "differ in their select (run 1 (x): last; run 2 (y): val_best)"),
        ({"duplicates": "keep"}, "duplicates (run 1 (x): drop; run 2 (y): keep)"),
        ({"preset": "clean"}, "preset of the clips (run 1 (x): field; run 2 (y): clean)"),
        ({"config": "c2"}, "differ in their configuration beside the seed (run 1 (x); run 2 (y))"),
        ({"seed": 0}, "run 1 (x), run 2 (y) have the same seed 0"),
    ],
)
def test_one_warning_says_what_else_differs_and_in_which_runs(run, caplog, changes, said) -> None:
    frviz.compare([run("x", 0), run("y", **{"seed": 1, **changes})], run("z"))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and said in record.getMessage()


def test_the_best_epoch_may_be_another_one_in_each_run(run, caplog) -> None:
    best = {"select": "val_best"}
    frviz.compare([run("x", 0, epoch=3, **best), run("y", 1, epoch=5, **best)], run("z"))
    assert caplog.text == ""


def test_a_reference_of_runs_is_spoken_of_once(run, caplog) -> None:
    runs = [run("x", 0), run("y", 0)]
    frviz.compare(runs, run("z"), reference=runs)
    assert len(caplog.records) == 1
    frviz.compare(run("z"), run("z2"), reference=runs)
    assert len(caplog.records) == 2


def test_a_side_selected_on_test_says_so_in_every_name(run) -> None:
    a, b = run("x"), run("y", select="test_best")
    assert frviz.compare(a, b).names == ("x", "y" + SUFFIX)
    assert frviz.compare(b, a, names=("p", "q")).names == ("p" + SUFFIX, "q")
    assert frviz.compare(b, a, names=("p" + SUFFIX, "q")).names == ("p" + SUFFIX, "q")
    several = frviz.compare([a, run("x1", 1, select="test_best")], run("z", model="n"))
    assert several.names == ("m" + SUFFIX, "n")  # any run of a side
    found = frviz.compare(a, b)
    assert SUFFIX in repr(found) and SUFFIX in found._html_head() and SUFFIX in found.verdict
    assert SUFFIX in found._subject().title
    for name in ("groups", "levels", "classes", "changes", "confusion_b"):
        assert "y" + SUFFIX in str(found.figures()[name].to_dict()), name


TABLES = {
    "confusion": frviz.confusion,
    "per_class": frviz.per_class,
    "top_confusions": frviz.top_confusions,
    "top_confusions, symmetric": lambda x: frviz.top_confusions(x, symmetric=True),
    "top_k_accuracy": lambda x: frviz.top_k_accuracy(x, (1, 2)),
    "ambiguous_groups": frviz.ambiguous_groups,
    "choose_anchors": lambda x: frviz.choose_anchors(frviz.ambiguous_groups(x), 2),
    "difficulty_levels": frviz.difficulty_levels,
    "class_clusters": frviz.class_clusters,
    "collapse_confusion": lambda x: frviz.collapse_confusion(
        frviz.confusion(x), frviz.class_clusters(x)
    ),
    "reliability": frviz.reliability,
    "embed": lambda x: frviz.embed(x, method="pca"),
    "map_quality": lambda x: frviz.map_quality(x, frviz.embed(x, method="pca")),
    "compactness": frviz.compactness,
    "calibration": frviz.calibration,
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_a_model_selected_on_test_are_marked(run, name: str) -> None:
    plain, best = TABLES[name](run("x")), TABLES[name](run("x", select="test_best"))
    assert best.attrs["note"] == BEST_ON_TEST == "best epoch on test"
    assert "note" not in plain.attrs
    equal = pd.testing.assert_series_equal if best.ndim == 1 else pd.testing.assert_frame_equal
    equal(plain, best)


def test_a_file_of_another_kind_is_refused_with_what_is_taken(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Notes")
    said = r"notes\.md: give a run's directory, a checkpoint \(\.safetensors\), predictions"
    with pytest.raises(frcore.UserError, match=said):
        frviz.explore(tmp_path / "notes.md")


@pytest.mark.parametrize("name", ["embed_pair", "calibration_shift", "neighbourhood_overlap"])
def test_tables_of_two_models_say_which_was_selected_on_test(run, name: str) -> None:
    options = {"method": "pca"} if name == "embed_pair" else {}
    table = getattr(frviz, name)
    plain, best = run("x"), run("y", 1, select="test_best")
    assert table(plain, best, **options).attrs["note"] == f"B: {BEST_ON_TEST}"
    assert table(best, best, **options).attrs["note"] == BEST_ON_TEST
    assert "note" not in table(plain, plain, **options).attrs


def test_groups_chosen_by_a_reference_selected_on_test_are_marked(run) -> None:
    best = run("y", select="test_best")
    groups = frviz.ambiguous_groups(run("x"), reference=best)
    assert groups.attrs["note"] == f"reference: {BEST_ON_TEST}"
    assert frviz.compactness(best, reference=run("x")).attrs["note"] == f"x: {BEST_ON_TEST}"


def test_published_scores_find_their_clips_and_count_unseen_ones(
    reference: Path, tmp_path: Path, monkeypatch
) -> None:
    from frcore.data import ucla

    monkeypatch.setenv("FRCORE_DATA", str(tmp_path))
    store = ucla.prepare(reference / "data" / "nw_ucla" / "all_sqe.zip")
    folder = reference / "data" / "scores" / "nw_ucla"
    bone, joint = (
        frcore.read_scores(
            folder / stream / "epoch1_test_score.pkl",
            labels=folder / "val_label.pkl",
            benchmark="nw_ucla",
        )
        for stream in ("bone", "joint")
    )
    found, why = find_store(joint, None)
    assert why == "" and found.fingerprint == store.fingerprint
    assert found.clip(joint.sample_ids[0]).shape[2:] == (20, 3)
    row = frviz.compare(bone, joint).summary.loc["top-1, unseen clips"]
    assert (row["clips"], round(100 * row["b"], 2)) == (369, 92.95)


def test_where_the_data_are_not_groups_are_chosen_by_the_test_clips(run, monkeypatch, caplog):
    """A run that came without its data: test predictions were kept beside it, others were not."""

    def kept(source, *, split, spaces):
        if split == "val":
            raise StoreNotFound("No store 'nw_ucla'.")
        return run(Path(source).stem)

    monkeypatch.setattr("frcore.inference.predict", kept)
    judges, how = judges_of(["a.safetensors", "b.safetensors"], None, "both models")
    assert [runs[0].metadata["run"] for runs in judges] == ["a", "b"]
    assert how == "by both models"
    assert "groups are chosen by the test clips" in caplog.text
