"""Who watches a run while it trains, and what they are told."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from frcore.errors import UserError
from frcore.files import write_errors
from frcore.ranks import alone
from frcore.run import Run

TENSORBOARD = "tensorboard"  # in a run's directory


class Callback(Protocol):
    """What `fit` tells while it trains; every method may be left out.

    An exception in a callback ends training; the epochs before it are saved.
    """

    def on_start(self, run: Run) -> None: ...
    def on_epoch(self, run: Run, row: dict[str, Any]) -> None: ...
    def on_end(self, run: Run) -> None: ...


def tell(callbacks: Sequence[Callback], event: str, *args: Any) -> None:
    """Calls a method of every callback that has it."""
    for callback in callbacks:
        method = getattr(callback, event, None)
        if method is not None:
            with alone():  # it may predict, for which the run's other processes are not there
                method(*args)


def headline(row: Mapping[str, Any], epochs: int) -> str:
    """What the progress bar shows, in little room: `epoch 3/30, loss 1.203, test 48.0%`."""
    shown = [f"epoch {row['epoch']}/{epochs}", f"loss {row['loss']:.3f}"]
    for split in ("test", "val", "train"):
        accuracy = row.get(f"{split}_acc", math.nan)
        if not math.isnan(accuracy):
            return ", ".join([*shown, f"{split} {100 * accuracy:.1f}%"])
    return ", ".join(shown)


class TensorBoard:
    """Callback of `fit`: each row of metrics.csv for TensorBoard, in the run's `tensorboard/`.

    What TensorBoard shows is metrics.csv, also of a run that was killed and resumed, or that was
    begun without this callback: the rows that are there already are written anew at the start, and
    replace those of the same epochs.

    Raises:
        UserError: the package tensorboard is not installed; or, while a run trains, its files
            cannot be written.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                f"TensorBoard's files need the package tensorboard ({error}): pip install "
                "-c constraints.txt -e '.[tensorboard]' in a clone, else pip install "
                '"frcore[tensorboard]". Without it, metrics.csv holds the same figures.'
            ) from error
        self._make = SummaryWriter
        self._writer: SummaryWriter | None = None

    def on_start(self, run: Run) -> None:
        """Opens a file of events; rows from epoch 1 on take the place of earlier ones."""
        with write_errors(run.path / TENSORBOARD, 0):
            self._writer = self._make(str(run.path / TENSORBOARD), purge_step=1)
        self._write(run, run.metrics.to_dict("records"))

    def on_epoch(self, run: Run, row: dict[str, Any]) -> None:
        """Writes an epoch, to be seen at once."""
        self._write(run, [row])

    def on_end(self, run: Run) -> None:
        """Closes the file."""
        if self._writer is not None:
            with write_errors(run.path / TENSORBOARD, 0):
                self._writer.close()
            self._writer = None

    def _write(self, run: Run, rows: Sequence[Mapping[str, Any]]) -> None:
        with write_errors(run.path / TENSORBOARD, 0):
            for row in rows:
                for column, value in row.items():
                    if column != "epoch" and not math.isnan(value):  # an epoch without evaluation
                        tag = f"{_panel(column)}/{column}"
                        self._writer.add_scalar(tag, value, int(row["epoch"]))
            self._writer.flush()  # a thread writes: what went wrong in it is raised here


def _panel(column: str) -> str:
    """The group in which TensorBoard shows a column of metrics.csv."""
    if column in ("loss", "ce", "cl"):
        return "loss"
    if column.startswith("cl_"):
        return "branches of FR Head"
    if column in ("tp", "fn", "fp"):
        return "clips that FR Head counts"
    return "accuracy" if "_acc" in column else "training"
