"""Predictions: what a model said about each clip; the contract between frcore and frviz.

NumPy and pandas only. Everything is keyed by sample id, checked at birth and read-only after.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frcore import ensembles, predictions_file
from frcore.display import facts_html, percent, plain, short
from frcore.ensembles import first_ten
from frcore.errors import UserError


@dataclass(frozen=True, repr=False, eq=False)
class Predictions:
    """Labels, scores and features of N clips over K classes.

    Args:
        sample_ids: N unique, non-empty strings; the key of every join.
        labels: (N,) true classes, 0..K-1.
        class_names: K names, by class index.
        logits: (N, K) finite scores before softmax; None where only hard predictions are known.
        predicted: (N,) predicted classes; needed without logits, else their argmax (ties: lowest
            index).
        features: space -> (N, D) finite features, such as "backbone" or "fin.spatial".
        prototypes: space -> (K, D) class prototypes, D as that space's features.
        metadata: plain JSON: benchmark, split, protocol, model, checkpoint, data fingerprint,
            select, ...
        copies: (N,) bool, clips whose content is also among the training clips, trained on or
            dropped (`metadata["duplicates"]`); the others are called unseen.

    Raises:
        UserError: a wrong shape, label or id, or a non-finite score; names the first ten.
    """

    sample_ids: tuple[str, ...]
    labels: np.ndarray
    _: KW_ONLY
    class_names: tuple[str, ...]
    logits: np.ndarray | None = None
    predicted: np.ndarray | None = None
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    prototypes: Mapping[str, np.ndarray] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    copies: np.ndarray | None = None

    def __post_init__(self) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731  (frozen)
        put("sample_ids", _check_ids(self.sample_ids))
        put("class_names", _check_class_names(self.class_names))
        put("labels", self._classes("labels", self.labels))
        if self.logits is not None:
            put("logits", _floats("logits", self.logits, (len(self), self.num_classes)))
            if (bad := ~np.isfinite(self.logits).all(axis=1)).any():
                raise UserError(f"logits: NaN or infinity in {bad.sum()} clips: {self._named(bad)}")
        put("predicted", self._check_predicted())
        put("features", self._check_spaces("features", len(self)))
        put("prototypes", self._check_spaces("prototypes", self.num_classes))
        put("metadata", predictions_file.plain_json(self.metadata, "metadata"))
        put("copies", self._check_copies())

    def _classes(self, name: str, values: object) -> np.ndarray:
        array = np.asarray(values)
        if array.shape != (len(self),):
            raise UserError(
                f"{name}: expected one class a clip, shape ({len(self)},); got {array.shape}."
            )
        if array.dtype.kind not in "iu" and array.size:
            raise UserError(f"{name}: expected integers, got {array.dtype}.")
        bad = (array < 0) | (array >= self.num_classes)
        if bad.any():
            raise UserError(
                f"{name}: {int(bad.sum())} outside 0..{self.num_classes - 1} "
                f"({self.num_classes} class names): {self._named(bad, array)}."
            )
        return _frozen(array, np.int64)

    def _named(self, bad: np.ndarray, values: np.ndarray | None = None) -> str:
        """The first ten bad clips, with their values."""
        rows = np.flatnonzero(bad)
        equals = (lambda row: "") if values is None else (lambda row: f" = {values[row]}")
        shown = [repr(self.sample_ids[row]) + equals(row) for row in rows[:10]]
        return ", ".join(shown) + (", ..." if len(rows) > 10 else "")

    def _check_predicted(self) -> np.ndarray:
        if self.logits is None:
            if self.predicted is None:
                raise UserError("Neither logits nor predicted classes given; pass one of them.")
            return self._classes("predicted", self.predicted)
        best = _frozen(self.logits.argmax(axis=1), np.int64)
        if self.predicted is not None:
            given = self._classes("predicted", self.predicted)
            if (given != best).any():
                raise UserError(
                    f"predicted: differs from the argmax of logits for {(given != best).sum()} of "
                    f"{len(self)} clips: {self._named(given != best, given)}. Pass logits alone."
                )
        return best

    def _check_spaces(self, kind: str, rows: int) -> dict[str, np.ndarray]:
        checked = {}
        for space, values in dict(getattr(self, kind)).items():
            name = f"{kind}[{space!r}]"
            array = _floats(name, values, (rows, None))
            width = self.features[space].shape[1] if space in self.features else array.shape[1]
            if array.shape[1] != width or not np.isfinite(array).all():
                raise UserError(f"{name}: expected ({rows}, {width}) finite numbers.")
            checked[str(space)] = array
        return checked

    def _check_copies(self) -> np.ndarray:
        copies = np.zeros(len(self), bool) if self.copies is None else np.asarray(self.copies)
        if copies.shape != (len(self),) or (copies.dtype != bool and copies.size):
            raise UserError(
                f"copies: expected booleans of shape ({len(self)},); "
                f"got {copies.dtype} of shape {copies.shape}."
            )
        return _frozen(copies, bool)

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def probabilities(self) -> np.ndarray | None:
        """(N, K) float64 softmax of the logits, or None where only hard predictions are known."""
        if self.logits is None:
            return None
        shifted = self.logits.astype(np.float64)
        scores = np.exp(shifted - shifted.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    @property
    def correct(self) -> np.ndarray:
        """(N,) bool: predicted equals label."""
        return self.predicted == self.labels

    def accuracy(self, top: int = 1, *, unseen_only: bool = False) -> float:
        """Share of clips whose label is among the `top` best classes; NaN where there is no clip.

        Args:
            top: 1 for plain accuracy; more needs logits. Ties go to the lower class index.
            unseen_only: leave out copies of training clips (`copies`).
        """
        hit = self.hits(top)
        hit = hit[~self.copies] if unseen_only else hit
        return float(hit.mean()) if hit.size else float("nan")

    def hits(self, top: int = 1) -> np.ndarray:
        """(N,) bool: the label is among the `top` best classes (see `accuracy`)."""
        if top < 1:
            raise UserError(f"top: expected 1 or more, got {top}.")
        if top == 1:
            return self.correct
        if self.logits is None:
            raise UserError(
                f"Top-{top} accuracy needs logits; these are hard predictions, of which only "
                "top-1 is known."
            )
        own = np.take_along_axis(self.logits, self.labels[:, None], axis=1)  # (N, 1)
        ahead = np.arange(self.num_classes) < self.labels[:, None]
        return ((self.logits > own) | ((self.logits == own) & ahead)).sum(axis=1) < top

    def frame(self) -> pd.DataFrame:
        """One row a clip; `confidence` and `p_true` are NaN where there are no logits."""
        names = np.array(self.class_names, dtype=object)
        p = self.probabilities
        rows = np.arange(len(self))
        unknown = np.full(len(self), np.nan)
        return pd.DataFrame(
            {
                "sample_id": list(self.sample_ids),
                "label": self.labels,
                "class": names[self.labels],
                "predicted": self.predicted,
                "predicted_class": names[self.predicted],
                "correct": self.correct,
                "confidence": unknown if p is None else p[rows, self.predicted],
                "p_true": unknown if p is None else p[rows, self.labels],
                "copy": self.copies,
            }
        )

    @classmethod
    def from_labels(
        cls,
        sample_ids: Iterable[str],
        labels: Sequence[int] | np.ndarray,
        predicted: Sequence[int] | np.ndarray,
        class_names: Sequence[str],
        *,
        metadata: Mapping[str, Any] | None = None,
        copies: np.ndarray | None = None,
    ) -> "Predictions":
        """Predictions of which only the predicted class of each clip is known."""
        return cls(
            sample_ids,
            labels,
            class_names=class_names,
            predicted=predicted,
            metadata=dict(metadata or {}),
            copies=copies,
        )

    def select(self, clips: Iterable[str] | np.ndarray | pd.Series) -> "Predictions":
        """The clips with these sample ids, in the order given, or under a boolean mask (N,)."""
        if isinstance(clips, tuple) and clips == self.sample_ids:
            return self  # immutable: there is nothing to copy
        chosen = np.asarray([clips] if isinstance(clips, str) else clips)
        if chosen.dtype == bool:
            if chosen.shape != (len(self),):
                raise UserError(f"select: a mask of shape ({len(self)},), got {chosen.shape}.")
            rows = np.flatnonzero(chosen)
        else:
            place = {sample: row for row, sample in enumerate(self.sample_ids)}
            unknown = [c for c in chosen.tolist() if c not in place]
            if unknown:
                raise UserError(
                    f"select: {len(unknown)} of {len(chosen)} sample ids are not here: "
                    f"{first_ten(unknown)}."
                )
            rows = np.array([place[c] for c in chosen.tolist()], dtype=np.int64)
        return replace(
            self,
            sample_ids=tuple(self.sample_ids[r] for r in rows),
            labels=self.labels[rows],
            logits=None if self.logits is None else self.logits[rows],
            predicted=self.predicted[rows],
            features={space: array[rows] for space, array in self.features.items()},
            copies=self.copies[rows],
        )

    @classmethod
    def ensemble(
        cls, members: Sequence["Predictions"], *, weights: Sequence[float] | None = None
    ) -> "Predictions":
        """Weighted sum of the members' logits, as published four-stream figures are made.

        Clips are matched by sample id, never by position; the first member's order is kept.

        Raises:
            UserError: members without logits, other ids, labels or number of classes; listed.
        """
        return cls(**ensembles.weighted_sum(list(members), weights))

    def save(self, path: str | Path) -> Path:
        """Write one `.npz` file (no pickle, strings as JSON), atomically; returns its path."""
        return predictions_file.write(Path(path), vars(self))

    @classmethod
    def load(cls, path: str | Path) -> "Predictions":
        """Read a file made by `save`; everything in it is checked, and errors name the file."""
        path = Path(path)
        fields = predictions_file.read(path)
        try:
            return cls(**fields)
        except UserError as error:
            raise UserError(f"{path}: not valid predictions. {error}") from error

    def __repr__(self) -> str:
        facts = [repr(name)] if (name := self._name()) else []
        facts += [str(self.metadata["model"])] if self.metadata.get("model") else []
        facts += [f"{len(self)} clips", f"{self.num_classes} classes", f"top1={self._top1()}"]
        facts += ["selected on test"] if self.metadata.get("select") == "test_best" else []
        return f"Predictions({plain(', '.join(facts))})"

    def _repr_html_(self) -> str:
        facts = {
            "predictions": self._name() or "unnamed",
            "model": self.metadata.get("model", ""),
            "clips": f"{len(self):,}",
            "classes": f"{self.num_classes}: {', '.join(map(short, self.class_names[:4]))}"
            + (", ..." if self.num_classes > 4 else ""),
            "top-1": self._top1(),
            "top-5": "" if self.logits is None else percent(self.accuracy(5)),
            "copies of training clips": f"{self.copies.sum():,}" if self.copies.any() else "",
            "scores": "hard predictions only" if self.logits is None else "",
            "features": ", ".join(self.features),
            "checkpoint": "best on test (as some published figures)"
            if self.metadata.get("select") == "test_best"
            else "",
        }
        return facts_html(facts)

    def _name(self) -> str:
        parts = (self.metadata.get("benchmark"), self.metadata.get("split"))
        return "/".join(str(part) for part in parts if part)

    def _top1(self) -> str:
        unseen = f" (unseen {percent(self.accuracy(unseen_only=True))})"
        return percent(self.accuracy()) + (unseen if self.copies.any() else "")


def _check_ids(sample_ids: Iterable[str]) -> tuple[str, ...]:
    ids = list(sample_ids)
    wrong = [i for i in ids if not isinstance(i, str) or not i]
    if wrong:
        raise UserError(
            f"sample_ids: expected non-empty strings; {len(wrong)} of {len(ids)} are not: "
            f"{first_ten(wrong)}."
        )
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        raise UserError(f"sample_ids: {len(repeated)} occur more than once: {first_ten(repeated)}.")
    return tuple(map(str, ids))


def _check_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    names = [class_names] if isinstance(class_names, str) else list(class_names)
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"class_names: expected one or more strings, got {first_ten(names)}.")
    return tuple(map(str, names))


def _frozen(array: np.ndarray, dtype: type) -> np.ndarray:
    copy = np.array(array, dtype=dtype, order="C")
    copy.setflags(write=False)
    return copy


def _floats(name: str, values: object, shape: tuple[int | None, ...]) -> np.ndarray:
    array = np.asarray(values)
    fits = array.ndim == len(shape) and all(
        want in (None, size) for want, size in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in "fiu":
        wanted = ", ".join("D" if n is None else str(n) for n in shape)
        raise UserError(
            f"{name}: expected numbers of shape ({wanted}); got {array.dtype} {array.shape}."
        )
    with np.errstate(over="ignore"):  # what overflows float32 is reported as infinity
        return _frozen(array, np.float32)
