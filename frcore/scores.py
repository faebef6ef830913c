"""Score and prediction files of others, joined with their labels by sample id.

Pickles of the CTR-GCN and 2s-AGCN families and of pyskl, `.npz`, `.npy` and CSV. Nothing in a file
is executed; whatever does not fit is an error that lists the first ten clips.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from frcore.data.catalog import GATED, existing_store, get_benchmark
from frcore.data.store import Store
from frcore.ensembles import first_ten
from frcore.errors import UserError, unknown_name
from frcore.predictions import Predictions
from frcore.score_files import (
    LABELS,
    Part,
    class_names_in,
    classes_of,
    labels_in,
    read_file,
    scores_in,
)

log = logging.getLogger(__name__)

MAX_CLASSES = 10_000  # that are believed without their names


def read_scores(
    path: str | Path,
    labels: str | Path | Sequence[int] | np.ndarray | Mapping[str, int] | None = None,
    *,
    scores: str | None = None,
    kind: Literal["logits", "probabilities"] = "logits",
    benchmark: str | None = None,
    class_names: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Predictions:
    """Predictions from a published score file, or from one you made yourself.

    | file | holds |
    |---|---|
    | `.pkl` | `{sample name or index: K scores}`, or a list of K scores a clip (pyskl) |
    | `.npz` | (N, K) scores or (N,) predicted classes; ids and labels, if it has them |
    | `.npy` | one (N, K) or (N,) array |
    | `.csv` | a row a clip: id, label, and a `predicted` column or one score a class |

    Labels come from the file itself or from `labels`: `val_label.pkl` (a list of
    `{file_name, label}`, counted from 1, or `(names, labels)`, counted from 0), the CTR-GCN `.npz`
    (`y_test`, one-hot), a CSV or `.npz` with ids and labels, or N classes in the file's order.
    Where both sides have ids they are joined by id, otherwise by the order of the label file.
    Without any ids the clips are named `test/000000`, ...

    Which clips are copies of training clips (`Predictions.copies`) is known where the benchmark's
    store is in the data root and holds them under these ids; else a warning says why it is not.

    Args:
        path: the score file.
        labels: where the true classes are, or the classes 0..K-1 themselves, in order or by id.
        scores: which array or column to take, where the file has several.
        kind: "probabilities" for scores after softmax: they become log-probabilities.
        benchmark: its class names are used ("nw_ucla", "ntu60", ...), and its store, where it is
            there.
        class_names: K names; without these and a benchmark those of a CSV that frcore wrote, else
            "class 0", "class 1", ...
        metadata: kept with the predictions, such as `{"model": "ctrgcn+fr"}`.

    Raises:
        UserError: an unreadable or refused file; missing, duplicate or foreign ids.
    """
    if kind not in ("logits", "probabilities"):
        raise unknown_name("kind", kind, ("logits", "probabilities"))
    path = Path(path)
    content = read_file(path)
    found = scores_in(content, path, scores)
    truth = labels_in(content, path) if labels is None else _labels_from(labels)
    if truth is None:
        raise UserError(
            f"{path} holds no true classes. Join them with "
            f"frcore.read_scores({path.name!r}, labels='val_label.pkl'), or with --labels on the "
            "command line."
        )
    ids, values, true = _join(found, truth)
    if class_names is None and benchmark is None:
        class_names = class_names_in(content, min(_count_classes(values, true), MAX_CLASSES))
    names = _class_names(values, true, benchmark, class_names)
    # with its folder, and the array: published files are often called alike
    source = f"{Path(path.parent.name) / path.name}" + (f":{scores}" if scores else "")
    record, copies = {"source": source, "split": "test", **dict(metadata or {})}, None
    if benchmark is not None:
        where, copies = _in_store(ids, true, benchmark, dict(metadata or {}), source)
        record = {**record, "benchmark": benchmark, **where}
    more = {"metadata": record, "copies": copies}
    if values.ndim == 2 and kind == "probabilities":
        values = _log_probabilities(values, path)
    try:
        if values.ndim == 1:
            return Predictions.from_labels(ids, true, values, names, **more)
        return Predictions(ids, true, class_names=names, logits=values, **more)
    except UserError as error:
        sources = " and ".join(dict.fromkeys((found.source, truth.source)))
        raise UserError(f"{sources}: {error}") from error


def _in_store(
    ids: Sequence[str], true: np.ndarray, benchmark: str, said: Mapping[str, Any], source: str
) -> tuple[dict[str, str], np.ndarray | None]:
    """Where the clips are in the benchmark's store, as metadata, and which are copies (N,) bool.

    ({}, None) where that cannot be told, which is logged.
    """
    try:
        store = existing_store(benchmark)
        protocol, split = _split_of(ids, true, store, said)
    except UserError as error:
        log.log(
            logging.INFO if benchmark in GATED else logging.WARNING,
            "%s: which clips are copies of training clips is not known, all count as unseen. %s",
            source,
            " ".join(str(error).split()),
        )
        return {}, None
    copied: set[str] = set()
    if split != "train":  # a training clip is no copy of itself
        copied |= set(store.samples["sample_id"][store.copies(split, protocol=protocol)])
    where = {
        "benchmark": store.benchmark.name,
        "split": split,
        "protocol": protocol,
        "fingerprint": store.fingerprint,
    }
    return where, np.array([name in copied for name in ids], dtype=bool)


def _split_of(
    ids: Sequence[str], true: np.ndarray, store: Store, said: Mapping[str, Any]
) -> tuple[str, str]:
    """The protocol and split that the clips belong to; those that are `said`, where they are.

    Raises:
        UserError: the store does not hold them, or not as one split.
    """
    samples = store.samples.set_index("sample_id")
    foreign = [name for name in ids if name not in samples.index]
    if foreign:
        raise UserError(
            f"{store.path} does not hold {len(foreign)} of the {len(ids)} clips: "
            f"{first_ten(foreign)}."
        )
    rows = samples.loc[list(ids)]
    if differ := int((rows["label"].to_numpy() != true).sum()):
        raise UserError(f"{differ} of the {len(ids)} clips have other labels in {store.path}.")
    protocols = [said["protocol"]] if "protocol" in said else store.benchmark.protocols
    splits = [said["split"]] if "split" in said else ("test", "val", "train")
    for protocol in map(store.protocol, protocols):
        for split in splits:
            if (rows[f"split_{protocol}"] == split).all():
                return protocol, split
    raise UserError(
        f"The clips do not lie within one split ({', '.join(map(str, splits))}) of {store.path}."
    )


def _labels_from(labels: Any) -> Part | None:
    if isinstance(labels, Mapping):
        return Part(classes_of(np.array(list(labels.values())), "labels"), list(labels), "labels")
    if not isinstance(labels, str | Path):
        return Part(classes_of(np.asarray(labels), "labels"), None, "labels")
    path = Path(labels)
    found = labels_in(read_file(path), path)
    if found is None:
        raise UserError(f"{path} holds no labels: expected one of {', '.join(LABELS)}.")
    return found


def _join(found: Part, truth: Part) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Ids, scores and classes of the same clips, in the order of the labels."""
    for part in (found, truth):
        _check_unique(part)
    if found.ids is None or truth.ids is None:
        if len(found.values) != len(truth.values):
            raise UserError(
                f"{found.source} has {len(found.values)} clips and {truth.source} "
                f"{len(truth.values)}; without sample names on both sides they must be as many."
            )
        numbered = [f"test/{row:06}" for row in range(len(found.values))]
        return truth.ids or found.ids or numbered, found.values, truth.values
    place = {name: row for row, name in enumerate(found.ids)}
    missing = [name for name in truth.ids if name not in place]
    foreign = sorted(set(found.ids) - set(truth.ids))
    if missing or foreign:
        raise UserError(
            f"{found.source} and {truth.source} do not name the same clips. Without scores "
            f"{len(missing)}: {first_ten(missing) or 'none'}; without label {len(foreign)}: "
            f"{first_ten(foreign) or 'none'}."
        )
    return truth.ids, found.values[[place[name] for name in truth.ids]], truth.values


