"""What all figures share: colours for any eye and any page, plain axes, inert text."""

import html

import pandas as pd
import plotly.graph_objects as go

from frcore.errors import UserError

# Okabe and Ito's palette: distinct to colour-blind readers, readable on white and on black.
BLUE, SKY, ORANGE, VERMILLION = "#0072B2", "#56B4E9", "#E69F00", "#D55E00"
GREEN, PURPLE, GREY = "#009E73", "#CC79A7", "#7F7F7F"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY)
DASHES = ("solid", "dash", "dot", "dashdot")  # repeat what colours say

INK, GRID = "#808080", "rgba(128,128,128,0.25)"  # on a light and on a dark page

_AXIS = {
    "gridcolor": GRID,
    "zeroline": False,
    "showline": True,
    "linecolor": INK,
    "ticks": "outside",
    "tickcolor": INK,
    "title_standoff": 6,
}
LEGEND = {
    "orientation": "h",
    "x": 0,
    "y": 1.02,
    "xanchor": "left",
    "yanchor": "bottom",
    "bgcolor": "rgba(0,0,0,0)",
}


def text(value: object) -> str:
    """Text from data, shown as it is: no tag in it becomes one."""
    # Plotly knows few entities by name, and a quote is none of them
    return html.escape(str(value), quote=False).replace('"', "&#34;").replace("'", "&#39;")


def need(table: object, columns: tuple[str, ...], source: str) -> None:
    """Says where a figure's table comes from, if this is another one."""
    if not isinstance(table, pd.DataFrame):
        raise UserError(f"A figure is drawn from a table: give {source}.")
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise UserError(f"This table has no column '{missing[0]}': give {source}.")


def finish(
    figure: go.Figure, *, title: str = "", subtitle: str = "", height: int, axes: bool = True
) -> go.Figure:
    """Lays a figure out: titles on the left, legend below, transparent page; returns it."""
    heading = f"<b>{text(title)}</b>"
    if subtitle:
        heading += f"<br><span style='font-size:12px'>{text(subtitle)}</span>"
    top = {"y": 1, "yanchor": "top", "pad_t": 22} if subtitle else {}
    figure.update_layout(
        title={"text": heading, "x": 0, "xref": "paper", "font_size": 15, **top},
        height=height,
        margin={"l": 60, "r": 15, "t": 92 if subtitle else 72 if title else 40, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 12},
        hoverlabel={"bgcolor": "white", "font": {"color": "black"}},
        legend=LEGEND,
    )
    top = figure.layout.margin.t
    figure.update_layout(legend={"yref": "container", "y": 1 - (top - 6) / height})
    if axes:
        figure.update_xaxes(**_AXIS)
        figure.update_yaxes(**_AXIS)
    return figure
