"""How objects show themselves in a notebook: text from data stays text."""

import html
import re
from collections.abc import Mapping
from contextvars import ContextVar

# No progress bars in this context: in a widget's handler there is no cell that they belong to.
SILENT: ContextVar[bool] = ContextVar("SILENT", default=False)

# Control characters and those that turn the direction of writing
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def plain(value: object) -> str:
    """Text on one line, control and bidirectional characters made visible."""
    return _UNSAFE.sub("?", str(value))


def short(value: object, width: int = 40) -> str:
    """The same, cut to `width` characters."""
    text = plain(value)
    return text if len(text) <= width else text[: width - 1] + "\u2026"


def percent(share: float) -> str:
    """0.944 as "94.4%"."""
    return f"{100 * share:.1f}%"


def facts_html(facts: Mapping[str, object]) -> str:
    """A small table of names and values; empty values are left out."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'><bdi>{html.escape(short(value, 160))}</bdi></td></tr>"
        for name, value in facts.items()
        if value != ""
    )
    return f"<table>{cells}</table>"
