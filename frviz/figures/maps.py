"""Maps of feature spaces: one model, or two side by side in one layout (the paper's Figure 5)."""

import html
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from frcore.errors import unknown_name
from frviz.figures.style import (
    COLOURS,
    GREY,
    LEGEND,
    NARROW,
    PURPLE,
    ROW,
    VERMILLION,
    finish,
    need,
    noted,
    short_names,
    text,
    text_width,
    wrapped,
)

SVG_UP_TO = 5_000  # points; beyond, WebGL draws them
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")  # repeat what colours say
_OUTCOMES = {
    "both right": (GREY, "circle"),
    "fixed": (COLOURS[0], "circle"),
    "broken": (VERMILLION, "square"),
    "both wrong": (PURPLE, "x"),
}
_METHODS = {"tsne": "t-SNE", "umap": "UMAP", "pacmap": "PaCMAP", "pca": "PCA"}

Colour = Literal["class", "outcome"]


def embedding(table: pd.DataFrame, *, title: str = "", height: int | None = None) -> go.Figure:
    """A map, a colour and symbol a class; mistakes are hollow, class centres are stars.

    Args:
        table: from `frviz.embed`.
        title: of the figure.
        height: pixels; None: by the number of classes in the legend.
    """
    need(table, ("x", "y", "kind", "class"), "frviz.embed(x)")
    figure = go.Figure()
    for name, part, style in _classes(table):
        traces = _class_traces(part, ("x", "y"), name, style, part["correct"], len(table))
        figure.add_traces(traces)
    title, subtitle = title or _title(table), _subtitle(table)
    finish(figure, title=title, subtitle=subtitle, height=height, plot_height=400, above=0)
    _legend_below(figure, height)
    return _bare(figure)


def embedding_pair(
    table: pd.DataFrame,
    *,
    names: tuple[str, str] = ("A", "B"),
    colour: Colour = "class",
    height: int | None = None,
) -> go.Figure:
    """Two models in one layout with shared axes; mistakes are hollow, class centres are stars.

    Args:
        table: from `frviz.embed_pair`.
        names: of A and B.
        colour: by true class, or by outcome (fixed, broken, ...).
        height: pixels; None: by the number of classes in the legend.
    """
    need(table, ("a_x", "b_x", "outcome"), "frviz.embed_pair(a, b)")
    if colour not in ("class", "outcome"):
        raise unknown_name("colour", colour, ("class", "outcome"))
    titles = [f"<b>{wrapped(name, NARROW / 2 - 20, 14)}</b>" for name in names]
    figure = make_subplots(cols=2, subplot_titles=titles, horizontal_spacing=0.03)
    for side, column in (("a", 1), ("b", 2)):
        axes = (f"{side}_x", f"{side}_y")
        right = table["outcome"].isin(["both right", "broken" if side == "a" else "fixed"])
        if colour == "class":
            for name, part, style in _classes(table):
                traces = _class_traces(
                    part, axes, name, style, right[part.index], len(table),
                    predicted=f"{side}_predicted", legend=column == 1,
                )  # fmt: skip
                figure.add_traces(traces, rows=1, cols=column)
        else:
            for outcome, style in _OUTCOMES.items():
                part = table[table["outcome"] == outcome]
                figure.add_trace(
                    _scatter(part, axes, outcome, style, len(table), f"{side}_predicted",
                             legend=column == 1 and len(part) > 0), 1, column,
                )  # fmt: skip
            stars = table[table["kind"] != "clip"]
            legend = column == 1 and len(stars) > 0
            figure.add_trace(_stars(stars, axes, "class centre", GREY, legend), 1, column)
    subtitle = _subtitle(table, hollow=colour == "class")
    above = 19 * max(title.count("<br>") + 1 for title in titles)
    finish(
        figure, title=_title(table), subtitle=subtitle, height=height, plot_height=340, above=above
    )
    figure.update_annotations(font_size=14)
    _legend_below(figure, height)
    x, y = _square(table)
    figure.update_xaxes(range=x).update_yaxes(range=y)
    figure.update_xaxes(matches="x", col=2)
    figure.update_yaxes(matches="y", col=2)
    return _bare(figure)


def _square(table: pd.DataFrame) -> list[tuple[float, float]]:
    """Ranges of both axes, equally long, that hold the places of both models."""
    ends = []
    for axis in "xy":
        places = table[[f"a_{axis}", f"b_{axis}"]].to_numpy()
        known = places[np.isfinite(places)]
        ends.append((known.min(initial=np.inf), known.max(initial=-np.inf)))
    half = 0.53 * max([high - low for low, high in ends if high > low], default=1)
    middles = [(low + high) / 2 if high >= low else 0 for low, high in ends]
    return [(middle - half, middle + half) for middle in middles]


