"""Loss and accuracy by epoch, as a run's metrics.csv has them."""

import math

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from frviz.figures.style import (
    BLUE,
    GREEN,
    GREY,
    LEGEND,
    NARROW,
    ROW,
    VERMILLION,
    finish,
    text_width,
)

# Column of metrics.csv -> name, colour, dash. CE: cross-entropy; CL: the head's contrastive loss;
# unseen: test clips without copies in training.
_LOSS = {"ce": ("CE", BLUE, "solid"), "cl": ("CL (FR Head)", VERMILLION, "dash")}
ACCURACY = {
    "train_acc": ("train", GREY, "dot"),
    "val_acc": ("val", GREEN, "dash"),
    "test_acc": ("test", BLUE, "solid"),
    "test_acc_unseen": ("unseen", VERMILLION, "dashdot"),
}
_OUTCOMES = {
    "tp": ("TP", GREEN, "solid"),
    "fn": ("FN, FP", VERMILLION, "dash"),  # each clip that is missed is taken for another class
}


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
        outcomes: a third panel with the shares of TP and of FN clips (as many are FP).
    """
    metrics = metrics.copy()
    panels = {"loss (log)": _LOSS, "accuracy, %": ACCURACY}
    for column in set(ACCURACY) & set(metrics):
        metrics[column] = 100 * metrics[column]
    if outcomes and set(_OUTCOMES) <= set(metrics):
        clips = metrics["tp"] + metrics["fn"]
        metrics[[*_OUTCOMES]] = 100 * metrics[[*_OUTCOMES]].div(clips, axis=0)
        panels["share of clips, %"] = _OUTCOMES
    if "cl" in metrics and not (metrics["cl"] > 0).any():  # no head
        metrics = metrics.drop(columns="cl")
    figure = make_subplots(cols=len(panels), horizontal_spacing=0.12)
    for number, curves in enumerate(panels.values(), start=1):
        _add_curves(figure, number, curves, metrics)
    chosen = _mark_selected(figure, metrics, select)
    upright, above = _legend_shape(figure, len(panels))
    finish(figure, title=title, subtitle=subtitle + chosen, height=height, above=above)
    _lay_out(figure, [*panels], epochs or max(len(metrics), 1))
    for number in range(1, len(panels) + 1):
        figure.layout["legend" if number == 1 else f"legend{number}"] = {
            **LEGEND,
            "orientation": "v" if upright else "h",
            "x": figure.get_subplot(1, number).xaxis.domain[0],
        }
    return figure


def _legend_shape(figure: go.Figure, panels: int) -> tuple[bool, int]:
    """Whether legends stand upright, as they must in narrow panels; their height in pixels."""
    names: dict[str, list[str]] = {}
    for trace in figure.data:
        if trace.name and trace.showlegend is not False:
            names.setdefault(trace.legend, []).append(trace.name)
    wide = max((sum(text_width(name) + 45 for name in each) for each in names.values()), default=0)
    rows = max(map(len, names.values()), default=0)
    upright = wide > (NARROW - 75) / panels
    return upright, 10 + ROW * (rows if upright else min(rows, 1))


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
            "color": ACCURACY[column][1],
        },
        showlegend=False,
        hovertemplate=f"{warning}: epoch %{{x}}, %{{y:.1f}} %<extra></extra>",
        row=1,
        col=2,
    )
    return f" · epoch {int(best['epoch'])} {warning}"


def _lay_out(figure: go.Figure, labels: list[str], epochs: int) -> None:
    figure.update_layout(hovermode="x unified")
    figure.update_xaxes(title_text="epoch", tickformat="d", showgrid=False)
    figure.update_xaxes(range=[0.5, epochs + 0.5], dtick=1 if epochs <= 10 else None)
    figure.update_yaxes(range=[0, 101])
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


def _log_range(figure: go.Figure) -> list[float]:
    """Exponents of 10 that hold the losses, at least a factor of 5 apart."""
    values = [y for trace in figure.select_traces(col=1) for y in trace.y if y and y > 0]
    low, high = math.log10(min(values, default=0.5)), math.log10(max(values, default=2.0))
    margin = max(0.05, (math.log10(5) - (high - low)) / 2)
    return [low - margin, high + margin]
