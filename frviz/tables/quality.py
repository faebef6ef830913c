"""How far a map, and the feature space behind it, can be trusted.

Distances are Euclidean between features of length 1 (so they order like cosines).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.manifold import trustworthiness
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors

from frcore.ensembles import align
from frcore.errors import UserError
from frviz.sources import Source, class_labels, marked, predictions_of, with_space
from frviz.tables.confusion import counts_of
from frviz.tables.groups import mine
from frviz.tables.layout import content_of, directions

NEIGHBOURS = 15
SAMPLE = 2_000  # clips for measures that need all distances; drawn from each class alike


def map_quality(
    x: Source,
    table: pd.DataFrame,
    *,
    side: Literal["a", "b"] = "a",
    neighbours: int = NEIGHBOURS,
    sample: int = SAMPLE,
    seed: int = 0,
) -> pd.Series:
    """What a map keeps of the space it shows.

    Args:
        x: the predictions that were embedded.
        table: from `frviz.embed`, or from `embed_pair` with its `side`.
        side: "a" or "b" of a pair; x is then that model.
        neighbours: a point's neighbourhood.
        sample: at most so many clips, as many of each class, for the measures that need all
            distances; drawn with `seed`.
        seed: of that choice.

    Returns:
        `trustworthiness` (neighbours on the map are neighbours in the space; 1 is best),
        `continuity` (and the other way round), `knn_map` and `knn_space` (share of clips whose
        class is that of most neighbours), `silhouette_map` and `silhouette_space` (of true
        classes, -1 to 1), `clips` (so many were used).

    Raises:
        UserError: the map is of other clips, or of a space that the predictions do not have.
    """
    space = table.attrs.get("space", "backbone")
    predictions = with_space(x, space)
    content = table.attrs.get("content", ())
    if content and content_of(predictions, space) != content[side == "b" and len(content) > 1]:
        raise UserError("The map was not made of these predictions; give those that were embedded.")
    clips = table[table["kind"] == "clip"]
    chosen = predictions.select(clips.index.to_list())
    rows = _sample(chosen.labels, sample, seed)
    labels, high = chosen.labels[rows], directions(chosen.features[space][rows])
    columns = ["x", "y"] if "x" in clips else [f"{side}_x", f"{side}_y"]
    low = clips[columns].to_numpy()[rows]
    near = min(neighbours, (len(rows) - 1) // 2)
    if near < 1:
        raise UserError(f"Quality needs 3 clips or more, not {len(rows)}.")
    several = 1 < len(np.unique(labels)) < len(labels)
    found = pd.Series(
        {
            "trustworthiness": trustworthiness(high, low, n_neighbors=near),
            "continuity": trustworthiness(low, high, n_neighbors=near),
            "knn_map": _knn_accuracy(low, labels, near),
            "knn_space": _knn_accuracy(high, labels, near),
            "silhouette_map": silhouette_score(low, labels) if several else np.nan,
            "silhouette_space": silhouette_score(high, labels) if several else np.nan,
            "clips": len(rows),
        },
        name=space,
    )
    return marked(found, predictions)


def compactness(
    x: Source, *, space: str = "backbone", reference: Source | None = None
) -> pd.DataFrame:
    """How tight and how far apart the classes of each ambiguous group are in feature space.

    Args:
        x: predictions with features.
        space: of these.
        reference: whose confusions make the groups; x by default. To compare two models give the
            same for both, and not the test clips of one of them, which would favour the other one:
            validation clips, say.

    Returns:
        A row an anchor: `members`, `within` (mean distance of the group's clips to the mean of
        their true class), `between` (mean distance of these means from each other) and `ratio`;
        a smaller one is better separated. NaN for a group of one class.
    """
    predictions = with_space(x, space)
    unit = directions(predictions.features[space])
    k = predictions.num_classes
    count = np.bincount(predictions.labels, minlength=k)
    means = np.full((k, unit.shape[1]), np.nan)
    for label in np.flatnonzero(count):
        means[label] = unit[predictions.labels == label].mean(axis=0)
    spread = np.linalg.norm(unit - means[predictions.labels], axis=1)
    total = np.bincount(predictions.labels, spread, k)
    judge = predictions if reference is None else predictions_of(reference)
    if judge.num_classes != k:
        raise UserError(f"reference has {judge.num_classes} classes, x has {k}.")
    names = class_labels(predictions.class_names)
    rows = []
    for members in mine(counts_of(judge))[0]:
        here = [c for c in members if count[c]]
        apart = np.linalg.norm(means[here][:, None] - means[here], axis=2)
        pairs = apart[np.triu_indices(len(here), 1)]
        within = total[here].sum() / count[here].sum() if here else np.nan
        between = pairs.mean() if len(pairs) else np.nan
        rows.append((tuple(names[members]), within, between, within / between))
    table = pd.DataFrame(rows, names.rename("anchor"), ["members", "within", "between", "ratio"])
    return marked(table, predictions, judge, who=("x", "reference"))


def neighbourhood_overlap(
    a: Source, b: Source, *, space: str = "backbone", neighbours: int = NEIGHBOURS
) -> pd.Series:
    """Share of each clip's nearest clips that are the same in both models' feature spaces.

    The honest figure of how much two models differ: no map is involved. Two random arrangements of
    N clips share neighbours / (N - 1).

    Returns:
        (N,) shares by sample id, in the order of a.
    """
    first = with_space(a, space)
    second = align(first, with_space(b, space), "B")
    near = min(neighbours, len(first) - 1)
    if near < 1:
        raise UserError("Neighbours need 2 clips or more.")
    sets = [_neighbours(directions(x.features[space]), near) for x in (first, second)]
    rows = np.arange(len(first))[:, None] * len(first)
    common = np.isin((sets[0] + rows).ravel(), (sets[1] + rows).ravel()).reshape(sets[0].shape)
    found = pd.Series(
        common.mean(axis=1), pd.Index(first.sample_ids, name="sample_id"), name="overlap"
    )
    return marked(found, first, second)


def _sample(labels: Sequence[int] | np.ndarray, most: int, seed: int) -> np.ndarray:
    """Rows, at most `most`, as many of each class as there are; sorted."""
    labels = np.asarray(labels)
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.zeros(len(labels), dtype=int)  # a clip's number within its class, at random
    by_class = order[np.argsort(labels[order], kind="stable")]
    starts = np.searchsorted(labels[by_class], labels[by_class])
    rank[by_class] = np.arange(len(labels)) - starts
    return np.sort(order[np.argsort(rank[order], kind="stable")][:most])


def _neighbours(points: np.ndarray, count: int) -> np.ndarray:
    """(N, count) nearest others of each point."""
    return NearestNeighbors(n_neighbors=count).fit(points).kneighbors(return_distance=False)


def _knn_accuracy(points: np.ndarray, labels: np.ndarray, count: int) -> float:
    votes = labels[_neighbours(points, count)]
    counts = np.zeros((len(labels), labels.max() + 1), dtype=int)
    np.add.at(counts, (np.arange(len(labels))[:, None], votes), 1)
    return float((counts.argmax(axis=1) == labels).mean())
