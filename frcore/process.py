"""This process among others: a lock with its owner's name, stop signals, the environment."""

import contextlib
import importlib.metadata
import json
import logging
import os
import platform
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Self

from frcore import __version__
from frcore.errors import UserError
from frcore.files import WriteError, write_errors

log = logging.getLogger(__name__)


class LockedError(UserError):
    """Another process holds the lock."""


class ProcessLock:
    """A lock file with the pid, host and start time of its owner, as a context manager.

    A lock whose owner is dead is taken over with a notice, on the same host only.

    Raises (on entering):
        LockedError: naming the owner's pid and host, and the file to delete if it is wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._file: Any = None

    def __enter__(self) -> Self:
        for _ in range(100):
            try:
                # Kept open: Windows then refuses to delete it, which is how others see it is alive.
                with write_errors(self.path, 100):
                    self._file = _create_lock(self.path)
                return self
            except WriteError as error:
                if not isinstance(error.__cause__, FileExistsError):
                    raise
            _remove_stale(self.path)
        raise LockedError(f"Could not take the lock {self.path}: other processes keep taking it.")

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                mine = os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
                self._file.close()  # first: Windows deletes no open file
                if mine:  # not if someone deleted it and another process made its own
                    self.path.unlink()
            self._file.close()
            self._file = None


def lock_is_live(path: Path) -> bool:
    """Whether a lock is there whose owner lives, as far as this host can tell."""
    owner = _read_owner(path)
    return owner is not None and _alive(owner)


def lock_host(path: Path) -> str | None:
    """The host that a lock names; None where there is no lock, or it does not say."""
    host = (_read_owner(path) or {}).get("host")
    return host if isinstance(host, str) else None


def _create_lock(path: Path) -> Any:
    file = path.open("x", encoding="utf-8")  # O_EXCL: one winner, also between processes
    owner = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "process_start": _process_start(os.getpid()),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    file.write(json.dumps(owner) + "\n")
    file.flush()
    return file


def _remove_stale(path: Path) -> None:
    """Delete the lock of a dead owner, or raise LockedError."""
    try:
        file = path.open(encoding="utf-8")
    except FileNotFoundError:
        return
    with file:
        # Two processes may find the same stale lock; the second must not delete the lock that the
        # first has made meanwhile, so both queue on the stale file and look again.
        if os.name != "nt":
            import fcntl

            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return
        owner = _read_owner(path)
        if owner is None:
            return
        if _alive(owner):
            raise _locked(path, owner)
        log.warning("Taking over the lock %s of process %s, which is dead.", path, owner.get("pid"))
        if os.name != "nt":
            path.unlink(missing_ok=True)
    if os.name == "nt":
        try:
            path.unlink(missing_ok=True)
        except PermissionError as error:
            raise _locked(path, owner) from error


def _locked(path: Path, owner: dict[str, Any]) -> LockedError:
    where = f"process {owner.get('pid')} on host {owner.get('host')}"
    return LockedError(
        f"{path.parent} is in use by {where} (since {owner.get('time')}). Wait for it, stop it, or "
        f"choose another directory; if that process is gone, delete {path}."
    )


def _read_owner(path: Path) -> dict[str, Any] | None:
    """The owner's record; {} where it stays unreadable (killed while making it); None if absent."""
    for _ in range(10):
        try:
            owner = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(owner, dict):
                return owner
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            pass
        time.sleep(0.05)  # its owner may be just writing it
    return {}


def _alive(owner: dict[str, Any]) -> bool:
    pid, host = owner.get("pid"), owner.get("host")
    if not isinstance(pid, int) or pid <= 0:
        return False
    if host != socket.gethostname():
        return True  # cannot be told from here
    if os.name == "nt":
        return pid == os.getpid()  # _remove_stale asks the file system instead
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    start, recorded = _process_start(pid), owner.get("process_start")
    return start != "dead" and (start is None or recorded in (None, start))


def _process_start(pid: int) -> str | None:
    """Boot and clock tick at which a process began (its pid may be used again); None if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None  # no /proc here (macOS)
    return "dead" if fields[0] in "ZX" else f"{boot}/{fields[19]}"  # Z: killed, not yet reaped


_PARENT = "FRCORE_PARENT"


def living_with_us() -> dict[str, str]:
    """Environment of a child process that should save and leave when this one is no more."""
    return {_PARENT: str(os.getpid())}


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
        self._asked = False
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

    @property
    def exit_code(self) -> int:
        """What a process stopped by this signal exits with: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + self.signal if self.signal is not None else 0

    def _handle(self, number: int, frame: Any) -> None:
        if not self._asked:
            self._asked, self.signal = True, signal.Signals(number)
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


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment_record() -> dict[str, Any]:
    """Versions of Python and libraries, the platform, and the git commit of a source checkout."""
    versions = {}
    for name in ("frcore", "torch", "numpy", "pandas", "safetensors"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    versions["frcore"] = __version__  # of this code, installed or not
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "commit": code_commit(),
    }


@cache
def code_commit() -> str | None:
    """The git commit of a source checkout, "...-dirty" with local changes; None elsewhere."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
