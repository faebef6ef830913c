"""Who watches a run while it trains, and what they are told."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from frcore.ranks import alone
from frcore.run import Run


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
