"""What all figures share: colours for any eye and any page, plain axes, inert text that fits."""

import html
from collections import Counter
from collections.abc import Iterable
from unicodedata import east_asian_width

import pandas as pd
import plotly.graph_objects as go

from frcore.display import plain
from frcore.errors import UserError

# Okabe and Ito's palette: distinct to colour-blind readers, readable on white and on black.
BLUE, SKY, ORANGE, VERMILLION = "#0072B2", "#56B4E9", "#E69F00", "#D55E00"
GREEN, PURPLE, GREY = "#009E73", "#CC79A7", "#7F7F7F"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY)
DASHES = ("solid", "dash", "dot", "dashdot")  # repeat what colours say

# Text and axes on a page that may be light or dark. No grey has a contrast of 4.5 (WCAG AA) both on
# white and on #111: this one has 4.54 and 4.16.
INK, GRID = "#767676", "rgba(128,128,128,0.25)"

NARROW = 480  # pixels that a figure may count on where it takes the width of its page
ROW = 19  # pixels of a legend's row
TITLE, SUBTITLE = 15, 12  # font sizes

_AXIS = {
    "gridcolor": GRID,
    "zeroline": False,
    "showline": True,
    "linecolor": INK,
    "ticks": "outside",
    "tickcolor": INK,
    "title_standoff": 6,
    "automargin": True,
}
LEGEND = {
    "orientation": "h",
    "x": 0,
    "xanchor": "left",
    "y": 1,
    "yanchor": "bottom",
    "bgcolor": "rgba(0,0,0,0)",
    "tracegroupgap": 0,
}


def text(value: object) -> str:
    """Text from data, shown as it is: no tag in it becomes one, no sign turns its direction."""
    # Plotly knows few entities by name, and a quote is none of them
    return html.escape(plain(value), quote=False).replace('"', "&#34;").replace("'", "&#39;")


def text_width(value: object, size: float = 12) -> float:
    """Pixels that a text takes, roughly: which font a page has is not known, so a wide one."""
    narrow = " iljtf.,:;'|!()[]/-"
    return size * sum(
        1.0 if east_asian_width(letter) in "WF" else 0.36 if letter in narrow else 0.61
        for letter in str(value)
    )


def wrap(value: object, width: float, size: float = 12) -> list[str]:
    """Lines of at most `width` pixels; a longer word is broken."""
    lines = [""]
    for word in str(value).split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size) <= width:
            lines[-1] = longer
            continue
        lines += [""] if lines[-1] else []
        for letter in word:
            if lines[-1] and text_width(lines[-1] + letter, size) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def wrapped(value: object, width: float, size: float = 12) -> str:
    """The same as inert text, its lines joined for a figure."""
    return "<br>".join(map(text, wrap(value, width, size)))


def middle_cut(value: object, width: int, head: int | None = None) -> str:
    """At most `width` characters of a name: its first ones and its last ones."""
    name = plain(value)
    if len(name) <= width:
        return name
    head = (width - 1) // 2 if head is None else head
    return f"{name[:head].rstrip()}\u2026{name[head + 1 - width :].lstrip()}"


