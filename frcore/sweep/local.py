"""Runs as processes of this machine: cores and GPUs divided among them."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from frcore.errors import UserError
from frcore.files import make_folder_of, write_errors
from frcore.process import cores
from frcore.stopping import living_with_us
from frcore.sweep.plan import Job

QUIET = {"TQDM_DISABLE": "1"}  # a log file needs no progress bar


def launch(
    command: Sequence[str], log: Path, environment: Mapping[str, str], folder: str | None = None
) -> subprocess.Popen:
    """Starts `frcore ...` with this Python; what it prints goes to the end of `log`.

    It gets a session of its own: Ctrl-C in a terminal reaches the sweep alone, which then tells its
    processes to save, once. It saves and leaves also where this process is killed.
    """
    program, *rest = command
    words = [sys.executable, "-m", program, *rest]
    make_folder_of(log)
    with write_errors(log, 0):
        file = log.open("ab")
    with file:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **QUIET, **living_with_us(), **environment},
            cwd=folder,
            start_new_session=True,
        )


class Process:
    """A run's process."""

    def __init__(self, process: subprocess.Popen, slot: int) -> None:
        self.process, self.slot = process, slot

    def poll(self) -> int | None:
        """Its exit code, once it has one."""
        return self.process.poll()


class LocalPool:
    """Up to `workers` processes at a time."""

    def __init__(self, workers: int, *, device: str | None = None) -> None:
        if workers < 1:
            raise UserError(f"jobs: expected 1 or more, got {workers}.")
        self.workers = workers
        self._spread = device in (None, "auto", "cuda")  # else the user has chosen a card, or none
        self._gpus: list[str] = []
        self._running: list[Process] = []

    def __enter__(self) -> Self:
        self._gpus = _gpus() if self._spread else []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None
    ) -> None:
        for running in self._running:  # none, unless an error or a second Ctrl-C brings us here
            running.process.kill()  # every file is safe against that
            running.process.wait()

    @property
    def free(self) -> bool:
        """Whether one more may start."""
        self._running = [process for process in self._running if process.poll() is None]
        return len(self._running) < self.workers

    def start(self, job: Job) -> Process:
        """Starts a run."""
        slot = min(set(range(self.workers)) - {process.slot for process in self._running})
        process = Process(launch(job.command, job.log, self.environment(slot)), slot)
        self._running.append(process)
        return process

    def stop(self) -> None:
        """Tells all runs to save and leave."""
        for running in self._running:
            running.process.terminate()

    def environment(self, slot: int) -> dict[str, str]:
        """What the process in a slot is told: its share of the cores, its GPU, this very code."""
        code = str(Path(__file__).resolve().parents[2])
        told = {"PYTHONPATH": os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH"))))}
        if "OMP_NUM_THREADS" not in os.environ:
            told["OMP_NUM_THREADS"] = str(max(1, cores() // self.workers))
        if len(self._gpus) > 1:
            told["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        return told


def _gpus() -> list[str]:
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
