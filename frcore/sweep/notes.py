"""What a reader has to know of a sweep's figures, in sentences."""

from collections.abc import Mapping

import pandas as pd

from frcore.data.benchmarks import STREAMS
from frcore.data.store import Store
from frcore.sweep import figures
from frcore.sweep.figures import OVER_CLIPS, OVER_SEEDS, Outcome
from frcore.sweep.plan import Plan, setting
from frcore.sweep.tables import PAPER

NAMES = {"ntu120/xsub": "NTU 120 X-Sub", "ntu120/xset": "NTU 120 X-Set",
         "ntu60/xsub": "NTU 60 X-Sub", "ntu60/xview": "NTU 60 X-View",
         "nw_ucla/xview": "NW-UCLA"}  # fmt: skip


def notes_of(
    plan: Plan, store: Store, found: Mapping[tuple[str, int], Outcome], table: pd.DataFrame
) -> tuple[str, ...]:
    """The notes of a sweep, by what is finished of it.

    Args:
        plan: the sweep.
        store: its clips.
        found: what the finished runs said.
        table: `figures.table_of_rows` of these.
    """
    notes = [_what(plan), *_trained_on(plan, store), *_which_clips(plan, found)]
    done = sum(job.state == "finished" for job in plan.jobs)
    if done < len(plan.jobs):
        notes.append(f"{done} of {len(plan.jobs)} runs are finished; the figures are of those.")
    notes += _spread(plan, table)
    if any(row.members for row in plan.table.rows):
        weights = figures.fusion_weights(plan)
        how = "the authors' weights" if weights else "equal weights (none were published)"
        shown = f" {weights}" if weights else ""
        notes.append(f"Fusion: sum of the four streams' scores, {how}{shown}.")
    return (*notes, *plan.table.notes, *_published(plan))


def _what(plan: Plan) -> str:
    config, train = plan.config, plan.config.train
    changes = ", ".join(setting(key, value) for key, value in plan.changes.items())
    there = {job.config.data.stream for job in plan.jobs}
    streams = ", ".join(stream for stream in STREAMS if stream in there)
    return (
        f"{config.benchmark}, protocol {plan.protocol}, stream {streams}, recipe "
        f"{plan.recipe} (and _frhead), {train.epochs} epoch{'s' if train.epochs > 1 else ''}"
        + (f"; changed: {changes}." if changes else ".")
    )


def _trained_on(plan: Plan, store: Store) -> list[str]:
    """How many clips trained, with which code, where."""
    data = plan.config.data
    where = {"protocol": data.protocol, "val_subjects": data.val_subjects}
    clips = len(store.split("train", duplicates=data.duplicates, **where))
    about = [job.run.environment for job in plan.jobs if job.state == "finished"]
    if not about:
        return []
    kinds = {
        (e.get("versions", {}).get("torch", "?"), e.get("device", "?"), _short(e.get("commit")))
        for e in about
    }
    shown = [f"torch {torch} on {device}, commit {commit}" for torch, device, commit in kinds]
    return [f"Trained on {clips:,} clips; {' / '.join(sorted(shown))}."]


def _short(commit: str | None) -> str:
    digits, dash, dirty = (commit or "unknown").partition("-")
    return digits[:10] + dash + dirty


def _which_clips(plan: Plan, found: Mapping[tuple[str, int], Outcome]) -> list[str]:
    select = plan.config.train.select
    how = {
        "last": "The last epoch counts; nothing was selected on test clips.",
        "val_best": "The epoch that is best on validation clips counts.",
        "test_best": "The epoch that is best on the test clips counts: the figures are flattered.",
    }
    notes = [how[select]]
    if not found:
        return notes
    outcome = next(iter(found.values()))
    clips, copies = len(outcome.right), len(outcome.copies)
    if copies:
        kept = plan.config.data.duplicates == "keep"
        what = "trained on, as published work does" if kept else "left out of training"
        notes.append(
            f"{copies} of {clips} test clips are copies of training clips; these were {what} "
            f"(data.duplicates={plan.config.data.duplicates}). Unseen: the other {clips - copies}."
        )
    else:
        notes.append(f"{clips} test clips, none a copy of a training clip.")
    return notes


def _spread(plan: Plan, table: pd.DataFrame) -> list[str]:
    """What the spread, the intervals and p are of: by the runs that there are, row by row."""
    runs, tests = table["runs"], table["test"]
    notes = []
    if runs.max() > 1:
        several = "the seeds that are finished (column runs)"
        over = several if runs.nunique() > 1 else f"seeds 0 to {runs.max() - 1}"
        notes.append(f"Mean ± standard deviation over {over}.")
    elif runs.max() == 1:
        notes.append("One seed a row: no spread is known.")
    against = {row.against for row in plan.table.rows if row.against}
    what = f"'{against.pop()}'" if len(against) == 1 else "the same without FR Head"
    if (tests == OVER_SEEDS).any():
        notes.append(
            f"Difference to {what}, over the seeds that both rows have; 95 % interval and p by "
            "Student's t over runs of equal seed, p corrected for the number of rows (Holm): what "
            "other seeds would change on these test clips. What other clips would change is not in "
            "it; `frviz compare` has both."
        )
        pairs = table.loc[tests == OVER_SEEDS, "pairs"]
        if pairs.min() == 2:
            notes.append(
                "Intervals from two seeds have one degree of freedom: they are that wide because "
                "two runs say little. Five seeds or more make them useful."
            )
    if (tests == OVER_CLIPS).any():
        which = ", ".join(f"'{row}'" for row in table.index[tests == OVER_CLIPS])
        rows = "" if (tests != OVER_SEEDS).all() else f" ({which}: one seed so far)"
        notes.append(
            f"Difference to {what}{rows}: p of the exact McNemar test over the test clips of one "
            "seed, corrected for the number of rows (Holm); what another seed changes is not in it."
        )
    return notes


def _published(plan: Plan) -> list[str]:
    where = figures.published_where(plan)
    same = where != PAPER or plan.config.benchmark == "ntu120"
    notes = [
        "Published: the paper's numbers of parameters (full-size networks, NTU 120) and, where "
        "they are certain, accuracies of the authors' released runs (fusion: of the paper); empty "
        "cells are not known here. Published accuracies of this family are those of the epoch that "
        "was best on the test clips, of one run; on NW-UCLA with copies of test clips in training."
    ]
    if not same:
        notes.append(
            f"The published accuracies are of {NAMES[where]}, other data than these: they say "
            "nothing about how good these runs are."
        )
    if plan.config.model.backbone.endswith("_tiny"):
        notes.append(
            "These are tiny siblings of the networks (column model); the published ones are not."
        )
    return notes
