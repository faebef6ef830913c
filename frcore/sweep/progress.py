"""What a sweep shows while it runs: a table in a terminal, a line an event elsewhere."""

import time
from types import TracebackType
from typing import Any, Self

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from frcore.commands import table_of
from frcore.overview import duration, look_at
from frcore.sweep.plan import Job, Plan
from frcore.sweep.scheduling import Scheduling

COLUMNS = ("row", "seed", "state", "epoch", "test so far, %", "left")
REFRESH = 1.0  # seconds between two looks at the runs


class Progress:
    """Called again and again with a `Scheduling`, shows how far its runs are."""

    def __init__(self, plan: Plan, workers: int, console: Console | None = None) -> None:
        self.plan, self.workers, self.jobs = plan, workers, plan.jobs
        self.console = console or _console()
        self.looks = {job.path: look_at(job.run, job.state) for job in self.jobs}
        self._live = Live(console=self.console, auto_refresh=False)
        self._next = 0.0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        else:
            done = sum(look.state == "finished" for look in self.looks.values())
            self._say(f"{self.plan.table.name}: {len(self.jobs)} runs, {done} of them finished")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, scheduling: Scheduling) -> None:
        """Shows what has changed."""
        over = not scheduling.running and not scheduling.waiting
        if time.monotonic() < self._next and not over:
            return
        self._next = time.monotonic() + REFRESH
        before = dict(self.looks)
        for job in self.jobs:
            state = state_of(job, scheduling)
            if state in ("running", "elsewhere") or state != before[job.path].state:
                self.looks[job.path] = look_at(job.run, state)
        if self.console.is_terminal:
            self._live.update(Group(self.table(), Text(self.summary())), refresh=True)
            return
        for job in self.jobs:
            state = self.looks[job.path].state
            if state != before[job.path].state and state != "starting":
                self._say(f"{self._line(job)} [{self.summary()}]")

    def _say(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)

    def table(self) -> Table:
        """All runs; where they do not fit the screen, those that something happens to."""
        jobs, room = self.jobs, self.console.height - 7
        if len(jobs) > room:
            jobs = [
                job for job in jobs if self.looks[job.path].state not in ("waiting", "finished")
            ]
        return table_of([self._cells(job) for job in jobs], *COLUMNS)

    def _cells(self, job: Job) -> tuple[str, ...]:
        look = self.looks[job.path]
        epochs = f"{look.done}/{job.config.train.epochs}"
        shown = "" if np.isnan(look.accuracy) else f"{look.accuracy:.1f}"
        left = "" if look.state == "finished" else duration(self._left(job))
        return job.row, str(job.seed), look.state, epochs, shown, left

    def _line(self, job: Job) -> str:
        row, seed, state, epochs, shown, _ = self._cells(job)
        accuracy = f", test {shown} %" if shown else ""
        return f"{row}, seed {seed}: {state}, epoch {epochs}{accuracy}"

    def summary(self) -> str:
        """How many runs are in which state, and how long it will take."""
        states = [look.state for look in self.looks.values()]
        order = ("finished", "running", "starting", "elsewhere", "waiting", "failed")
        counts = [f"{states.count(state)} {state}" for state in order if state in states]
        open_jobs = [j for j in self.jobs if self.looks[j.path].state not in ("finished", "failed")]
        left = [self._left(job) for job in open_jobs]
        total = max([sum(left) / self.workers, *left])
        about = f"; about {duration(total)} left" if left and not np.isnan(total) else ""
        return ", ".join(counts) + about

    def _left(self, job: Job) -> float:
        """Seconds that a run still takes, at its own pace or the others'; NaN where unknown."""
        paces = [look.epoch_seconds for look in self.looks.values()]
        others = np.nan if np.all(np.isnan(paces)) else float(np.nanmean(paces))
        return self.looks[job.path].left(job.config.train.epochs, pace=others)


def _console() -> Console:
    """Of the output: a terminal, or one for lines; a notebook's says that it is a terminal."""
    return Console(force_jupyter=False, force_terminal=False if Console().is_jupyter else None)


def state_of(job: Job, scheduling: Scheduling) -> str:
    """Of a run in a sweep: what the pool knows, and what its directory says."""
    if job.path in scheduling.failed:
        return "failed"
    state = job.state
    if state == "finished":
        return state
    if job.path in scheduling.running:
        return "running" if state == "running" else "starting"
    return "elsewhere" if state == "running" else "waiting"
