"""`frviz.compare`: did a change help, where, and is it more than chance?"""

import html
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from frcore.display import plain
from frcore.errors import UserError
from frcore.predictions import Predictions
from frviz.sources import Source, judges_of, marked_name, members_of, whole_seed
from frviz.tables import comparison as tables
from frviz.tables.clusters import class_clusters
from frviz.tables.groups import folds
from frviz.tables.paired import Paired
from frviz.tables.shown import as_text, summary_html
from frviz.tables.verdict import in_words

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from frcore.data.store import Store
    from frviz.explorer.maps import FirstMap
    from frviz.explorer.subject import Subject
    from frviz.explorer.widget import Explorer

SHOWN_CLIPS = 200  # rows of the report's tables of fixed and broken clips
FACTS = ("model", "benchmark", "preset", "protocol", "stream", "split", "run", "seed", "epoch",
         "select", "duplicates", "checkpoint", "source")  # fmt: skip


def compare(
    a: Source | Sequence[Source],
    b: Source | Sequence[Source],
    *,
    names: tuple[str, str] | None = None,
    reference: Source | Sequence[Source] | None = None,
    seed: int = 0,
) -> "Comparison":
    """Compares two models over the same test clips.

    Args:
        a: the baseline: a run, its directory, a checkpoint, predictions or their file; or a list of
            runs that differ in their seed.
        b: what changed, likewise.
        names: how the two are called; by default what tells their runs apart.
        reference: whose confusions make groups and levels. By default those of both, counted
            alike: chosen by A alone, as in the paper (`reference=a`), they favour any B in the
            classes where this run of A happened to be weak. By validation predictions where the
            models are runs that have them, else by cross-fitting over two halves of the test clips.
        seed: of intervals and halves; 0 or more.

    Raises:
        UserError: a source that cannot be read, or clips that are not the same; listed.

    Example:
        >>> frviz.compare("runs/base", "runs/fr").report("comparison.html")
    """
    seed = whole_seed(seed)
    paired = Paired.of(members_of(a), members_of(b))
    if reference is None:
        judges, how = judges_of([a, b], [paired.a, paired.b], "both models")
    else:
        who = "A alone" if reference is a else "the reference"
        judges, how = judges_of([reference], [paired.a] if reference is a else None, who)
    if set(judges[0][0].sample_ids) & set(paired.a[0].sample_ids):
        how += ", cross-fitted: chosen on one half of the test clips, measured on the other"
    folds(paired.a[0], judges, seed)  # says now what does not fit
    firsts = tuple(x[0] if isinstance(x, list | tuple) else x for x in (a, b))
    return Comparison(paired, _names(paired, names), judges, how, seed, firsts)


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two models over the same clips. Tables are made when they are first asked for.

    Attributes:
        paired: both models, clip by clip.
        names: of A and B; they say where an epoch was selected on test.
        judges: models (each with its runs) whose confusions make groups and levels.
        reference_note: who these are, in words.
        seed: of intervals and halves.
        origins: what the first runs of A and B were made from, where it is known: the explorer
            finds their training history there.
    """

    paired: Paired
    names: tuple[str, str]
    judges: tuple[tuple[Predictions, ...], ...]
    reference_note: str
    seed: int
    origins: tuple[Source | None, ...] = (None, None)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Accuracy of both over all clips, top-1 first, with interval and test."""
        return tables.summary(self.paired, seed=self.seed)

    @cached_property
    def per_class(self) -> pd.DataFrame:
        """A row a class: recall of both, interval, exact McNemar, Holm's correction."""
        return tables.class_changes(self.paired, seed=self.seed)

    @cached_property
    def groups(self) -> pd.DataFrame:
        """A row an ambiguous group (the paper's Figure 4), corrected for its choice."""
        return tables.group_changes(self.paired, self.judges, seed=self.seed)

    @cached_property
    def levels(self) -> pd.DataFrame:
        """Hard, medium and easy classes (Table 4), corrected for their choice."""
        return tables.level_changes(self.paired, self.judges, seed=self.seed)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """A row a cell of the confusion matrices: clips of A and B there, and a test."""
        return tables.cell_changes(self.paired)

    @cached_property
    def agreement(self) -> pd.DataFrame:
        """How often the two say the same."""
        return tables.agreement(self.paired)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Exact McNemar test of each pair of runs."""
        return tables.pairs_of_runs(self.paired)

    @property
    def fixed(self) -> pd.DataFrame:
        """Clips that only B gets right, a row each."""
        return self._changed[0]

    @property
    def broken(self) -> pd.DataFrame:
        """Clips that only A gets right, a row each."""
        return self._changed[1]

    @cached_property
    def _changed(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return tables.changed_clips(self.paired)

    @property
    def mcnemar_p(self) -> float | tuple[float, ...]:
        """p of the exact McNemar test; one for each pair of runs where there are several."""
        values = tuple(self.runs["p"].tolist())
        return values[0] if self.paired.single else values

    @property
    def interval(self) -> tuple[float, float]:
        """95 % limits of the difference in accuracy (shares, B minus A)."""
        row = self.summary.loc["top-1"]
        return float(row["low"]), float(row["high"])

    @property
    def verdict(self) -> str:
        """What came out, in plain words."""
        return in_words(self.paired, self.names, self.summary, self.per_class)

    def figures(self) -> "dict[str, go.Figure]":
        """Plotly figures by name; the first three are those that a notebook shows."""
        from frviz.figures.comparison import class_slopes, differences
        from frviz.figures.matrices import confusion, confusion_difference

        names, clusters = self.names, class_clusters(self.paired.a[0], resamples=0)
        classes = self.per_class.index
        subtitle = f"chosen {self.reference_note}; 95 % intervals"
        matrices = {
            f"confusion_{side}": confusion(
                tables.cells_of(self.cells, classes, side),
                clusters=clusters,
                title=name if name == side.upper() else f"{name} ({side.upper()})",
            )
            for side, name in zip("ab", names, strict=True)
        }
        return {
            "groups": differences(self.groups, subtitle=subtitle, names=names),
            "levels": differences(
                self.levels,
                title="Difficulty levels",
                subtitle=subtitle,
                names=names,
                by_size=False,
            ),
            "classes": class_slopes(self.per_class, names=names),
            "changes": confusion_difference(self.cells, classes, clusters=clusters, names=names),
            **matrices,
        }

    def explore(
        self,
        *,
        space: str = "backbone",
        method: "FirstMap" = "auto",
        maps: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
        data: "Store | str | Path | None" = None,
    ) -> "Explorer":
        """The explorer of both models (of each one's first run); arguments as `frviz.explore`."""
        from frviz.explorer.widget import open_explorer

        subject = self._subject(data).with_space(space)
        return open_explorer(subject, space=space, method=method, maps=maps, seed=self.seed)

    def _subject(self, data: "Store | str | Path | None" = None) -> "Subject":
        from frviz.explorer.subject import Subject, title_of

        with ThreadPoolExecutor(1) as other:  # half a second at 50,000 clips; draws hold no lock
            other.submit(lambda: self.groups)
            verdict = self.verdict
        shown = "" if self.paired.single else ", the first run of each"
        over = "; over all runs, the clips are of the first run of each" if shown else ""
        return Subject(
            a=self.paired.a[0],
            b=self.paired.b[0],
            names=self.names,
            title=title_of(self.names, self.paired.a[0]) + shown,
            verdict=verdict + (f" Shown here{shown[1:]}." if shown else ""),
            groups=self.groups,
            groups_note=f"chosen {self.reference_note}; 95 % intervals of B minus A{over}",
            cells=self.cells,
            copies=self.paired.copies,
            origins=self.origins,
            data=data,
        )

    def report(self, path: str | Path) -> Path:
        """Writes all of it, and the explorer, as one HTML file that needs no network; its path.

        Raises:
            UserError: the file cannot be written.
        """
        from frviz.explorer.export import report_snippet
        from frviz.report import Section, write_page

        by_name = {"groups": self.groups, "levels": self.levels,
                   "classes": self.per_class.sort_values("p", kind="stable")}  # fmt: skip
        headings = {
            "groups": "Ambiguous groups",
            "levels": "Difficulty levels",
            "classes": "Classes",
            "changes": "Confusions that changed",
            "confusion_a": f"Confusions of {self.names[0]}",
            "confusion_b": f"Confusions of {self.names[1]}",
        }
        sections = [
            Section("How often they agree", table=self.agreement.round(4)),
            Section("What was compared", table=self._facts()),
        ]
        if not self.paired.single:
            sections.append(Section("Each pair of runs", table=self.runs))
        sections += [
            Section(headings[name], figure, by_name.get(name))
            for name, figure in self.figures().items()
        ]
        for name, clips in (("fixed", self.fixed), ("broken", self.broken)):
            first = f", the first {SHOWN_CLIPS}" if len(clips) > SHOWN_CLIPS else ""
            sections.append(
                Section(f"{len(clips):,} clips {name}{first}", table=_tidy(clips.head(SHOWN_CLIPS)))
            )
        over = "clips" if self.paired.single else "runs and clips"
        return write_page(
            Path(path),
            title=f"{self.names[0]} and {self.names[1]}",
            lead=self.verdict,
            summary=self.summary,
            explorer=report_snippet(self._subject(), seed=self.seed),
            sections=sections,
            footer=f"Intervals: 95 %, bootstrap over {over}, one fixed and one broken clip added "
            "(Bonett and Price, 2012: else few clips give intervals that are too short), seed "
            f"{self.seed}. Clips count as independent; those of one person are not quite. Groups "
            f"and levels are chosen {self.reference_note}.",
        )

    def _facts(self) -> pd.DataFrame:
        """What is known of each run, a column a run."""
        columns = {}
        for letter, runs in zip("AB", (self.paired.a, self.paired.b), strict=True):
            for number, run in enumerate(runs, start=1):
                name = f"model {letter}" + ("" if len(runs) == 1 else f", run {number}")
                columns[name] = {fact: plain(run.metadata.get(fact, "")) for fact in FACTS}
        table = pd.DataFrame(columns)
        return table[(table != "").any(axis=1)]

    def __repr__(self) -> str:
        head = f"{self.names[0]} (A) and {self.names[1]} (B), {len(self.paired.labels):,} clips"
        return plain(f"Comparison({head})") + f"\n{as_text(self.summary)}\n{plain(self.verdict)}"

    def _repr_html_(self) -> str:
        return self._html_head()

    def _html_head(self) -> str:
        names = " and ".join(
            f"<b>{html.escape(plain(name))}</b> ({letter})"
            for name, letter in zip(self.names, "AB", strict=True)
        )
        return (
            f"<div><p>{names}, {len(self.paired.labels):,} clips</p>{summary_html(self.summary)}"
            f"<p>{html.escape(plain(self.verdict))}</p></div>"
        )

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display({"text/html": self._html_head(), "text/plain": repr(self)}, raw=True)
        for figure in list(self.figures().values())[:3]:
            display(figure)


def _tidy(clips: pd.DataFrame) -> pd.DataFrame:
    """Without columns that say nothing here, and with spaces in their names."""
    clips = clips.dropna(axis=1, how="all") if len(clips) else clips
    clips = clips if clips["copy"].any() else clips.drop(columns="copy")
    return clips.rename(columns=lambda name: name.replace("_", " "))


def _names(paired: Paired, names: tuple[str, str] | None) -> tuple[str, str]:
    """What A and B are called, in every title and legend; marked where selected on test."""
    a, b = _plain_names(paired, names)
    return marked_name(a, *paired.a), marked_name(b, *paired.b)


def _plain_names(paired: Paired, names: tuple[str, str] | None) -> tuple[str, str]:
    if names is not None:
        if not isinstance(names, list | tuple) or len(names) != 2 or not all(map(str, names)):
            raise UserError(f"names: expected two, such as ('baseline', 'FR Head'), got {names!r}.")
        return str(names[0]), str(names[1])
    for key in ("model", "run", "stream", "source", "epoch"):
        a, b = ({run.metadata.get(key) for run in runs} for runs in (paired.a, paired.b))
        if len(a) == len(b) == 1 and a != b and None not in a | b:
            found = str(a.pop()), str(b.pop())
            if key == "source":
                return _apart(*found)
            return tuple(f"epoch {name}" for name in found) if key == "epoch" else found
    return "A", "B"


def _apart(a: str, b: str) -> tuple[str, str]:
    """What tells two files apart: without the folders and the file that both are in."""
    parts = [re.split(r"[/:]", name) for name in (a, b)]
    same = len(os.path.commonprefix(parts))
    if not same or same == min(map(len, parts)):
        return a, b
    return "/".join(parts[0][same:]), "/".join(parts[1][same:])
