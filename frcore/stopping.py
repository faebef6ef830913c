"""How a process is stopped: signals let a step end, parents take their children with them."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, Self

_PARENT = "FRCORE_PARENT"


def living_with_us() -> dict[str, str]:
    """Environment of a child process that should save and leave when this one is no more."""
    return {_PARENT: str(os.getpid())}


class BrokenOff(BaseException):
    """A signal that did not wait for the end of a step; see `StopRequest.at_once`."""


class StopRequest:
    """Turns SIGTERM and the first Ctrl-C into a flag, so that a step can end and be saved.

    A second SIGTERM ends the process at once with code 143, a second SIGINT raises
    KeyboardInterrupt. Outside the main thread it does nothing (Python allows no handlers there).
    A process that was started with `living_with_us`, or is given its parent, also takes the end of
    that one, whatever ended it, as a SIGTERM.

    Args:
        agree: makes of a signal's number (0: none) the one that all processes of a run go by.
        once: a further signal changes nothing: torchrun hands on what a scheduler may have sent to
            all processes already, and has its own way with those that do not leave.
        parent: the process that started this one; None: the one that `living_with_us` told of.
    """

    def __init__(
        self,
        agree: Callable[[int], int] = lambda number: number,
        *,
        once: bool = False,
        parent: int | None = None,
    ) -> None:
        told = os.environ.get(_PARENT, "")
        self._parent = int(told) if parent is None and told.isdecimal() else parent
        self._agree, self._once = agree, once
        self._asked = self._waits_not = False
        self.agreed = False  # what `ask` said last
        self.signal: signal.Signals | None = None  # which came first
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._once and self.signal == signal.SIGTERM and self._before:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it leaves, with its own exit code
        self._before.clear()

    @property
    def requested(self) -> bool:
        """Whether this process was told to stop."""
        if not self._asked and self._parent not in (None, os.getppid()):
            self._asked, self.signal = True, signal.SIGTERM
        return self._asked

    def ask(self) -> bool:
        """Whether to stop here: all processes of a run or none, which therefore ask together."""
        number = self._agree(int(self.signal) if self.requested else 0)
        self.agreed = number > 0
        if self.agreed:
            self._asked, self.signal = True, signal.Signals(number)
        return self.agreed

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """What may take minutes, and leaves nothing behind: the first signal ends it there.

        Raises:
            BrokenOff: this process was told to stop.
        """
        self._waits_not = True
        try:
            if self._asked:
                raise BrokenOff
            yield
        finally:
            self._waits_not = False

    @property
    def exit_code(self) -> int:
        """What a process stopped by this signal exits with: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + self.signal if self.signal is not None else 0

    def _handle(self, number: int, frame: Any) -> None:
        if not self._asked:
            self._asked, self.signal = True, signal.Signals(number)
            if self._waits_not:
                raise BrokenOff
        elif self._once:
            pass
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            os._exit(128 + number)  # no clean-up: every file is safe against that


@contextlib.contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """SIGTERM raises SystemExit(143), so that processes are ended and locks removed on the way.

    Outside the main thread it does nothing (Python allows no handlers there).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def leave(code: int) -> NoReturn:
    """Ends this process at once, and first, on Linux, all that it has started, and they in turn.

    Compilers run in threads and processes which an orderly end would wait for.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    for pid in _descendants(os.getpid()):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    os._exit(code)


def _descendants(pid: int) -> list[int]:
    """All processes that a process has started, and they in turn; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = path.read_text(errors="replace").rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(path.parent.name))
    found = list(children.get(pid, ()))
    for child in found:  # which grows meanwhile
        found += children.get(child, ())
    return found
