"""FR Head through training, and when clips were learnt and forgotten."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from frviz.figures.charts import bars
from frviz.figures.style import (
    BLUE,
    DASHES,
    GREEN,
    GREY,
    INK,
    LEGEND,
    NARROW,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    finish,
    legend_height,
    need,
    noted,
    pair_names,
    short_names,
    text,
)

_SETS = {"tp": ("TP", BLUE), "fn": ("FN", VERMILLION), "fp": ("FP", PURPLE)}
_STAGES = (GREEN, ORANGE, SKY, GREY)  # none of the colours above
_PANELS = ("clips", "cosine of FN centres to the prototype (pulled up)",
           "cosine of FP centres to the prototype (pushed down)")  # fmt: skip


def calibration_history(table: pd.DataFrame, *, height: int = 720) -> go.Figure:
    """TP, FN and FP clips by epoch; below, how far FN and FP centres are from the prototypes.

    Args:
        table: from `frviz.calibration_history`; choose classes with
            `table.loc[(slice(None), slice(None), ["writing"]), :]`. Cosines are means over classes,
            a line a branch.
        height: pixels.
    """
    need(table, ("tp", "fn_cosine"), "frviz.calibration_history(run)")
    figure = make_subplots(rows=3, shared_xaxes=True)
    spaces = table.index.unique("space")
    _add_counts(figure, table.xs(spaces[0], level="space").groupby("epoch")[list(_SETS)].sum())
    clips = legend_height(figure, NARROW - 75)
    means = table.groupby(["epoch", "space"])[["fn_cosine", "fp_cosine"]].mean()
    for number, space in enumerate(spaces):
        line = {"color": _STAGES[number // 2 % len(_STAGES)], "dash": DASHES[number % 2]}
        for row, column in ((2, "fn_cosine"), (3, "fp_cosine")):
            values = means.xs(space, level="space")[column]
            figure.add_scatter(
                x=values.index.to_list(),
                y=values.to_list(),
                name=text(space),
                legendgroup=text(space),
                legend="legend2",
                showlegend=row == 2,
                line={**line, "width": 2},
                row=row,
                col=1,
            )
    subtitle = noted("", table)
    finish(figure, title="Calibration through training", subtitle=subtitle, height=height, above=0)
    _lay_out_history(figure, clips, legend_height(figure, NARROW - 75) - clips + 10)
    return figure


def _add_counts(figure: go.Figure, sums: pd.DataFrame) -> None:
    alike = (sums["fn"] == sums["fp"]).all()  # each missed clip is taken for another class
    for column, (name, colour) in _SETS.items():
        if alike and column == "fp":
            continue
        name = "FN, FP" if alike and column == "fn" else name
        figure.add_scatter(
            x=sums.index.to_list(),
            y=sums[column].to_list(),
            name=f"{name} clips",
            line={"color": colour, "width": 2},
            row=1,
            col=1,
        )


def _lay_out_history(figure: go.Figure, *legends: int) -> None:
    """Three panels of one height, each below its title and, where it has one, its legend."""
    top, bottom, name = figure.layout.margin.t, figure.layout.margin.b, 22
    plots = figure.layout.height - top - bottom
    heads = [name + height for height in (*legends, 0)]
    panel = max(0.05, (1 - (sum(heads) + 40) / plots) / 3)  # 20 pixels between two
    end = 1.0
    for row, (title, head) in enumerate(zip(_PANELS, heads, strict=True), start=1):
        start = end - head / plots
        figure.add_annotation(
            x=0, xref="paper", xanchor="left", y=end, yref="paper", yanchor="top",
            text=title, showarrow=False, font_size=12,
        )  # fmt: skip
        if row < 3:
            figure.layout["legend2" if row == 2 else "legend"] = {**LEGEND, "y": start}
        figure.update_yaxes(domain=(max(0, start - panel), start), row=row)
        end = start - panel - 20 / plots
    figure.update_yaxes(rangemode="tozero", row=1)
    figure.update_xaxes(title_text="epoch", row=3)


def calibration_shift(
    table: pd.DataFrame, *, names: tuple[str, str] = ("A", "B"), height: int | None = None
) -> go.Figure:
    """Share of A's FN clips that B pulled in and of its FP clips that B pushed off, by class.

    Args:
        table: from `frviz.calibration_shift`. Small lines mark what choice alone gives.
        names: of A and B.
        height: pixels; None: by the number of classes.
    """
    need(table, ("fn_pulled", "fp_pushed"), "frviz.calibration_shift(a, b)")
    a, b = pair_names(names)
    subtitle = noted(
        f"share of clips of {a} that moved toward their true class with {b} (FN), and off "
        "the class they were taken for (FP)", table,
    )  # fmt: skip
    table = table.iloc[::-1]
    line = 20 if len(table) <= 21 else 14
    figure = make_subplots(
        cols=2, shared_yaxes=True, horizontal_spacing=0.1,
        subplot_titles=["FN: pulled in", "FP: pushed off"],
    )  # fmt: skip
    rows = [text(label) for label in table.index]
    for column, (kind, word) in enumerate((("fn", "pulled"), ("fp", "pushed")), start=1):
        hover = [
            f"{label}: {count} clips, {share:.0%} {word}, {expected:.0%} by choice alone"
            for label, count, share, expected in zip(
                rows, table[kind], table[f"{kind}_{word}"], table[f"{kind}_expected"], strict=True
            )
        ]
        for values, name, marker in (
            (table[f"{kind}_{word}"], "measured", {"color": BLUE, "size": 9}),
            (
                table[f"{kind}_expected"],
                "by choice alone",
                {"color": INK, "symbol": "line-ns", "size": 12, "line": {"width": 2, "color": INK}},
            ),
        ):
            figure.add_scatter(
                x=values.to_list(),
                y=rows,
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                mode="markers",
                marker=marker,
                customdata=hover,
                hovertemplate="%{customdata}<extra></extra>",
                row=1,
                col=column,
            )
    finish(
        figure,
        title="Ambiguous clips, from one model to the other",
        subtitle=subtitle,
        height=height,
        plot_height=20 + line * max(3, len(table)),
        above=legend_height(figure, NARROW - 200) + 22,
    )
    plot = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    figure.update_layout(legend_y=min(3, 1 + 22 / max(1, plot)))
    figure.update_annotations(font_size=14)
    figure.update_xaxes(range=(-0.03, 1.03), tickformat=".0%", nticks=3)
    labels = [text(name) for name in short_names(table.index, 24)]
    return figure.update_yaxes(
        type="category", tickmode="array", tickvals=rows, ticktext=labels, tickfont_size=11
    )


def learning_history(table: pd.DataFrame, *, height: int | None = None) -> go.Figure:
    """Clips of each class that were learnt, forgotten and never learnt, the hardest class on top.

    Args:
        table: from `frviz.learning_history`.
        height: pixels; None: by the number of classes.
    """
    need(table, ("class", "status"), "frviz.learning_history(run)")
    shares = pd.crosstab(table["class"], table["status"], normalize="index", dropna=False)
    counts = table["class"].value_counts()
    shares = shares.sort_values(["learnt", "forgotten"], kind="stable")
    names = short_names(shares.index, 26)
    shares.index = [
        f"{name} ({counts[label]})" for name, label in zip(names, shares.index, strict=True)
    ]
    figure = bars(
        shares,
        x="share of clips (in brackets: how many)",
        title="Learning history",
        unit="%",
        stacked=True,
        height=height,
    )
    for trace, colour in zip(figure.data, (BLUE, ORANGE, GREY), strict=False):
        trace.marker.color = colour
    return figure
