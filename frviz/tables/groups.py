"""Ambiguous groups and difficulty levels, as the paper defines them.

Zhou, Liu, Wang (CVPR 2023), Section 4.3: an anchor class and the three classes its misclassified
clips go to most; Table 4: classes below 70 %, from 70 to 90 % and above 90 % accuracy.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import pandas as pd

from frcore.errors import UserError
from frcore.predictions import Predictions
from frviz.sources import Source, class_labels, class_number, marked, predictions_of
from frviz.tables.confusion import counts_of
from frviz.tables.statistics import share

LEVELS = ("hard", "medium", "easy")
LEVEL_LIMITS = (0.7, 0.9)  # hard < 70 % <= medium <= 90 % < easy
NO_GROUP = "No class is confused with another, so there is no ambiguous group."
SIZE = 3  # confused classes beside the anchor


def ambiguous_groups(
    x: Source, *, size: int = SIZE, reference: Source | None = None
) -> pd.DataFrame:
    """The ambiguous groups, and how well they are recognised.

    A class of which no clip is misclassified is the anchor of none: of a perfect model the table is
    empty.

    Groups made of a model's own test errors, and measured on the same clips, look worse than they
    are; `frviz.compare` corrects for that. Here `reference` may be predictions of other clips.

    Args:
        x: as in `frviz.confusion`.
        size: confused classes beside the anchor (the paper: 3). Of classes that as many clips go
            to, the first in the order of classes counts; a class without enough errors has fewer.
        reference: whose confusions make the groups; x by default.

    Returns:
        A row an anchor class: `members` (names, the anchor first), `errors` (misclassified clips of
        the anchor in the reference), `clips` (of x whose true class is a member) and `accuracy`
        (of these, predicted over all K classes). Sorted by accuracy.
    """
    predictions = predictions_of(x)
    judge = predictions if reference is None else predictions_of(reference)
    mined = counts_of(judge)
    if mined.shape[0] != predictions.num_classes:
        raise UserError(f"reference has {mined.shape[0]} classes, x has {predictions.num_classes}.")
    names = class_labels(predictions.class_names)
    ranked, members = mine(mined, size)
    cells = counts_of(predictions)
    clips = members @ cells.sum(axis=1)
    table = pd.DataFrame(
        {
            "members": [tuple(names[row]) for row in ranked],
            "errors": mined.sum(axis=1) - mined.diagonal(),
            "clips": clips,
            "accuracy": share(members @ cells.diagonal(), clips),
        },
        index=names.rename("anchor"),
    )
    table = table[np.array([len(row) > 1 for row in ranked], bool)]
    table = table.sort_values(["accuracy", "errors"], ascending=[True, False], kind="stable")
    return marked(table, predictions, judge, who=("x", "reference"))


def choose_anchors(groups: pd.DataFrame, n: int = 60, *, seed: int = 0) -> pd.DataFrame:
    """A random choice of n anchors, as the paper's Figure 4 shows 60 of 120; all if fewer."""
    chosen = np.random.default_rng(seed).permutation(len(groups))[:n]
    return groups.iloc[np.sort(chosen)]


def group_members(x: Source, anchor: str | int, *, size: int = SIZE) -> tuple[int, ...]:
    """The classes of an anchor's ambiguous group, the anchor first."""
    predictions = predictions_of(x)
    row = class_number(anchor, class_labels(predictions.class_names))
    return tuple(mine(counts_of(predictions), size)[0][row])


def mine(cells: np.ndarray, size: int = SIZE) -> tuple[list[list[int]], np.ndarray]:
    """Groups from (K, K) confusion counts.

    Returns:
        The classes of each anchor's group, most confused first; the same as (K, K) booleans.
    """
    if size < 1:
        raise UserError(f"size: expected 1 or more confused classes, got {size}.")
    errors = cells - np.diag(cells.diagonal())
    order = np.argsort(-errors, axis=1, kind="stable")[:, :size]  # stable: ties by class order
    ranked, members = [], np.eye(len(cells), dtype=bool)
    for anchor, confused in enumerate(order):
        confused = confused[errors[anchor, confused] > 0]
        members[anchor, confused] = True
        ranked.append([anchor, *confused.tolist()])
    return ranked, members


