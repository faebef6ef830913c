"""Clusters of classes that are confused with one another: the order of large matrices."""

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import squareform

from frviz.sources import Source, class_labels, marked, predictions_of
from frviz.tables.confusion import counts_of

MIN_SHARE = 0.05
RESAMPLES = 100


def class_clusters(
    x: Source, *, min_share: float = MIN_SHARE, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Classes in an order that puts confused ones side by side, and the clusters they form.

    Average linkage of the symmetric confusion graph: two classes are as close as the share of
    their clips that is taken for the other one, each class counted alike.

    Args:
        x: as in `frviz.confusion`.
        min_share: clusters are joined while their classes take, on average over pairs, this share
            of each other's clips.
        resamples: bootstrap samples of the clips for `stability`; 0: none.
        seed: of these samples.

    Returns:
        A row a class, in that order: `cluster` (numbered from 0 along the order), `size` and
        `stability`: how much of the cluster is found again when clips are resampled (mean over
        resamples of the best Jaccard overlap; Hennig, 2007: below 0.6 do not trust it). NaN for a
        class on its own.
    """
    predictions = predictions_of(x)
    cells = counts_of(predictions)
    order, cluster = ordered_clusters(cells, min_share)
    sizes = np.bincount(cluster)
    stability = np.full(len(sizes), np.nan)
    if resamples and (sizes > 1).any():
        stability = _stability(cells, cluster, min_share, resamples, seed)
    names = class_labels(predictions.class_names)
    table = pd.DataFrame(
        {"cluster": cluster, "size": sizes[cluster], "stability": stability[cluster]},
        index=names.rename("class"),
    )
    return marked(table.iloc[order], predictions)


def collapse_confusion(confusion: pd.DataFrame, clusters: pd.DataFrame) -> pd.DataFrame:
    """Confusion counts with the classes of each cluster taken together.

    Args:
        confusion: counts, from `frviz.confusion`.
        clusters: of the same classes, from `class_clusters`.

    Returns:
        A row and a column a cluster, named after its classes.
    """
    cluster = clusters["cluster"]
    names = [
        own.index[0] if len(own) == 1 else f"{own.index[0]} + {len(own) - 1}"
        for _, own in cluster.groupby(cluster)
    ]
    index = pd.Index(names)
    by_row = confusion.groupby(cluster.reindex(confusion.index).to_numpy()).sum()
    both = by_row.T.groupby(cluster.reindex(confusion.columns).to_numpy()).sum().T
    both = both.set_axis(index.rename("true")).set_axis(index.rename("predicted"), axis=1)
    both.attrs = dict(confusion.attrs)
    return both


def ordered_clusters(
    cells: np.ndarray, min_share: float = MIN_SHARE
) -> tuple[np.ndarray, np.ndarray]:
    """Classes (K,) in order, and each one's cluster (K,), of confusion counts (K, K)."""
    order, cluster = _cluster(cells, min_share)
    return order, pd.factorize(cluster[order])[0][np.argsort(order)]


def _cluster(
    cells: np.ndarray, min_share: float, *, ordered: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Classes in order (by far the slowest part; else as they come), and each one's cluster."""
    k = len(cells)
    rate = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    close = (rate + rate.T) / 2
    np.fill_diagonal(close, 0)
    if not close.any():  # nothing is confused (or there is one class): the order they have
        return np.arange(k), np.arange(k)
    distance = squareform(1 - close, checks=False)
    tree = linkage(distance, "average", optimal_ordering=ordered)
    return leaves_list(tree), fcluster(tree, 1 - min_share, "distance")


def _stability(
    cells: np.ndarray, cluster: np.ndarray, min_share: float, resamples: int, seed: int
) -> np.ndarray:
    """(clusters,) mean best Jaccard overlap; NaN for clusters of one class."""
    rng = np.random.default_rng(seed)
    own = np.eye(cluster.max() + 1, dtype=bool)[cluster].T  # (clusters, K)
    support = cells.sum(axis=1)
    rates = cells / np.maximum(support, 1)[:, None]
    rates[support == 0, 0] = 1  # multinomial needs a distribution, of no clips
    total = np.zeros(len(own))
    for _ in range(resamples):
        drawn = np.stack([rng.multinomial(n, p) for n, p in zip(support, rates, strict=True)])
        again = _cluster(drawn, min_share, ordered=False)[1]
        found = (np.unique(again)[:, None] == again).astype(np.int64)  # (clusters then, K)
        both = own.astype(np.int64) @ found.T
        either = own.sum(axis=1)[:, None] + found.sum(axis=1) - both
        total += (both / either).max(axis=1)
    return np.where(own.sum(axis=1) > 1, total / resamples, np.nan)
