"""One clip on demand: its joints, its nearest clips of two classes, and how it was learnt."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from frcore.data.store import Store
from frcore.display import plain
from frcore.errors import UserError, did_you_mean
from frcore.predictions import Predictions
from frviz.explorer.payload_format import encode_clip, pack
from frviz.explorer.subject import Subject
from frviz.tables.layout import directions


@dataclass(frozen=True)
class Shown:
    """A clip of the twin view.

    Attributes:
        row: of the subject's clips.
        role: "chosen", "true" (nearest clip of the true class) or "predicted" (of the rival).
        distance: 1 - cosine of the features to the chosen clip; None for that one.
    """

    row: int
    role: str
    distance: float | None = None


def clip_details(
    subject: Subject,
    sample_id: str,
    *,
    space: str = "backbone",
    side: str = "a",
    carried: Collection[str] | None = None,
) -> bytes:
    """What the page asks for when a clip is looked at.

    Args:
        subject: one model or two.
        sample_id: of the clip.
        space: in which clips are near; another one where the model has no such features.
        side: whose features and scores count, "a" or "b".
        carried: only these clips' joints; None: all.

    Returns:
        A payload of kind "details": the chosen clip, the nearest other clips whose true class is
        its true class and the rival (`rival_of`), each with its joints; `history` by side. What
        cannot be given is left out, `note` says why, and `complete` is false without some joints.

    Raises:
        UserError: there is no such clip.
    """
    if sample_id not in subject.place:
        near = did_you_mean(sample_id, subject.place) if len(subject.place) < 20_000 else ""
        raise UserError(f"There is no clip '{plain(sample_id)}' here.{near}")
    side = side if side in subject.sides else "a"
    row = subject.place[sample_id]
    shown, notes = near_clips(subject, row, space=space, side=side)
    clips, arrays, more = _joints(subject, shown, side, carried)
    histories, _ = subject.histories
    header = {
        "kind": "details",
        "id": sample_id,
        "clips": clips,
        "rival": rival_of(subject, row, side),
        "note": plain(" ".join([*notes, *more])),
        "complete": len(clips) == len(shown),
        "history": {name: history.of_clip(row) for name, history in histories.items()},
    }
    return pack(header, arrays)


def near_clips(
    subject: Subject, row: int, *, space: str = "backbone", side: str = "a"
) -> tuple[list[Shown], list[str]]:
    """The chosen clip and its nearest clips of the true class and of the rival.

    Args:
        subject: one model or two.
        row: of the clip.
        space: as in `clip_details`.
        side: as in `clip_details`.

    Returns:
        Up to three clips, and what is missing in words.
    """
    model, space = _features_of(subject, side, space)
    shown, notes = [Shown(row, "chosen")], []
    if model is None:
        return shown, ["No features: which clips are near is not known."]
    rival = rival_of(subject, row, side)
    if rival is None:
        notes.append("No scores: there is no second best class.")
    for role, number in (("true", int(model.labels[row])), ("predicted", rival)):
        if number is None:
            continue
        found = _nearest(model, space, row, number)
        if found is None:
            notes.append(f"There is no other clip of '{subject.classes[number]}'.")
        else:
            shown.append(Shown(found[0], role, found[1]))
    return shown, notes


def rival_of(subject: Subject, row: int, side: str = "a") -> int | None:
    """The class that competes with the true one.

    The class that the model predicts; where it is right, that which the other model predicts;
    where both are right, the one with the second best score. None without scores.
    """
    first = subject.sides[side]
    label = first.labels[row]
    for model in (first, *subject.sides.values()):
        if model.predicted[row] != label:
            return int(model.predicted[row])
    if first.logits is None or first.num_classes < 2:
        return None
    scores = first.logits[row].copy()
    scores[label] = -np.inf
    return int(scores.argmax())


def _features_of(subject: Subject, side: str, space: str) -> tuple[Predictions | None, str]:
    """The model whose features are compared, and the space: what is asked for where it is there."""
    for model in (subject.sides[side], *subject.sides.values()):
        for name in (space, *model.features):
            if name in model.features:
                return model, name
    return None, space


def _nearest(model: Predictions, space: str, row: int, number: int) -> tuple[int, float] | None:
    """The nearest other clip of a true class, and 1 - cosine; the first one where several are."""
    rows = np.flatnonzero(model.labels == number)
    rows = rows[rows != row]
    if not len(rows):
        return None
    features = model.features[space]
    cosine = directions(features[rows]) @ directions(features[[row]])[0]
    best = int(cosine.argmax())
    return int(rows[best]), float(np.clip(1 - cosine[best], 0, 2))


def _joints(
    subject: Subject, shown: list[Shown], side: str, carried: Collection[str] | None
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray], list[str]]:
    """Headers and joints of clips, and why some are missing."""
    store, _ = subject.store
    if store is None:  # the explorer's payload says why
        return [], {}, []
    clips, arrays, notes = [], {}, []
    for clip in shown:
        name = subject.a.sample_ids[clip.row]
        if carried is not None and name not in carried:
            notes.append(f"This file does not carry '{name}', which is near.")
            continue
        try:
            header, joints = stored_clip(store, name, f"joints_{len(clips)}")
        except UserError as error:
            notes.append(str(error))
            continue
        clips.append(
            {
                **header,
                "role": clip.role,
                "class": int(subject.a.labels[clip.row]),
                "predicted": int(subject.sides[side].predicted[clip.row]),
                "distance": clip.distance,
            }
        )
        arrays[header["joints"]] = joints
    return clips, arrays, notes


def stored_clip(store: Store, sample_id: str, joints: str) -> tuple[dict[str, Any], np.ndarray]:
    """A clip of a store, encoded. Flat clips are pixels, whose y grows downwards.

    Raises:
        UserError: the store has no such clip.
    """
    pixels = store.benchmark.channels == 2
    return encode_clip(
        store.clip(sample_id), id=sample_id, title=sample_id, joints=joints, y_down=pixels
    )
