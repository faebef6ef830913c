"""The result of a sweep: DataFrames, and a Markdown table that says what its figures are."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from frcore.data.store import Store
from frcore.files import atomic_write
from frcore.sweep import figures
from frcore.sweep.figures import Outcome
from frcore.sweep.plan import Plan
from frcore.sweep.tables import PAPER

NAMES = {"ntu120/xsub": "NTU 120 X-Sub", "ntu120/xset": "NTU 120 X-Set",
         "nw_ucla/xview": "NW-UCLA"}  # fmt: skip


@dataclass(frozen=True, repr=False)
class SweepResult:
    """What came out of a sweep.

    Attributes:
        plan: the runs that it consists of.
        table: a row a row of the paper's table, see `figures.table_of_rows`.
        runs: a row a run: `row`, `seed`, `state`, `epoch`, `accuracy` and `unseen` (%),
            `directory`, `log`.
        notes: what a reader has to know, in sentences.
        failed: exit codes of the runs that failed in this call, by directory.
    """

    plan: Plan
    table: pd.DataFrame
    runs: pd.DataFrame
    notes: tuple[str, ...]
    failed: Mapping[Path, int | str]

    @classmethod
    def of(cls, plan: Plan, store: Store, failed: Mapping[Path, int | str]) -> "SweepResult":
        """From the directories of a plan's runs, written to its folder as Markdown and CSV."""
        found = figures.outcomes(plan, store)
        parameters = figures.count_parameters(plan, store.benchmark)
        table = figures.table_of_rows(plan, found, parameters)
        made = cls(plan, table, _runs(plan, found, failed), _notes(plan, store, found), failed)
        if found:
            made.path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(made.path, made.markdown)
            atomic_write(made.path.with_suffix(".csv"), table.to_csv())
        return made

    @property
    def path(self) -> Path:
        """Of the Markdown file."""
        return self.plan.out / f"{self.plan.table.name}-{self.plan.recipe}-{self.plan.protocol}.md"

    @property
    def unfinished(self) -> list[Path]:
        """Directories of the runs that have not reached their end."""
        return [job.path for job in self.plan.jobs if job.state != "finished"]

    @property
    def markdown(self) -> str:
        """Heading, table and notes."""
        heading = f"### {self.plan.table.name}: {self.plan.table.title}"
        notes = "\n".join(f"- {note}" for note in self.notes)
        return f"{heading}\n\n{_markdown(self.plan, self.table)}\n\n{notes}\n"

    @property
    def next_step(self) -> str:
        """The command that compares two rows in depth: levels, groups, classes, clips."""
        if not self.plan.table.compared:
            return ""
        a, b = self.plan.table.compared
        words = ["frviz", "compare", *(str(self.plan.grid[row, 0].path) for row in (a, b))]
        for seed in self.plan.seeds[1:]:
            words += ["--a", str(self.plan.grid[a, seed].path)]
            words += ["--b", str(self.plan.grid[b, seed].path)]
        return shlex.join([*words, "--report", str(self.path.with_suffix(".html"))])

    def __repr__(self) -> str:
        return self.markdown

    def _repr_markdown_(self) -> str:
        return self.markdown


def _runs(
    plan: Plan, found: Mapping[tuple[str, int], Outcome], failed: Mapping[Path, int | str]
) -> pd.DataFrame:
    rows = []
    for place, job in plan.grid.items():
        outcome = found.get(place)
        rows.append(
            {
                "row": place[0],
                "seed": place[1],
                "state": "failed" if job.path in failed else job.state,
                "epoch": pd.NA if outcome is None else outcome.epoch,
                "accuracy": np.nan if outcome is None else outcome.accuracy(),
                "unseen": np.nan if outcome is None else outcome.accuracy(unseen=True),
                "directory": str(job.path),
                "log": str(job.log),
            }
        )
    return pd.DataFrame(rows)


