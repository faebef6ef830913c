"""Two models compared: accuracies, classes, ambiguous groups, levels, and clips that changed.

Groups and levels are chosen by the mistakes of both models and measured on other clips. Chosen by
A's own test errors they would favour any B: on the very clips where A happened to err, and in the
classes where this training run of A happened to be weak.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from frcore.predictions import Predictions
from frcore.significance import holm, mcnemar_p
from frviz.sources import class_labels
from frviz.tables.groups import LEVELS, SIZE, Judges, folds, level_numbers, mine, pooled
from frviz.tables.paired import Paired, Part
from frviz.tables.statistics import RunNoise, bootstrap, share


def summary(paired: Paired, *, seed: int = 0) -> pd.DataFrame:
    """Accuracy of A and B over all clips, in several ways.

    Returns:
        Rows "top-1", "top-1, unseen clips" (where some are copies of training clips), "top-5"
        (where both have scores and there are more than 5 classes) and "mean over classes";
        columns as in `Paired.changes`, without p for the last.
    """
    everything = paired.everything()
    rows = {"top-1": paired.changes([everything], seed=seed)}
    copies = paired.copies
    if copies.any():
        unseen = Part(everything.members, ~copies)
        rows["top-1, unseen clips"] = paired.changes([unseen], seed=seed)
    scored = all(run.logits is not None for run in (*paired.a, *paired.b))
    if scored and paired.num_classes > 5:
        rows["top-5"] = paired.within(5).changes([everything], seed=seed)
    rows["mean over classes"] = _class_mean(paired)
    return pd.concat(rows).droplevel(1).rename_axis("accuracy")


def _class_mean(paired: Paired) -> pd.DataFrame:
    support = np.bincount(paired.labels, minlength=paired.num_classes)
    means = [
        np.nanmean(share(np.bincount(paired.labels, right.mean(axis=0), len(support)), support))
        if support.any()
        else np.nan
        for right in (paired.right_a, paired.right_b)
    ]
    return pd.DataFrame(
        {"clips": len(paired.labels), "a": means[0], "b": means[1]}, index=[0]
    ).assign(difference=means[1] - means[0])


def pairs_of_runs(paired: Paired) -> pd.DataFrame:
    """Exact McNemar test of each pair of runs: the first of A with the first of B, and so on.

    Returns:
        A row a pair: `a` and `b` (accuracy), `fixed`, `broken`, `p`. Where one model has fewer
        runs, its last one meets the rest.
    """
    count = max(len(paired.a), len(paired.b))
    rows = []
    for number in range(count):
        a = paired.right_a[min(number, len(paired.a) - 1)]
        b = paired.right_b[min(number, len(paired.b) - 1)]
        fixed, broken = int((b & ~a).sum()), int((a & ~b).sum())
        rows.append((a.mean() if a.size else np.nan, b.mean() if b.size else np.nan, fixed, broken))
    table = pd.DataFrame(rows, columns=["a", "b", "fixed", "broken"])
    table.index = pd.RangeIndex(1, count + 1, name="pair of runs")
    return table.assign(p=mcnemar_p(table["fixed"].to_numpy(), table["broken"].to_numpy()))


def class_changes(paired: Paired, *, seed: int = 0) -> pd.DataFrame:
    """What B changed in each class (recall), with Holm's correction over classes.

    Returns:
        A row a class; columns of `Paired.changes` and `p_holm`.
    """
    part = Part(np.eye(paired.num_classes, dtype=bool), np.ones(len(paired.labels), bool))
    table = paired.changes([part], seed=seed)
    table.index = class_labels(paired.a[0].class_names).rename("class")
    return _corrected(table)


def group_changes(
    paired: Paired, judges: Judges, *, size: int = SIZE, seed: int = 0
) -> pd.DataFrame:
    """The paper's Figure 4: the ambiguous group of every anchor, A against B.

    Args:
        paired: the models.
        judges: models whose confusions make the groups (see `folds`).
        size: confused classes beside the anchor.
        seed: of the halves and the bootstrap.

    Returns:
        A row an anchor, which is a class that the judges take for another: `members` (by all of the
        judges' clips), the columns of `Paired.changes`, `p_holm` (corrected over the different
        groups), and `raw_difference`: as published work measures it, with groups from A's errors on
        the very clips that are compared.
    """
    parts = [Part(mine(cells, size)[1], clips) for cells, clips in folds(paired.a[0], judges, seed)]
    table = paired.changes(parts, seed=seed)
    names = class_labels(paired.a[0].class_names)
    ranked = mine(pooled(judges), size)[0]
    table.insert(0, "members", [tuple(names[row]) for row in ranked])
    table.index = names.rename("anchor")
    own = mine(pooled([paired.a]), size)[1]
    table["p_holm"] = _holm_of_groups(table["p"].to_numpy(), [part.members for part in parts])
    table = table.assign(raw_difference=_raw(paired, own))
    return table[np.array([len(row) > 1 for row in ranked], bool)]


def _holm_of_groups(p: np.ndarray, members: Sequence[np.ndarray]) -> np.ndarray:
    """(R,) corrected p: rows with the same classes are one test, a class on its own is none."""
    joined = np.hstack(members)  # (R, K * folds)
    _, first, same = np.unique(joined, axis=0, return_index=True, return_inverse=True)
    several = np.any([part.sum(axis=1) > 1 for part in members], axis=0)
    tested = np.where(several[first], p[first], np.nan)
    return holm(tested)[same.ravel()]


def level_changes(paired: Paired, judges: Judges, *, seed: int = 0) -> pd.DataFrame:
    """The paper's Table 4: classes by difficulty, A against B.

    Args:
        paired: the models.
        judges: models whose accuracy by class makes the levels (see `folds`).
        seed: of the halves and the bootstrap.

    Returns:
        A row a level: `classes` (by all of the judges' clips), then as `group_changes`.
    """
    parts = [Part(_levels(cells), clips) for cells, clips in folds(paired.a[0], judges, seed)]
    table = paired.changes(parts, seed=seed)
    table.index = pd.CategoricalIndex(LEVELS, LEVELS, ordered=True, name="level")
    table.insert(0, "classes", _levels(pooled(judges)).sum(axis=1))
    own = _levels(pooled([paired.a]))
    return _corrected(table).assign(raw_difference=_raw(paired, own))


def _levels(cells: np.ndarray) -> np.ndarray:
    """(levels, K) bool from confusion counts."""
    numbers = level_numbers(share(cells.diagonal(), cells.sum(axis=1)))
    return np.arange(len(LEVELS))[:, None] == numbers


def _raw(paired: Paired, members: np.ndarray) -> np.ndarray:
    """Differences of rows measured on the clips that chose them."""
    support = np.bincount(paired.labels, minlength=paired.num_classes)
    right = [
        np.bincount(paired.labels, right.mean(axis=0), len(support))
        for right in (paired.right_a, paired.right_b)
    ]
    return share(members @ (right[1] - right[0]), members @ support)


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(p_holm=holm(table["p"].to_numpy()))


def cell_changes(paired: Paired) -> pd.DataFrame:
    """What B changed in each cell of the confusion matrix, all runs together.

    Returns:
        A row a cell that either model uses: `true` and `predicted` (places of the classes),
        `a` and `b` (clips there, means over runs), `difference`, `p` (one run each: exact McNemar
        test of the clips that only one of the models puts there; else bootstrap) and `p_holm`.
    """
    k = paired.num_classes
    cells = [np.stack([paired.labels * k + run.predicted for run in runs])
             for runs in (paired.a, paired.b)]  # fmt: skip
    a, b = (np.bincount(c.ravel(), minlength=k * k) / len(c) for c in cells)
    used = np.flatnonzero(a + b)
    table = pd.DataFrame(
        {"true": used // k, "predicted": used % k, "a": a[used], "b": b[used]}
    ).assign(difference=(b - a)[used], p=np.nan)
    if paired.single:
        moved = cells[0][0] != cells[1][0]
        only_a, only_b = (np.bincount(c[0][moved], minlength=k * k)[used] for c in cells)
        table["p"] = mcnemar_p(only_b, only_a)
    elif len(used):
        table["p"] = _cell_p(paired, cells, used)
    return _corrected(table)


def _cell_p(paired: Paired, cells: list[np.ndarray], used: np.ndarray) -> np.ndarray:
    """p of each used cell by the bootstrap over runs and clips of its true class."""
    runs_a, runs_b = len(paired.a), len(paired.b)
    most, k = runs_a * runs_b, paired.num_classes
    counts = np.zeros((len(used), 2 * most + 1), dtype=int)
    means = [np.zeros((len(c), len(used))) for c in cells]
    by_clips = [np.zeros(len(used)) for _ in cells]
    for row, cell in enumerate(used):
        clips = paired.labels == cell // k
        there = [c[:, clips] == cell for c in cells]  # (runs, clips of the true class)
        steps = runs_a * there[1].sum(axis=0) - runs_b * there[0].sum(axis=0)
        counts[row] = np.bincount(steps + most, minlength=2 * most + 1)
        for side, t in enumerate(there):
            means[side][:, row] = t.mean(axis=1)
            if len(t) > 1:
                by_clips[side][row] = t.var(axis=0, ddof=1).sum() / t.shape[1] ** 2
    several = [(m, v) for m, v in zip(means, by_clips, strict=True) if len(m) > 1]
    steps = np.arange(-most, most + 1) / most
    return bootstrap(steps, counts, seed=0, runs=RunNoise.of(several), resamples=1_000).p


def cells_of(changes: pd.DataFrame, classes: pd.Index, side: str) -> pd.DataFrame:
    """The confusion matrix of "a" or "b" from `cell_changes`: means over its runs."""
    cells = np.zeros((len(classes), len(classes)))
    cells[changes["true"], changes["predicted"]] = changes[side]
    return pd.DataFrame(cells, classes.rename("true"), classes.rename("predicted"))


def changed_clips(paired: Paired) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clips that B fixes and clips that it breaks.

    With several runs a clip counts as right where the class that most of them predict is.

    Returns:
        Two tables, a row a clip by its id: `class`, `a_predicted`, `b_predicted`,
        `a_p_true`, `b_p_true` (NaN without scores), `copy`; with several runs also `a_right` and
        `b_right`, the shares that are right. Sorted by class and id.
    """
    first = paired.a[0]
    names = np.array(class_labels(first.class_names), dtype=object)
    table = pd.DataFrame(
        {
            "class": names[first.labels],
            "a_predicted": names[_vote(paired.a)],
            "b_predicted": names[_vote(paired.b)],
            "a_p_true": _p_true(paired.a),
            "b_p_true": _p_true(paired.b),
            "copy": paired.copies,
            "label": first.labels,
        },
        index=pd.Index(first.sample_ids, name="sample_id", dtype=object),
    )
    share_a, share_b = paired.right_a.mean(axis=0), paired.right_b.mean(axis=0)
    if not paired.single:
        table = table.assign(a_right=share_a, b_right=share_b)
    right_a, right_b = (_vote(runs) == first.labels for runs in (paired.a, paired.b))

    def chosen(clips: np.ndarray) -> pd.DataFrame:
        order = np.lexsort((table.index[clips].to_numpy(dtype=str), table["label"][clips]))
        return table[clips].iloc[order].drop(columns="label")

    return chosen(~right_a & right_b), chosen(right_a & ~right_b)


def agreement(paired: Paired) -> pd.DataFrame:
    """How often the models say the same: shares of clips, over all pairs of runs.

    Returns:
        Rows "both right", "only A", "only B", "both wrong, same class", "both wrong, other class":
        `clips` (means over pairs of runs) and `share`.
    """
    totals = np.zeros(5)
    for a, right_a in zip(paired.a, paired.right_a, strict=True):
        for b, right_b in zip(paired.b, paired.right_b, strict=True):
            same, wrong = a.predicted == b.predicted, ~right_a & ~right_b
            cells = (right_a & right_b, right_a & ~right_b, ~right_a & right_b)
            totals += [cell.sum() for cell in (*cells, wrong & same, wrong & ~same)]
    clips = totals / (len(paired.a) * len(paired.b))
    index = ["both right", "only A", "only B", "both wrong, same class", "both wrong, other class"]
    return pd.DataFrame(
        {
            "clips": clips.astype(int) if paired.single else clips,
            "share": share(clips, np.full(5, len(paired.labels))),
        },
        index=pd.Index(index, name="outcome"),
    )


def _vote(runs: Sequence[Predictions]) -> np.ndarray:
    """(N,) the class that most runs predict; ties go to the lower index."""
    votes = np.zeros((len(runs[0]), runs[0].num_classes), dtype=int)
    for run in runs:
        votes[np.arange(len(run)), run.predicted] += 1
    return votes.argmax(axis=1)


def _p_true(runs: Sequence[Predictions]) -> np.ndarray:
    """(N,) mean probability of the true class; NaN where a run has no scores."""
    if any(run.logits is None for run in runs):
        return np.full(len(runs[0]), np.nan)
    rows = np.arange(len(runs[0]))
    return np.mean([run.probabilities[rows, run.labels] for run in runs], axis=0)
