"""Which runs of a sweep wait, which are under way, which have failed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frcore.sweep.plan import Job

PAUSE = 0.5  # seconds between two looks at the processes


class Scheduling:
    """Which runs wait, which are in the pool, which have failed."""

    def __init__(self, jobs: list[Job], pool: Any) -> None:
        self.pool = pool
        self.waiting = [job for job in jobs if job.state != "finished"]
        self.running: dict[Path, tuple[Job, Any]] = {}
        self.failed: dict[Path, int | str] = {}

    def run(
        self, watch: Callable[["Scheduling"], None], stopped: Callable[[], bool]
    ) -> dict[Path, int | str]:
        """To the end of all runs, or of those under way when `stopped()` comes true."""
        stopping = False
        while self.running or (self.waiting and not stopping):
            if stopped() and not stopping:
                stopping = True
                self.pool.stop()
            if not stopping:
                self._start()
            self._collect(stopping)
            watch(self)
            if self.running or (self.waiting and not stopping):
                time.sleep(PAUSE)
        return self.failed

    def _start(self) -> None:
        for job in list(self.waiting):
            if not self.pool.free:
                return
            state = job.state
            if state == "running":  # by another process: it is looked at again
                continue
            self.waiting.remove(job)
            if state != "finished":
                self.running[job.path] = job, self.pool.start(job)

    def _collect(self, stopping: bool) -> None:
        for path, (job, handle) in list(self.running.items()):
            code = handle.poll()
            if code is None:
                continue
            del self.running[path]
            state = job.state
            if state == "running":  # another process took it first
                self.waiting.append(job)
            elif state != "finished" and not stopping:
                self.failed[path] = code
