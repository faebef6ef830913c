"""Two models side by side: groups, levels and classes, with intervals and what is significant."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from frcore.display import short
from frviz.figures.style import BLUE, GREY, GRID, INK, VERMILLION, finish, need, text
from frviz.tables.shown import shown

ALPHA = 0.05
_KINDS = (  # significant?, better?, name, colour, symbol
    (True, True, "B better", BLUE, "circle"),
    (True, False, "B worse", VERMILLION, "square"),
    (False, None, "not significant (Holm)", GREY, "circle-open"),
)


def differences(
    table: pd.DataFrame,
    *,
    title: str = "Ambiguous groups",
    subtitle: str = "",
    names: tuple[str, str] = ("A", "B"),
    by_size: bool = True,
    alpha: float = ALPHA,
) -> go.Figure:
    """B minus A of each row, with intervals: the paper's Figure 4, or levels, or classes.

    Args:
        table: from `Comparison.groups`, `.levels` or `.per_class`. Where it has `raw_difference`,
            that is drawn as a small cross: as published work measures it.
        title: of the figure.
        subtitle: a line below it.
        names: of A and B.
        by_size: the largest difference on top; else the first row.
        alpha: rows with a larger p after Holm's correction are drawn hollow and grey.
    """
    need(table, ("difference", "low", "high", "p_holm"), "Comparison.groups, .levels or .per_class")
    table = table[table["clips"] > 0].iloc[::-1]
    if by_size:
        table = table.sort_values("difference", kind="stable")
    rows = np.arange(len(table))
    figure = go.Figure()
    significant = (table["p_holm"] < alpha).to_numpy()
    better = (table["difference"] > 0).to_numpy()
    for wanted, upward, name, colour, symbol in _KINDS:
        chosen = (significant == wanted) & ((better == upward) if wanted else True)
        part = table[chosen]
        figure.add_scatter(
            x=(100 * part["difference"]).tolist(),
            y=rows[chosen].tolist(),
            name=name,
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 8},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": (100 * (part["high"] - part["difference"])).tolist(),
                "arrayminus": (100 * (part["difference"] - part["low"])).tolist(),
                "color": colour,
                "thickness": 1.2,
                "width": 0,
            },
            customdata=[_hover(label, row, names) for label, row in part.iterrows()],
            hovertemplate="%{customdata}<extra></extra>",
        )
    if "raw_difference" in table:
        figure.add_scatter(
            x=(100 * table["raw_difference"]).tolist(),
            y=rows.tolist(),
            name="chosen by A's test errors",
            mode="markers",
            marker={
                "color": INK,
                "symbol": "x-thin",
                "size": 6,
                "line": {"width": 1, "color": INK},
            },
            hovertemplate="chosen by A's test errors: %{x:+.2f} points<extra></extra>",
        )
    line = 22 if len(table) <= 20 else 14
    finish(figure, title=title, subtitle=subtitle, height=170 + line * max(3, len(table)))
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    figure.update_xaxes(title_text=f"{text(names[1])} minus {text(names[0])}, points")
    return figure.update_yaxes(
        tickmode="array",
        tickvals=rows.tolist(),
        ticktext=[text(short(label, 30)) for label in table.index],
        tickfont={"size": 12 if len(table) <= 20 else 10},
        range=(-0.7, len(table) - 0.3),
        automargin=True,
        showgrid=len(table) <= 20,
    )


def level_table(
    table: pd.DataFrame, *, names: tuple[str, str] = ("A", "B"), title: str = "Difficulty levels"
) -> go.Figure:
    """The paper's Table 4 as a picture: a row a level, both accuracies, difference and test.

    Args:
        table: from `Comparison.levels`.
        names: of A and B.
        title: of the figure.
    """
    need(table, ("classes", "a", "b", "p_holm"), "Comparison.levels")
    cells = shown(table).drop(columns=["fixed", "broken", "p"])
    cells = cells.rename(columns={"A %": f"{names[0]} %", "B %": f"{names[1]} %"})
    limits = ("below 70 %", "70 to 90 %", "above 90 %")
    levels = [f"{level} ({limit})" for level, limit in zip(table.index, limits, strict=True)]
    columns = [levels, *(cells[name].astype(str).map(text).to_list() for name in cells)]
    figure = go.Figure(
        go.Table(
            header={
                "values": [f"<b>{text(name)}</b>" for name in ("level", *cells)],
                "align": "left",
                "fill": {"color": GRID},
                "line": {"width": 0},
            },
            cells={
                "values": columns,
                "align": "left",
                "fill": {"color": "rgba(0,0,0,0)"},
                "line": {"color": GRID},
                "height": 26,
            },
            columnwidth=[22, 10, 8, 12, 12, 9, 18, 9, 12],
        )
    )
    return finish(figure, title=title, height=240, axes=False)


def class_slopes(
    table: pd.DataFrame,
    *,
    names: tuple[str, str] = ("A", "B"),
    labels: int = 12,
    alpha: float = ALPHA,
) -> go.Figure:
    """Each class as a line from its accuracy with A to that with B.

    Args:
        table: from `Comparison.per_class`.
        names: of A and B.
        labels: so many classes, those that changed most, have their names written beside them.
        alpha: classes with a larger p after Holm's correction are grey.
    """
    need(table, ("a", "b", "difference", "p_holm"), "Comparison.per_class")
    table = table[table["clips"] > 0]
    table = table.assign(difference=table["difference"].fillna(0))
    changed = table[table["difference"] != 0]
    most = changed["difference"].abs().sort_values(ascending=False, kind="stable").index[:labels]
    figure = go.Figure()
    for wanted, upward, name, colour, _ in reversed(_KINDS):
        chosen = (table["p_holm"] < alpha) == wanted
        part = table[chosen & ((table["difference"] > 0) == upward)] if wanted else table[chosen]
        x, y, hover = [], [], []
        for label, row in part.iterrows():
            x += [0, 1, None]
            y += [100 * row["a"], 100 * row["b"], None]
            hover += [_hover(label, row, names)] * 2 + [None]
        figure.add_scatter(
            x=x,
            y=y,
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2 if wanted else 1},
            marker={"size": 6},
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
        )
    finish(
        figure,
        title="Accuracy of each class",
        subtitle=f"the {len(most)} that changed most are named",
        height=520,
    )
    shares = 100 * table[["a", "b"]].to_numpy()
    low, high = (shares.min(), shares.max()) if len(shares) else (0, 100)
    span = max(high - low, 10) * 1.12
    _label_ends(figure, table.loc[most], gap=span * 15 / 370)  # 15 of the plot's 370 pixels
    figure.update_yaxes(range=(high + 0.04 * span - span, high + 0.04 * span))
    figure.update_xaxes(
        tickvals=[0, 1],
        ticktext=[f"{text(names[0])} (A)", f"{text(names[1])} (B)"],
        range=(-0.2, 1.65),
        showgrid=False,
    )
    return figure.update_yaxes(title_text="right, %")


def _label_ends(figure: go.Figure, table: pd.DataFrame, gap: float) -> None:
    """Names at the right end, moved apart where they would overlap."""
    table = table.sort_values("b", kind="stable")
    heights = (100 * table["b"]).to_numpy()
    placed = heights.copy()
    for row in range(1, len(placed)):
        placed[row] = max(placed[row], placed[row - 1] + gap)
    if len(placed) and placed[-1] > heights[-1]:  # the highest keeps its place, others make room
        placed[-1] = heights[-1]
        for row in range(len(placed) - 2, -1, -1):
            placed[row] = min(placed[row], placed[row + 1] - gap)
    for label, end, height, change in zip(
        table.index, heights, placed, table["difference"], strict=True
    ):
        figure.add_scatter(
            x=[1.02, 1.08],
            y=[end, height],
            mode="lines",
            line={"color": INK, "width": 0.6},
            showlegend=False,
            hoverinfo="skip",
        )
        figure.add_annotation(
            x=1.1,
            y=height,
            text=f"{text(short(label, 26))} {100 * change:+.1f}",
            showarrow=False,
            xanchor="left",
            font={"size": 11},
        )


def _hover(label: object, row: pd.Series, names: tuple[str, str]) -> str:
    lines = [f"<b>{text(label)}</b>"]
    if "members" in row and len(row["members"]) > 1:
        lines.append(f"with {', '.join(map(text, row['members'][1:]))}")
    lines += [
        f"{row['clips']} clips: {text(names[0])} {row['a']:.1%}, {text(names[1])} {row['b']:.1%}",
        f"{100 * row['difference']:+.2f} points ({100 * row['low']:+.2f} to "
        f"{100 * row['high']:+.2f})",
        f"{row['fixed']:g} fixed, {row['broken']:g} broken, p = {row['p']:.2g}, "
        f"Holm {row['p_holm']:.2g}",
    ]
    return "<br>".join(lines)
