"""Figures and tables as one HTML file: no network, no kernel, Plotly inlined once."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from plotly.offline import get_plotlyjs

from frcore import __version__
from frcore.display import plain
from frcore.files import atomic_write, make_folder_of
from frviz.explorer.export import POLICY
from frviz.tables.shown import shown

if TYPE_CHECKING:
    import plotly.graph_objects as go

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1340px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
.verdict { border-left: 4px solid #0072B2; padding: .3rem 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 2px 12px 2px 0; border-bottom: 1px solid #8884; }
thead th { border-bottom: 2px solid #8888; }
details { margin: .7rem 0; } summary { cursor: pointer; }
footer { margin-top: 3rem; color: #767676; font-size: 13px; }
"""


@dataclass(frozen=True)
class Section:
    """A part of a page: a figure under a heading, or a table that unfolds, or both."""

    heading: str
    figure: "go.Figure | None" = None
    table: pd.DataFrame | None = None


def write_page(path: Path, *, title: str, lead: str, summary: pd.DataFrame, explorer: str,
               sections: Sequence[Section], footer: str) -> Path:  # fmt: skip
    """Writes a page to `path`, its folder with it.

    Args:
        path: of the HTML file.
        title: its heading.
        lead: what came out, in words.
        summary: the first table.
        explorer: what follows it, from `frviz.explorer.export.explorer_snippet`.
        sections: what follows.
        footer: how it was made.

    Raises:
        UserError: the file cannot be written.
    """
    make_folder_of(path)
    atomic_write(path, _page(title, lead, summary, explorer, sections, footer))
    return path


def _page(
    title: str,
    lead: str,
    summary: pd.DataFrame,
    explorer: str,
    sections: Sequence[Section],
    footer: str,
) -> str:
    parts = [_section(number, section) for number, section in enumerate(sections)]
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_text(title)}</title><style>{_STYLE}</style>"
        f"<script>{get_plotlyjs()}</script></head><body>"
        f"<h1>{_text(title)}</h1><p class='verdict'>{_text(lead)}</p>"
        f"<div class='wide'>{_table(summary)}</div><h2>Explore</h2>{explorer}{''.join(parts)}"
        f"<footer>Made by frviz {_text(__version__)}. {_text(footer)}</footer></body></html>\n"
    )


def _section(number: int, section: Section) -> str:
    made = ""
    if section.figure is not None:
        made += f"<h2>{_text(section.heading)}</h2>" + "<div class='wide'>{}</div>".format(
            section.figure.to_html(
                full_html=False,
                include_plotlyjs=False,
                div_id=f"figure-{number}",
                config={"responsive": True},
            )
        )
    if section.table is not None:
        as_table = " as a table" if section.figure is not None else ""
        made += (
            f"<details><summary>{_text(section.heading)}{as_table}</summary>"
            f"<div class='wide'>{_table(section.table)}</div></details>"
        )
    return made


def _text(value: object) -> str:
    return html.escape(plain(value), quote=True)


def _table(table: pd.DataFrame) -> str:
    return shown(table).to_html(
        border=0,
        na_rep="",
        justify="left",
        escape=True,
        index_names=False,
        float_format="{:.3f}".format,
    )
