"""Confusion matrices that can be read at 10, 60 and 120 classes."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from frcore.errors import UserError
from frviz.figures.style import (
    BLUE,
    INK,
    NARROW,
    VERMILLION,
    finish,
    middle_cut,
    need,
    noted,
    short_names,
    text,
    text_width,
)

NUMBERS_UP_TO = 20  # classes up to which each cell shows its number
WIDEST = 1180  # pixels, unless cells would be smaller than SMALLEST
LARGEST, SMALLEST = 34, 8  # pixels of a cell

# Opaque, so that numbers are readable in the cells on any page; without numbers, rare mistakes are
# faint on any page.
_RIGHT = [[0, "#D6E6F2"], [1, BLUE]]
_WRONG = [[0, "#FBE3D3"], [0.5, "#E8803F"], [1, "#8C2D04"]]
_RIGHT_CLEAR = [[0, "rgba(0,114,178,0.25)"], [1, BLUE]]
_WRONG_CLEAR = [[0, "rgba(213,94,0,0.2)"], [0.5, "rgba(213,94,0,0.8)"], [1, VERMILLION]]
# What is coloured is beyond chance: also the smallest change tells its side.
_BETTER = [[0, VERMILLION], [0.5, "#F3B184"], [0.5, "#8EBFE0"], [1, BLUE]]
_UNCHANGED = "rgba(128,128,128,0.16)"  # quiet, on a light and on a dark page
_BARS = 44  # pixels of the colour scales above the plot


def confusion(
    table: pd.DataFrame,
    *,
    clusters: pd.DataFrame | None = None,
    title: str = "Confusion matrix",
    subtitle: str = "",
) -> go.Figure:
    """A confusion matrix: clips that are right in blue, mistakes in orange, none left clear.

    Args:
        table: counts by true and predicted class, from `frviz.confusion`.
        clusters: from `frviz.class_clusters`: classes in that order, clusters framed.
        title: of the figure.
        subtitle: a line below it.
    """
    need(table, (), "frviz.confusion(x)")
    if list(table.index) != list(table.columns):
        raise UserError("confusion draws a table of classes by classes: frviz.confusion(x).")
    counts = table.to_numpy(dtype=np.float64)
    if not np.isfinite(counts).all() or (counts.max(initial=0) <= 1 and (counts % 1).any()):
        raise UserError("confusion draws counts: frviz.confusion(x), without normalize.")
    cells, full = _ordered(table, clusters)
    support = cells.sum(axis=1, keepdims=True)
    shares = np.divide(cells, support, out=np.zeros(cells.shape), where=support > 0)
    right = np.eye(len(cells), dtype=bool)
    wrong = ~right & (cells > 0)
    worst = float(shares[wrong].max()) if wrong.any() else 1.0
    hover = _hover_rows(full, cells, shares)
    figure = go.Figure()
    worst = max(0.1, worst)
    numbers = len(cells) <= NUMBERS_UP_TO
    parts = (
        (right & (support > 0), _RIGHT if numbers else _RIGHT_CLEAR, 1.0),
        (wrong, _WRONG if numbers else _WRONG_CLEAR, worst),
    )
    for mask, scale, top in parts:
        figure.add_heatmap(
            z=np.where(mask, shares, np.nan),
            text=np.where(mask, [[f"{n:.3g}" for n in row] for row in cells], ""),
            texttemplate="%{text}" if numbers else None,
            customdata=np.where(mask, hover, ""),  # what is not drawn needs no text
            hovertemplate="%{customdata}<extra></extra>",
            colorscale=scale,
            zmin=0,
            zmax=top,
            xgap=1 if len(cells) <= 60 else 0,
            ygap=1 if len(cells) <= 60 else 0,
        )
    _axes(figure, full, title, noted(subtitle, table))
    _bar(figure, 0, {0: "0 %", 0.5: "right", 1: "100 %"})
    _bar(figure, 1, {0: "0 %", worst / 2: "mistakes", worst: f"{100 * worst:.0f} %"}, 1)
    _frame_clusters(figure, clusters)
    return figure


def confusion_difference(
    changes: pd.DataFrame,
    class_names: pd.Index,
    *,
    clusters: pd.DataFrame | None = None,
    names: tuple[str, str] = ("A", "B"),
    alpha: float = 0.05,
) -> go.Figure:
    """B minus A in clips: blue is better (more right, fewer mistakes), orange is worse.

    Args:
        changes: from `Comparison.cells`.
        class_names: K names, by class index.
        clusters: from `frviz.class_clusters`: classes in that order, clusters framed.
        names: of A and B.
        alpha: cells with a larger p are grey.
    """
    need(changes, ("true", "predicted", "difference", "p"), "Comparison.cells")
    class_names = pd.Index(class_names)
    k = len(class_names)
    place = _places(class_names, clusters)
    x, y = place[changes["predicted"]], place[changes["true"]]
    difference, tested = np.zeros((k, k)), np.ones((k, k))
    hover = np.full((k, k), "", dtype=object)
    difference[y, x] = changes["difference"]
    tested[y, x] = changes["p"].fillna(1)
    full = [str(name) for name in class_names[np.argsort(place)]]
    for row, (to_x, to_y) in enumerate(zip(x, y, strict=True)):
        cell = changes.iloc[row]
        note = f"<br>p = {cell['p']:.2g}, Holm {cell['p_holm']:.2g}"
        hover[to_y, to_x] = (
            f"{text(full[to_y])}<br>taken for {text(full[to_x])}<br>{text(names[0])}: "
            f"{cell['a']:.4g}, {text(names[1])}: {cell['b']:.4g} ({cell['difference']:+.3g}){note}"
        )
    shown = (difference != 0) & (tested < alpha)
    grey = (difference != 0) & ~shown
    largest = max(1.0, float(np.abs(difference[shown]).max(initial=0)))
    figure = go.Figure()
    figure.add_heatmap(
        z=np.where(grey, 0.0, np.nan),
        customdata=np.where(grey, hover, ""),
        hovertemplate="%{customdata}<extra></extra>",
        colorscale=[[0, _UNCHANGED], [1, _UNCHANGED]],
        showscale=False,
    )
    figure.add_heatmap(
        z=np.where(shown, np.where(np.eye(k, dtype=bool), difference, -difference), np.nan),
        text=np.where(shown, [[f"{n:+.3g}" for n in row] for row in difference], ""),
        texttemplate="%{text}" if k <= NUMBERS_UP_TO else None,
        customdata=np.where(shown, hover, ""),
        hovertemplate="%{customdata}<extra></extra>",
        colorscale=_BETTER,
        zmin=-largest,
        zmax=largest,
    )
    count = int(np.isfinite(changes["p"]).sum())
    a, b = (middle_cut(name, 40) for name in names)
    subtitle = f"{b} (B) minus {a} (A), clips; blue is better" + (
        f"; grey: p >= {alpha:g}, uncorrected ({count} cells)" if count else ""
    )
    _axes(figure, full, "What changed", subtitle, bars=bool(shown.any()))
    _bar(figure, 1, {-largest: f"{largest:g} worse", 0: "clips", largest: f"{largest:g} better"})
    _frame_clusters(figure, clusters)
    return figure


def _ordered(table: pd.DataFrame, clusters: pd.DataFrame | None) -> tuple[np.ndarray, list[str]]:
    if clusters is not None:
        table = table.loc[clusters.index, clusters.index]
    return table.to_numpy(dtype=np.float64), [str(name) for name in table.index]


def _places(class_names: pd.Index, clusters: pd.DataFrame | None) -> np.ndarray:
    """(K,) where each class stands."""
    if clusters is None:
        return np.arange(len(class_names))
    return clusters.index.get_indexer(class_names)


def _hover_rows(full: list[str], cells: np.ndarray, shares: np.ndarray) -> list[list[str]]:
    names = [text(name) for name in full]
    return [
        [
            f"{names[i]}<br>taken for {names[j]}<br>{cells[i, j]:g} clips, {shares[i, j]:.1%}"
            if i != j
            else f"{names[i]}<br>{cells[i, i]:g} of {cells[i].sum():g} right, {shares[i, i]:.1%}"
            for j in range(len(full))
        ]
        for i in range(len(full))
    ]


def _axes(
    figure: go.Figure, full: list[str], title: str, subtitle: str, *, bars: bool = True
) -> None:
    """Square cells, class names on both sides, as large as the number of classes allows."""
    k = len(full)
    names = short_names(full, 22 if k <= NUMBERS_UP_TO else 20)
    size, cell, side = 12.0, float(LARGEST), 0.0
    for _ in range(2):  # names get smaller with the cells
        side = 40 + max((text_width(name, size) for name in names), default=0)
        cell = min(LARGEST, max(SMALLEST, (WIDEST - side - 15) / max(1, k)))
        size = min(12.0, cell + 0.5)
    width = round(max(NARROW, side + k * cell + 15))
    ticks = {
        "tickmode": "array",
        "tickvals": list(range(k)),
        "ticktext": [text(name) for name in names],
        "tickfont": {"size": size},
        "showgrid": False,
        "constrain": "domain",
    }
    level = side - 40 < cell  # a name fits below its column
    under = 60 if level else side
    plot = round(k * cell + under) - 48  # of which `finish` leaves below
    finish(
        figure, title=title, subtitle=subtitle, width=width, plot_height=plot, above=bars * _BARS
    )
    figure.update_layout(margin={"l": side, "b": under})
    figure.update_xaxes(
        **ticks,
        range=(-0.5, k - 0.5),
        constraintoward="left",
        tickangle=0 if level else -90,
        title_text="predicted",
    )
    figure.update_yaxes(
        **ticks, range=(k - 0.5, -0.5), constraintoward="top", scaleanchor="x", title_text="true"
    )


def _bar(figure: go.Figure, trace: int, words: dict[float, str], number: int = 0) -> None:
    """The scale of a trace as the nth bar between the titles and the plot, with words below it."""
    layout = figure.layout
    wide = layout.width - layout.margin.l - layout.margin.r
    high = layout.height - layout.margin.t - layout.margin.b
    figure.data[trace].colorbar = {
        "orientation": "h",
        "x": (40 + 220 * number - layout.margin.l) / wide,
        "xanchor": "left",
        "xpad": 0,
        "y": 1 + (_BARS - 4) / high,
        "yanchor": "top",
        "ypad": 0,
        "lenmode": "pixels",
        "len": 160,
        "thickness": 10,
        "outlinewidth": 0,
        "tickvals": list(words),
        "ticktext": list(words.values()),
        "tickfont_size": 12,
    }


def _frame_clusters(figure: go.Figure, clusters: pd.DataFrame | None) -> None:
    """A frame around each cluster of two or more classes."""
    if clusters is None:
        return
    number = clusters["cluster"].to_numpy()
    for cluster in np.unique(number[clusters["size"].to_numpy() > 1]):
        places = np.flatnonzero(number == cluster)
        low, high = places.min() - 0.5, places.max() + 0.5
        figure.add_shape(
            type="rect", x0=low, x1=high, y0=low, y1=high, line={"color": INK, "width": 1.5}
        )
