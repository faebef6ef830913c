"""Training curves while `frcore.fit` runs: `frcore.fit(recipe, live=frviz.live())`.

One plain Plotly figure, replaced in place through one display handle: a FigureWidget would send
5 MB of JavaScript an instance, and a display an epoch would fill the saved notebook.
"""

import functools
import json
import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from frviz.figures.training import ACCURACY, training_curves

if TYPE_CHECKING:
    from frcore.run import Run

log = logging.getLogger(__name__)

_PLOTLY = "application/vnd.plotly.v1+json"
_SECONDS_BETWEEN = 0.5  # drawings


def live(*, height: int = 340, outcomes: bool = False) -> "LiveView":
    """A view for `frcore.fit(..., live=...)` that draws loss and accuracy by epoch.

    Args:
        height: of the figure, pixels.
        outcomes: also draw the shares of true positive and false negative clips that FR Head
            counts (its sets of Eq. 3 to 7; as many are false positives), where there is a head.
    """
    return LiveView(height=height, outcomes=outcomes)


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """A failing view is logged once and switched off; training goes on."""

    @functools.wraps(method)
    def guarded(self: "LiveView", *args: Any) -> None:
        if self._off:
            return
        try:
            method(self, *args)
        except Exception:
            self._off = True
            log.exception("The live view failed and is switched off; training goes on.")

    return guarded


class LiveView:
    """Callback of `frcore.fit`: curves in a notebook, one logged line an epoch elsewhere."""

    def __init__(self, *, height: int = 340, outcomes: bool = False) -> None:
        self.height, self.outcomes = height, outcomes
        self._off = False
        self._handle: Any = None
        self._rows: list[dict[str, Any]] = []
        self._config: dict[str, Any] = {}
        self._name = ""
        self._begin = self._drawn = -math.inf
        self._resumed = 0  # epochs done before this start

    @_harmless
    def on_start(self, run: "Run") -> None:
        """Shows the figure, with the epochs that a resumed run already has."""
        self._rows = run.metrics.to_dict("records")
        self._resumed = len(self._rows)
        self._config, self._name = run.config, run.path.name
        self._begin, self._handle = time.monotonic(), None
        self._draw()

    @_harmless
    def on_epoch(self, run: "Run", row: dict[str, Any]) -> None:
        """Adds an epoch; draws at most twice a second."""
        self._rows.append(dict(row))
        if not _in_notebook():
            log.info("%s: %s", self._name, self._headline())
        elif time.monotonic() - self._drawn >= _SECONDS_BETWEEN:
            self._draw()

    @_harmless
    def on_end(self, run: "Run") -> None:
        """Draws the last state, whatever was drawn before."""
        self._draw(final=True)

    def figure(self, *, final: bool = True) -> go.Figure:
        """The curves as they are now; without time left if `final`."""
        select = str((self._config.get("train") or {}).get("select", "last"))
        return training_curves(
            pd.DataFrame(self._rows, columns=None if self._rows else ["epoch"]),
            title=self._name or "no run yet",
            subtitle=self._headline(final=final),
            epochs=self._epochs(),
            select=select,
            height=self.height,
            outcomes=self.outcomes,
        )

    def __repr__(self) -> str:
        state = "off" if self._off else f"{len(self._rows)} epochs"
        return f"LiveView({self._name!r}, {state})" if self._name else "LiveView()"

    def _epochs(self) -> int:
        return int((self._config.get("train") or {}).get("epochs", len(self._rows) or 1))

    def _headline(self, *, final: bool = False) -> str:
        """`epoch 12/30 · CE 0.412 · test 81.3 % · 0:42 left`"""
        if not self._rows:
            return f"epoch 0/{self._epochs()}"
        row = self._rows[-1]
        parts = [f"epoch {int(row['epoch'])}/{self._epochs()}", f"CE {row['ce']:.3f}"]
        for column in ("val_acc", "test_acc", "test_acc_unseen"):
            value = row.get(column)
            if value is not None and not math.isnan(value):
                parts.append(f"{ACCURACY[column][0]} {100 * value:.1f} %")
        done, left = len(self._rows) - self._resumed, self._epochs() - int(row["epoch"])
        if left and done and not final:
            parts.append(f"{_clock((time.monotonic() - self._begin) / done * left)} left")
        elif left and final:
            parts.append("stopped")
        return " · ".join(parts)

    def _draw(self, *, final: bool = False) -> None:
        if not _in_notebook():
            return
        from IPython.display import display

        figure = self.figure(final=final)
        bundle = {
            _PLOTLY: json.loads(figure.to_json()),
            "text/html": figure.to_html(
                include_plotlyjs="cdn", full_html=False
            ),  # Colab, nbconvert
            "text/plain": f"{self._name}: {self._headline(final=final)}",
        }
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            # Plotly's renderer in JupyterLab (7.1) draws once and ignores updates of what it drew;
            # another kind of output in between makes it begin anew.
            self._handle.update({"text/html": self._blank(), "text/plain": ""}, raw=True)
            self._handle.update(bundle, raw=True)
        self._drawn = time.monotonic()

    def _blank(self) -> str:
        """As high as the figure, so that the page does not jump; 7 px are JupyterLab's margin."""
        return f"<div style='height:{self.height - 7}px'></div>"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _in_notebook() -> bool:
    """Whether a front end with rich output listens (Jupyter, Colab, VS Code), not a terminal."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel")
