"""What a run's history tells of the clips that are shown: by clip, and by cell of the matrix."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frcore.errors import UserError
from frcore.predictions import Predictions
from frcore.run import CONFIG, Run
from frviz.sources import Source, is_trained, open_run
from frviz.tables.learning import STATUS, learning_history

UNKNOWN = 255  # a status
NEVER = 65535  # an epoch
MOST_CELLS = 2_000  # with a sparkline; those with the most clips in an epoch


@dataclass(frozen=True)
class History:
    """A model's predictions of the N clips in each of E epochs.

    Attributes:
        epochs: (E,) their numbers; those without evaluation are left out.
        predicted: (E, N) int16 classes; -1 where a clip was not seen.
        p_true: (E, N) probability of the true class; NaN where a clip was not seen.
        table: `learning_history` of the clips, a row a clip in their order; missing where unknown.
    """

    epochs: np.ndarray
    predicted: np.ndarray
    p_true: np.ndarray
    table: pd.DataFrame

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """`status` (uint8), `learnt_at` and `forgettings` (uint16), each (N,), for a payload."""
        known = self.table["status"].notna().to_numpy()
        codes = pd.Categorical(self.table["status"], STATUS).codes
        learnt = self.table["learnt_at"].fillna(NEVER).to_numpy(dtype=np.int64)
        lost = self.table["forgettings"].fillna(0).to_numpy(dtype=np.int64)
        return {
            "status": np.where(known, codes, UNKNOWN).astype(np.uint8),
            "learnt_at": np.minimum(learnt, NEVER).astype(np.uint16),
            "forgettings": np.minimum(lost, NEVER).astype(np.uint16),
        }

    def bits(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """`right` and `seen`, (N, E / 8 rounded up) uint8, a bit an epoch, for a page's payload.

        Args:
            labels: (N,) true classes.
        """
        by_clip = {"right": self.predicted == labels, "seen": self.predicted >= 0}  # (E, N)
        return {name: np.packbits(epochs.T, axis=1) for name, epochs in by_clip.items()}

    def of_clip(self, row: int) -> dict[str, list[Any]]:
        """One clip by epoch, JSON-ready: None stands for an unknown probability."""
        p_true = self.p_true[:, row]
        return {
            "epochs": self.epochs.tolist(),
            "predicted": self.predicted[:, row].tolist(),
            "p_true": [round(float(p), 4) if np.isfinite(p) else None for p in p_true],
        }


def history_of(origin: Source | None, predictions: Predictions) -> History:
    """The history of the run that predictions come from.

    Args:
        origin: what they were made from: a run, its directory, a checkpoint, or the file that the
            run keeps them in.
        predictions: the clips that are shown, of the split in their metadata, else of "test" or
            "val".

    Raises:
        UserError: no run, no history of that split, or one of other clips.
    """
    run = run_of(origin)
    split = predictions.metadata.get("split")
    splits = (split,) if split in ("train", "val", "test") else ("test", "val")
    logs = run.history
    split = next((s for s in splits if len(logs.get(f"{s}_predicted", ()))), splits[0])
    table = learning_history(run, split=split)  # says so where there is none
    column = {name: number for number, name in enumerate(table.index)}
    place = np.array([column.get(name, -1) for name in predictions.sample_ids], dtype=np.int64)
    there = place >= 0
    same = logs[f"{split}_labels"][place[there]] == predictions.labels[there]
    names = logs.get("class_names")
    if not there.any() or not same.all():
        raise UserError(f"The history of {run.path} is of other clips.")
    if names is not None and tuple(map(str, names)) != predictions.class_names:
        raise UserError(f"The history of {run.path} is of other classes.")
    shown = logs[f"{split}_predicted"][:, place]
    predicted = np.where(there & (shown < predictions.num_classes), shown, -1).astype(np.int16)
    evaluated = (predicted >= 0).any(axis=1)
    return History(
        epochs=np.asarray(logs["epoch"])[evaluated],
        predicted=predicted[evaluated],
        p_true=np.where(there, logs[f"{split}_p_true"][:, place], np.nan)[evaluated],
        table=table.reindex(list(predictions.sample_ids)),
    )


def run_of(origin: Source | None) -> Run:
    """The run that something was made from.

    Raises:
        UserError: it does not lead to one.
    """
    if isinstance(origin, str | Path):
        path = Path(origin)
        kept = path.parent.parent  # a run keeps its predictions in predictions/
        if path.is_file() and path.suffix == ".npz" and (kept / CONFIG).is_file():
            return Run.open(kept)
    if is_trained(origin):
        return open_run(origin)
    raise UserError("Predictions alone hold no training history: give the run.")


def spark_arrays(
    histories: Mapping[str, History], labels: np.ndarray, num_classes: int
) -> dict[str, np.ndarray]:
    """How many clips were in each cell of the confusion matrix, by epoch.

    Only cells off the diagonal that a model uses in its last epoch or in two epochs; of these the
    `MOST_CELLS` with the most clips in any epoch, largest first.

    Args:
        histories: by side.
        labels: (N,) true classes of their clips.
        num_classes: K.

    Returns:
        For a payload: `spark_true` and `spark_pred`, (S,) uint16, and for each side `spark_a` or
        `spark_b`, (S, E) uint16 clips.
    """
    counts = {
        side: _cells_by_epoch(history, labels, num_classes) for side, history in histories.items()
    }
    if not counts:
        return {}
    used = np.any([(c[-1:] > 0).any(axis=0) | ((c > 0).sum(axis=0) >= 2)
                   for c in counts.values()], axis=0)  # fmt: skip
    used[:: num_classes + 1] = False  # the diagonal
    cells = np.flatnonzero(used)
    most = np.max([c[:, cells].max(axis=0, initial=0) for c in counts.values()], axis=0)
    cells = cells[np.argsort(-most, kind="stable")[:MOST_CELLS]]
    return {
        "spark_true": (cells // num_classes).astype(np.uint16),
        "spark_pred": (cells % num_classes).astype(np.uint16),
        **{
            f"spark_{side}": np.minimum(c[:, cells].T, NEVER).astype(np.uint16)
            for side, c in counts.items()
        },
    }


def _cells_by_epoch(history: History, labels: np.ndarray, k: int) -> np.ndarray:
    """(E, K * K) clips."""
    counts = np.zeros((len(history.epochs), k * k), dtype=np.int64)
    for row, predicted in zip(counts, history.predicted, strict=True):
        seen = predicted >= 0
        row += np.bincount(labels[seen] * k + predicted[seen], minlength=k * k)
    return counts
