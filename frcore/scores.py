"""Score and prediction files of others, joined with their labels by sample id.

Pickles of the CTR-GCN and 2s-AGCN families and of pyskl, `.npz`, `.npy` and CSV. Nothing in a file
is executed; whatever does not fit is an error that lists the first ten clips.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from frcore.data.catalog import get_benchmark
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

    Args:
        path: the score file.
        labels: where the true classes are, or the classes 0..K-1 themselves, in order or by id.
        scores: which array or column to take, where the file has several.
        kind: "probabilities" for scores after softmax: they become log-probabilities.
        benchmark: its class names are used ("nw_ucla", ...).
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
    record = {"source": source, "split": "test", **dict(metadata or {})}
    if benchmark is not None:
        record["benchmark"] = benchmark
    if values.ndim == 1:
        return Predictions.from_labels(ids, true, values, names, metadata=record)
    if kind == "probabilities":
        values = _log_probabilities(values, path)
    return Predictions(ids, true, class_names=names, logits=values, metadata=record)


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
