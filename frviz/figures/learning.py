"""FR Head through training, and when clips were learnt and forgotten."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from frviz.figures.charts import bars
from frviz.figures.style import BLUE, COLOURS, DASHES, GREY, INK, VERMILLION, finish, need, text

_SETS = {"tp": ("TP", BLUE), "fn": ("FN", VERMILLION), "fp": ("FP", COLOURS[3])}


def calibration_history(table: pd.DataFrame, *, height: int = 620) -> go.Figure:
    """TP, FN and FP clips by epoch; below, how far FN and FP centres are from the prototypes.

    Args:
        table: from `frviz.calibration_history`; choose classes with
            `table.loc[(slice(None), slice(None), ["writing"]), :]`. Cosines are means over classes,
            a line a branch.
        height: pixels.
    """
    need(table, ("tp", "fn_cosine"), "frviz.calibration_history(run)")
    figure = make_subplots(
        rows=3, shared_xaxes=True, vertical_spacing=0.09,
        subplot_titles=["clips", "cosine of FN centres to the prototype (pulled up)",
                        "cosine of FP centres to the prototype (pushed down)"],
    )  # fmt: skip
    spaces = table.index.unique("space")
    sums = table.xs(spaces[0], level="space").groupby("epoch")[list(_SETS)].sum()
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
    means = table.groupby(["epoch", "space"])[["fn_cosine", "fp_cosine"]].mean()
    for number, space in enumerate(spaces):
        line = {
            "color": COLOURS[number // 2 % len(COLOURS)],
            "dash": DASHES[number % 2],
            "width": 2,
        }
        for row, column in ((2, "fn_cosine"), (3, "fp_cosine")):
            values = means.xs(space, level="space")[column]
            figure.add_scatter(
                x=values.index.to_list(),
                y=values.to_list(),
                name=text(space),
                legendgroup=text(space),
                showlegend=row == 2,
                line=line,
                row=row,
                col=1,
            )
    finish(figure, title="Calibration through training", height=height)
    figure.update_layout(
        legend={"x": 1.02, "y": 1, "yref": "paper", "orientation": "v", "yanchor": "top"}
    )
    figure.update_annotations(x=0, xanchor="left", font_size=12)
    figure.update_yaxes(rangemode="tozero", row=1)
    return figure.update_xaxes(title_text="epoch", row=3)


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
    table = table.iloc[::-1]
    line = 20 if len(table) <= 21 else 14
    figure = make_subplots(
        cols=2, shared_yaxes=True, horizontal_spacing=0.04,
        subplot_titles=[f"FN of {text(names[0])}, pulled in by {text(names[1])}",
                        f"FP of {text(names[0])}, pushed off by {text(names[1])}"],
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
        subtitle="share of clips that moved toward their true class, and off the class they were "
        "taken for",
        height=height or 190 + line * max(3, len(table)),
    )
    figure.update_layout(
        legend={"y": -40 / (line * max(3, len(table))), "yref": "paper", "yanchor": "top"}
    )
    figure.update_xaxes(range=(-0.03, 1.03), tickformat=".0%")
    return figure.update_yaxes(automargin=True, type="category")


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
    shares.index = [f"{name} ({counts[name]})" for name in shares.index]
    figure = bars(
        shares, x="clips", title="Learning history", unit="%", stacked=True, height=height
    )
    for trace, colour in zip(figure.data, (BLUE, COLOURS[4], GREY), strict=False):
        trace.marker.color = colour
    return figure