def difficulty_levels(x: Source) -> pd.DataFrame:
    """The level of each class: "hard", "medium" or "easy" by its accuracy.

    Returns:
        A row a class: `accuracy`, `clips`, `level` (missing for a class without clips).
    """
    predictions = predictions_of(x)
    cells = counts_of(predictions)
    accuracy = share(cells.diagonal(), cells.sum(axis=1))
    level = level_numbers(accuracy)
    table = pd.DataFrame(
        {
            "accuracy": accuracy,
            "clips": cells.sum(axis=1),
            "level": pd.Categorical.from_codes(level, LEVELS, ordered=True),
        },
        index=class_labels(predictions.class_names).rename("class"),
    )
    return marked(table, predictions)


def level_numbers(accuracy: np.ndarray) -> np.ndarray:
    """(K,) places in `LEVELS`; -1 where the accuracy is unknown."""
    hard, easy = LEVEL_LIMITS
    level = np.where(accuracy < hard, 0, np.where(accuracy > easy, 2, 1))
    return np.where(np.isnan(accuracy), -1, level)


def halves(sample_ids: Sequence[str], labels: np.ndarray, seed: int) -> np.ndarray:
    """(N,) bool: a random half of each class's clips.

    A clip's half depends on the ids and the seed, never on the order of the clips.
    """
    return _halves(tuple(sample_ids), tuple(labels.tolist()), seed).copy()


@lru_cache(maxsize=4)  # a comparison asks several times
def _halves(sample_ids: tuple[str, ...], labels: tuple[int, ...], seed: int) -> np.ndarray:
    salt = str(seed).encode()
    digests = (blake2b(name.encode(), key=salt, digest_size=8).digest() for name in sample_ids)
    keys = np.frombuffer(b"".join(digests), dtype=">u8")
    order = np.lexsort((keys, labels))  # by class, at random within
    first = np.zeros(len(labels), bool)
    first[order[::2]] = True  # runs on over the classes, so odd ones do not favour a half
    return first


Judges = Sequence[Sequence[Predictions]]  # models, each with its runs


def folds(test: Predictions, judges: Judges, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """How to choose groups or levels and then measure them on other clips.

    Args:
        test: the clips that are measured.
        judges: models whose mistakes make the choice, all over the same clips: those of `test` or
            others. Every model counts alike, whatever the number of its runs.
        seed: of the halves.

    Returns:
        Pairs of confusion counts to choose by and clips (N,) to measure on. Where the judges have
        clips of their own, one pair with all clips. Otherwise two: chosen on one half, measured
        on the other.

    Raises:
        UserError: other classes or labels, or some of the test clips but not all of them.
    """
    first = judges[0][0]
    if first.num_classes != test.num_classes:
        raise UserError(
            f"reference has {first.num_classes} classes, the models that are compared have "
            f"{test.num_classes}."
        )
    shared = set(test.sample_ids) & set(first.sample_ids)
    if not shared:
        return [(pooled(judges), np.ones(len(test), bool))]
    if len(shared) < len(test):
        raise UserError(
            f"reference has {len(shared)} of the {len(test)} clips that are compared; give "
            "predictions of other clips (such as a validation split) or of all of these."
        )
    aligned = [[run.select(test.sample_ids) for run in runs] for runs in judges]
    differ = np.flatnonzero(aligned[0][0].labels != test.labels)
    if len(differ):
        raise UserError(
            f"reference has other labels for {len(differ)} clips, such as "
            f"'{test.sample_ids[differ[0]]}'."
        )
    half = halves(test.sample_ids, test.labels, seed)
    return [(pooled(aligned, chosen), ~chosen) for chosen in (half, ~half)]


def pooled(judges: Judges, clips: np.ndarray | None = None) -> np.ndarray:
    """(K, K) confusion counts of several models; a model of several runs counts their mean."""
    return sum(sum(counts_of(run, clips) for run in runs) / len(runs) for runs in judges)
