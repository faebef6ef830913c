"""An epoch's row and arrays, against loops over its steps."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from frcore.contrast import ContrastStats
from frcore.fr_head import FRHeadOutput
from frcore.records import EpochRecord

SPACES = ("fin.spatial", "fin.temporal")
K, CLIPS, REPEATS = 3, 6, 2


def make_steps(seed=0):
    """Three steps of 5, 4 and 3 views that visit 6 clips twice; the second was not applied."""
    rng = torch.Generator().manual_seed(seed)
    views = torch.stack([torch.arange(CLIPS).repeat(REPEATS), torch.arange(REPEATS * CLIPS) // 6])
    views = views[:, torch.randperm(REPEATS * CLIPS, generator=rng)]
    steps = []
    for index_repeat, ok in zip(views.split([5, 4, 3], dim=1), (True, False, True), strict=True):
        index, repeat = index_repeat
        n = len(index)
        logits = torch.randn(n, K, generator=rng)
        labels = torch.randint(0, K, (n,), generator=rng)
        counts = torch.randint(0, 3, (3, K), generator=rng).float()
        stats = ContrastStats(
            counts,
            torch.rand(2, K, generator=rng) * (counts[1] > 0),
            torch.rand(2, K, generator=rng) * (counts[2] > 0),
        )
        head = FRHeadOutput(torch.rand((), generator=rng), torch.rand(2, generator=rng), stats)
        if not ok:
            logits, head = logits * math.nan, head._replace(loss=torch.tensor(math.nan))
        ce = F.cross_entropy(logits, labels)
        steps.append((index, repeat, labels, logits, ce, head, torch.tensor(ok)))
    return steps


def record_of(steps, spaces=SPACES):
    record = EpochRecord(CLIPS, K, repeats=REPEATS, spaces=spaces, weight=0.1)
    for step in steps:
        record.add(*(step if spaces else (*step[:5], None, step[6])))
    return record


def applied(steps):
    return [step for step in steps if step[6]]


def test_the_row_holds_means_over_the_views_of_applied_steps():
    steps = make_steps()
    row = record_of(steps).row()
    views = sum(len(s[0]) for s in applied(steps))
    assert views == 8
    assert row["ce"] == pytest.approx(sum(float(s[4]) * len(s[0]) for s in applied(steps)) / 8)
    assert row["cl"] == pytest.approx(sum(float(s[5].loss) * len(s[0]) for s in applied(steps)) / 8)
    assert row["loss"] == row["ce"] + 0.1 * row["cl"]
    for b, name in enumerate(("cl_fin_spatial", "cl_fin_temporal")):
        total = sum(float(s[5].branch_losses[b]) * len(s[0]) for s in applied(steps))
        assert row[name] == pytest.approx(total / 8)
    for n, name in enumerate(("tp", "fn", "fp")):
        assert row[name] == sum(int(s[5].stats.counts[n].sum()) for s in applied(steps))
    hits = sum(int((s[3].argmax(1) == s[2]).sum()) for s in applied(steps))
    assert row["train_acc"] == hits / 8
    assert record_of(steps).skipped_steps == 1


def test_without_a_head_there_is_no_column_of_it():
    record = record_of(make_steps(), spaces=None)
    row = record.row()
    assert list(row) == ["loss", "ce", "train_acc"] and row["loss"] == row["ce"]


def test_calibration_is_the_mean_over_batches_that_had_any():
    steps = applied(make_steps())
    made = record_of(make_steps()).calibration()
    for n, name in enumerate(("tp", "fn", "fp")):
        expected = [sum(int(s[5].stats.counts[n, k]) for s in steps) for k in range(K)]
        assert made[name].tolist() == expected
    for n, name in ((1, "fn"), (2, "fp")):
        had = [sum(int(s[5].stats.counts[n, k] > 0) for s in steps) for k in range(K)]
        assert made[f"{name}_batches"].tolist() == had
        for b in range(len(SPACES)):
            for k in range(K):
                cosine = f"{name}_cosine"
                found = [
                    float(getattr(s[5].stats, cosine)[b, k])
                    for s in steps
                    if s[5].stats.counts[n, k] > 0
                ]
                expected = sum(found) / len(found) if found else math.nan
                assert made[cosine][b, k] == pytest.approx(expected, nan_ok=True)


def test_history_is_the_last_view_of_each_clip_and_empty_where_it_was_skipped():
    steps = make_steps()
    made = record_of(steps).history()
    checked = 0
    for index, repeat, labels, logits, *_, ok in steps:
        for i, r, y, scores in zip(index, repeat, labels, logits, strict=True):
            if r != REPEATS - 1:
                continue
            checked += 1
            if ok:
                assert made["train_predicted"][i] == int(scores.argmax())
                p = float(torch.softmax(scores, 0)[y])
                assert made["train_p_true"][i] == pytest.approx(p)
            else:
                assert made["train_predicted"][i] == -1 and np.isnan(made["train_p_true"][i])
    assert checked == CLIPS


def test_an_epoch_in_which_no_step_was_applied_has_no_means():
    record = record_of([make_steps()[1]])
    row = record.row()
    assert np.isnan([row["ce"], row["cl"], row["loss"], row["train_acc"]]).all()
    assert row["tp"] == 0 and record.skipped_steps == 1
    assert np.isnan(record.calibration()["fn_cosine"]).all()


def test_an_epoch_cut_in_two_gives_the_same_row_and_arrays():
    steps = make_steps()
    begun, whole = record_of(steps[:2]), record_of(steps)
    resumed = EpochRecord(CLIPS, K, repeats=REPEATS, spaces=SPACES, weight=0.1)
    tensors = {k.removeprefix("meters."): t.clone() for k, t in begun.tensors().items()}
    resumed.load(tensors)
    resumed.add(*steps[2])
    assert resumed.row() == whole.row() and resumed.skipped_steps == whole.skipped_steps
    for made in ("history", "calibration"):
        ours, theirs = getattr(resumed, made)(), getattr(whole, made)()
        for name, array in ours.items():
            np.testing.assert_array_equal(array, theirs[name])
