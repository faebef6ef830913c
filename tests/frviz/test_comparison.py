"""`frviz.compare`: joined by id, counted by hand, with a verdict that says what was found."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

import frcore
import frviz
from frcore.errors import UserError
from frcore.predictions import Predictions
from frviz.tables.groups import NO_GROUP

HOSTILE = "<img src=x onerror=alert(1)>"

LABELS = [0, 0, 0, 0, 1, 1, 1, 2]
A = [0, 0, 1, 2, 1, 0, 0, 2]  # right: 4
B = [0, 1, 0, 1, 1, 1, 0, 2]  # right: 5; fixes two clips, breaks one


def test_changes_by_hand(make) -> None:
    found = frviz.compare(make(LABELS, A), make(LABELS, B))
    row = found.summary.loc["top-1"]
    assert row[["clips", "a", "b", "difference"]].tolist() == [8, 4 / 8, 5 / 8, 1 / 8]
    assert (row["fixed"], row["broken"]) == (2, 1)
    assert found.mcnemar_p == row["p"] == binomtest(2, 3).pvalue
    assert list(found.fixed.index) == ["s00002", "s00005"]
    assert list(found.broken.index) == ["s00001"]
    assert found.fixed.loc["s00002", ["class", "a_predicted", "b_predicted"]].tolist() == [
        "c0", "c1", "c0",
    ]  # fmt: skip
    assert found.per_class["difference"].tolist() == pytest.approx([0, 1 / 3, 0])
    assert found.per_class[["fixed", "broken"]].to_numpy().tolist() == [[1, 1], [1, 0], [0, 0]]
    assert found.summary.loc["mean over classes", "a"] == pytest.approx((2 / 4 + 1 / 3 + 1) / 3)
    assert found.agreement["clips"].tolist() == [3, 1, 2, 1, 1]
    low, high = found.interval
    assert low < 1 / 8 < high


def test_cells_by_hand(make) -> None:
    cells = frviz.compare(make(LABELS, A), make(LABELS, B)).cells.set_index(["true", "predicted"])
    assert cells.loc[(0, 1), ["a", "b", "difference"]].tolist() == [1, 2, 1]
    # only A puts s2 there, only B puts s1 and s3 there
    assert cells.loc[(0, 1), "p"] == binomtest(2, 3).pvalue
    assert (2, 1) not in cells.index


def test_fault_23_clips_are_joined_by_id_whatever_their_order(make, random_pair) -> None:
    a, b = random_pair(300, gain=0.1)
    shuffled = b.select(np.array(b.sample_ids)[np.random.default_rng(0).permutation(300)])
    again = a.select(np.array(a.sample_ids)[np.random.default_rng(1).permutation(300)])
    one, other = frviz.compare(a, b), frviz.compare(again, shuffled)
    for name in ("summary", "per_class", "groups", "levels", "fixed", "broken", "cells"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
    assert one.verdict == other.verdict


def test_fault_23_clips_that_do_not_fit_are_listed(make) -> None:
    a = make(LABELS, A)
    with pytest.raises(UserError, match=r"Missing 1: 's00007'; foreign 1: 'other'"):
        frviz.compare(a, make(LABELS, B, ids=[*a.sample_ids[:7], "other"]))
    with pytest.raises(UserError, match="other labels than the first for 1 of 8 clips: 's00000'"):
        frviz.compare(a, make([1, *LABELS[1:]], B))
    with pytest.raises(UserError, match="4 classes, the first has 3"):
        frviz.compare(a, make(LABELS, B, 4))
    with pytest.raises(UserError, match="empty list"):
        frviz.compare([], a)


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=40))
def test_counts_add_up(make, clips: list[tuple[int, int, int]]) -> None:
    labels, a, b = zip(*clips, strict=True)
    found = frviz.compare(make(labels, a, 4), make(labels, b, 4))
    row = found.summary.loc["top-1"]
    assert row["fixed"] == len(found.fixed) == found.per_class["fixed"].sum()
    assert row["broken"] == len(found.broken) == found.per_class["broken"].sum()
    assert row["difference"] == pytest.approx((row["fixed"] - row["broken"]) / len(clips))
    assert found.agreement["clips"].sum() == len(clips)
    assert found.cells["a"].sum() == found.cells["b"].sum() == len(clips)
    assert found.levels["clips"].sum() <= len(clips)
    assert str(found) and found.verdict


def test_seeds_are_compared_as_two_samples(make) -> None:
    runs_a = [make(LABELS, A), make(LABELS, B)]
    runs_b = [make(LABELS, B), make(LABELS, LABELS), make(LABELS, B)]
    found = frviz.compare(runs_a, runs_b)
    row = found.summary.loc["top-1"]
    assert row["a"] == pytest.approx((4 + 5) / 16)
    assert row["b"] == pytest.approx((5 + 8 + 5) / 24)
    # pairs: fixed 2 + 4 + 2 with the first run of A, 0 + 3 + 0 with the second; broken 1 + 0 + 1
    assert row["fixed"] == pytest.approx(11 / 6)
    assert row["broken"] == pytest.approx(2 / 6)
    assert found.runs[["fixed", "broken"]].to_numpy().tolist() == [[2, 1], [3, 0], [0, 0]]
    assert found.mcnemar_p == tuple(binomtest(f, n).pvalue for f, n in ((2, 3), (3, 3))) + (1,)
    assert list(found.fixed.columns[-2:]) == ["a_right", "b_right"]
    assert found.verdict.startswith("B (3 runs) against A (2 runs): 1.8 clips fixed, 0.3 broken; ")
    assert "bootstrap over runs and clips" in found.verdict
    assert "differences between its seeds" not in found.verdict


def test_runs_that_differ_more_give_wider_intervals(random_pair) -> None:
    a, b = random_pair(500, quality=0.7)
    worse, better = random_pair(500, quality=0.6)[0], random_pair(500, quality=0.8)[0]
    same = frviz.compare([a, a, a], [b, b, b]).interval
    differ = frviz.compare([worse, a, better], [b, b, b]).interval
    one = frviz.compare(a, b).interval
    assert same[1] - same[0] == pytest.approx(one[1] - one[0], rel=0.1)
    assert differ[1] - differ[0] > 1.5 * (same[1] - same[0])


def test_the_verdict_in_words(make) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 464)
    wrong = (labels + 1) % 4

    def model(mistakes: range) -> Predictions:
        return make(labels, np.where(np.isin(np.arange(464), mistakes), wrong, labels))

    a, b = model(range(41)), model(range(41, 76))
    said = frviz.compare(a, b, names=("joint", "bone")).verdict
    assert said.startswith(
        "bone against joint: 41 clips fixed, 35 broken; not distinguishable from chance, p = 0.57 "
        "(exact McNemar test). Accuracy"
    )
    assert "No single class changed beyond chance" in said
    assert "differences between its seeds are not in it" in said
    clear = frviz.compare(model(range(60)), model(range(60, 70)), names=("x", "y")).verdict
    assert "y against x: 60 clips fixed, 10 broken; a gain beyond chance, p = " in clear
    worse = frviz.compare(model(range(0)), model(range(30)), names=("x", "with y")).verdict
    assert worse.startswith(
        "with y against x: 0 clips fixed, 30 broken; a loss beyond chance, p = "
    )
    one = frviz.compare(model(range(1)), model(range(0))).verdict
    assert one.startswith("B against A: 1 clip fixed, 0 broken; not distinguishable")


def test_what_makes_a_comparison_unfair_is_said(make) -> None:
    copies = np.arange(8) < 3
    a = make(LABELS, A, copies=copies, metadata={"duplicates": "drop", "select": "last"})
    b = make(LABELS, B, copies=copies, metadata={"duplicates": "keep", "select": "test_best"})
    found = frviz.compare(a, b, names=("x", "y"))
    assert found.summary.loc["top-1, unseen clips", "clips"] == 5
    assert found.summary.loc["top-1, unseen clips", ["a", "b"]].tolist() == [2 / 5, 3 / 5]
    assert "y (best epoch on test) is flattered: its epoch was selected on test" in found.verdict
    assert "trained on copies" in found.verdict
    assert "no copy of a training clip" in found.verdict
    assert "trained on copies" not in frviz.compare(a, a).verdict
    unknown = make(LABELS, A)  # only B knows which clips are copies
    assert frviz.compare(unknown, b).summary.loc["top-1, unseen clips", "clips"] == 5
    assert frviz.compare(unknown, b).fixed["copy"].any()
    nothing_unseen = make(LABELS, A, copies=np.ones(8, bool))
    assert "no copy" not in str(frviz.compare(nothing_unseen, nothing_unseen))


def test_clips_that_were_prepared_otherwise_are_said_and_shown(make) -> None:
    field, clean = (make(LABELS, A, metadata={"preset": name}) for name in ("field", "clean"))
    unknown = make(LABELS, B, metadata={"preset": ""})
    found = frviz.compare(field, clean, names=("x", "y"))
    assert "were prepared by other presets: x by field, y by clean." in found.verdict
    assert found._facts().loc["preset"].tolist() == ["field", "clean"]
    for a, b in ((field, field), (field, unknown), (make(LABELS, A), clean)):
        assert "presets" not in frviz.compare(a, b).verdict


def test_the_cells_of_several_runs_are_tested_too(random_pair) -> None:
    a, b = random_pair(600, quality=0.6, gain=0.35)
    found = frviz.compare([a, a], [b, b])
    one = frviz.compare(a, b).cells
    assert found.cells["p"].between(0, 1).all()
    # runs that do not differ: the same as one run, but for the test
    pd.testing.assert_frame_equal(found.cells[["a", "b"]], one[["a", "b"]])
    clear = one["p"] < 1e-4
    assert clear.any()
    assert (found.cells["p"][clear] < 0.05).all()
    assert (found.cells["p"][one["p"] > 0.5] > 0.1).all()


def test_a_clip_of_several_runs_is_what_most_of_them_say(make) -> None:
    a = [make([0], [k], 5) for k in (1, 1, 1, 1, 1)]
    b = [make([0], [k], 5) for k in (0, 0, 1, 2, 3)]
    found = frviz.compare(a, b)
    assert found.fixed["b_predicted"].tolist() == ["c0"]
    assert found.fixed["b_right"].tolist() == [0.4]


def test_names(make) -> None:
    def named(**metadata: str) -> Predictions:
        return make(LABELS, A, metadata=metadata)

    assert frviz.compare(named(), named()).names == ("A", "B")
    assert frviz.compare(named(model="x"), named(model="y")).names == ("x", "y")
    same = named(model="x", run="one"), named(model="x", run="two")
    assert frviz.compare(*same).names == ("one", "two")
    assert frviz.compare(named(epoch="3"), named(epoch="7")).names == ("epoch 3", "epoch 7")
    assert frviz.compare(*same, names=("p", "q")).names == ("p", "q")
    with pytest.raises(UserError, match="names: expected two"):
        frviz.compare(*same, names=("p",))


def test_a_list_holds_seeds_of_one_model(make) -> None:
    one = make(LABELS, A, metadata={"model": "x", "checkpoint": "1"})
    other = make(LABELS, B, metadata={"model": "x", "checkpoint": "2"})
    assert len(frviz.compare([one, other], one).paired.a) == 2
    with pytest.raises(UserError, match="same checkpoint occurs twice"):
        frviz.compare([one, one], other)
    with pytest.raises(UserError, match=r"differ in their model \(x, y\)"):
        frviz.compare([one, make(LABELS, B, metadata={"model": "y"})], other)


def test_a_group_counts_once_and_a_single_class_not_at_all(make) -> None:
    labels = [0] * 30 + [1] * 30 + [2] * 30
    a = make(labels, [1] * 15 + [0] * 15 + [0] * 15 + [1] * 15 + [2] * 30)
    val = make(labels, a.predicted, ids=[f"v{n}" for n in range(90)])
    b = make(labels, labels)
    groups = frviz.compare(a, b, reference=val).groups
    assert [set(m) for m in groups["members"]] == [{"c0", "c1"}, {"c0", "c1"}]
    assert groups["p_holm"].tolist() == groups["p"].tolist()  # one group, one test


def test_the_reference(make, random_pair) -> None:
    a, b = random_pair(400)
    default = frviz.compare(a, b)
    assert default.reference_note.startswith("by both models, cross-fitted")
    assert len(default.judges) == 2
    assert frviz.compare(a, b, reference=a).reference_note.startswith("by A alone, cross-fitted")
    val = make([0, 0, 1], [1, 1, 1], 10, ids=["v1", "v2", "v3"])
    found = frviz.compare(a, b, reference=val)
    assert found.reference_note == "by the reference"
    assert found.groups.loc["c0", "members"] == ("c0", "c1")
    group = np.isin(a.labels, [0, 1])
    assert found.groups.loc["c0", "clips"] == group.sum()
    assert found.groups.loc["c0", "difference"] == pytest.approx(
        b.correct[group].mean() - a.correct[group].mean()
    )
    assert found.levels.loc["hard", "clips"] == (a.labels == 0).sum()
    names = list(found.per_class.index)
    own = [names.index(name) for name in frviz.ambiguous_groups(a).loc["c0", "members"]]
    raw = np.isin(a.labels, own)
    assert found.groups.loc["c0", "raw_difference"] == pytest.approx(
        b.correct[raw].mean() - a.correct[raw].mean()
    )


def test_a_choice_by_both_does_not_depend_on_which_comes_first(random_pair) -> None:
    a, b = random_pair(400, gain=0.1)
    forth, back = frviz.compare(a, b), frviz.compare(b, a)
    for table in ("groups", "levels"):
        one, other = getattr(forth, table), getattr(back, table)
        pd.testing.assert_series_equal(one["difference"], -other["difference"])
        pd.testing.assert_series_equal(one["a"], other["b"], check_names=False)


def test_a_reference_that_does_not_fit_is_said_at_once(make, random_pair) -> None:
    a, b = random_pair(400)
    with pytest.raises(UserError, match="3 classes"):
        frviz.compare(a, b, reference=make([0], [2], ids=["v"]))
    with pytest.raises(UserError, match="10 of the 400 clips"):
        frviz.compare(a, b, reference=a.select(a.sample_ids[:10]))
    for seed in (-1, 0.5):
        with pytest.raises(UserError, match="seed"):
            frviz.compare(a, b, seed=seed)
    with pytest.raises(UserError, match="names"):
        frviz.compare(a, b, names=5)


def test_fault_25_one_class_a_perfect_model_and_no_clip(make, tmp_path) -> None:
    assert frviz.compare(make([0, 0], [0, 0], 1), make([0, 0], [0, 0], 1)).mcnemar_p == 1
    perfect = frviz.compare(make(LABELS, LABELS), make(LABELS, LABELS))
    assert (len(perfect.fixed), len(perfect.broken)) == (0, 0)
    assert len(perfect.groups) == 0 and "p_holm" in perfect.groups
    assert "No class is confused" in perfect.figures()["groups"].layout.title.text
    page = perfect.report(tmp_path / "perfect.html").read_text(encoding="utf-8")
    assert NO_GROUP in page
    nothing = frviz.compare(make([], [], 2), make([], [], 2))
    assert nothing.verdict == "There are no clips to compare."
    assert len(nothing.figures()) == 6


@pytest.fixture(scope="module")
def published(reference: Path) -> "frviz.Comparison":
    """NW-UCLA, FR Head as published: joint and bone."""
    folder = reference / "data" / "scores" / "nw_ucla"
    return frviz.compare(
        *(
            frcore.read_scores(
                folder / stream / "epoch1_test_score.pkl",
                labels=folder / "val_label.pkl",
                benchmark="nw_ucla",
                metadata={"stream": stream},
            )
            for stream in ("bone", "joint")
        )
    )


def test_published_nw_ucla_streams(published, tmp_path: Path) -> None:
    assert published.names == ("bone", "joint")
    assert published.paired.a[0].metadata["source"] == "bone/epoch1_test_score.pkl"
    row = published.summary.loc["top-1"]
    assert (round(row["a"] * 464), round(row["b"] * 464)) == (432, 438)
    assert (row["fixed"], row["broken"]) == (19, 13)
    assert published.mcnemar_p == binomtest(19, 32).pvalue
    assert "not distinguishable from chance" in published.verdict
    page = published.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "pick up with one hand" in page
    assert page.count("plotly.js v") == 1


def test_published_ntu60_models_in_seconds(reference: Path) -> None:
    path = reference / "data" / "scores" / "ntu60_xsub_predictions.npz"
    found = frviz.compare(
        *(frcore.read_scores(path, scores=f"agcn_{s}") for s in ("joint", "bone"))
    )
    row = found.summary.loc["top-1"]
    assert [round(100 * row[side], 2) for side in "ab"] == [85.78, 86.65]
    assert (row["fixed"], row["broken"]) == (892, 748)
    assert row["p"] == pytest.approx(0.000411, abs=1e-6)
    assert found.levels["raw_difference"]["easy"] < found.levels["difference"]["easy"]
    assert found.levels["raw_difference"]["hard"] > found.levels["difference"]["hard"]


def test_fault_18_names_from_data_are_inert_everywhere(make, tmp_path: Path) -> None:
    ids = [f"{HOSTILE}{n}" for n in range(8)]
    names = [HOSTILE, f"</script>{HOSTILE}", "c2"]
    a, b = (make(LABELS, p, ids=ids, class_names=names, metadata={"model": m})
            for p, m in ((A, HOSTILE), (B, "</title>" + HOSTILE)))  # fmt: skip
    found = frviz.compare(a, b)
    page = found.report(tmp_path / "r.html").read_text(encoding="utf-8")
    for text in (page, found._repr_html_(), *(f.to_html() for f in found.figures().values())):
        assert "<img src=x" not in text
        assert "</script>" + "&lt;img" not in text
    for figure in found.figures().values():
        assert "<img" not in str(figure.to_dict())


def test_a_report_that_cannot_be_written_is_said(make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = frviz.compare(make(LABELS, A), make(LABELS, B))
    with pytest.raises(UserError, match="Cannot write"):
        found.report(tmp_path / "file" / "r.html")


def test_it_shows_itself_in_a_notebook_and_in_a_terminal(make, monkeypatch) -> None:
    found = frviz.compare(make(LABELS, A), make(LABELS, B), names=("x", "y"))
    assert "top-1" in repr(found)
    assert found.verdict in repr(found)
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *a, **k: shown.append(a[0]))
    found._ipython_display_()
    assert set(shown[0]) == {"text/html", "text/plain"}
    assert "x</b> (A)" in shown[0]["text/html"]
    assert [type(figure).__name__ for figure in shown[1:]] == ["Figure"] * 3
