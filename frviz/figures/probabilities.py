"""Reliability diagrams."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from frviz.figures.style import BLUE, GREY, INK, VERMILLION, finish, need, noted


def reliability(table: pd.DataFrame, *, title: str = "Reliability", height: int = 480) -> go.Figure:
    """Accuracy against confidence, and below how many clips have that confidence.

    Args:
        table: from `frviz.reliability`.
        title: of the figure.
        height: pixels.
    """
    need(table, ("confidence", "accuracy", "clips"), "frviz.reliability(x)")
    figure = make_subplots(
        rows=2, shared_xaxes=True, row_heights=[0.75, 0.25], vertical_spacing=0.06
    )
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        name="as sure as right",
        line={"color": INK, "dash": "dash", "width": 1},
        hoverinfo="skip",
        row=1,
        col=1,
    )
    some = table[table["clips"] > 0]
    gaps = [value for row in some.itertuples() for value in (row.confidence, row.accuracy, None)]
    figure.add_scatter(
        x=[value for c in some["confidence"] for value in (c, c, None)],
        y=gaps,
        mode="lines",
        name="gap",
        line={"color": VERMILLION, "width": 2},
        hoverinfo="skip",
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=some["confidence"].to_list(),
        y=some["accuracy"].to_list(),
        mode="lines+markers",
        name="model",
        line={"color": BLUE, "width": 2},
        customdata=some["clips"].to_list(),
        hovertemplate="sure %{x:.1%}, right %{y:.1%}<br>%{customdata} clips<extra></extra>",
        row=1,
        col=1,
    )
    figure.add_bar(
        x=((table["low"] + table["high"]) / 2).to_list(),
        y=table["clips"].to_list(),
        width=(table["high"] - table["low"]).to_list(),
        marker={"color": GREY, "line": {"width": 0}},
        showlegend=False,
        hovertemplate="%{y} clips<extra></extra>",
        row=2,
        col=1,
    )
    facts = table.attrs
    said = f"ECE {facts['ece']:.3f}, NLL {facts['nll']:.3f}, Brier {facts['brier']:.3f}"
    if facts["temperature"] != 1:
        said += f", temperature {facts['temperature']:.2f}"
    finish(figure, title=title, subtitle=noted(said, table), height=height)
    figure.update_xaxes(range=(0, 1), tickformat=".0%")
    figure.update_xaxes(title_text="confidence", row=2)
    figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=(0, 1.02), row=1)
    return figure.update_yaxes(title_text="clips", row=2)
