"""What an explorer shows: one model or two over the same clips, and where the rest lies.

The rest is what predictions do not hold: the clips (in a store) and the training history (in a
run's directory). Either may be missing; then it is said why, and everything else works.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frcore.data.catalog import list_benchmarks, open_store
from frcore.data.store import Store, StoreNotFound
from frcore.ensembles import align
from frcore.errors import UserError
from frcore.predictions import Predictions
from frviz.explorer.history import History, history_of
from frviz.sources import (
    Source,
    class_labels,
    head_spaces,
    is_trained,
    marked_name,
    predictions_of,
)
from frviz.tables.groups import ambiguous_groups
from frviz.tables.shown import percent
from frviz.tables.statistics import wilson

Origin = Source | None


@dataclass(frozen=True)
class Subject:
    """One model (A) or two (A and B), clip by clip.

    Attributes:
        a: the predictions of A that are shown.
        b: those of B in A's order of clips, or None.
        names: of A, or of A and B.
        title: what is shown, in a line.
        verdict: what came out, in words.
        groups: a row an anchor class (its index): `members`, `clips`, `a`, `b`, `difference`,
            `low`, `high`, `p_holm`, `raw_difference`; NaN where there is no B.
        groups_note: who chose the groups, and what the interval is of.
        cells: from `tables.comparison.cell_changes`, or None for one model.
        copies: (N,) bool, clips that are copies of training clips of A or B.
        origins: what A and B were made from, as far as it is known.
        data: the store, its folder or name; None: the one that the predictions name.
    """

    a: Predictions
    b: Predictions | None
    names: tuple[str, ...]
    title: str
    verdict: str
    groups: pd.DataFrame
    groups_note: str
    cells: pd.DataFrame | None
    copies: np.ndarray
    origins: tuple[Origin, ...] = (None, None)
    data: Store | str | Path | None = None

    @property
    def sides(self) -> dict[str, Predictions]:
        """The models by "a" and "b"."""
        return {"a": self.a} if self.b is None else {"a": self.a, "b": self.b}

    @cached_property
    def classes(self) -> pd.Index:
        """K class names, each once."""
        return class_labels(self.a.class_names)

    @cached_property
    def class_number(self) -> dict[str, int]:
        """Class name -> number."""
        return {name: number for number, name in enumerate(self.classes)}

    @cached_property
    def place(self) -> dict[str, int]:
        """Sample id -> row."""
        return {name: row for row, name in enumerate(self.a.sample_ids)}

    @cached_property
    def members(self) -> dict[str, list[int]]:
        """Anchor -> the classes of its ambiguous group, the anchor first."""
        return {
            anchor: [self.class_number[name] for name in names]
            for anchor, names in self.groups["members"].items()
        }

    @cached_property
    def spaces(self) -> list[str]:
        """Spaces of which all models have features; after them those that their runs can make."""
        held = [s for s in self.a.features if all(s in m.features for m in self.sides.values())]
        possible = [
            [*model.features, *head_spaces(origin)]
            for model, origin in zip(self.sides.values(), self.origins, strict=False)
        ]
        more = [s for s in possible[0] if all(s in names for names in possible)]
        return list(dict.fromkeys([*held, *more]))

    @cached_property
    def histories(self) -> tuple[dict[str, History], str]:
        """The training history by side, and why there is none of a model."""
        found, reasons = {}, {}
        for side, name, origin in zip(self.sides, self.names, self.origins, strict=False):
            try:
                found[side] = history_of(origin, self.sides[side])
            except UserError as error:
                reasons[name] = str(error)
        if not found:  # said once where it is the same for both
            return {}, " ".join(dict.fromkeys(reasons.values()))
        return found, " ".join(f"{name}: {why}" for name, why in reasons.items())

    @cached_property
    def store(self) -> tuple[Store | None, str]:
        """The store that the clips are in, and why there is none.

        Raises:
            UserError: `data` is given, and is not that store.
        """
        return find_store(self.a, self.data)

    def with_space(self, space: str) -> "Subject":
        """The same with the features of a space, which a run still makes where they are missing."""
        missing = [side for side, model in self.sides.items() if space not in model.features]
        if not missing or not all(is_trained(self.origins["ab".index(side)]) for side in missing):
            return self
        added = {
            side: _with_features(self.sides[side], self.origins["ab".index(side)], space)
            for side in missing
        }
        return replace(self, **added)


def one_model(
    x: Source,
    *,
    name: str | Sequence[str] | None = None,
    space: str = "backbone",
    reference: Source | None = None,
    data: Store | str | Path | None = None,
) -> Subject:
    """The subject of an explorer of one model.

    Args:
        x: as in `frviz.confusion`.
        name: what it is called.
        space: features that a run makes, beside those of the classifier.
        reference: whose confusions make the groups; those of x by default.
        data: as in `frviz.explore`.
    """
    predictions = predictions_of(x)
    groups = ambiguous_groups(predictions, reference=reference)
    low, high = wilson((groups["accuracy"] * groups["clips"]).round(), groups["clips"])
    unknown = dict.fromkeys(("b", "difference", "p_holm", "raw_difference"), np.nan)
    own = "its own mistakes on these clips, so they look worse than they are"
    accuracy = predictions.accuracy()
    called = _name(predictions, name)
    subject = Subject(
        a=predictions,
        b=None,
        names=(called,),
        title=title_of((called,), predictions),
        verdict=f"{percent(accuracy)} % of {len(predictions):,} clips are recognised."
        if len(predictions)
        else "There are no clips.",
        groups=groups.rename(columns={"accuracy": "a"}).assign(low=low, high=high, **unknown),
        groups_note=f"chosen by {own if reference is None else 'the reference'}; 95 % intervals "
        "(Wilson)",
        cells=None,
        copies=predictions.copies,
        origins=(x,),
        data=data,
    )
    return subject.with_space(space)


def title_of(names: tuple[str, ...], predictions: Predictions) -> str:
    """ "plain and FR Head on nw_ucla/test"."""
    where = [predictions.metadata.get(key) for key in ("benchmark", "split")]
    on = "/".join(str(part) for part in where if part)
    return " and ".join(names) + (f" on {on}" if on else "")


def _name(predictions: Predictions, name: str | Sequence[str] | None) -> str:
    if name is not None:
        listed = isinstance(name, Sequence) and not isinstance(name, str)
        given = list(name) if listed else [name]
        if len(given) != 1 or not str(given[0]):
            raise UserError(f"names: expected one, such as 'FR Head', for one model; got {name!r}.")
        return marked_name(str(given[0]), predictions)
    known = (predictions.metadata.get(key) for key in ("model", "run", "source"))
    return marked_name(str(next(filter(None, known), "A")), predictions)


def _with_features(predictions: Predictions, origin: Origin, space: str) -> Predictions:
    split: Any = predictions.metadata.get("split") or "test"
    more = align(predictions, predictions_of(origin, split=split, spaces=(space,)), "the run")
    return replace(
        predictions,
        features={**predictions.features, **more.features},
        prototypes={**predictions.prototypes, **more.prototypes},
    )


def find_store(
    predictions: Predictions, data: Store | str | Path | None
) -> tuple[Store | None, str]:
    """The store that holds the clips of predictions, and why there is none.

    Args:
        predictions: their metadata name a benchmark and the fingerprint of its store.
        data: a store, its folder or its name instead; it need not have that fingerprint.

    Raises:
        UserError: `data` is given and holds none of the clips, or is no store.
    """
    if data is not None:
        store = data if isinstance(data, Store) else open_store(data)
        if len(predictions) and not set(predictions.sample_ids) & set(store.samples["sample_id"]):
            raise UserError(
                f"data: {store!r} holds none of the clips, such as '{predictions.sample_ids[0]}'."
            )
        return store, ""
    name, wanted = (predictions.metadata.get(key) for key in ("benchmark", "fingerprint"))
    if not name or not wanted:
        return None, (
            "These predictions do not say of which store their clips are: "
            "frviz.explore(..., data=...) names it."
        )
    name = str(name)
    if "/" in name or os.sep in name:  # metadata name a benchmark, never a path
        return None, f"'{name}' is no name of a store."
    try:
        store = open_store(name)
    except StoreNotFound:
        how = f": frcore data fetch {name}" if name in list_benchmarks() else "."
        return None, f"The store '{name}' is not here{how}"
    except UserError as error:
        return None, f"The store '{name}' cannot be read: {' '.join(str(error).split())}"
    if store.fingerprint != wanted:
        return None, (
            f"The store '{name}' has changed since these predictions were made (fingerprint "
            f"{str(wanted)[:12]}, now {store.fingerprint[:12]})."
        )
    return store, ""
