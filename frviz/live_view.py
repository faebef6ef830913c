"""Training curves while `frcore.fit` runs: `frcore.fit(recipe, live=frviz.live())`.

One plain Plotly figure, replaced in place through one display handle: a FigureWidget would send
5 MB of JavaScript an instance, and a display an epoch would fill the saved notebook.
"""

import functools
import html
import json
import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

if TYPE_CHECKING:
    from frcore.run import Run

log = logging.getLogger(__name__)

_PLOTLY = "application/vnd.plotly.v1+json"
_SECONDS_BETWEEN = 0.5  # drawings
# Okabe and Ito's palette: distinct to colour-blind readers, readable on white and on black. Dashes
# repeat what colours say. Column of metrics.csv -> name, colour, dash.
# CE: cross-entropy; CL: the head's contrastive loss; unseen: test clips without copies in training.
_LOSS = {
    "ce": ("CE", "#0072B2", "solid"),
    "cl": ("CL (FR Head)", "#D55E00", "dash"),
}
_ACCURACY = {
    "train_acc": ("train", "#7F7F7F", "dot"),
    "val_acc": ("val", "#009E73", "dash"),
    "test_acc": ("test", "#0072B2", "solid"),
    "test_acc_unseen": ("unseen", "#D55E00", "dashdot"),
}
_OUTCOMES = {
    "tp": ("TP", "#009E73", "solid"),
    "fn": ("FN", "#D55E00", "solid"),
    "fp": ("FP", "#0072B2", "dash"),
}
_INK, _GRID = "#808080", "rgba(128,128,128,0.25)"  # on a light and on a dark page


