"""Groups, levels and classes of one model or two, with intervals and what is significant."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from frviz.figures.style import (
    BLUE,
    GREY,
    GRID,
    INK,
    NARROW,
    VERMILLION,
    finish,
    need,
    noted,
    pair_names,
    short_names,
    text,
    text_width,
    wrapped,
)
from frviz.tables.groups import NO_GROUP
from frviz.tables.shown import shown
from frviz.tables.statistics import wilson

ALPHA = 0.05
_KINDS = (  # significant?, better?, B ..., colour, symbol
    (True, True, "better", BLUE, "circle"),
    (True, False, "worse", VERMILLION, "square"),
    (False, None, "", GREY, "circle-open"),
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
    if table.empty and "members" in table:
        subtitle = NO_GROUP
    table = table[table["clips"] > 0].iloc[::-1]
    if by_size:
        table = table.sort_values("difference", kind="stable")
    rows = np.arange(len(table))
    figure = go.Figure()
    significant = (table["p_holm"] < alpha).to_numpy()
    better = (table["difference"] > 0).to_numpy()
    for wanted, upward, _, colour, symbol in _KINDS:
        chosen = (significant == wanted) & ((better == upward) if wanted else True)
        part = table[chosen]
        figure.add_scatter(
            x=(100 * part["difference"]).tolist(),
            y=rows[chosen].tolist(),
            name=_kind(wanted, upward, names),
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 8},
            error_x=_limits(part, "difference", colour),
            customdata=[_hover(label, row, names) for label, row in part.iterrows()],
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=bool(chosen.any()),
        )
    if "raw_difference" in table:
        _add_raw(figure, table, rows, text(pair_names(names)[0]))
    a, b = pair_names(names)
    _lay_out(figure, table, title=title, subtitle=subtitle, x=f"{b} minus {a}, points")
    return figure.add_vline(x=0, line={"color": INK, "width": 1})


def _limits(table: pd.DataFrame, column: str, colour: str) -> dict[str, object]:
    """Bars from low to high around a column, in percent."""
    return {
        "type": "data",
        "symmetric": False,
        "array": (100 * (table["high"] - table[column])).tolist(),
        "arrayminus": (100 * (table[column] - table["low"])).tolist(),
        "color": colour,
        "thickness": 1.2,
        "width": 0,
    }


def _add_raw(figure: go.Figure, table: pd.DataFrame, rows: np.ndarray, a: str) -> None:
    """Small crosses: what choice by A's own test errors gives."""
    figure.add_scatter(
        x=(100 * table["raw_difference"]).tolist(),
        y=rows.tolist(),
        name=f"chosen by {a}'s test errors",
        mode="markers",
        marker={"color": INK, "symbol": "x-thin", "size": 6, "line": {"width": 1, "color": INK}},
        hovertemplate=f"chosen by {a}'s test errors: %{{x:+.2f}} points<extra></extra>",
    )


def _kind(significant: bool, better: bool | None, names: tuple[str, str]) -> str:
    if not significant:
        return "not significant (Holm)"
    return f"{text(pair_names(names)[1])} {'better' if better else 'worse'}"


def _lay_out(
    figure: go.Figure, table: pd.DataFrame, *, title: str, subtitle: str, x: str
) -> go.Figure:
    """A row of the table a name, the last one on top."""
    few = len(table) <= 20
    rows = short_names(table.index, 26)
    left = 20 + max((text_width(name) for name in rows), default=0)
    plot = 30 + (22 if few else 14) * len(table)
    finish(figure, title=title, subtitle=subtitle, plot_height=plot, left=left)
    figure.update_xaxes(title_text=wrapped(x, NARROW - 40 - left, 14))
    return figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(table))),
        ticktext=[text(name) for name in rows],
        tickfont={"size": 12 if few else 11},
        range=(-0.7, len(table) - 0.3),
        showgrid=few,
    )


