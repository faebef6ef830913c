"""Runs as tasks of a Dask cluster: the same command lines, on any machine that sees the files."""

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from frcore.data.store import data_root
from frcore.errors import UserError
from frcore.sweep.local import launch
from frcore.sweep.plan import Job

PATIENCE = 15  # seconds to reach the scheduler


def run_task(
    command: Sequence[str], log: str, data: str, folder: str, stop: str, pause: float = 1.0
) -> int:
    """On a worker: runs a command line to its end, or until the event `stop` is set.

    Args:
        command: `frcore train ...`.
        log: the file that gets what it prints.
        data: the data root.
        folder: to start in, if the worker has it.
        stop: name of a `distributed.Event`.
        pause: seconds between looks at both.

    Returns:
        The exit code; -15 if it was stopped before it began.
    """
    from distributed import Event

    event = Event(stop)
    if event.is_set():
        return -15
    here = folder if Path(folder).is_dir() else None
    process, told = launch(command, Path(log), {"FRCORE_DATA": data}, here), False
    while process.poll() is None:
        if not told and event.is_set():
            process.terminate()  # once: a second one would end it before it has saved
            told = True
        time.sleep(pause)
    return process.returncode


class Task:
    """A run's task."""

    def __init__(self, job: Job, future: Any) -> None:
        self.job, self.future = job, future

    def poll(self) -> int | str | None:
        """The exit code, or what went wrong in the cluster; None until then."""
        status = self.future.status
        if status == "pending":
            return None
        if status == "finished":
            return self.future.result()
        if status == "error":
            return f"{self.future.exception()!r:.200}"
        return f"the cluster gave it up ({status})"


class ClusterPool:
    """All runs at once to the scheduler, whose workers take one after another."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._tasks: list[Task] = []
        self._stop_name = f"frcore-sweep-{secrets.token_hex(8)}"

    def __enter__(self) -> Self:
        try:
            from distributed import Client, Event
        except ImportError as error:
            raise UserError(
                "--scheduler needs Dask: pip install -c constraints.txt -e '.[cluster]'"
            ) from error
        try:
            self.client = Client(self.address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise UserError(
                f"No Dask scheduler answers at '{self.address}' ({error}). Start one with "
                "'dask scheduler' and give its address, such as tcp://node1:8786."
            ) from error
        self._event = Event(self._stop_name, client=self.client)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._event.set()
        self.client.close()

    @property
    def free(self) -> bool:
        """The scheduler queues what its workers cannot take yet."""
        return True

    @property
    def workers(self) -> int:
        """Runs that can go on at the same time."""
        return max(1, sum(self.client.nthreads().values()))

    def start(self, job: Job) -> Task:
        """Hands a run to the scheduler."""
        where = (str(job.log), str(data_root().resolve()), str(Path.cwd()))
        key = f"{job.path.name}-{secrets.token_hex(4)}"
        future = self.client.submit(
            run_task, job.command, *where, self._stop_name, key=key, pure=False
        )
        self._tasks.append(Task(job, future))
        return self._tasks[-1]

    def stop(self) -> None:
        """Tells all runs to save and leave; those that have not begun are taken back."""
        self._event.set()
        for task in self._tasks:
            if task.poll() is None and task.job.state != "running":
                task.future.cancel()
