"""Tables of changes as text for people: percent, points, intervals."""

from typing import Any

import pandas as pd

from frcore.display import plain
from frviz.tables.statistics import shown_p


def summary_html(table: pd.DataFrame) -> str:
    """A table of changes as HTML: percent, points, intervals; names escaped."""
    return shown(table).to_html(border=0, na_rep="", justify="left", escape=True, index_names=False)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """A table of changes as text for people: percent, points, one column for the interval."""
    columns: dict[str, Any] = {}
    for name, column in table.items():
        if name in ("a", "b"):
            columns[f"{name.upper()} %"] = column.map(percent)
        elif name in ("difference", "raw_difference"):
            columns["points" if name == "difference" else "raw points"] = column.map(points)
        elif name == "low":
            limits = zip(column, table["high"], strict=True)
            columns["95 % interval"] = [
                "" if pd.isna(low) else f"{points(low)} to {points(high)}" for low, high in limits
            ]
        elif name in ("p", "p_holm"):
            columns[name.replace("_", " ")] = ["" if pd.isna(p) else shown_p(p)[4:] for p in column]
        elif name in ("fixed", "broken"):
            columns[name] = ["" if pd.isna(n) else f"{n:g}" for n in column]
        elif name != "high":
            columns[name] = column
    return pd.DataFrame(columns, index=table.index).map(_on_one_line).rename(index=_on_one_line)


def _on_one_line(cell: Any) -> Any:
    """A name, or the names of a group, without what turns the direction of writing."""
    if isinstance(cell, tuple):
        return ", ".join(map(plain, cell))
    return plain(cell) if isinstance(cell, str) else cell


def as_text(table: pd.DataFrame) -> str:
    """A table of changes for a terminal."""
    return shown(table).rename_axis(None).to_string()


def percent(share: float) -> str:
    """A share in percent, without the sign."""
    return "" if pd.isna(share) else f"{100 * share:.2f}"


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return "" if pd.isna(difference) else f"{100 * difference:+.2f}"
