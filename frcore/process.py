"""This process among others: a lock with its owner's name, the environment."""

import contextlib
import importlib.metadata
import json
import logging
import os
import platform
import socket
import subprocess
import time
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
