"""Maps of feature spaces: one model, or two side by side in one layout (the paper's Figure 5)."""

from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from frcore.errors import unknown_name
from frviz.figures.style import COLOURS, GREY, PURPLE, VERMILLION, finish, need, text

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


def embedding(table: pd.DataFrame, *, title: str = "", height: int = 620) -> go.Figure:
    """A map, a colour and symbol a class; mistakes are hollow, class centres are stars.

    Args:
        table: from `frviz.embed`.
        title: of the figure.
        height: pixels.
    """
    need(table, ("x", "y", "kind", "class"), "frviz.embed(x)")
    figure = go.Figure()
    for number, (name, part) in enumerate(table.groupby("class", sort=False)):
        style = _class_style(number)
        for trace in _class_traces(part, ("x", "y"), str(name), style, part["correct"], len(table)):
            figure.add_trace(trace)
    finish(figure, title=title or _title(table), subtitle=_subtitle(table), height=height)
    legend = {"orientation": "v", "x": 1.01, "y": 1, "yref": "paper", "yanchor": "top"}
    figure.update_layout(legend=legend)
    return _bare(figure)


def embedding_pair(
    table: pd.DataFrame,
    *,
    names: tuple[str, str] = ("A", "B"),
    colour: Colour = "class",
    height: int = 560,
) -> go.Figure:
    """Two models in one layout with shared axes; mistakes are hollow, class centres are stars.

    Args:
        table: from `frviz.embed_pair`.
        names: of A and B.
        colour: by true class, or by outcome (fixed, broken, ...).
        height: pixels.
    """
    need(table, ("a_x", "b_x", "outcome"), "frviz.embed_pair(a, b)")
    if colour not in ("class", "outcome"):
        raise unknown_name("colour", colour, ("class", "outcome"))
    titles = [f"<b>{text(name)}</b>" for name in names]
    figure = make_subplots(cols=2, subplot_titles=titles, horizontal_spacing=0.03)
    for side, column in (("a", 1), ("b", 2)):
        axes = (f"{side}_x", f"{side}_y")
        right = table["outcome"].isin(["both right", "broken" if side == "a" else "fixed"])
        if colour == "class":
            for number, (name, part) in enumerate(table.groupby("class", sort=False)):
                traces = _class_traces(
                    part, axes, str(name), _class_style(number), right[part.index], len(table),
                    predicted=f"{side}_predicted", legend=column == 1,
                )  # fmt: skip
                figure.add_traces(traces, rows=1, cols=column)
        else:
            for outcome, style in _OUTCOMES.items():
                part = table[table["outcome"] == outcome]
                figure.add_trace(
                    _scatter(part, axes, outcome, style, len(table), f"{side}_predicted",
                             legend=column == 1), 1, column,
                )  # fmt: skip
            stars = table[table["kind"] != "clip"]
            figure.add_trace(_stars(stars, axes, "class centre", GREY, column == 1), 1, column)
    subtitle = _subtitle(table, hollow=colour == "class")
    finish(figure, title=_title(table), subtitle=subtitle, height=height)
    figure.update_layout(legend={"y": -0.05, "yref": "paper", "yanchor": "top"})
    figure.update_xaxes(matches="x")
    return _bare(figure.update_yaxes(matches="y"))


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
    """Right clips filled, wrong ones hollow, the centre as a star."""
    clips = (part["kind"] == "clip").to_numpy()
    hit = right.to_numpy(dtype=bool)
    colour, symbol = style
    traces = [
        _scatter(part[clips & hit], axes, name, style, points, predicted, legend=legend),
        _scatter(
            part[clips & ~hit], axes, name, (colour, f"{symbol}-open"), points, predicted,
            legend=legend and not (clips & hit).any(),
        ),
    ]  # fmt: skip
    return [*traces, _stars(part[~clips], axes, name, colour, False)]


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
    return {
        "x": part[axes[0]].to_numpy(),
        "y": part[axes[1]].to_numpy(),
        "mode": "markers",
        "name": text(name),
        "legendgroup": text(name),
        "showlegend": legend and len(part) > 0,
    }


def _stars(
    part: pd.DataFrame, axes: tuple[str, str], name: str, colour: str, legend: bool
) -> go.Scatter:
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


def _class_style(number: int) -> tuple[str, str]:
    return COLOURS[number % len(COLOURS)], _SYMBOLS[(number // len(COLOURS)) % len(_SYMBOLS)]


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
    return "; ".join(said)


def _bare(figure: go.Figure) -> go.Figure:
    """Positions on a map have no unit: no ticks, one scale."""
    figure.update_xaxes(showticklabels=False, ticks="", showgrid=False)
    figure.update_yaxes(showticklabels=False, ticks="", showgrid=False)
    figure.update_yaxes(scaleanchor="x", constrain="domain")
    return figure.update_xaxes(constrain="domain")