def _markdown(plan: Plan, table: pd.DataFrame) -> str:
    cells = {"row": list(map(str, table.index)), "runs": list(map(str, table["runs"]))}
    for part, prefix in (("test", ""), ("unseen", "unseen_")):
        if f"{prefix}difference" not in table:
            continue
        column = {name: table[f"{prefix}{name}"] for name in ("sd", "difference", "low", "high")}
        mean, p = table["accuracy" if part == "test" else part], table[f"{prefix}p_holm"]
        cells[f"{part}, %"] = list(map(_with_spread, mean, column["sd"]))
        cells[f"{part}: difference"] = [_number(x, "+.2f") for x in column["difference"]]
        cells[f"{part}: 95 % interval"] = list(map(_interval, column["low"], column["high"]))
        cells[f"{part}: p (Holm)"] = list(map(_p, p))
    published = NAMES[figures.published_where(plan)]
    cells["parameters, M"] = [_number(x, ".2f") for x in table["parameters"]]
    cells["paper: parameters, M"] = [_number(x, ".2f") for x in table["paper_parameters"]]
    cells[f"published, % ({published})"] = [_number(x, ".2f") for x in table["paper"]]
    cells = {name: column for name, column in cells.items() if any(column)}
    lines = [list(cells), ["---", *["---:"] * (len(cells) - 1)], *zip(*cells.values(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float, form: str) -> str:
    return "" if np.isnan(value) else format(value, form)


def _interval(low: float, high: float) -> str:
    return "" if np.isnan(low) else f"{low:+.2f} to {high:+.2f}"


def _with_spread(mean: float, sd: float) -> str:
    return _number(mean, ".2f") + ("" if np.isnan(sd) else f" ± {sd:.2f}")


def _p(p: float) -> str:
    return "" if np.isnan(p) else f"{p:.2f}" if p >= 0.01 else f"{p:.1g}"


def _notes(plan: Plan, store: Store, found: Mapping[tuple[str, int], Outcome]) -> tuple[str, ...]:
    notes = [_what(plan), *_which_clips(plan, found), *_over_what(plan, found)]
    done = sum(job.state == "finished" for job in plan.jobs)
    if done < len(plan.jobs):
        notes.append(f"{done} of {len(plan.jobs)} runs are finished; the figures are of those.")
    fused = any(row.members for row in plan.table.rows)
    if fused:
        weights = figures.fusion_weights(plan)
        how = "the authors' weights" if weights else "equal weights (none were published)"
        shown = f" {weights}" if weights else ""
        notes.append(f"Fusion: sum of the four streams' scores, {how}{shown}.")
    return (*notes, *plan.table.notes, *_published(plan))


def _what(plan: Plan) -> str:
    config, train = plan.config, plan.config.train
    changes = ", ".join(f"{key} = {value}" for key, value in plan.changes.items())
    streams = sorted({job.config.data.stream for job in plan.jobs})
    return (
        f"{config.benchmark}, protocol {plan.protocol}, stream {', '.join(streams)}, recipe "
        f"{plan.recipe} (and _frhead), {train.epochs} epoch{'s' if train.epochs > 1 else ''}"
        + (f"; changed: {changes}." if changes else ".")
    )


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


def _over_what(plan: Plan, found: Mapping[tuple[str, int], Outcome]) -> list[str]:
    tests = {row.against for row in plan.table.rows if row.against}
    against = f"'{tests.pop()}'" if len(tests) == 1 else "the row without FR Head"
    if len(plan.seeds) == 1:
        return [
            f"One seed: no spread is known. Difference to {against}, p of the exact McNemar test "
            "over the test clips, corrected for the number of rows (Holm); what another seed "
            "changes is not in it."
        ]
    return [
        f"Mean ± standard deviation over seeds {plan.seeds[0]} to {plan.seeds[-1]}. Difference to "
        f"{against}, 95 % interval and p by Student's t over runs of equal seed, p corrected for "
        "the number of rows (Holm): what other seeds would change on these test clips. What other "
        "clips would change is not in it; `frviz compare` has both."
    ]


def _published(plan: Plan) -> list[str]:
    where = figures.published_where(plan)
    same = where != PAPER or plan.config.benchmark == "ntu120"
    notes = [
        "Published: the paper's numbers of parameters (NTU 120) and, where they are certain, "
        "accuracies of the authors' released runs (fusion: of the paper); empty cells are not "
        "known here. Published accuracies of this family are those of the epoch that was best on "
        "the test clips, of one run; on NW-UCLA with copies of test clips in training."
    ]
    if not same:
        notes.append(
            f"The published accuracies are of {NAMES[where]}, other data than these: they say "
            "nothing about how good these runs are."
        )
    return notes
