"""Maps of a feature space: one model, or two in one layout."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from frcore.ensembles import align
from frcore.errors import UserError
from frcore.predictions import Predictions
from frviz.sources import Source, class_labels, class_number, marked, whole_seed, with_space
from frviz.tables.groups import group_members
from frviz.tables.layout import Method, choose_method, content_of, directions, lay_out
from frviz.tables.statistics import share


def embed(
    x: Source,
    *,
    space: str = "backbone",
    method: Method = "auto",
    classes: Sequence[str | int] | None = None,
    group: str | int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """A map of a feature space.

    Args:
        x: as in `frviz.confusion`; it needs features.
        space: "backbone", or a head's branch such as "fin.spatial".
        method: "auto" is t-SNE up to 20,000 clips and UMAP beyond; "pacmap" is an extra.
        classes: only clips of these true classes, by name or number.
        group: only clips of this anchor's ambiguous group (the paper's Figure 5).
        seed: of the layout. The same input gives the same map; it is kept on disk.

    Returns:
        A row a point: `x`, `y` (centred, root mean square length 1), `kind`, `class`, `predicted`,
        `correct`. Clips have their sample id as index and kind "clip"; after them the prototypes
        of that space, kind "prototype", or where it has none the means of each class's true
        positives, kind "mean of true positives". `attrs` tell space, method and seed.

    Raises:
        UserError: no such space, class, method or seed.
    """
    seed = whole_seed(seed)
    predictions = with_space(x, space)
    chosen = _choose(predictions, classes, group)
    features, table = _points(predictions, space, chosen, _stars(predictions, space, chosen))
    method = choose_method(method, len(features))
    table[["x", "y"]] = lay_out(features, method=method, seed=seed)
    table.attrs = {
        "space": space,
        "method": method,
        "seed": seed,
        "content": (content_of(predictions, space),),
    }
    return marked(table[["x", "y", *table.columns[:-2]]], predictions)


def embed_pair(
    a: Source,
    b: Source,
    *,
    space: str = "backbone",
    method: Method = "auto",
    classes: Sequence[str | int] | None = None,
    group: str | int | None = None,
    symmetric: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Two models in one layout, so that a clip's two places can be compared.

    Laid out on its own, each map falls into its own arrangement. So B starts from A's map; what is
    left of noise is told by the models themselves, laid out again with another seed.

    Args:
        a: the model whose map is the start.
        b: the other one, over the same clips.
        space: of both.
        method: as in `embed`.
        classes: as in `embed`.
        group: of model A, as in `embed`.
        symmetric: both start from a map of both models' features together.
        seed: of the layouts.

    Returns:
        A row a clip: `a_x`, `a_y`, `b_x`, `b_y`, `displacement` (both maps have root mean square
        length 1), `class`, `a_predicted`, `b_predicted`, `outcome` ("both right", "fixed",
        "broken", "both wrong"); after the clips the prototypes or means, `kind` as in `embed`. Of a
        class without a centre in one model (no true positives) its places there are NaN.
        `attrs`: `displacement` (median over clips) and `floor` (how far another seed moves a
        model's own map, the larger one of A and B): a displacement near the floor says nothing.

    Raises:
        UserError: other clips; no such space, class, method or seed.
    """
    seed = whole_seed(seed)
    first = with_space(a, space)
    second = align(first, with_space(b, space), "B")
    chosen = _choose(first, classes, group)
    here = [_stars(x, space, chosen) for x in (first, second)]
    stars = here[0] | here[1]
    features_a, table = _points(first, space, chosen, stars)
    features_b, _ = _points(second, space, chosen, stars)
    clips = (table["kind"] == "clip").to_numpy()
    known_a, known_b = (np.concatenate([clips[clips], side[stars]]) for side in here)
    method = choose_method(method, int(min(known_a.sum(), known_b.sum())))
    start = None
    if symmetric:
        both = np.hstack([directions(features_a), directions(features_b)])
        start = _laid_out(both, known_a & known_b, method, seed, None)
        start = _complete(start, table)
    map_a = _laid_out(features_a, known_a, method, seed, start)
    start = _complete(map_a, table) if start is None else start
    map_b = _laid_out(features_b, known_b, method, seed, start)
    # t-SNE of few points has no randomness of its own: another seed shakes the start, too
    shaken = start + 0.01 * np.random.default_rng(seed + 1).normal(size=start.shape)
    noise = [
        np.linalg.norm(_laid_out(features, known, method, seed + 1, shaken) - map_, axis=1)
        for features, known, map_ in ((features_a, known_a, map_a), (features_b, known_b, map_b))
    ]
    table[["a_x", "a_y"]], table[["b_x", "b_y"]] = map_a, map_b
    table["displacement"] = np.linalg.norm(map_b - map_a, axis=1)
    table["a_predicted"] = table.pop("predicted")
    names = class_labels(first.class_names)
    table["b_predicted"] = ""
    table.loc[clips, "b_predicted"] = names[second.predicted[chosen]].to_numpy()
    table["outcome"] = _outcomes(table, clips, second.correct[chosen])
    table.attrs = {
        "space": space,
        "method": method,
        "seed": seed,
        "symmetric": symmetric,
        "displacement": float(np.median(table["displacement"][clips])),
        "floor": max(float(np.median(moved[clips])) for moved in noise),
        "content": (content_of(first, space), content_of(second, space)),
    }
    return marked(table, first, second)


