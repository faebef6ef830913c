"""Work ahead in background threads, in order, without a thread or an error that is left behind."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Made = TypeVar("Made")

AHEAD = 3  # results that wait to be asked for
_THREADS = 2  # one may wait for the disk while the other works


def prefetch(
    make: Callable[[Task], Made], tasks: Iterable[Task], *, ahead: int = AHEAD
) -> Generator[Made, None, None]:
    """`make(task)` for each task in order, the next ones already under way.

    An error of `make` is raised where its result is asked for. However this generator is left
    (at its end, by an error, by `close()`), its threads have ended when it returns: what has not
    begun is dropped, what has is waited for. Close it (`contextlib.closing`) where a loop over it
    may stop early.

    Args:
        make: called in a background thread.
        tasks: what to call it with.
        ahead: results that are made or being made before they are asked for.
    """
    under_way: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="frcore-prefetch") as pool:
        try:
            for task in tasks:
                under_way.append(pool.submit(make, task))
                if len(under_way) > ahead:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()
