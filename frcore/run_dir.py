"""A run's directory for the one process that writes it (`run.Run` is how others read it).

Every file is replaced in one step, so that a kill leaves the old content or the new.
"""

import contextlib
import csv
import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from frcore.checkpoint import BEST, LAST, PREVIOUS, rotate_and_save, save_checkpoint
from frcore.errors import UserError
from frcore.files import (
    WriteError,
    atomic_write,
    clean_temps,
    csv_cell,
    csv_line,
    discard,
    free_bytes,
    is_temp,
    load_npz,
    read_json,
    whole_lines,
    write_errors,
    write_temp,
)
from frcore.process import ProcessLock, environment_record
from frcore.run import CONFIG, ENVIRONMENT, FIXED, LOCK, LOGS, METRICS, STATE

log = logging.getLogger(__name__)

COPIES = 4  # of a checkpoint, at most: last, previous, best, and one that is being written


def choose_run_dir(out: str | Path, config_hash: str) -> tuple[Path, bool]:
    """The directory for a configuration: `out`, or `out-2`, `out-3`, ... where others are in use.

    Returns:
        The path, and whether it holds a run of this very configuration (to be resumed).

    Raises:
        UserError: a file, or a directory that holds something else than a run.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; a run needs a directory.")
    number, path = 1, out
    while path.is_dir() and not _is_unused(path):
        if path == out and not (path / ENVIRONMENT).is_file():
            raise UserError(
                f"{path} holds files, but no run. Choose another directory for the run."
            )
        if read_json(path / ENVIRONMENT).get("config_hash") == config_hash:
            return path, True
        number += 1
        path = out.with_name(f"{out.name}-{number}")
    if path != out:
        log.warning("%s holds a run of another configuration; using %s.", out, path)
    return path, False


class RunDir:
    """The directory of a run for the one process that writes it, as a context manager.

    Entering makes the directory, proves that it can be written, locks it, and removes what killed
    writers left.

    Raises (on entering):
        WriteError: not a directory, or not writable.
        LockedError: another process uses it; its pid and host are named.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = ProcessLock(self.path / LOCK)
        self._made = False

    def __enter__(self) -> Self:
        with write_errors(self.path, 0):
            self._made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
        discard(write_temp(self.path / "writable", b"?"))
        self._lock.__enter__()
        for temp in clean_temps(self.path):
            log.info("Removed %s, left by a killed process.", temp)
        return self

    def __exit__(self, *exc: object) -> None:
        self._lock.__exit__(*exc)
        if self._made and _is_unused(self.path):  # a mistake was found before anything was written
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def __repr__(self) -> str:
        return f"RunDir('{self.path}')"

    def check_room(self, size: int) -> None:
        """Looks before the training whether checkpoints of `size` bytes will find room.

        Raises:
            WriteError: not even for one. Where only the later ones lack it, it is a warning.
        """
        free, there = free_bytes(self.path), (self.path / name for name in (LAST, PREVIOUS, BEST))
        if free is None:
            return
        needed = COPIES * size - sum(path.stat().st_size for path in there if path.is_file())
        takes = f"a checkpoint takes {size:,} bytes"
        if free < size:
            raise WriteError(
                f"No space left in {self.path} to train: {takes}, and {free:,} are free. Make room "
                "and start the same command again."
            )
        if free < needed:
            text = "Space may run out in %s: %s, up to %d lie there, and %s are free."
            log.warning(text, self.path, takes, COPIES, f"{free:,}")

    def write_config(self, config: dict[str, Any], *, config_hash: str, **environment: Any) -> None:
        """Write config.json, and environment.json with versions and, e.g., device= and threads=.

        Other environments that a resumed run has had before stay there, under "earlier".
        """
        record = {"config_hash": config_hash, **environment_record(), **environment}
        before = read_json(self.path / ENVIRONMENT)
        earlier = before.pop("earlier", [])
        earlier += [before] if before and before != record else []
        record |= {"earlier": earlier} if earlier else {}
        self.write_json(ENVIRONMENT, record)  # first: it says whose directory this is
        self.write_json(CONFIG, config)

    def write_json(self, name: str, data: Any) -> None:
        """Replace a JSON file in one step."""
        atomic_write(self.path / name, json.dumps(data, indent=2) + "\n")

    def save(self, tensors: Mapping[str, Any], metadata: dict[str, Any]) -> None:
        """Write last.safetensors; the one before it becomes previous.safetensors."""
        rotate_and_save(self.path, tensors, metadata)

    def save_best(self, tensors: Mapping[str, Any], metadata: dict[str, Any]) -> None:
        """Write best.safetensors."""
        save_checkpoint(self.path / BEST, tensors, metadata)

    def finish(self, epoch: int) -> None:
        """Mark the run as finished after `epoch` epochs."""
        self.write_json(STATE, {"state": "finished", "epoch": int(epoch)})

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Append one epoch to metrics.csv, on the disk on return; floats reload bit-equal.

        The first row fixes the columns ("epoch" among them); a later row may leave some empty.
        """
        path = self.path / METRICS
        lines = whole_lines(path)
        columns = next(csv.reader(lines[:1]), None) or list(row)
        unknown = [name for name in row if name not in columns]
        if unknown or "epoch" not in row:
            raise UserError(
                f"{path} has the columns {', '.join(columns)}; the new row adds {unknown}."
                if unknown
                else f"A row of {path} needs the column 'epoch'; got {', '.join(row)}."
            )
        text = csv_line([csv_cell(row.get(name)) for name in columns])
        text = text if lines else csv_line(columns) + text
        atomic_write(path, "".join(lines) + text)

    def truncate_metrics(self, epoch: int) -> None:
        """Cut the rows after `epoch` (and a half-written one) off metrics.csv."""
        path = self.path / METRICS
        if not path.exists():
            return
        lines = whole_lines(path)
        try:
            column = next(csv.reader(lines[:1]), ["epoch"]).index("epoch")
            kept = [line for line in lines[1:] if int(next(csv.reader([line]))[column]) <= epoch]
        except (ValueError, IndexError, StopIteration, csv.Error) as error:
            raise UserError(f"{path} is damaged ({error}); restore it or delete it.") from error
        if kept:
            atomic_write(path, "".join(lines[:1] + kept))
        else:
            path.unlink()

    def save_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace `<name>.npz` in one step. Object arrays are refused: they would need pickle."""
        arrays = {key: np.asarray(array) for key, array in arrays.items()}
        bad = [key for key, array in arrays.items() if array.dtype.hasobject]
        if bad:
            raise UserError(f"{name}.npz cannot hold object arrays: {', '.join(bad)}.")
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        atomic_write(self.path / f"{name}.npz", buffer.getvalue())

    def load_arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of `<name>.npz`, {} if there is none."""
        return load_npz(self.path / f"{name}.npz")

    def append_arrays(
        self,
        name: str,
        epoch: int,
        arrays: Mapping[str, np.ndarray],
        *,
        fixed: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Add one epoch to a log: each array gets a leading epoch axis, "epoch" (E,) numbers it.

        Args:
            name: "history" or "calibration".
            epoch: its number.
            arrays: same names and shapes in every epoch.
            fixed: arrays without epoch axis (sample ids, labels), kept from the first epoch.
        """
        new = {"epoch": np.int64(epoch)} | {k: np.asarray(a) for k, a in arrays.items()}
        old = self.load_arrays(name)
        fixed = {k: old[k] for k in old[FIXED]} if old else dict(fixed or {})
        stacked = {k: a for k, a in old.items() if k not in fixed and k != FIXED}
        shapes = {k: a.shape[1:] for k, a in stacked.items()}
        if old and shapes != {k: a.shape for k, a in new.items()}:
            raise UserError(
                f"{self.path / name}.npz holds {shapes}, epoch {epoch} brings "
                f"{ {k: a.shape for k, a in new.items()} }."
            )
        grown = {k: np.concatenate([stacked.get(k, a[None][:0]), a[None]]) for k, a in new.items()}
        self.save_arrays(name, {FIXED: np.array(list(fixed), dtype=str), **fixed, **grown})

    def truncate_arrays(self, name: str, epoch: int) -> None:
        """Cut the epochs after `epoch` off a log."""
        old = self.load_arrays(name)
        if not old or (old["epoch"] <= epoch).all():
            return
        keep = old["epoch"] <= epoch
        still = {*old[FIXED], FIXED}
        self.save_arrays(name, {k: a if k in still else a[keep] for k, a in old.items()})

    def truncate(self, epoch: int) -> None:
        """Cut every log back to the position of a checkpoint: `epoch` is the last one kept."""
        self.truncate_metrics(epoch)
        for name in LOGS:
            self.truncate_arrays(name, epoch)


class WatchedDir(RunDir):
    """The directory of a run for a process of it that leaves the writing to another one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def check_room(self, size: int) -> None:
        """Nothing."""

    def write_json(self, name: str, data: Any) -> None:
        """Nothing."""

    def save(self, tensors: Mapping[str, Any], metadata: dict[str, Any]) -> None:
        """Nothing."""

    def save_best(self, tensors: Mapping[str, Any], metadata: dict[str, Any]) -> None:
        """Nothing."""

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Nothing."""

    def append_arrays(self, name: str, epoch: int, *arrays: object, **fixed: object) -> None:
        """Nothing."""

    def truncate(self, epoch: int) -> None:
        """Nothing."""


def _is_unused(path: Path) -> bool:
    return all(is_temp(p) or p.name == LOCK for p in path.iterdir())
