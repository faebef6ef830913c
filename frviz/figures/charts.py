"""Lines, bars and heat maps from any table."""

from collections.abc import Mapping
from typing import Literal

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from frviz.figures.style import COLOURS, DASHES, NARROW, finish, text, text_width, wrapped

Unit = Literal["", "%"]


def curves(
    table: pd.DataFrame, *, y: str = "", title: str = "", unit: Unit = "", height: int = 340
) -> go.Figure:
    """One line a column over the table's index, such as accuracy by epoch of several runs.

    Args:
        table: numbers; NaN leaves a gap that is bridged. The index is the horizontal axis.
        y: what the numbers are.
        title: of the figure.
        unit: "%" for shares in 0..1, shown as percentages.
        height: pixels.
    """
    figure = go.Figure()
    for number, (name, column) in enumerate(table.items()):
        known = column.dropna()
        figure.add_scatter(
            x=[text(place) if isinstance(place, str) else place for place in known.index],
            y=known.tolist(),
            name=text(name),
            mode="lines+markers" if len(known) < 2 else "lines",
            line={"color": _colour(number), "dash": _dash(number), "width": 2},
            hovertemplate=_hover(name, "y", unit),
            showlegend=True,
        )
    finish(figure, title=title, height=height)
    figure.update_layout(hovermode="x unified")
    figure.update_xaxes(title_text=text(table.index.name or ""), showgrid=False)
    side = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    return figure.update_yaxes(title_text=wrapped(y, side, 14), tickformat=".0%" if unit else None)


def bars(
    table: pd.DataFrame,
    *,
    x: str = "",
    title: str = "",
    unit: Unit = "",
    stacked: bool = False,
    height: int | None = None,
) -> go.Figure:
    """Horizontal bars, one group a row of the table, one bar a column.

    Args:
        table: numbers; the index names the rows, drawn from top to bottom.
        x: what the numbers are.
        title: of the figure.
        unit: "%" for shares in 0..1, shown as percentages.
        stacked: one bar a row, the columns one after the other.
        height: pixels; None: by the number of bars.
    """
    figure = go.Figure()
    for number, (name, column) in enumerate(table.items()):
        figure.add_bar(
            y=[text(row) for row in table.index],
            x=column.tolist(),
            name=text(name),
            orientation="h",
            marker={"color": _colour(number), "line": {"width": 0}},
            hovertemplate=_hover(name, "x", unit),
            showlegend=True,
        )
    lines = len(table) * (1 if stacked else max(1, table.shape[1]))
    left = 20 + max((text_width(row) for row in table.index), default=0)
    plot = 10 + (22 if stacked else 16) * lines
    finish(figure, title=title, height=height, plot_height=plot, left=left)
    figure.update_layout(barmode="stack" if stacked else "group", bargap=0.3)
    figure.update_layout(legend_traceorder="normal", hovermode="y unified")
    figure.update_xaxes(
        title_text=wrapped(x, NARROW - 40 - left, 14), tickformat=".0%" if unit else None
    )
    return figure.update_yaxes(
        type="category", autorange="reversed", automargin=True, showgrid=False, ticks=""
    )


def heatmaps(
    tables: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    colour: str = "",
    signed: bool = False,
    title: str = "",
    height: int = 460,
) -> go.Figure:
    """Tables as colours, side by side with one scale; rows from top to bottom.

    Args:
        tables: one table, or several by their titles; all with the same rows.
        colour: what the numbers are.
        signed: a scale from red to blue around 0 instead of one from dark to bright.
        title: of the figure.
        height: pixels.
    """
    tables = {"": tables} if isinstance(tables, pd.DataFrame) else dict(tables)
    titles = [wrapped(name, (NARROW - 200) / len(tables), 14) for name in tables]
    figure = make_subplots(
        cols=len(tables),
        shared_yaxes=True,
        horizontal_spacing=0.02,
        column_titles=[f"<b>{title}</b>" for title in titles],
    )
    for number, table in enumerate(tables.values(), start=1):
        figure.add_heatmap(
            z=table.to_numpy(),
            x=[text(name) for name in table.columns],
            y=[text(name) for name in table.index],
            coloraxis="coloraxis",
            hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>",
            row=1,
            col=number,
        )
        figure.update_xaxes(title_text=text(table.columns.name or ""), col=number)
    above = 19 * max(said.count("<br>") + 1 for said in titles) if any(tables) else 0
    finish(figure, title=title, height=height, above=above)
    figure.update_annotations(font_size=14)
    bar = {"title": {"text": text(colour), "side": "top"}, "outlinewidth": 0, "thickness": 14}
    scale = {"colorscale": "RdBu", "cmid": 0} if signed else {"colorscale": "Viridis"}
    figure.update_layout(coloraxis={**scale, "colorbar": bar}, margin_l=10)
    figure.update_xaxes(type="category", showgrid=False)  # names that are numbers, too
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, automargin=True)
    return figure


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _dash(number: int) -> str:
    return DASHES[number % len(DASHES)]


def _hover(name: object, axis: str, unit: Unit) -> str:
    number = f"%{{{axis}:.1%}}" if unit else f"%{{{axis}:.4~g}}"
    return f"{text(name)}: {number}<extra></extra>"