def short_names(names: Iterable[object], width: int) -> list[str]:
    """Names cut to `width` characters so that different ones stay different.

    The middle is left out; where that makes names alike, another part of them; else they are
    numbered.
    """
    names = [plain(name) for name in names]
    shown = [middle_cut(name, width) for name in names]
    for head in sorted(range(1, width - 1), key=lambda head: abs(head - width // 2)):
        count = Counter(shown)
        alike = [n for n, name in enumerate(shown) if count[name] > 1]
        other = {n: middle_cut(names[n], width, head) for n in alike}
        times = Counter(other.values())
        for n, name in other.items():
            if times[name] == 1 and not count[name]:
                shown[n] = name
    taken = Counter(shown)
    for n, name in enumerate(shown):
        number = 1
        while taken[shown[n]] > 1 and shown[n] != names[n]:
            number += 1
            mark = f"\u2026{number}"
            taken[shown[n]] -= 1
            shown[n] = name[: width - len(mark)] + mark
            taken[shown[n]] += 1
    return shown


def pair_names(names: tuple[str, str], width: int = 24) -> tuple[str, str]:
    """Those of two models, cut to `width` characters."""
    a, b = short_names(names, width)
    return a, b


def need(table: object, columns: tuple[str, ...], source: str) -> None:
    """Says where a figure's table comes from, if this is another one."""
    if not isinstance(table, pd.DataFrame):
        raise UserError(f"A figure is drawn from a table: give {source}.")
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise UserError(f"This table has no column '{missing[0]}': give {source}.")


def noted(subtitle: str, table: pd.DataFrame) -> str:
    """A subtitle, and what the table's note says of how its models were chosen."""
    return "; ".join(part for part in (subtitle, str(table.attrs.get("note", ""))) if part)


def finish(
    figure: go.Figure,
    *,
    title: str = "",
    subtitle: str = "",
    height: int | None = None,
    plot_height: int = 300,
    width: int | None = None,
    left: float = 60,
    above: int | None = None,
    axes: bool = True,
) -> go.Figure:
    """Lays a figure out: titles and legend on the left above the plot, transparent page.

    Args:
        figure: with all traces that its legend shows.
        title: first lines; any text, broken where it is wider than the figure.
        subtitle: further lines.
        height: pixels of the figure; None: as many as the plot and what is around it take.
        plot_height: pixels of the plot, where there is no `height`.
        width: pixels; None: the page's, then everything fits `NARROW`.
        left: pixels that the labels on the left take; the legend gets as wide as the plot.
        above: pixels between titles and plot; None: what the legend needs there.
        axes: whether there are any.
    """
    room = (width or NARROW) - 20
    heading, top = _heading(title, subtitle, room)
    legend = legend_height(figure, room - left) if above is None else above
    margin = {"l": 60, "r": 15, "t": top + max(legend, 10), "b": 48}
    height = height or margin["t"] + plot_height + margin["b"]
    figure.update_layout(
        title={
            "text": heading, "font_size": TITLE, "automargin": False,
            "x": 0, "xref": "container", "pad": {"l": 10, "t": 24 if "<br>" in heading else 10},
            "y": 1, "yref": "container", "yanchor": "top",
        },
        height=height,
        width=width,
        margin=margin,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 12},
        hoverlabel={"bgcolor": "white", "font": {"color": "black"}},
        legend=LEGEND,
    )  # fmt: skip
    if axes:
        figure.update_xaxes(**_AXIS)
        figure.update_yaxes(**_AXIS)
    return figure


def _heading(title: str, subtitle: str, room: float) -> tuple[str, int]:
    """Title and subtitle as one text, and how many pixels they take from the figure's top."""
    titles = wrap(title, room, TITLE) if title else []
    subtitles = wrap(subtitle, room, SUBTITLE) if subtitle else []
    parts = [f"<b>{'<br>'.join(map(text, titles))}</b>"] if titles else []
    if subtitles:
        said = "<br>".join(map(text, subtitles))
        parts.append(f"<span style='font-size:{SUBTITLE}px'>{said}</span>")
    lines = len(titles) + len(subtitles)
    return "<br>".join(parts), 14 + round(1.3 * TITLE) * lines


def legend_height(figure: go.Figure, room: float, size: float = 12) -> int:
    """Pixels of a legend of all traces in rows of at most `room` pixels; 0 if there is none."""
    shown = [trace for trace in figure.data if trace.name and trace.showlegend is not False]
    if len(shown) < 2 and not any(trace.showlegend for trace in shown):
        return 0
    widths = [text_width(html.unescape(trace.name), size) + 45 for trace in shown]
    columns = len(shown) if sum(widths) <= room else max(1, int(room / max(widths)))
    return 10 + ROW * -(-len(shown) // columns)