def groups(
    table: pd.DataFrame,
    *,
    n: int | None = None,
    title: str = "Ambiguous groups",
    subtitle: str = "",
) -> go.Figure:
    """How well one model recognises the ambiguous group of each anchor, the hardest on top.

    Bars are 95 % Wilson limits of the accuracy on these clips. Groups that a model's own test
    errors chose look worse than they are: `frviz.ambiguous_groups` says more.

    Args:
        table: from `frviz.ambiguous_groups`.
        n: so many of the hardest groups; None: all.
        title: of the figure.
        subtitle: a line below it.
    """
    need(table, ("members", "errors", "clips", "accuracy"), "frviz.ambiguous_groups(x)")
    said = NO_GROUP if table.empty else "accuracy on all clips of a group; 95 % intervals"
    subtitle = noted(subtitle or said, table)
    table = table[table["clips"] > 0].sort_values("accuracy", kind="stable").head(n).iloc[::-1]
    low, high = wilson(table["accuracy"] * table["clips"], table["clips"])
    table = table.assign(low=low, high=high)
    figure = go.Figure()
    figure.add_scatter(
        x=(100 * table["accuracy"]).tolist(),
        y=list(range(len(table))),
        mode="markers",
        marker={"color": BLUE, "size": 8},
        error_x=_limits(table, "accuracy", BLUE),
        customdata=[_group_hover(label, row) for label, row in table.iterrows()],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )
    return _lay_out(figure, table, title=title, subtitle=subtitle, x="accuracy of the group, %")


def _group_hover(anchor: object, row: pd.Series) -> str:
    others = ", ".join(map(text, row["members"][1:]))
    return (
        f"<b>{text(anchor)}</b><br>with {others}<br>{row['clips']:g} clips, {row['accuracy']:.1%} "
        f"right ({row['low']:.1%} to {row['high']:.1%})<br>{row['errors']:g} clips of "
        f"{text(anchor)} misclassified"
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
    a, b = pair_names(names, 16)
    cells = cells.rename(columns={"A %": f"{a} %", "B %": f"{b} %"})
    limits = ("below 70 %", "70 to 90 %", "above 90 %")
    levels = [f"{level} ({limit})" for level, limit in zip(table.index, limits, strict=True)]
    columns = [levels, *(cells[name].astype(str).map(text).to_list() for name in cells)]
    widths = [17, 14, 12, 15, 15, 14, 16, 12, 14][: len(columns)]
    heads = [
        wrapped(name, NARROW * width / sum(widths) - 16, 11) if name[:-2] in (a, b) else text(name)
        for name, width in zip(("level", *cells), widths, strict=True)
    ]
    lines = max(head.count("<br>") for head in heads) + 1
    look = {"align": "left", "font": {"size": 11}}
    figure = go.Figure(
        go.Table(
            header={
                "values": [f"<b>{head}</b>" for head in heads],
                "fill": {"color": GRID},
                "line": {"width": 0},
                "height": 12 + 16 * lines,
                **look,
            },
            cells={
                "values": columns,
                "fill": {"color": "rgba(0,0,0,0)"},
                "line": {"color": GRID},
                "height": 40,
                **look,
            },
            columnwidth=widths,
        )
    )
    finish(figure, title=title, plot_height=12 + 16 * lines + 44 * len(table), axes=False)
    return figure.update_layout(margin={"l": 10, "r": 10, "b": 10})


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
    for wanted, upward, _, colour, _ in reversed(_KINDS):
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
            name=_kind(wanted, upward, names),
            mode="lines+markers",
            line={"color": colour, "width": 2 if wanted else 1},
            marker={"size": 6},
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=bool(x),
        )
    subtitle = f"the {len(most)} that changed most are named"
    finish(figure, title="Accuracy of each class", subtitle=subtitle, plot_height=370, left=260)
    shares = 100 * table[["a", "b"]].to_numpy()
    low, high = (shares.min(), shares.max()) if len(shares) else (0, 100)
    span = max(high - low, 10) * 1.12
    _label_ends(figure, table.loc[most], gap=span * 15 / 370)  # 15 of the plot's 370 pixels
    figure.update_yaxes(range=(high + 0.04 * span - span, high + 0.04 * span))
    a, b = map(text, pair_names(names, 18))
    figure.update_xaxes(
        tickvals=[0, 1], ticktext=[f"{a} (A)", f"{b} (B)"], range=(-0.2, 1.12), showgrid=False
    )
    figure.update_layout(margin_r=185)
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
    labels = short_names(table.index, 22)
    for label, end, height, change in zip(
        labels, heights, placed, table["difference"], strict=True
    ):
        figure.add_scatter(
            x=[1.03, 1.11],
            y=[end, height],
            mode="lines",
            line={"color": INK, "width": 0.6},
            showlegend=False,
            hoverinfo="skip",
        )
        figure.add_annotation(
            x=1.12,
            y=height,
            text=f"{text(label)} {100 * change:+.1f}",
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
