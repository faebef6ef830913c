"""What FR Head does to ambiguous clips (the paper's Section 3.2.3), made visible.

A class's true positives (TP) are its clips that are predicted right, its false negatives (FN) those
that are taken for another class, its false positives (FP) the clips of other classes taken for it.
FR Head pulls FN clips toward the class's prototype and pushes FP clips off it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from frcore.ensembles import align
from frcore.errors import UserError
from frcore.predictions import Predictions
from frcore.run import Run
from frviz.sources import (
    Source,
    Split,
    class_labels,
    marked,
    open_run,
    predictions_of,
    with_space,
)
from frviz.tables.embedding import true_positive_means
from frviz.tables.layout import directions
from frviz.tables.statistics import share


def calibration(
    x: Source, *, spaces: Sequence[str] | None = None, split: Split = "test"
) -> pd.DataFrame:
    """Where a model's TP, FN and FP clips lie, in each branch of its head.

    Args:
        x: a run trained with FR Head, or predictions in such spaces.
        spaces: branches such as "fin.spatial"; by default all of the run, or of the predictions.
        split: of a run.

    Returns:
        A row a branch and class: clips `tp`, `fn`, `fp`, and mean cosines. `*_own` is to the
        class's prototype. `*_rival` is to the prototype that competes for the clip: for TP the
        nearest other one, for FN that of the predicted class, for FP that of the true class.
        NaN where there is no clip.

    Raises:
        UserError: the model has no FR Head, or no such branch.
    """
    spaces = _branches(x) if spaces is None else (spaces,) if isinstance(spaces, str) else spaces
    predictions = predictions_of(x, split=split, spaces=tuple(spaces))
    names = class_labels(predictions.class_names).rename("class")
    tables = {}
    for space in spaces:
        if space not in predictions.prototypes or space not in predictions.features:
            known = ", ".join(set(predictions.prototypes) & set(predictions.features)) or "none"
            raise UserError(f"No prototypes and features in space '{space}'; there are: {known}.")
        tables[space] = _one_space(predictions, space).set_index(names)
    return marked(pd.concat(tables, names=["space"]), predictions)


def _branches(x: Source) -> tuple[str, ...]:
    """The branches of a head: those that predictions have, or those that a run logged."""
    found: tuple[str, ...] = ()
    if isinstance(x, Predictions) or (isinstance(x, str | Path) and Path(x).suffix == ".npz"):
        found = tuple(predictions_of(x).prototypes)
    else:
        found = tuple(str(space) for space in open_run(x).calibration.get("spaces", ()))
    if not found:
        raise UserError(
            "This model has no FR Head, so there are no prototypes. Train one (*_frhead), or "
            "compare feature spaces with frviz.calibration_shift(a, b)."
        )
    return found


def _one_space(predictions: Predictions, space: str) -> pd.DataFrame:
    k, labels, predicted = predictions.num_classes, predictions.labels, predictions.predicted
    cosines = directions(predictions.features[space]) @ directions(predictions.prototypes[space]).T
    rows = np.arange(len(labels))
    own, taken = cosines[rows, labels], cosines[rows, predicted]
    others = cosines.copy()
    others[rows, labels] = -np.inf
    nearest = others.max(axis=1) if k > 1 else np.full(len(labels), np.nan)
    right = predictions.correct
    columns = {}
    for kind, clips, of, to, rival in (
        ("tp", right, labels, own, nearest),
        ("fn", ~right, labels, own, taken),
        ("fp", ~right, predicted, taken, own),
    ):
        count = np.bincount(of[clips], minlength=k)
        columns[kind] = count
        for name, values in (("own", to), ("rival", rival)):
            total = np.bincount(of[clips], values[clips], k)
            columns[f"{kind}_{name}"] = share(total, count)
    order = ["tp", "fn", "fp"]
    return pd.DataFrame(columns)[order + [c for c in columns if c not in order]]


def calibration_shift(a: Source, b: Source, *, space: str = "backbone") -> pd.DataFrame:
    """Whether B pulled A's FN clips toward their class, and pushed A's FP clips off the wrong one.

    A clip's place at a class is its cosine to the class's centre, standardised over its cosines to
    all centres: so a space that is shifted or stretched as a whole moves no clip. An FN clip is
    pulled in where its place at its true class is higher in B; an FP clip is pushed off where its
    place at the class it was taken for is lower.

    Clips that a model got wrong lie better in any other model, also in one that is no better: so
    the same is measured with the models swapped, and only what exceeds that is a gain.

    Args:
        a: predictions with features, such as a baseline without head.
        b: the same clips.
        space: of both, about its mean; centres are means of true positives.

    Returns:
        A row a class, and last "all": `fn` (A's FN clips), `fn_place_a` and `fn_place_b` (means),
        `fn_pulled` (share of them that is pulled in), `fn_expected` (the share that choice alone
        gives: B's FN clips, seen by A), `fn_gain` (how much the mean place rises beyond what choice
        alone gives); likewise `fp`, `fp_place_a`, `fp_place_b`, `fp_pushed`, `fp_expected`,
        `fp_gain` (how much it falls) for the clips of other classes that A took for this one. NaN
        where there is no clip.

    Raises:
        UserError: other clips, or no such space.
    """
    first = with_space(a, space)
    second = align(first, with_space(b, space), "B")
    places = [_places(x, space) for x in (first, second)]
    forth, back = _moved(first, *places), _moved(second, *reversed(places))
    columns = {}
    for kind, word, better in (("fn", "pulled", 1), ("fp", "pushed", -1)):
        columns[kind] = forth[kind]
        columns[f"{kind}_place_a"] = forth[f"{kind}_before"]
        columns[f"{kind}_place_b"] = forth[f"{kind}_after"]
        columns[f"{kind}_{word}"] = forth[f"{kind}_moved"]
        columns[f"{kind}_expected"] = back[f"{kind}_moved"]
        moved = [x[f"{kind}_after"] - x[f"{kind}_before"] for x in (forth, back)]
        columns[f"{kind}_gain"] = better * (moved[0] - moved[1])
    names = [*class_labels(first.class_names), "all"]
    table = pd.DataFrame(columns).set_axis(pd.Index(names, name="class"))
    return marked(table, first, second)


def _places(x: Predictions, space: str) -> np.ndarray:
    """(N, K) cosines to the centres, standardised over classes; NaN for a class without a TP."""
    features = x.features[space].astype(np.float64)
    unit = directions(features - features.mean(axis=0)) if len(x) else features
    centres = directions(true_positive_means(unit, x))
    known = np.isfinite(centres).all(axis=1)
    cosines = unit @ centres.T
    if not known.any():
        return cosines
    mean, spread = (
        function(cosines[:, known], axis=1, keepdims=True) for function in (np.mean, np.std)
    )
    return (cosines - mean) / np.where(spread > 0, spread, 1)


def _moved(chooser: Predictions, before: np.ndarray, after: np.ndarray) -> pd.DataFrame:
    """How the places of the chooser's wrong clips change from one model to the other."""
    wrong = np.flatnonzero(~chooser.correct)
    k, columns = chooser.num_classes, {}
    for kind, of, better in (("fn", chooser.labels, 1), ("fp", chooser.predicted, -1)):
        of = of[wrong]
        old, new = before[wrong, of], after[wrong, of]
        known = np.isfinite(old) & np.isfinite(new)
        columns[kind] = _by_class(np.ones(len(wrong)), of, k)
        clips = _by_class(known, of, k)
        for name, values in (
            ("moved", better * new > better * old),
            ("before", old),
            ("after", new),
        ):
            columns[f"{kind}_{name}"] = share(_by_class(np.where(known, values, 0), of, k), clips)
    return pd.DataFrame(columns).astype({"fn": int, "fp": int})


def _by_class(values: np.ndarray, of: np.ndarray, k: int) -> np.ndarray:
    """(K + 1,) sums by class, and over all."""
    return np.append(np.bincount(of, values, k), values.sum())


def calibration_history(run: Run | str) -> pd.DataFrame:
    """The sets of TP, FN and FP clips through training, as the head saw them.

    Returns:
        A row an epoch, branch and class: `tp`, `fn`, `fp` (clips; all branches share them),
        `fn_cosine` and `fp_cosine` (of the sets' centres to the class's prototype; NaN: no such
        clip). From the run's calibration.npz.

    Raises:
        UserError: no run, or one without head.
    """
    run = open_run(run)
    logs = run.calibration
    if not logs:
        raise UserError(f"{run.path} has no calibration.npz: it was trained without FR Head.")
    epochs, spaces = logs["epoch"].tolist(), [str(s) for s in logs["spaces"]]
    names = list(class_labels([str(name) for name in logs["class_names"]]))
    shape = (len(epochs), len(spaces), len(names))
    index = pd.MultiIndex.from_product([epochs, spaces, names], names=["epoch", "space", "class"])
    shared = {n: np.broadcast_to(logs[n][:, None], shape).ravel() for n in ("tp", "fn", "fp")}
    cosines = {n: logs[n].reshape(shape).ravel() for n in ("fn_cosine", "fp_cosine")}
    return pd.DataFrame({**shared, **cosines}, index=index)
