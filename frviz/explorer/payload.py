"""What the page needs of one or two models, as one payload (`payload_format`)."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from frcore.display import plain
from frcore.predictions import Predictions
from frviz.explorer.history import spark_arrays
from frviz.explorer.maps import encode_map, map_choices, why_no_maps
from frviz.explorer.payload_format import encode_skeleton, pack, unpack
from frviz.explorer.subject import Subject
from frviz.tables.clusters import MIN_SHARE, ordered_clusters
from frviz.tables.confusion import counts_of
from frviz.tables.groups import NO_GROUP

VERSION = 1
SHARE = 65535  # what a probability of 1 is
TOP = 5  # classes of which the scores are shown
# Clusters of a page: the first of these shares that leaves no more clusters than can be read.
SHARES = (MIN_SHARE, 0.02, 0.01, 0.005, 0.002)
MOST_CLUSTERS = 30


def explorer_payload(subject: Subject, maps: Sequence[pd.DataFrame] = ()) -> bytes:
    """Everything that the page shows before it asks for more.

    Args:
        subject: one model or two.
        maps: from `maps.make_map`, the one that is shown first.

    Returns:
        A payload of kind "explorer": `header` has names, classes, ids, groups, maps and what is
        missing; arrays are by clip (N), or by cell of the confusion matrix.
    """
    order, cluster, share = _clusters(subject)
    histories, _ = subject.histories
    store, _ = subject.store
    header = {
        "kind": "explorer",
        "version": VERSION,
        "names": [plain(name) for name in subject.names],
        "title": plain(subject.title),
        "verdict": plain(subject.verdict),
        "classes": list(subject.classes),
        "ids": list(subject.a.sample_ids),
        "split": str(subject.a.metadata.get("split", "")),
        "order": order,
        "cluster": cluster,
        "cluster_share": share,
        "groups": _groups(subject),
        "groups_note": subject.groups_note if len(subject.groups) else NO_GROUP,
        "accuracy": [_number(model.accuracy()) for model in subject.sides.values()],
        "maps": [],
        "map_choices": map_choices(subject),
        "missing": _missing(subject),
        "skeleton": None if store is None else encode_skeleton(store.benchmark.skeleton),
        "epochs": {side: history.epochs.tolist() for side, history in histories.items()},
        "clip_count": None,
        "carried": None,
        "complete": None,
    }
    arrays = {"label": subject.a.labels.astype(np.uint16), "copy": subject.copies.astype(np.uint8)}
    for side, model in subject.sides.items():
        arrays[f"predicted_{side}"] = model.predicted.astype(np.uint16)
        arrays |= {f"{name}_{side}": array for name, array in _scores(model).items()}
    for side, history in histories.items():
        arrays |= {f"{name}_{side}": array for name, array in history.arrays.items()}
    arrays |= spark_arrays(histories, subject.a.labels, subject.a.num_classes)
    return _with_maps(header, {**arrays, **_cells(subject)}, subject, maps)


def for_page(
    payload: bytes,
    subject: Subject,
    maps: Sequence[pd.DataFrame],
    carried: Collection[str],
    complete: Collection[str],
) -> bytes:
    """A payload for a page without a kernel: with the maps there are, and none to be asked for.

    In which epochs a clip was right is told of all clips, also of those that it does not carry.

    Args:
        payload: from `explorer_payload`.
        subject: what it was made of.
        maps: all that the page carries.
        carried: sample ids of the clips whose joints the page carries.
        complete: those of them whose nearest clips it carries, too.
    """
    header, arrays = unpack(payload)
    old = {name for name in arrays if name.startswith(("map", "star"))}
    kept = {name: array for name, array in arrays.items() if name not in old}
    for side, history in subject.histories[0].items():
        bits = history.bits(subject.a.labels)
        kept |= {f"{name}_{side}": array for name, array in bits.items()}
    places, whole = (sorted(subject.place[name] for name in ids) for ids in (carried, complete))
    own = {"map_choices": [], "clip_count": len(places), "carried": places, "complete": whole}
    return _with_maps({**header, **own}, kept, subject, maps)


def _with_maps(
    header: dict[str, Any],
    arrays: dict[str, np.ndarray],
    subject: Subject,
    maps: Sequence[pd.DataFrame],
) -> bytes:
    encoded = [encode_map(subject, table, number) for number, table in enumerate(maps)]
    for _, more in encoded:
        arrays = {**arrays, **more}
    return pack({**header, "maps": [entry for entry, _ in encoded]}, arrays)


def _clusters(subject: Subject) -> tuple[list[int], list[int], float]:
    """Of all models together: classes in the order of their clusters, each class's cluster, and the
    share of each other's clips from which on classes are taken together.
    """
    cells = sum(counts_of(model) for model in subject.sides.values())
    for share in SHARES:
        order, cluster = ordered_clusters(cells, share)
        if len(set(cluster.tolist())) <= MOST_CLUSTERS:
            break
    return order.tolist(), cluster.tolist(), share


def _groups(subject: Subject) -> list[dict[str, Any]]:
    return [
        {
            "anchor": subject.class_number[anchor],
            "members": subject.members[anchor],
            "clips": int(row.clips),
            "a": _number(row.a),
            "b": _number(row.b),
            "difference": _number(row.difference),
            "low": _number(row.low),
            "high": _number(row.high),
            "p_holm": _number(row.p_holm),
            "raw": _number(row.raw_difference),
        }
        for anchor, row in zip(
            subject.groups.index, subject.groups.itertuples(index=False), strict=True
        )
    ]


def _number(value: object) -> float | None:
    """JSON has no NaN."""
    return None if pd.isna(value) else float(value)


def _scores(model: Predictions) -> dict[str, np.ndarray]:
    """`p_true` (N,), `top_class` and `top_p` (N, min(5, K)); nothing for hard predictions."""
    if model.logits is None:
        return {}
    left = model.logits - model.logits.max(axis=1, keepdims=True)  # (N, K) float32
    total = np.exp(left).sum(axis=1, dtype=np.float64)
    rows = np.arange(len(model))
    p_true = np.exp(left[rows, model.labels]) / total
    top, top_p = [], []
    for _ in range(min(TOP, model.num_classes)):  # a full sort of 120 classes takes ten times this
        best = left.argmax(axis=1)  # ties: the lower class, as `predicted`
        top.append(best)
        top_p.append(np.exp(left[rows, best]) / total)
        left[rows, best] = -np.inf
    return {
        "p_true": _steps(p_true),
        "top_class": np.stack(top, axis=1).astype(np.uint16),
        "top_p": _steps(np.stack(top_p, axis=1)),
    }


def _steps(p: np.ndarray) -> np.ndarray:
    return np.rint(p * SHARE).astype(np.uint16)


def _cells(subject: Subject) -> dict[str, np.ndarray]:
    """Tests of the cells that A or B uses; the clips there are counted by the page."""
    if subject.cells is None:
        return {}
    return {
        "cell_true": subject.cells["true"].to_numpy(np.uint16),
        "cell_pred": subject.cells["predicted"].to_numpy(np.uint16),
        "cell_p": subject.cells["p"].to_numpy(np.float32),
        "cell_holm": subject.cells["p_holm"].to_numpy(np.float32),
    }


def _missing(subject: Subject) -> dict[str, str]:
    """Why views are left out, by what they need."""
    hard = [name for name, model in zip(subject.names, subject.sides.values(), strict=True)
            if model.logits is None]  # fmt: skip
    all_hard = len(hard) == len(subject.names)
    reasons = {
        "maps": why_no_maps(subject),
        "clips": subject.store[1],
        "scores": "These are hard predictions: there are no scores."
        if all_hard
        else " ".join(f"{name} has hard predictions only, no scores." for name in hard),
        "history": subject.histories[1],
    }
    return {what: plain(why) for what, why in reasons.items() if why}
