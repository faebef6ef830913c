"""Converts blocks in several processes, which end with this one."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from frcore.data.ntu.blocks import BlockTask, Outcome, write_block
from frcore.data.ntu.contents import Contents
from frcore.errors import UserError

_contents: Contents  # of a worker process: each has its own places in the zips


def convert_blocks(
    tasks: Sequence[BlockTask], sources: Sequence[Path], *, workers: int
) -> Iterator[tuple[int, list[Outcome]]]:
    """Writes blocks, and yields each one's position and outcomes as it is done, in any order.

    With one worker this process does it all.

    Raises:
        UserError: a source cannot be opened, the disk is full, or a worker died.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        with Contents(sources) as contents:
            for number, task in enumerate(tasks):
                yield number, write_block(task, contents)
        return
    # spawn: a process that is forked from one with threads (a notebook, torch) may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(tuple(sources),))
    try:
        with _without_interrupts():  # Ctrl-C reaches all processes; the parent answers it
            futures = {pool.submit(_work, task): number for number, task in enumerate(tasks)}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "A worker process ended: out of memory, killed, or a script without "
            "`if __name__ == '__main__':` around its calls. What is done is kept: the same "
            "command goes on from there; fewer --workers need less memory."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)  # waits for the blocks under way, about a second


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes that start meanwhile get no SIGINT, not even while they still import."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # what came meanwhile comes now


def _start(sources: tuple[Path, ...]) -> None:
    global _contents
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # not SIGTERM: with it a pool ends its processes
    _contents = Contents(sources)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's process does not notice by itself that its parent was killed."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _work(task: BlockTask) -> list[Outcome]:
    return write_block(task, _contents)
