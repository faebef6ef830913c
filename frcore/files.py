"""Files that survive a kill: atomic writes, and readers that trust nothing."""

import contextlib
import csv
import errno
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from frcore.errors import UserError

_TEMP_SUFFIX = ".frtmp"  # only files named .*.frtmp are ever cleaned up
_NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_NO_DIRECTORY_FSYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EISDIR}


class WriteError(UserError):
    """A file could not be written: disk full, no permission. What was there before is intact."""


def atomic_write(path: Path, data: bytes | memoryview | str) -> None:
    """Replace `path` by `data` in one step: at any moment it holds all of the old or of the new.

    Raises:
        WriteError: naming the path, and the bytes needed where the disk is full.
    """
    temp = write_temp(path, data)
    try:
        publish(temp, path)
    finally:
        discard(temp)  # only there if the rename failed


def write_temp(path: Path, data: bytes | memoryview | str) -> Path:
    """Write `data`, flushed to the disk, to a new temporary file in the directory of `path`."""
    data = data.encode() if isinstance(data, str) else data
    if not path.name:
        raise WriteError(f"Cannot write {path}: Is a directory.")
    temp = _temp_of(path)
    try:
        with write_errors(path, len(data)), temp.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        discard(temp)
        raise
    return temp


def discard(temp: Path) -> None:
    """Remove a temporary file if it can be: what went wrong before is what is worth saying."""
    with contextlib.suppress(OSError):  # read-only by now, or all along
        temp.unlink(missing_ok=True)


def _temp_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMP_SUFFIX}")


def publish(source: Path, target: Path) -> None:
    """Rename `source` to `target` (same directory) and flush the directory to the disk."""
    with write_errors(target, 0):
        source.replace(target)
        _fsync_directory(target.parent)


def clean_temps(directory: Path) -> list[Path]:
    """Remove the temporary files that killed writers left in `directory`; returns their paths."""
    temps = sorted(directory.glob(f".*{_TEMP_SUFFIX}"))
    for temp in temps:
        discard(temp)
    return [temp for temp in temps if not temp.exists()]


def make_folder_of(path: Path) -> None:
    """Make the folder that `path` is to be written in.

    Raises:
        WriteError: naming the path.
    """
    with write_errors(path, 0):
        path.parent.mkdir(parents=True, exist_ok=True)


def check_writable(path: Path) -> None:
    """Prove that a file can be written at `path`, before what it is to hold is computed.

    Nothing is left behind; a folder that is still to be made is tried in the one above.

    Raises:
        WriteError: as writing it would.
    """
    with write_errors(path, 0):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        folder = next(folder for folder in path.absolute().parents if folder.exists())
        temp = _temp_of(folder / path.name)
        try:
            temp.touch(exist_ok=False)
        finally:
            discard(temp)


def is_temp(path: Path) -> bool:
    """Whether the name is one that `write_temp` gives."""
    return path.name.startswith(".") and path.name.endswith(_TEMP_SUFFIX)


@contextlib.contextmanager
def write_errors(path: Path, size: int) -> Iterator[None]:
    """Turn an OSError into a WriteError that names `path` and the `size` in bytes it needs."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise WriteError(f"Cannot write {path}: {error.strerror or error}.") from error
        size_of_free = free_bytes(path.parent)
        free = "free space unknown" if size_of_free is None else f"{size_of_free:,} are free"
        raise WriteError(
            f"No space left to write {path}: {size:,} bytes needed, {free}. Files written earlier "
            "are intact; make room and start the same command again."
        ) from error


def free_bytes(folder: Path) -> int | None:
    """Bytes that may still be written in a folder; None where its file system does not say."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None  # some network file systems report no size at all


def _fsync_directory(directory: Path) -> None:
    # Makes the rename itself durable. Windows has no such call, some network file systems refuse.
    if os.name == "nt":
        return
    try:
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_FSYNC:
            raise


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, {} if the file is missing."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"Cannot read {path}: {error}.") from error
    return data if isinstance(data, dict) else {}


def whole_lines(path: Path) -> list[str]:
    """The lines that end in a newline: the rest was cut by a kill, or is just being written."""
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {path}: {error}.") from error
    return [line for line in lines if line.endswith("\n")]


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file, {} if it is missing; pickled ones and packed ones are refused.

    Ours are stored as they are; a packed one could unpack to a thousand times its size.
    """
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if any(member.compress_type for member in arrays.zip.infolist()):
                raise ValueError("its arrays are compressed")
            return dict(arrays)
    except Exception as error:  # zipfile and NumPy raise many kinds
        raise UserError(f"Cannot read {path}: {error}") from error


def csv_line(cells: list[str]) -> str:
    """One line of a CSV file."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def csv_cell(value: Any) -> str:
    """A value as text from which a float reloads bit-equal; None is an empty cell."""
    value = value.item() if hasattr(value, "item") else value
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