def _classes(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, tuple[str, str]]]:
    """Name in the legend, rows, colour and symbol of each class."""
    parts = dict(list(table.groupby("class", sort=False)))
    for number, (label, part) in enumerate(
        zip(short_names(parts, 24), parts.values(), strict=True)
    ):
        symbol = _SYMBOLS[(number // len(COLOURS)) % len(_SYMBOLS)]
        yield label, part, (COLOURS[number % len(COLOURS)], symbol)


def _class_traces(
    part: pd.DataFrame,
    axes: tuple[str, str],
    name: str,
    style: tuple[str, str],
    right: pd.Series,
    points: int,
    *,
    predicted: str = "predicted",
    legend: bool = True,
) -> list[Any]:
    """Right clips filled, as in the legend; wrong ones hollow, the centre as a star."""
    clips = (part["kind"] == "clip").to_numpy()
    hit = right.to_numpy(dtype=bool)
    hollow = (style[0], f"{style[1]}-open")
    return [
        _scatter(part[clips & hit], axes, name, style, points, predicted, legend=legend),
        _scatter(part[clips & ~hit], axes, name, hollow, points, predicted, legend=False),
        _stars(part[~clips], axes, name, style[0], False),
    ]


def _scatter(
    part: pd.DataFrame,
    axes: tuple[str, str],
    name: str,
    style: tuple[str, str],
    points: int,
    predicted: str,
    *,
    legend: bool,
) -> Any:
    kind = go.Scatter if points <= SVG_UP_TO else go.Scattergl
    size = 7 if points <= 1_000 else 5 if points <= SVG_UP_TO else 3
    return kind(
        **_places(part, axes, name, legend),
        marker={"color": style[0], "symbol": style[1], "size": size, "opacity": 0.8},
        customdata=[
            f"<b>{text(sample)}</b><br>{text(row['class'])}<br>predicted {text(row[predicted])}"
            for sample, row in part.iterrows()
        ]
        if points <= SVG_UP_TO
        else None,
        hovertemplate="%{customdata}<extra></extra>" if points <= SVG_UP_TO else None,
    )


def _places(part: pd.DataFrame, axes: tuple[str, str], name: str, legend: bool) -> dict[str, Any]:
    """What points and stars share."""
    x, y = (part[axis].to_numpy() for axis in axes)
    if legend and not len(part):  # Plotly leaves out the entry of a trace without any place
        x = y = [None]
    return {
        "x": x,
        "y": y,
        "mode": "markers",
        "name": text(name),
        "legendgroup": text(name),
        "showlegend": legend,
    }


def _stars(
    part: pd.DataFrame, axes: tuple[str, str], name: str, colour: str, legend: bool
) -> go.Scatter:
    part = part.dropna(subset=list(axes))  # a centre that the other model alone has
    return go.Scatter(
        **_places(part, axes, name, legend),
        marker={
            "color": colour,
            "symbol": "star",
            "size": 16,
            "line": {"width": 1.5, "color": "white"},
        },
        customdata=[
            f"{text(kind)} of {text(label)}"
            for kind, label in zip(part["kind"], part["class"], strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _title(table: pd.DataFrame) -> str:
    method = _METHODS.get(str(table.attrs.get("method")), "Map")
    return f"{method} of space {table.attrs.get('space', '')}".strip()


def _subtitle(table: pd.DataFrame, *, hollow: bool = True) -> str:
    stars = table.loc[table["kind"] != "clip", "kind"].unique()
    said = [f"stars: {stars[0]}" + ("s" if stars[0] == "prototype" else "")] if len(stars) else []
    said += ["hollow: mistakes"] if hollow else []
    if "displacement" in table.attrs:
        said.append(
            f"median displacement {table.attrs['displacement']:.2f}, by noise alone "
            f"{table.attrs['floor']:.2f} (maps have radius 1)"
        )
    return noted("; ".join(said), table)


def _legend_below(figure: go.Figure, height: int | None) -> None:
    """Every class in columns at the bottom; the plot takes what they leave of the figure.

    Args:
        figure: after `finish`.
        height: that was asked for; None: grows by the rows of a narrow figure.
    """
    names = [trace.name for trace in figure.data if trace.showlegend]
    size = 11 if len(names) <= 40 else 10
    entry = max((text_width(html.unescape(name), size) for name in names), default=0)
    rows = -(-len(names) // max(1, int((NARROW - 20) / (entry + 45))))
    legend = {
        **LEGEND,
        "xref": "container",
        "yref": "container",
        "y": 0,
        "font_size": size,
        "entrywidth": entry,
        "entrywidthmode": "pixels",
        "itemsizing": "constant",
    }
    if (
        "maxheight" in figure.layout.legend
    ):  # Plotly before 6.3: half of the figure, then it scrolls
        legend["maxheight"] = max(2, rows * ROW + 20)
    if height is None:
        figure.layout.height += rows * ROW
    figure.update_layout(legend=legend, margin={"l": 15, "b": 15})


def _bare(figure: go.Figure) -> go.Figure:
    """Positions on a map have no unit: no ticks, one scale."""
    figure.update_xaxes(showticklabels=False, ticks="", showgrid=False)
    figure.update_yaxes(showticklabels=False, ticks="", showgrid=False)
    figure.update_yaxes(constrain="domain", constraintoward="top")
    figure.update_layout(yaxis_scaleanchor="x")  # the second map's axes match the first one's
    return figure.update_xaxes(constrain="domain")
