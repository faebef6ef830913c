"""A run as others see it: configuration, logs and checkpoints of its directory. Needs no torch.

config.json  environment.json  metrics.csv  history.npz  calibration.npz  state.json
last.safetensors  previous.safetensors  best.safetensors  (and a .sha256 beside each)
"""

import io
import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from frcore.checkpoint import BEST, LAST, PREVIOUS
from frcore.display import facts_html, short
from frcore.errors import UserError, unknown_name
from frcore.files import load_npz, read_json, whole_lines
from frcore.process import lock_is_live

log = logging.getLogger(__name__)

LOCK, CONFIG, ENVIRONMENT, METRICS, STATE = (
    "run.lock",
    "config.json",
    "environment.json",
    "metrics.csv",
    "state.json",
)
LOGS = ("history", "calibration")
FIXED = "_fixed"  # in a log: the names of the arrays that have no epoch axis


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
        if not (path / CONFIG).is_file():
            near = [str(p.parent) for p in sorted(path.glob(f"*/{CONFIG}"))]
            near += [str(p.parent) for p in sorted(path.parent.glob(f"*/{CONFIG}"))]
            hint = f" Runs nearby: {', '.join(near[:8])}." if near else ""
            raise UserError(f"No run in {path}: it has no {CONFIG}.{hint}")
        return cls(path)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as it was written."""
        return read_json(self.path / CONFIG)

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, device, threads, commit, and the configuration's hash."""
        return read_json(self.path / ENVIRONMENT)

    @property
    def metrics(self) -> pd.DataFrame:
        """One row an epoch; floats are bit-equal to those of training.

        Raises:
            UserError: metrics.csv is no table of numbers with a column "epoch".
        """
        path = self.path / METRICS
        try:
            lines = whole_lines(path)
            if not lines:
                return pd.DataFrame({"epoch": pd.Series(dtype="int64")})
            cells = pd.read_csv(io.StringIO("".join(lines)), dtype=str, keep_default_na=False)
            table = cells.apply(_numbers)
        except OSError as error:
            raise UserError(f"Cannot read {path}: {error}.") from error
        except ValueError as error:  # pandas' own are, too
            raise UserError(f"{path} is damaged: {error}.") from error
        epochs = table.get("epoch")
        if epochs is None or (len(epochs) and not pd.api.types.is_integer_dtype(epochs)):
            raise UserError(f"{path} is damaged: it has no column 'epoch' of whole numbers.")
        return table

    @property
    def history(self) -> dict[str, np.ndarray]:
        """Each clip's prediction in every epoch: arrays with a leading epoch axis."""
        return {k: a for k, a in load_npz(self.path / "history.npz").items() if k != FIXED}

    @property
    def calibration(self) -> dict[str, np.ndarray]:
        """FN and FP sets by class and branch: arrays with a leading epoch axis."""
        return {k: a for k, a in load_npz(self.path / "calibration.npz").items() if k != FIXED}

    @property
    def state(self) -> Literal["running", "interrupted", "finished"]:
        """ "finished" by its own mark, "running" while a live process holds the lock."""
        if read_json(self.path / STATE).get("state") == "finished":
            return "finished"
        return "running" if lock_is_live(self.path / LOCK) else "interrupted"

    @property
    def select(self) -> str:
        """How the checkpoint is selected: "last", "val_best" or "test_best"."""
        return str((self.config.get("train") or {}).get("select", "last"))

    @property
    def accuracies(self) -> dict[str, float]:
        """Of the epoch that counts, 0 to 1, by column: "test_acc", "test_acc_unseen", "val_acc".

        It is the newest one that was evaluated, or the best one where the run selects by accuracy.
        What is not known is not there.
        """
        return accuracies_of(self.metrics, self.select)

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
            why = " It is kept where there is a split 'val'." if which == "best" else ""
            raise UserError(
                f"{self.path} has no checkpoint '{which}'.{why} Available: "
                f"{', '.join(there) or 'none'}."
            )
        return self.path / files[which]

    def __repr__(self) -> str:
        facts = self._facts()
        return f"Run('{self.path}', {', '.join(v for v in facts.values() if v)})"

    def _repr_html_(self) -> str:
        return facts_html({"run": self.path, **self._facts()})

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


def _numbers(cells: pd.Series) -> pd.Series:
    """A column of text as integers or floats; an empty cell is NaN, another text a ValueError."""
    # Python's own float is exact; the default of pandas was not before version 3.
    for kind in (int, lambda cell: float(cell or "nan")):
        try:
            return pd.Series([kind(cell) for cell in cells], index=cells.index)
        except ValueError:
            continue
    raise ValueError(f"column '{short(cells.name)}' holds something else than numbers")


def accuracies_of(metrics: pd.DataFrame, select: str) -> dict[str, float]:
    """`Run.accuracies` by these rows, where checkpoints are selected so."""
    by = select.replace("_best", "_acc")
    known = {}
    for column in ("test_acc", "test_acc_unseen", "val_acc", "val_acc_unseen"):
        values = metrics.get(column, pd.Series(dtype=float)).dropna()
        if _is_ranked(metrics, select):
            values = values[values.index == metrics[by].idxmax()]
        if len(values):
            known[column] = float(values.iloc[-1])
    return known


def _is_ranked(metrics: pd.DataFrame, select: str) -> bool:
    by = select.replace("_best", "_acc")
    return select != "last" and by in metrics and bool(metrics[by].notna().any())


def _accuracy(metrics: pd.DataFrame, select: str) -> str:
    """ "test 81.2 %" of the selected epoch; a selection by accuracy is named."""
    known = accuracies_of(metrics, select)
    for split in ("test", "val"):
        if f"{split}_acc" in known:
            note = f" ({select})" if _is_ranked(metrics, select) else ""
            return f"{split} {100 * known[f'{split}_acc']:.1f} %{note}"
    return ""
