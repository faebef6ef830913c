"""A run's directory: written by one process (`RunDir`), read by anyone without torch (`Run`).

    config.json  environment.json  metrics.csv  history.npz  calibration.npz  state.json
    last.safetensors  previous.safetensors  best.safetensors  (and a .sha256 beside each)

Every file is replaced in one step, so that a kill leaves the old content or the new.
"""

import csv
import html
import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from frcore.checkpoint import BEST, LAST, PREVIOUS
from frcore.errors import UserError, unknown_name
from frcore.files import (
    atomic_write,
    clean_temps,
    csv_cell,
    csv_line,
    is_temp,
    load_npz,
    read_json,
    whole_lines,
    write_errors,
    write_temp,
)
from frcore.process import LockedError, ProcessLock, StopRequest, environment_record, lock_is_live

__all__ = ["LockedError", "Run", "RunDir", "StopRequest", "choose_run_dir"]

log = logging.getLogger(__name__)

_LOCK, _CONFIG, _ENVIRONMENT, _METRICS, _STATE = (
    "run.lock",
    "config.json",
    "environment.json",
    "metrics.csv",
    "state.json",
)
_LOGS = ("history", "calibration")
_FIXED = "_fixed"  # in a log: the names of the arrays that have no epoch axis


def choose_run_dir(out: str | Path, config_hash: str) -> tuple[Path, bool]:
    """The directory for a configuration: `out`, or `out-2`, `out-3`, ... where others are in use.

    Returns:
        The path, and whether it holds a run of this very configuration (to be resumed).
    """
    out = Path(out)
    number, path = 1, out
    while path.is_dir() and not _is_unused(path):
        if read_json(path / _ENVIRONMENT).get("config_hash") == config_hash:
            return path, True
        number += 1
        path = out.with_name(f"{out.name}-{number}")
    if path != out:
        log.warning("%s holds something else (another configuration); using %s.", out, path)
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
        self._lock = ProcessLock(self.path / _LOCK)

    def __enter__(self) -> Self:
        with write_errors(self.path, 0):
            self.path.mkdir(parents=True, exist_ok=True)
        write_temp(self.path / "writable", b"?").unlink(missing_ok=True)
        self._lock.__enter__()
        for temp in clean_temps(self.path):
            log.info("Removed %s, left by a killed process.", temp)
        return self

    def __exit__(self, *exc: object) -> None:
        self._lock.__exit__(*exc)

    def __repr__(self) -> str:
        return f"RunDir('{self.path}')"

    def write_config(self, config: dict[str, Any], *, config_hash: str, **environment: Any) -> None:
        """Write config.json, and environment.json with versions and, e.g., device= and threads=."""
        record = {"config_hash": config_hash, **environment_record(), **environment}
        self.write_json(_ENVIRONMENT, record)  # first: it says whose directory this is
        self.write_json(_CONFIG, config)

    def write_json(self, name: str, data: Any) -> None:
        """Replace a JSON file in one step."""
        atomic_write(self.path / name, json.dumps(data, indent=2) + "\n")

    def finish(self, epoch: int) -> None:
        """Mark the run as finished after `epoch` epochs."""
        self.write_json(_STATE, {"state": "finished", "epoch": int(epoch)})

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Append one epoch to metrics.csv, on the disk on return; floats reload bit-equal.

        The first row fixes the columns ("epoch" among them); a later row may leave some empty.
        """
        path = self.path / _METRICS
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
        path = self.path / _METRICS
        if not path.exists():
            return
        lines = whole_lines(path)
        column = next(csv.reader(lines[:1]), ["epoch"]).index("epoch")
        kept = [line for line in lines[1:] if int(next(csv.reader([line]))[column]) <= epoch]
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
        fixed = {k: old[k] for k in old[_FIXED]} if old else dict(fixed or {})
        stacked = {k: a for k, a in old.items() if k not in fixed and k != _FIXED}
        shapes = {k: a.shape[1:] for k, a in stacked.items()}
        if old and shapes != {k: a.shape for k, a in new.items()}:
            raise UserError(
                f"{self.path / name}.npz holds {shapes}, epoch {epoch} brings "
                f"{ {k: a.shape for k, a in new.items()} }."
            )
        grown = {k: np.concatenate([stacked.get(k, a[None][:0]), a[None]]) for k, a in new.items()}
        self.save_arrays(name, {_FIXED: np.array(list(fixed), dtype=str), **fixed, **grown})

    def truncate_arrays(self, name: str, epoch: int) -> None:
        """Cut the epochs after `epoch` off a log."""
        old = self.load_arrays(name)
        if not old or (old["epoch"] <= epoch).all():
            return
        keep = old["epoch"] <= epoch
        still = {*old[_FIXED], _FIXED}
        self.save_arrays(name, {k: a if k in still else a[keep] for k, a in old.items()})

    def truncate(self, epoch: int) -> None:
        """Cut every log back to the position of a checkpoint: `epoch` is the last one kept."""
        self.truncate_metrics(epoch)
        for name in _LOGS:
            self.truncate_arrays(name, epoch)


class Run:
    """A run as others see it: its configuration, logs and checkpoints. Needs no torch."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """The run in a directory.

        Raises:
            UserError: no run is there; runs beside or inside it are named.
        """
        path = Path(path)
        if not (path / _CONFIG).is_file():
            near = [str(p.parent) for p in sorted(path.glob(f"*/{_CONFIG}"))]
            near += [str(p.parent) for p in sorted(path.parent.glob(f"*/{_CONFIG}"))]
            hint = f" Runs nearby: {', '.join(near[:8])}." if near else ""
            raise UserError(f"No run in {path}: it has no {_CONFIG}.{hint}")
        return cls(path)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as it was written."""
        return read_json(self.path / _CONFIG)

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, device, threads, commit, and the configuration's hash."""
        return read_json(self.path / _ENVIRONMENT)

    @property
    def metrics(self) -> pd.DataFrame:
        """One row an epoch; floats are bit-equal to those of training."""
        lines = whole_lines(self.path / _METRICS)
        if not lines:
            return pd.DataFrame({"epoch": pd.Series(dtype="int64")})
        cells = pd.read_csv(io.StringIO("".join(lines)), dtype=str, keep_default_na=False)
        return cells.apply(_numbers)

    @property
    def history(self) -> dict[str, np.ndarray]:
        """Each clip's prediction in every epoch: arrays with a leading epoch axis."""
        return {k: a for k, a in load_npz(self.path / "history.npz").items() if k != _FIXED}

    @property
    def calibration(self) -> dict[str, np.ndarray]:
        """FN and FP sets by class and branch: arrays with a leading epoch axis."""
        return {k: a for k, a in load_npz(self.path / "calibration.npz").items() if k != _FIXED}

    @property
    def state(self) -> Literal["running", "interrupted", "finished"]:
        """ "finished" by its own mark, "running" while a live process holds the lock."""
        if read_json(self.path / _STATE).get("state") == "finished":
            return "finished"
        return "running" if lock_is_live(self.path / _LOCK) else "interrupted"

    @property
    def select(self) -> str:
        """How the checkpoint is selected: "last", "val_best" or "test_best"."""
        return str((self.config.get("train") or {}).get("select", "last"))

    def checkpoint(
        self, which: Literal["selected", "last", "previous", "best"] = "selected"
    ) -> Path:
        """The path of a checkpoint.

        Args:
            which: "selected" is the best one where the run selects by accuracy, else the last one.

        Raises:
            UserError: it does not exist; those that do are named.
        """
        files = {"last": LAST, "previous": PREVIOUS, "best": BEST}
        there = [name for name, file in files.items() if (self.path / file).is_file()]
        if which == "selected":
            order = ("last", "previous") if self.select == "last" else ("best", "last", "previous")
            which = next((name for name in order if name in there), order[0])
            if which == "previous":  # killed between two renames
                log.warning("%s has no %s; using %s.", self.path, LAST, PREVIOUS)
        if which not in files:
            raise unknown_name("checkpoint", which, ("selected", *files))
        if which not in there:
            raise UserError(
                f"{self.path} has no checkpoint '{which}'. Available: {', '.join(there) or 'none'}."
            )
        return self.path / files[which]

    def __repr__(self) -> str:
        facts = self._facts()
        return f"Run('{self.path}', {', '.join(v for v in facts.values() if v)})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>"
            for k, v in {"run": str(self.path), **self._facts()}.items()
            if v
        )
        return f"<table>{rows}</table>"

    def _facts(self) -> dict[str, str]:
        config, metrics = self.config, self.metrics
        model = config.get("model")
        name = str(model.get("backbone", "?") if isinstance(model, dict) else model or "?")
        done = int(metrics["epoch"].iloc[-1]) if len(metrics) else 0
        total = (config.get("train") or {}).get("epochs", "?")
        return {
            "model": name + ("+fr" if config.get("head") is not None else ""),
            "state": self.state,
            "epochs": f"epoch {done}/{total}",
            "accuracy": _accuracy(metrics, self.select),
        }


def _is_unused(path: Path) -> bool:
    return all(is_temp(p) or p.name == _LOCK for p in path.iterdir())


def _numbers(cells: pd.Series) -> pd.Series:
    """A column of text as integers or floats; an empty cell is NaN."""
    # Python's own float is exact; the default of pandas was not before version 3.
    for kind in (int, lambda cell: float(cell or "nan")):
        try:
            return pd.Series([kind(cell) for cell in cells], index=cells.index)
        except ValueError:
            continue
    return cells


def _accuracy(metrics: pd.DataFrame, select: str) -> str:
    """ "test 81.2 %" of the selected epoch; a selection by accuracy is named."""
    by = select.replace("_best", "_acc")
    ranked = select != "last" and by in metrics and metrics[by].notna().any()
    for split in ("test", "val"):
        values = metrics.get(f"{split}_acc", pd.Series(dtype=float)).dropna()
        if ranked:
            values = values[values.index == metrics[by].idxmax()]
        if len(values):
            return f"{split} {100 * values.iloc[-1]:.1f} %" + (f" ({select})" if ranked else "")
    return ""
