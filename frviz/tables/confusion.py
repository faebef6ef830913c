"""Which class is taken for which: confusion counts, per-class figures, the worst confusions."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from frcore.errors import UserError, unknown_name
from frcore.predictions import Predictions
from frviz.sources import Source, class_labels, marked, predictions_of
from frviz.tables.statistics import share

Normalize = Literal["count", "true", "predicted", "all"]
_NORMALIZE = ("count", "true", "predicted", "all")


def counts_of(predictions: Predictions, clips: np.ndarray | None = None) -> np.ndarray:
    """(K, K) clips by true and predicted class, of all clips or under a mask."""
    k = predictions.num_classes
    cells = predictions.labels * k + predictions.predicted
    cells = cells if clips is None else cells[clips]
    return np.bincount(cells, minlength=k * k).reshape(k, k)


def confusion(x: Source, *, normalize: Normalize = "count") -> pd.DataFrame:
    """The confusion matrix, K x K whatever classes occur.

    Args:
        x: a run, its directory, a checkpoint, predictions or their file.
        normalize: "count" for clips; else shares of the true class (each row sums to 1), of the
            predicted class (each column) or of all clips. NaN where there is nothing to share.

    Returns:
        A row a true class, a column a predicted class.
    """
    if normalize not in _NORMALIZE:
        raise unknown_name("normalize", normalize, _NORMALIZE)
    predictions = predictions_of(x)
    cells = counts_of(predictions)
    if normalize != "count":
        axis = {"true": 1, "predicted": 0, "all": None}[normalize]
        cells = share(cells, np.broadcast_to(cells.sum(axis=axis, keepdims=True), cells.shape))
    names = class_labels(predictions.class_names)
    table = pd.DataFrame(cells, names.rename("true"), names.rename("predicted"))
    return marked(table, predictions)


def per_class(x: Source) -> pd.DataFrame:
    """Support, precision, recall and F1 of each class.

    Returns:
        A row a class: `support` (clips of it), `predicted` (clips taken for it), `correct`,
        `precision`, `recall`, `f1`; NaN where a share of nothing is asked for.
    """
    predictions = predictions_of(x)
    cells = counts_of(predictions)
    support, taken, correct = cells.sum(axis=1), cells.sum(axis=0), cells.diagonal()
    table = pd.DataFrame(
        {
            "support": support,
            "predicted": taken,
            "correct": correct,
            "precision": share(correct, taken),
            "recall": share(correct, support),
            "f1": share(2 * correct, support + taken),
        },
        index=class_labels(predictions.class_names).rename("class"),
    )
    return marked(table, predictions)


def top_confusions(x: Source, *, n: int | None = 20, symmetric: bool = False) -> pd.DataFrame:
    """The pairs of classes that are confused most.

    Args:
        x: as in `confusion`.
        n: rows; None for all pairs that occur.
        symmetric: count both directions of a pair together.

    Returns:
        `true`, `predicted`, `clips` and `share` (of the true class's clips), the most clips first,
        ties in the order of the classes. Symmetric: `class_a`, `class_b`, `clips`, `a_as_b`,
        `b_as_a` and `share` (of both classes' clips).
    """
    predictions = predictions_of(x)
    cells = counts_of(predictions)
    names = class_labels(predictions.class_names)
    support = cells.sum(axis=1)
    errors = cells - np.diag(cells.diagonal())
    if symmetric:
        errors = np.triu(errors + errors.T)
    rows, columns = np.nonzero(errors)
    order = np.argsort(-errors[rows, columns], kind="stable")[:n]
    rows, columns = rows[order], columns[order]
    clips = errors[rows, columns]
    if symmetric:
        found = {
            "class_a": names[rows],
            "class_b": names[columns],
            "clips": clips,
            "a_as_b": cells[rows, columns],
            "b_as_a": cells[columns, rows],
            "share": share(clips, support[rows] + support[columns]),
        }
    else:
        found = {
            "true": names[rows],
            "predicted": names[columns],
            "clips": clips,
            "share": share(clips, support[rows]),
        }
    return marked(pd.DataFrame(found), predictions)


def top_k_accuracy(x: Source, ks: Sequence[int] = (1, 2, 3, 5)) -> pd.DataFrame:
    """Share of clips whose class is among the k best, with the number of clips.

    Raises:
        UserError: k above 1 is asked of hard predictions.
    """
    predictions = predictions_of(x)
    if not all(isinstance(k, int | np.integer) and k >= 1 for k in ks):
        raise UserError(f"ks: expected whole numbers from 1, got {list(ks)}.")
    if predictions.logits is None and any(k > 1 for k in ks):
        raise UserError("Top-k accuracy needs scores; these are hard predictions: give ks=(1,).")
    table = pd.DataFrame(
        {"accuracy": [predictions.accuracy(k) for k in ks], "clips": len(predictions)},
        index=pd.Index(list(ks), name="k"),
    )
    return marked(table, predictions)
