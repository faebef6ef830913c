"""What a sweep says of its runs, derived again by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from frcore.data import open_store
from frcore.sweep import figures
from frcore.sweep.figures import Outcome, compare
from frcore.sweep.plan import make_plan
from frcore.sweep.report import SweepResult
from frcore.sweep.tables import BASELINE, FR_HEAD

PARAMETERS = {BASELINE: 0.054, FR_HEAD: 0.579}


def outcome(right, copies=()):
    ids = [f"test/{n}" for n in range(len(right))]
    return Outcome(pd.Series(np.array(right, bool), index=ids), frozenset(copies), 3)


def test_accuracy_of_all_clips_and_of_unseen_ones():
    some = outcome([1, 1, 0, 1, 0], copies={"test/0", "test/2"})
    assert some.accuracy() == 60
    assert some.accuracy(unseen=True) == pytest.approx(200 / 3)


def test_t_over_seeds_by_hand():
    # Differences of 10, 20 and 60 points: mean 30, sd 26.46, standard error 15.28, t(2) = 4.303.
    a = {seed: outcome([1] * 4 + [0] * 6) for seed in range(3)}
    b = {0: outcome([1] * 5 + [0] * 5), 1: outcome([1] * 6 + [0] * 4), 2: outcome([1] * 10)}
    row = compare(a, b)
    sd = math.sqrt(((10 - 30) ** 2 + (20 - 30) ** 2 + (60 - 30) ** 2) / 2)
    half = 4.302653 * sd / math.sqrt(3)
    assert row["difference"] == pytest.approx(30)
    assert (row["low"], row["high"]) == (pytest.approx(30 - half), pytest.approx(30 + half))
    # Two-sided p of t with 2 degrees of freedom: 1 - t / sqrt(2 + t**2).
    t = 30 / (sd / math.sqrt(3))
    assert row["p"] == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert row["test"] == "t over seeds"


def test_seeds_are_paired_and_one_that_is_missing_does_not_count():
    a = {0: outcome([1, 0, 0, 0]), 1: outcome([1, 1, 0, 0]), 2: outcome([1, 1, 1, 1])}
    b = {1: outcome([1, 1, 1, 0]), 0: outcome([1, 1, 1, 0])}
    row = compare(a, b)  # 50 and 25 points
    assert row["difference"] == pytest.approx(37.5)
    assert row["high"] - row["low"] == pytest.approx(2 * 12.706205 * 12.5)


def test_one_seed_is_mcnemar_over_clips_matched_by_name():
    # 6 fixed, 1 broken: p = 2 * (1 + 7) / 2**7; in another order it is the same.
    a = outcome([0] * 6 + [1] + [1] * 5)
    b = outcome([1] * 6 + [0] + [1] * 5)
    shuffled = Outcome(b.right.sample(frac=1, random_state=0), b.copies, 3)
    for other in (b, shuffled):
        row = compare({0: a}, {0: other})
        assert row["p"] == pytest.approx(0.125) and row["test"] == "McNemar over clips"
        assert row["difference"] == pytest.approx(500 / 12) and math.isnan(row["low"])


def test_equal_differences_have_no_spread_and_no_runs_no_difference():
    a, b = {0: outcome([1, 0]), 1: outcome([1, 0])}, {0: outcome([1, 1]), 1: outcome([1, 1])}
    row = compare(a, b)
    assert row["difference"] == 50 and math.isnan(row["p"]) and math.isnan(row["low"])
    assert math.isnan(compare({}, b)["difference"])


def test_which_epoch_is_selected():
    metrics = pd.DataFrame({"val_acc": [0.2, 0.5, 0.5, 0.4], "test_acc": [np.nan, 0.1, 0.2, 0.9]})
    assert [figures.selected(metrics, s) for s in ("last", "val_best", "test_best")] == [3, 1, 3]


@pytest.fixture
def finished(plan_of, write_run):
    """Two rows, two seeds, all written."""
    plan = plan_of()
    right = {
        (BASELINE, 0): [[1, 1, 1, 1], [1, 0, 0, 0]],
        (BASELINE, 1): [[1, 1, 1, 1], [1, 1, 0, 0]],
        (FR_HEAD, 0): [[0, 0, 0, 0], [1, 1, 0, 0]],
        (FR_HEAD, 1): [[0, 0, 0, 0], [1, 1, 1, 1]],
    }
    for place, rows in right.items():
        write_run(plan.grid[place], rows)
    return plan


def test_the_table_of_a_sweep_by_hand(finished):
    found = figures.outcomes(finished, open_store("tiny"))
    table = figures.table_of_rows(finished, found, PARAMETERS)
    plain, refined = table.loc[BASELINE], table.loc[FR_HEAD]
    assert (plain["runs"], plain["accuracy"], plain["sd"]) == (2, 37.5, pytest.approx(17.6776695))
    assert (refined["accuracy"], refined["difference"]) == (75, 37.5)
    assert plain["against"] == "" and refined["against"] == BASELINE
    assert math.isnan(plain["p"]) and refined["p_holm"] == refined["p"] > 0.1
    assert refined["paper"] == 85.51 and math.isnan(plain["paper"])
    assert "unseen" not in table


def test_the_result_in_words_and_as_a_markdown_table(finished):
    result = SweepResult.of(finished, open_store("tiny"), {})
    lines = result.markdown.splitlines()
    assert lines[0].startswith("### table4: difficulty levels")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:6]]
    assert cells[0] == [
        *("row", "runs", "test, %", "test: difference", "test: 95 % interval", "test: p (Holm)"),
        *("parameters, M", "published, % (NTU 120 X-Sub)"),
    ]
    assert {len(line) for line in cells} == {8}
    assert cells[2][:6] == [BASELINE, "2", "37.50 ± 17.68", "", "", ""]
    # differences 25 and 50: 37.5 -+ 12.7062 * 12.5; p = 1 - 2/pi * atan(3), one degree of freedom
    assert cells[3][:5] == [FR_HEAD, "2", "75.00 ± 35.36", "+37.50", "-121.33 to +196.33"]
    assert cells[3][5] == f"{1 - 2 / math.pi * math.atan(3):.2f}"
    text = " ".join(result.notes)
    for said in ("tiny, protocol default, stream bone", "nothing was selected on test clips",
                 "none a copy of a training clip", "over seeds 0 to 1", "NTU 120 X-Sub, other data",
                 "changed: benchmark = tiny, train.epochs = 3"):  # fmt: skip
        assert said in text
    assert result.path.read_text(encoding="utf-8") == result.markdown == repr(result)
    written = pd.read_csv(result.path.with_suffix(".csv"), index_col="row")
    assert written.loc[FR_HEAD, "difference"] == 37.5
    assert list(result.runs["accuracy"]) == [25, 50, 50, 100]
    assert result.unfinished == [] and set(result.runs["state"]) == {"finished"}
    assert result.next_step.startswith(f"frviz compare {finished.grid[BASELINE, 0].path} ")
    assert f"--a {finished.grid[BASELINE, 1].path}" in result.next_step


def test_what_is_not_finished_is_said(plan_of, write_run):
    plan = plan_of()
    write_run(plan.grid[BASELINE, 0], [[1, 0]])
    write_run(plan.grid[FR_HEAD, 0], [[1, 1]], finished=False)
    result = SweepResult.of(plan, open_store("tiny"), {plan.grid[BASELINE, 1].path: 2})
    assert list(result.table["runs"]) == [1, 0]
    assert list(result.runs["state"]) == ["finished", "failed", "partial", "waiting"]
    assert len(result.unfinished) == 3
    assert "1 of 4 runs are finished" in result.markdown


def test_nothing_finished_writes_nothing(plan_of):
    result = SweepResult.of(plan_of(), open_store("tiny"), {})
    assert "0 of 4 runs are finished" in result.markdown and not result.path.exists()


def test_copies_are_counted_both_ways(copied_store, plan_of, write_run):
    plan = plan_of(changes={"benchmark": "copied"}, seeds=1)
    rows = copied_store.split("test")["sample_id"].tolist()
    copies = copied_store.samples.loc[copied_store.copies("test"), "sample_id"]
    assert list(copies) == rows[:3]
    write_run(plan.grid[BASELINE, 0], [[1, 1, 1] + [0] * 17], ids=rows)
    write_run(plan.grid[FR_HEAD, 0], [[0, 0, 0] + [1] * 17], ids=rows)
    result = SweepResult.of(plan, copied_store, {})
    plain, refined = result.table.loc[BASELINE], result.table.loc[FR_HEAD]
    assert (plain["accuracy"], plain["unseen"]) == (15, 0)
    assert (refined["difference"], refined["unseen_difference"]) == (70, 100)
    assert refined["unseen_p"] == pytest.approx(2 / 2**17)
    assert "3 of 20 test clips are copies" in result.markdown
    assert "left out of training (data.duplicates=drop). Unseen: the other 17." in result.markdown
    assert "unseen: difference" in result.markdown


def test_selection_on_test_is_named(plan_of, write_run):
    plan = plan_of(changes={"train.select": "test_best"}, seeds=1)
    write_run(plan.grid[BASELINE, 0], [[1, 1, 1, 1], [1, 0, 0, 0]])
    result = SweepResult.of(plan, open_store("tiny"), {})
    assert result.table.loc[BASELINE, "accuracy"] == 100
    assert "best on the test clips counts: the figures are flattered" in result.markdown


def test_streams_are_fused_by_sample_id(plan_of, write_run, monkeypatch):
    from frcore.predictions import Predictions

    plan = plan_of("table5", seeds=1)
    for job in plan.jobs:
        write_run(job, [[1, 0, 0]])
    sure = np.array([[0.0, 1, 0], [0, 1, 0], [0, 0, 9]])  # of test/0, test/1, test/2

    def predict(path, *, split, device):
        joint = "-joint-" in path.name
        order = [2, 0, 1] if joint else [0, 1, 2]
        logits = sure[order] if joint else np.zeros((3, 3)) + [0.1, 0, 0]
        ids = [f"test/{n}" for n in order]
        meta = {"epoch": 2}
        names = ["a", "b", "c"]
        return Predictions(ids, np.array(order), class_names=names, logits=logits, metadata=meta)

    monkeypatch.setattr("frcore.inference.predict", predict)
    found = figures.outcomes(plan, open_store("tiny"))
    fused = found["four streams", 0]
    # joint alone is sure; the three others say class 0 a little: test/1 and test/2 are right.
    assert dict(fused.right) == {"test/0": False, "test/1": True, "test/2": True}
    table = figures.table_of_rows(plan, found, {})
    assert table.loc["four streams + FR Head", "against"] == "four streams"
    assert table.loc["four streams", "accuracy"] == pytest.approx(200 / 3)
    assert figures.fusion_weights(plan) is None


def test_published_figures_of_the_own_data_come_first():
    streams = make_plan("table5", "nw_ucla", seeds=1)
    assert figures.fusion_weights(streams) == (0.6, 0.6, 0.4, 0.4)
    assert figures.published_where(streams) == "nw_ucla/xview"
    assert figures.published_where(make_plan("table5", "synthetic", seeds=1)) == "ntu120/xsub"
    xset = make_plan("table5", "ntu120", protocol="xset", seeds=1)
    assert figures.fusion_weights(xset) == (0.6, 0.75, 0.3, 0.15)
    assert figures.published_where(xset) == "ntu120/xset"