def _laid_out(
    features: np.ndarray, known: np.ndarray, method: str, seed: int, start: np.ndarray | None
) -> np.ndarray:
    """(N, 2) places of the known rows (N,) of features; NaN for the others."""
    places = np.full((len(features), 2), np.nan)
    start = None if start is None else start[known]
    places[known] = lay_out(features[known], method=method, seed=seed, start=start)
    return places


def _complete(places: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """Places to start from: a centre without one begins amid the clips of its class."""
    places = places.copy()
    clips, classes = (table["kind"] == "clip").to_numpy(), table["class"].to_numpy()
    for row in np.flatnonzero(np.isnan(places).any(axis=1)):
        places[row] = places[clips & (classes == classes[row])].mean(axis=0)
    return places


def _outcomes(table: pd.DataFrame, clips: np.ndarray, right_b: np.ndarray) -> np.ndarray:
    right_a = table.pop("correct")[clips].to_numpy(dtype=bool)
    outcome = np.full(len(table), "", dtype=object)
    outcome[clips] = np.select(
        [right_a & right_b, ~right_a & right_b, right_a & ~right_b],
        ["both right", "fixed", "broken"],
        "both wrong",
    )
    return outcome


def _choose(
    predictions: Predictions, classes: Sequence[str | int] | None, group: str | int | None
) -> np.ndarray:
    """(N,) bool."""
    names = class_labels(predictions.class_names)
    if group is not None:
        if classes is not None:
            raise UserError("Give classes or a group, not both.")
        classes = group_members(predictions, group)
    if classes is None:
        return np.ones(len(predictions), bool)
    classes = [classes] if isinstance(classes, str | int) else classes
    return np.isin(predictions.labels, [class_number(name, names) for name in classes])


def _stars(predictions: Predictions, space: str, chosen: np.ndarray) -> np.ndarray:
    """(K,) bool: classes of the chosen clips that have a centre."""
    here = np.bincount(predictions.labels[chosen], minlength=predictions.num_classes) > 0
    return here & np.isfinite(class_centres(predictions, space)[1]).all(axis=1)


def _points(
    predictions: Predictions, space: str, chosen: np.ndarray, stars: np.ndarray
) -> tuple[np.ndarray, pd.DataFrame]:
    """Features of the chosen clips and of classes' centres, and what is known of each."""
    names = class_labels(predictions.class_names)
    kind, centres = class_centres(predictions, space)
    features = np.vstack([predictions.features[space][chosen], centres[stars]])
    clips = pd.DataFrame(
        {
            "kind": "clip",
            "class": names[predictions.labels[chosen]],
            "predicted": names[predictions.predicted[chosen]],
            "correct": predictions.correct[chosen],
        },
        index=pd.Index(np.array(predictions.sample_ids, dtype=object)[chosen], name="sample_id"),
    )
    centre = pd.DataFrame(
        {"kind": kind, "class": names[stars], "predicted": "", "correct": False},
        index=[f"{kind} of {name}" for name in names[stars]],
    )
    return features, pd.concat([clips, centre]) if stars.any() else clips


def class_centres(predictions: Predictions, space: str) -> tuple[str, np.ndarray]:
    """The prototypes (K, D) of a space, or where it has none the means of true positives.

    Returns:
        What they are ("prototype" or "mean of true positives"), and they; NaN for a class without.
    """
    if space in predictions.prototypes:
        return "prototype", predictions.prototypes[space]
    return "mean of true positives", true_positive_means(
        directions(predictions.features[space]), predictions
    )


def true_positive_means(features: np.ndarray, predictions: Predictions) -> np.ndarray:
    """(K, D) mean features of each class's clips that are right; NaN for a class without."""
    right = predictions.correct
    count = np.bincount(predictions.labels[right], minlength=predictions.num_classes)
    total = np.zeros((predictions.num_classes, features.shape[1]))
    np.add.at(total, predictions.labels[right], features[right])
    return share(total, np.broadcast_to(count[:, None], total.shape))
