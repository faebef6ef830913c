"""The result of a sweep: DataFrames, and a Markdown table that says what its figures are."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from frcore.data.store import Store
from frcore.files import atomic_write, make_folder_of
from frcore.sweep import figures
from frcore.sweep.figures import Outcome
from frcore.sweep.notes import NAMES, notes_of
from frcore.sweep.plan import Plan


@dataclass(frozen=True, repr=False)
class SweepResult:
    """What came out of a sweep.

    Attributes:
        plan: the runs that it consists of.
        table: a row a row of the paper's table, see `figures.table_of_rows`.
        runs: a row a run: `row`, `seed`, `state`, `epoch`, `accuracy` and `unseen` (%),
            `config_hash`, `commit`, `device`, `directory`, `log`.
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
        notes = notes_of(plan, store, found, table)
        made = cls(plan, table, _runs(plan, found, failed), notes, failed)
        if found:
            make_folder_of(made.path)
            atomic_write(made.path, made.markdown)
            atomic_write(made.path.with_suffix(".csv"), table.to_csv())
            atomic_write(made.runs_path, made.runs.to_csv(index=False))
        return made

    @property
    def path(self) -> Path:
        """Of the Markdown file: other seeds or settings have a file of their own."""
        plan = self.plan
        words = [plan.table.name, plan.recipe, plan.protocol, f"{len(plan.seeds)}seeds"]
        if plan.changes:
            text = json.dumps(plan.changes, sort_keys=True, default=str)
            words.append(hashlib.sha256(text.encode()).hexdigest()[:8])
        return plan.out / f"{'-'.join(words)}.md"

    @property
    def runs_path(self) -> Path:
        """Of the CSV file that lists the runs."""
        return self.path.with_name(f"{self.path.stem}-runs.csv")

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
        about = {} if job.state == "waiting" else job.run.environment
        rows.append(
            {
                "row": place[0],
                "seed": place[1],
                "state": "failed" if job.path in failed else job.state,
                "epoch": pd.NA if outcome is None else outcome.epoch,
                "accuracy": np.nan if outcome is None else outcome.accuracy(),
                "unseen": np.nan if outcome is None else outcome.accuracy(unseen=True),
                "config_hash": job.config.hash,
                "commit": about.get("commit") or "",
                "device": about.get("device", ""),
                "directory": str(job.path),
                "log": str(job.log),
            }
        )
    return pd.DataFrame(rows)


def _markdown(plan: Plan, table: pd.DataFrame) -> str:
    cells = {
        "row": list(map(str, table.index)),
        "model": list(table["model"]),
        "runs": list(map(str, table["runs"])),
    }
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
    cells["published: parameters, M"] = [_number(x, ".2f") for x in table["paper_parameters"]]
    cells[f"published on {published}, %"] = [_number(x, ".2f") for x in table["paper"]]
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
