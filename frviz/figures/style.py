"""What all figures share: colours for any eye and any page, plain axes, inert text."""

import html

import plotly.graph_objects as go

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


def text(value: object) -> str:
    """Text from data, shown as it is: no tag in it becomes one."""
    return html.escape(str(value), quote=True)


def finish(figure: go.Figure, *, title: str = "", height: int, axes: bool = True) -> go.Figure:
    """Lays a figure out: title on the left, legend below it, transparent page; returns it."""
    figure.update_layout(
        title={"text": f"<b>{text(title)}</b>", "x": 0, "xref": "paper", "font_size": 15},
        height=height,
        margin={"l": 60, "r": 15, "t": 72 if title else 40, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 12},
        hoverlabel={"bgcolor": "white", "font": {"color": "black"}},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    if axes:
        figure.update_xaxes(**_AXIS)
        figure.update_yaxes(**_AXIS)
    return figure