def _check_unique(part: Part) -> None:
    if part.ids is None:
        return
    if len(part.ids) != len(part.values):
        raise UserError(f"{part.source}: {len(part.ids)} names for {len(part.values)} clips.")
    repeated = [name for name, count in Counter(part.ids).items() if count > 1]
    if repeated:
        raise UserError(
            f"{part.source}: {len(repeated)} clips occur more than once: {first_ten(repeated)}."
        )


def _class_names(
    values: np.ndarray, true: np.ndarray, benchmark: str | None, given: Sequence[str] | None
) -> tuple[str, ...]:
    count = _count_classes(values, true)
    if count > MAX_CLASSES and given is None and benchmark is None:
        raise UserError(f"A class {count - 1} occurs; pass class_names= if there are so many.")
    if given is None and benchmark is None:
        return tuple(f"class {k}" for k in range(count))
    names = tuple(given) if given is not None else get_benchmark(benchmark).class_names
    if len(names) < count or (values.ndim == 2 and len(names) != count):
        source = "class_names" if given is not None else f"benchmark '{benchmark}'"
        raise UserError(f"The scores have {count} classes, {source} has {len(names)}.")
    return names


def _count_classes(values: np.ndarray, true: np.ndarray) -> int:
    if values.ndim == 2:
        return values.shape[1]
    return 1 + int(max(values.max(initial=0), true.max(initial=0)))


def _log_probabilities(values: np.ndarray, path: Path) -> np.ndarray:
    sums = values.sum(axis=1)
    if (values < 0).any() or (np.abs(sums - 1) > 0.01).any():
        raise UserError(f"{path}: kind='probabilities', but rows are not: >= 0 with the sum 1.")
    return np.log(np.maximum(values, np.finfo(np.float32).tiny))
