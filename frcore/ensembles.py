"""Several models over the same clips, matched by sample id, never by position; weighted sums."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, Self

import numpy as np

from frcore.errors import UserError


class Member(Protocol):
    """What is asked of `Predictions` here."""

    sample_ids: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    logits: np.ndarray | None
    copies: np.ndarray
    metadata: dict[str, Any]

    def select(self, clips: Iterable[str]) -> Self: ...


def weighted_sum(members: list[Member], weights: Sequence[float] | None) -> dict[str, Any]:
    """The arguments of the `Predictions` whose logits are the members' weighted sum."""
    weights = _check_weights(weights, members)
    first = members[0]
    aligned = []
    for number, member in enumerate(members, start=1):
        who = f"ensemble: member {number}"
        if member.logits is None:
            raise UserError(f"{who} has hard predictions only; a weighted sum needs logits.")
        aligned.append(align(first, member, who))
    logits = sum(
        weight * member.logits.astype(np.float64)
        for weight, member in zip(weights, aligned, strict=True)
    )
    return {
        "sample_ids": first.sample_ids,
        "labels": first.labels,
        "class_names": first.class_names,
        "logits": logits,
        "metadata": _ensemble_metadata(members, weights),
        "copies": np.any([member.copies for member in aligned], axis=0),
    }


def first_ten(names: Iterable[object]) -> str:
    """The first ten names, quoted, for an error."""
    names = list(names)
    return ", ".join(repr(n) for n in names[:10]) + (", ..." if len(names) > 10 else "")


def _check_weights(weights: Sequence[float] | None, members: list[Member]) -> list[float]:
    weights = [1.0] * len(members) if weights is None else [float(w) for w in weights]
    if not members or len(weights) != len(members):
        raise UserError(f"ensemble: {len(members)} members and {len(weights)} weights.")
    if not all(np.isfinite(w) and w >= 0 for w in weights) or not any(weights):
        raise UserError(f"ensemble: weights must be finite, >= 0 and not all 0; got {weights}.")
    return weights


def align(first: Member, member: Member, who: str) -> Member:
    """The member in the first's order of clips.

    Raises:
        UserError: saying `who` it is and listing clips that are missing, foreign or labelled
            otherwise.
    """
    classes = len(member.class_names), len(first.class_names)
    if classes[0] != classes[1]:
        raise UserError(
            f"{who} has {classes[0]} classes, the first has {classes[1]}. (Hard predictions "
            "without class names count the classes that occur: give class_names or a benchmark.)"
        )
    if member.sample_ids != first.sample_ids:
        missing = set(first.sample_ids) - set(member.sample_ids)
        foreign = set(member.sample_ids) - set(first.sample_ids)
        if missing or foreign:
            raise UserError(
                f"{who} does not cover the same clips as the first. "
                f"Missing {len(missing)}: {first_ten(sorted(missing)) or 'none'}; "
                f"foreign {len(foreign)}: {first_ten(sorted(foreign)) or 'none'}."
            )
    aligned = member.select(first.sample_ids)
    differ = np.flatnonzero(aligned.labels != first.labels)
    if len(differ):
        names = first_ten(first.sample_ids[row] for row in differ)
        raise UserError(
            f"{who} has other labels than the first for {len(differ)} of {len(first.labels)} "
            f"clips: {names}."
        )
    return aligned


def _ensemble_metadata(members: list[Member], weights: list[float]) -> dict[str, Any]:
    """What all members share, their own records, and "test_best" if any of them was so chosen."""
    records = [member.metadata for member in members]
    shared = {k: v for k, v in records[0].items() if all(r.get(k) == v for r in records)}
    if any(record.get("select") == "test_best" for record in records):
        shared["select"] = "test_best"
    shared["model"] = f"ensemble of {len(members)}"
    return {**shared, "ensemble": records, "weights": weights}
