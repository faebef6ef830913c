"""The explorer as one HTML file: no network, no kernel, the same module as in a notebook.

Module and data are base64 in blocks that a browser does not interpret, so nothing in them can be
taken for markup; a small script (static/page.js) unpacks them and stands in for the kernel.
"""

import base64
import gzip
import html
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from frcore.display import plain
from frcore.errors import UserError
from frcore.files import atomic_write, make_folder_of
from frviz.explorer.details import clip_details, near_clips, rival_of
from frviz.explorer.maps import first_maps
from frviz.explorer.payload import explorer_payload, for_page
from frviz.explorer.payload_format import pack, unpack
from frviz.explorer.subject import Subject

STATIC = Path(__file__).parent / "static"
REPORT_POINTS = 1_000  # clips up to which a report lays out its map by t-SNE
REPORT_CLIPS = 32  # that a report carries

Details = Mapping[str, Mapping[str, bytes]]  # payloads of kind "details" by sample id and side

# Nothing may be fetched, whatever a name in the data says; blob: is the page's own module.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:"
)
_BODY = ":root { color-scheme: light dark; } body { margin: 0; }"


def write_html(path: Path, payload: bytes, details: Details, *, title: str) -> Path:
    """Writes a page, its folder with it.

    Args:
        path: of the file.
        payload: of kind "explorer".
        details: the clips that the page carries, from `carried_details`.
        title: of the page.

    Returns:
        The path.

    Raises:
        UserError: the file cannot be written.
    """
    page = (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(plain(title))}</title><style>{_BODY}</style></head><body>"
        f"{explorer_snippet(payload, details)}</body></html>\n"
    )
    make_folder_of(path)
    atomic_write(path, page)
    return path


def explorer_snippet(payload: bytes, details: Details) -> str:
    """The same as a part of a page, whose policy has to allow what `POLICY` does.

    Args:
        payload: as in `write_html`.
        details: as in `write_html`.
    """
    module = (STATIC / "explorer.js").read_bytes()
    style = (STATIC / "explorer.css").read_text(encoding="utf-8")
    script = (STATIC / "page.js").read_text(encoding="utf-8")
    parts = {"module": module, "payload": payload, "details": _joined(details)}
    blocks = "".join(
        f'<script type="application/octet-stream" data-part="{name}">{_packed(data)}</script>'
        for name, data in parts.items()
    )
    return (
        f"<section class='frx-page'><style>{style}</style><div></div>{blocks}"
        f"<script>{script}</script></section>"
    )


def report_snippet(subject: Subject, *, seed: int = 0) -> str:
    """The explorer as a part of a report, which must not take long.

    Up to `REPORT_POINTS` clips the map is the usual one (t-SNE), beyond it is PCA; `REPORT_CLIPS`
    clips are carried. `Explorer.to_html` takes more of both.
    """
    subject = replace(subject, verdict="")  # the report begins with it
    method = "auto" if len(subject.a) <= REPORT_POINTS else "pca"
    maps = first_maps(subject, method=method, seed=seed)
    return explorer_snippet(*page_parts(subject, explorer_payload(subject), maps, REPORT_CLIPS))


def page_parts(
    subject: Subject,
    payload: bytes,
    maps: Sequence[pd.DataFrame],
    clips: int,
    *,
    space: str = "backbone",
) -> tuple[bytes, Details]:
    """What a page carries.

    Args:
        subject: one model or two.
        payload: from `explorer_payload`.
        maps: that the page shows.
        clips: as in `carried_details`.
        space: as in `carried_details`.

    Returns:
        The payload for the page, and the clips that it carries.
    """
    details = carried_details(subject, clips, space=space)
    complete = [name for name, sides in details.items() if unpack(sides["a"])[0]["complete"]]
    return for_page(payload, subject, maps, details, complete), details


def carried_details(subject: Subject, clips: int, *, space: str = "backbone") -> Details:
    """The clips that a page carries: mistakes first, all classes in turn, with their nearest clips.

    Args:
        subject: one model or two; without a store there is nothing to carry.
        clips: at most so many different ones, the nearest clips among them.
        space: in which clips are near.

    Returns:
        Payloads of kind "details" by sample id and side: as A sees the clip, and as B does where
        its rival is another class.

    Raises:
        UserError: `clips` is no number of clips.
    """
    if not isinstance(clips, int | np.integer) or clips < 0:
        raise UserError(f"clips: expected a whole number, 0 or more; got {clips!r}.")
    store, _ = subject.store
    if store is None:
        return {}
    carried: dict[str, None] = {}  # a set that keeps its order
    stored = set(store.samples["sample_id"])
    for row in _mistakes_first(subject):
        if len(carried) >= clips:
            break
        for side in _sides(subject, int(row)):
            for clip in near_clips(subject, int(row), space=space, side=side)[0]:
                name = subject.a.sample_ids[clip.row]
                if len(carried) < clips and name in stored:
                    carried[name] = None
    return {
        name: {
            side: clip_details(subject, name, space=space, side=side, carried=carried)
            for side in _sides(subject, subject.place[name])
        }
        for name in carried
    }


def _sides(subject: Subject, row: int) -> tuple[str, ...]:
    """Whose nearest clips are shown of a clip: those of B where its rival is another class."""
    if subject.b is None or rival_of(subject, row, "b") == rival_of(subject, row, "a"):
        return ("a",)
    return ("a", "b")


def _mistakes_first(subject: Subject) -> np.ndarray:
    """(N,) rows: broken, fixed, both wrong, right; within each the classes take turns."""
    right_a = subject.a.correct
    right_b = right_a if subject.b is None else subject.b.correct
    rank = np.select([right_a & ~right_b, ~right_a & right_b, ~right_a & ~right_b], [0, 1, 2], 3)
    labels = subject.a.labels
    turn = np.zeros(len(labels), dtype=np.int64)
    for kind in range(4):
        for number in np.unique(labels[rank == kind]):
            rows = np.flatnonzero((rank == kind) & (labels == number))
            turn[rows] = np.arange(len(rows))
    return np.lexsort((labels, turn, rank))


def _joined(details: Details) -> bytes:
    """All details as one payload: a clip that is near to several others is there once."""
    headers, arrays, names = {}, {}, {}
    for sample_id, by_side in details.items():
        headers[sample_id] = {}
        for side, payload in by_side.items():
            header, own = unpack(payload)
            header.pop("arrays")
            for clip in header["clips"]:
                name = names.setdefault(clip["id"], f"joints_{len(names)}")
                arrays[name] = own[clip["joints"]]
                clip["joints"] = name
            headers[sample_id][side] = header
    return pack({"kind": "carried", "details": headers}, arrays)


def _packed(data: bytes) -> str:
    """Base64 of gzip; the same bytes for the same data."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode("ascii")
