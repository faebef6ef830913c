"""`Explorer`: the linked views in a notebook, and what was chosen in them as a DataFrame.

Views are linked in the browser; Python is asked only for what the page does not hold, and is told
what was chosen. Handlers may run on a thread of their own while a cell runs (ipykernel 7 and
newer): they touch this widget's traits and tables, and never the display.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import pandas as pd
import traitlets

from frcore.display import SILENT, plain
from frcore.errors import UserError, did_you_mean, unknown_name
from frviz.explorer.details import clip_details
from frviz.explorer.export import page_parts, write_html
from frviz.explorer.maps import FirstMap, encode_map, first_maps, key_of, make_map
from frviz.explorer.payload import explorer_payload
from frviz.explorer.payload_format import pack
from frviz.explorer.selected import samples_table
from frviz.explorer.subject import Subject

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
CLIPS = 64  # that a page carries unless told


class SelectionError(UserError, traitlets.TraitError):
    """A value that a trait of the explorer does not take; the text says which are there."""


class Ids(traitlets.List):
    """Sample ids from any sequence (an index of a table, too), each once."""

    def validate(self, obj: Any, value: Any) -> list[str]:
        """A list of them; a TraitError for what is no sequence of text."""
        if isinstance(value, Iterable) and not isinstance(value, str):
            value = list(value)
            if all(isinstance(name, str) for name in value):
                value = list(dict.fromkeys(map(str, value)))
        return super().validate(obj, value)


class ClassName(traitlets.Unicode):
    """A class by its name; None is no class, ""."""

    def validate(self, obj: Any, value: Any) -> str:
        """The name; a TraitError for what is no text."""
        return super().validate(obj, "" if value is None else value)


class Cell(traitlets.List):
    """A cell as two classes; None is no cell, []."""

    def validate(self, obj: Any, value: Any) -> list[str]:
        """A list; a TraitError for what is no sequence of text."""
        return super().validate(obj, [] if value is None else value)


class Explorer(anywidget.AnyWidget):
    """Linked views of one model or two; made by `frviz.explore` or `Comparison.explore`.

    What is chosen can be read and set; the page follows. Setting `anchor` chooses the clips of its
    ambiguous group, setting `cell` those of a cell of the confusion matrix of the model `side`.

    Attributes:
        selection: sample ids of the chosen clips.
        anchor: an anchor class by its name, or "".
        cell: [true class, predicted class] by name, or [].
        side: whose cell it is, "a" or "b".

    Raises:
        UserError: a sample id or a class that is not there is chosen.

    Example:
        >>> explorer = frviz.explore("runs/base", "runs/fr")
        >>> explorer.anchor = "reading"
        >>> explorer.selected
    """

    _esm = STATIC / "explorer.js"
    _css = STATIC / "explorer.css"

    payload = traitlets.Bytes().tag(sync=True)
    selection = Ids(traitlets.Unicode()).tag(sync=True)
    anchor = ClassName("").tag(sync=True)
    cell = Cell(traitlets.Unicode()).tag(sync=True)
    side = traitlets.Unicode("a").tag(sync=True)
    _shown = traitlets.Int(0).tag(sync=True)  # set by the page when it appears (js/index.js)

    def __init__(
        self,
        subject: Subject,
        *,
        maps: Sequence[pd.DataFrame] = (),
        space: str = "backbone",
        seed: int = 0,
    ) -> None:
        self._subject, self._space, self._seed = subject, space, seed
        self._maps = {key_of(table): table for table in maps}
        self._making = threading.Lock()
        self._own = threading.local()  # this thread settles traits itself: rules do not apply
        super().__init__(payload=explorer_payload(subject, list(self._maps.values())))
        self.on_msg(self._answer)

    # ---- what is chosen --------------------------------------------------------------------------

    @property
    def selected(self) -> pd.DataFrame:
        """The chosen samples, in the order in which they were chosen.

        Returns:
            A row a clip by its `sample_id`: `class`, `predicted`, `outcome`, `confidence`,
            `p_true`, `copy`; of two models `a_predicted`, `b_predicted`, ...; where they are known
            `status`, `learnt_at`, `forgettings` (as in `frviz.learning_history`) and
            `displacement` (between the two maps that were made first).
        """
        known = [name for name in self.selection if name in self._subject.place]
        rows = [self._subject.place[name] for name in known]
        table = self._samples.iloc[rows]
        first = next(iter(self._maps.values()), None)
        if first is not None and "displacement" in first:
            table = table.assign(displacement=first["displacement"].to_numpy()[rows])
        return table

    @property
    def groups(self) -> pd.DataFrame:
        """The ambiguous groups that the page lists: a row an anchor, `members` and accuracies.

        Of two models as in `Comparison.groups`; of one, `a` is its accuracy.
        """
        return self._subject.groups

    @cached_property
    def _samples(self) -> pd.DataFrame:
        return samples_table(self._subject)

    @traitlets.validate("selection")
    def _check_selection(self, proposal: Any) -> list[str]:
        value, place = proposal["value"], self._subject.place
        unknown = [name for name in value if name not in place]
        if unknown and not self._settling:
            near = did_you_mean(unknown[0], place) if len(place) < 20_000 else ""
            raise SelectionError(
                f"selection: {len(unknown)} of {len(value)} are no sample ids of this explorer, "
                f"such as '{plain(unknown[0])}'.{near}"
            )
        return value

    @traitlets.validate("anchor")
    def _check_anchor(self, proposal: Any) -> str:
        return self._class("anchor class", proposal["value"]) if proposal["value"] else ""

    @traitlets.validate("cell")
    def _check_cell(self, proposal: Any) -> list[str]:
        value = proposal["value"]
        if len(value) not in (0, 2) and not self._settling:
            raise SelectionError(
                f"cell: expected [true class, predicted class] or []; got {plain(value)}."
            )
        return [self._class("class of a cell", name) for name in value]

    @traitlets.validate("side")
    def _check_side(self, proposal: Any) -> str:
        if proposal["value"] not in self._subject.sides:
            raise SelectionError(str(unknown_name("side", proposal["value"], self._subject.sides)))
        return proposal["value"]

    def _class(self, what: str, name: str) -> str:
        if name not in self._subject.class_number and not self._settling:
            raise SelectionError(plain(unknown_name(what, name, self._subject.classes)))
        return name

    @traitlets.observe("anchor")
    def _anchor_changed(self, change: Any) -> None:
        if not self._settling:
            self._settle(cell=[], selection=self._in_group())

    @traitlets.observe("cell", "side")
    def _cell_changed(self, change: Any) -> None:
        if not self._settling and (self.cell or change["name"] == "cell"):
            self._settle(selection=self._in_cell() if self.cell else self._in_group())

    @traitlets.observe("selection")
    def _selection_changed(self, change: Any) -> None:
        if not self._settling:
            self._settle(cell=[])

    def _in_group(self) -> list[str]:
        """Clips whose true class is in the anchor's group; none without an anchor."""
        alone = [self._subject.class_number.get(self.anchor, -1)]  # a class without a group
        members = self._subject.members.get(self.anchor, alone)
        return self._ids(np.isin(self._subject.a.labels, members))

    def _in_cell(self) -> list[str]:
        true, predicted = (self._subject.class_number.get(name, -1) for name in self.cell)
        model = self._subject.sides[self.side]
        return self._ids((model.labels == true) & (model.predicted == predicted))

    def _ids(self, clips: np.ndarray) -> list[str]:
        return [self._subject.a.sample_ids[row] for row in np.flatnonzero(clips)]

    def _settle(self, **values: Any) -> None:
        """Sets traits as they are, in one message to the page."""
        with self._as_they_are(), self.hold_sync():
            for name, value in values.items():
                setattr(self, name, value)

    @property
    def _settling(self) -> bool:
        return getattr(self._own, "depth", 0) > 0

    @contextmanager
    def _as_they_are(self) -> Iterator[None]:
        self._own.depth = getattr(self._own, "depth", 0) + 1
        try:
            yield
        finally:
            self._own.depth -= 1

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """What the page says, taken as it is: it has settled its traits itself."""
        with self._as_they_are():
            super().set_state(sync_data)

    # ---- what the page asks for ------------------------------------------------------------------

    def _answer(self, _: Any, message: Any, buffers: Any) -> None:
        """Answers a message of the page; an error is an answer, too."""
        kinds = {"details": self._details, "map": self._map}
        kind = message.get("kind") if isinstance(message, dict) else None
        if kind not in kinds:
            log.warning("The page asks for something unknown: %s.", plain(kind))
            return
        reply = {"kind": kind, "request": message.get("request"), "payload": False, "error": None}
        made = []
        try:
            made = [kinds[kind](message)]
            reply["payload"] = True
        except UserError as error:
            reply["error"] = str(error)
        except Exception:  # whatever it is, the page has to hear of it
            log.exception("The explorer could not answer '%s'.", kind)
            reply["error"] = "failed: see the log"
        self.send(reply, buffers=made)

    def _details(self, message: dict[str, Any]) -> bytes:
        space, side = str(message.get("space") or self._space), str(message.get("side") or "a")
        return clip_details(self._subject, str(message.get("id")), space=space, side=side)

    def _map(self, message: dict[str, Any]) -> bytes:
        table = self._made(str(message.get("space")), str(message.get("method")))
        entry, arrays = encode_map(self._subject, table)
        return pack({"kind": "map", "map": entry}, arrays)

    def _made(self, space: str, method: str) -> pd.DataFrame:
        """A map, made once; what a run has to predict for it is predicted."""
        with self._making:
            made = self._maps.get(f"{space}/{method}")
            if made is None:
                silent = SILENT.set(True)
                try:
                    self._subject = self._subject.with_space(space)
                    made = make_map(self._subject, space=space, method=method, seed=self._seed)
                finally:
                    SILENT.reset(silent)
                self._maps = {**self._maps, key_of(made): made}
            return made

    # ---- elsewhere -------------------------------------------------------------------------------

    def to_html(self, path: str | Path, *, clips: int = CLIPS) -> Path:
        """Writes the explorer as one HTML file that needs neither network nor kernel.

        It holds every map that was made so far and the joints of at most `clips` clips: mistakes
        first (of two models those that B breaks, then those it fixes, then those that both make),
        from all classes in turn, each with its nearest clips.

        Args:
            path: of the file.
            clips: that it carries; 0: none.

        Returns:
            Its path.

        Raises:
            UserError: the file cannot be written.
        """
        maps = list(self._maps.values())
        payload, details = page_parts(self._subject, self.payload, maps, clips, space=self._space)
        return write_html(Path(path), payload, details, title=self._subject.title)

    def __repr__(self) -> str:
        subject = self._subject
        who = " and ".join(
            f"'{name}'" + (f" ({letter})" if subject.b is not None else "")
            for name, letter in zip(subject.names, "AB", strict=False)
        )
        return plain(
            f"Explorer({who}, {len(subject.a):,} clips, {len(subject.classes)} classes, "
            f"{len(self.selection):,} chosen)"
        )


def open_explorer(
    subject: Subject,
    *,
    space: str = "backbone",
    method: FirstMap = "auto",
    maps: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    seed: int = 0,
) -> Explorer:
    """An explorer of a subject, with its first map made (see `frviz.explore`)."""
    tables = first_maps(subject, space=space, method=method, maps=maps, seed=seed)
    for table in tables:
        subject = subject.with_space(table.attrs["space"])
    space = tables[0].attrs["space"] if tables else space
    return Explorer(subject, maps=tables, space=space, seed=seed)