def live(*, height: int = 340, outcomes: bool = False) -> "LiveView":
    """A view for `frcore.fit(..., live=...)` that draws loss and accuracy by epoch.

    Args:
        height: of the figure, pixels.
        outcomes: also draw the shares of true positive, false negative and false positive clips
            that FR Head counts (its sets of Eq. 3 to 7), where the run has the head.
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
        """`epoch 12/30 · test 81.3 % · 0:42 left`"""
        if not self._rows:
            return f"epoch 0/{self._epochs()}"
        row = self._rows[-1]
        parts = [f"epoch {int(row['epoch'])}/{self._epochs()}", f"CE {row['ce']:.3f}"]
        for column in ("val_acc", "test_acc", "test_acc_unseen"):
            value = row.get(column)
            if value is not None and not math.isnan(value):
                parts.append(f"{_ACCURACY[column][0]} {100 * value:.1f} %")
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


def training_curves(
    metrics: pd.DataFrame,
    *,
    title: str = "",
    subtitle: str = "",
    epochs: int | None = None,
    select: str = "last",
    height: int = 340,
    outcomes: bool = False,
) -> go.Figure:
    """Loss and accuracy by epoch, from the rows of metrics.csv.

    Args:
        metrics: columns epoch and any of ce, cl, train_acc, val_acc, test_acc, test_acc_unseen,
            tp, fn, fp; gaps (epochs without evaluation) are bridged.
        title: first line; any text, shown as it is.
        subtitle: second line.
        epochs: planned number, the width of the axis; default: what is there.
        select: "val_best" and "test_best" mark the chosen epoch, and the latter says what it is.
        height: pixels.
        outcomes: a third panel with the shares of TP, FN and FP clips.
    """
    metrics = metrics.copy()
    panels = {"loss (log)": _LOSS, "accuracy, %": _ACCURACY}
    for column in set(_ACCURACY) & set(metrics):
        metrics[column] = 100 * metrics[column]
    if outcomes and {"tp", "fn", "fp"} <= set(metrics):
        metrics[[*_OUTCOMES]] = (
            metrics[[*_OUTCOMES]].div(metrics["tp"] + metrics["fn"], axis=0) * 100
        )
        panels["share of clips, %"] = _OUTCOMES
    if "cl" in metrics and not (metrics["cl"] > 0).any():  # no head
        metrics = metrics.drop(columns="cl")
    figure = make_subplots(cols=len(panels), horizontal_spacing=0.09)
    for number, curves in enumerate(panels.values(), start=1):
        _add_curves(figure, number, curves, metrics)
    chosen = _mark_selected(figure, metrics, select)
    heading = (
        f"<b>{_text(title)}</b><br><span style='font-size:12px'>{_text(subtitle)}{chosen}</span>"
    )
    _lay_out(figure, heading, [*panels], epochs or max(len(metrics), 1), height)
    return figure


def _add_curves(
    figure: go.Figure, number: int, curves: dict[str, tuple[str, str, str]], metrics: pd.DataFrame
) -> None:
    legend = "legend" if number == 1 else f"legend{number}"
    figure.add_scatter(x=[None], y=[None], showlegend=False, row=1, col=number)  # shows the axes
    for column, (name, colour, dash) in curves.items():
        if column not in metrics or metrics[column].notna().sum() == 0:
            continue
        value = "%{y:.3f}" if number == 1 else "%{y:.1f} %"
        figure.add_scatter(
            x=metrics["epoch"].tolist(),
            y=metrics[column].tolist(),
            name=name,
            mode="lines" if len(metrics) > 1 else "markers",  # a line of one point is invisible
            line={"color": colour, "dash": dash, "width": 2},
            connectgaps=True,
            legend=legend,
            hovertemplate=f"{name} {value}<extra></extra>",
            row=1,
            col=number,
        )


def _mark_selected(figure: go.Figure, metrics: pd.DataFrame, select: str) -> str:
    """A ring at the epoch that accuracy chose; returns what the subtitle has to say about it."""
    column = {"val_best": "val_acc", "test_best": "test_acc"}.get(select)
    if column is None:
        return ""
    warning = "selected on test: optimistic" if select == "test_best" else "selected on val"
    if column not in metrics or metrics[column].notna().sum() == 0:
        return f" · {warning}"
    best = metrics.loc[metrics[column].idxmax()]
    figure.add_scatter(
        x=[int(best["epoch"])],
        y=[float(best[column])],
        mode="markers",
        marker={
            "symbol": "circle-open",
            "size": 12,
            "line_width": 2,
            "color": _ACCURACY[column][1],
        },
        showlegend=False,
        hovertemplate=f"{warning}: epoch %{{x}}, %{{y:.1f}} %<extra></extra>",
        row=1,
        col=2,
    )
    return f" · epoch {int(best['epoch'])} {warning}"


def _lay_out(figure: go.Figure, heading: str, labels: list[str], epochs: int, height: int) -> None:
    figure.update_layout(
        title={"text": heading, "x": 0, "xref": "paper", "y": 1, "yanchor": "top", "pad_t": 22},
        title_font_size=15,
        height=height,
        margin={"l": 60, "r": 15, "t": 92, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": _INK, "size": 12},
        hovermode="x unified",
        hoverlabel={"bgcolor": "white", "font": {"color": "black"}},
    )
    axis = {
        "gridcolor": _GRID,
        "zeroline": False,
        "showline": True,
        "linecolor": _INK,
        "ticks": "outside",
        "tickcolor": _INK,
        "title_font_size": 13,
        "title_standoff": 6,
    }
    figure.update_xaxes(**axis, title_text="epoch", tickformat="d", showgrid=False)
    figure.update_xaxes(range=[0.5, epochs + 0.5], dtick=1 if epochs <= 10 else None)
    figure.update_yaxes(**axis, range=[0, 101])
    ticks = [digit * 10.0**power for power in range(-5, 3) for digit in (1, 2, 5)]
    figure.update_yaxes(
        type="log",
        range=_log_range(figure),
        tickvals=ticks,
        ticktext=[f"{t:g}" for t in ticks],
        col=1,
    )
    for number, label in enumerate(labels, start=1):
        figure.update_yaxes(title_text=label, col=number)
        figure.layout["legend" if number == 1 else f"legend{number}"] = {
            "orientation": "h",
            "x": figure.get_subplot(1, number).xaxis.domain[0],
            "y": 1.02,
            "xanchor": "left",
            "yanchor": "bottom",
            "bgcolor": "rgba(0,0,0,0)",
        }


def _log_range(figure: go.Figure) -> list[float]:
    """Exponents of 10 that hold the losses, at least a factor of 5 apart."""
    values = [y for trace in figure.select_traces(col=1) for y in trace.y if y and y > 0]
    low, high = math.log10(min(values, default=0.5)), math.log10(max(values, default=2.0))
    margin = max(0.05, (math.log10(5) - (high - low)) / 2)
    return [low - margin, high + margin]


def _text(value: str) -> str:
    return html.escape(str(value), quote=True)


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
