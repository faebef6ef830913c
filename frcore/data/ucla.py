"""NW-UCLA (Wang et al., CVPR 2014): one JSON a clip, as the CTR-GCN family distributes them."""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm.auto import tqdm

from frcore.data.archive import Source, content_digest, open_source
from frcore.data.benchmarks import NW_UCLA
from frcore.data.clips import ClipRecord, Problems, Repair
from frcore.data.replacing import ANOTHER_ROOT, write_unless_there
from frcore.data.store import Store, data_root
from frcore.errors import UserError, counted

log = logging.getLogger(__name__)

PUBLISHED = {"train": 1020, "test": 464}  # clips of the whole set
NUM_CLIPS = sum(PUBLISHED.values())
DIGEST = "33678f2af698a4dbbadd069126b15b6701faa55ece507dab688dc1588c6dee42"  # `content_digest`
_ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)  # label = position; a07 and a10 do not exist
_SPLIT_OF_VIEW = {1: "train", 2: "train", 3: "test"}  # cross-view, as every paper uses it
_NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)", re.ASCII)


def prepare(
    source: str | Path,
    *,
    root: str | Path | None = None,
    repair: Repair | None = None,
    overwrite: bool = False,
) -> Store:
    """Makes the store "nw_ucla" from `all_sqe.zip` or a folder of its JSON files.

    Clips are kept as they are: (T, 1, 20, 3) float32, metres, camera frame. Labels, subject, view
    and split (train: views 1 and 2; test: view 3) follow from the names `aAA_sSS_eEE_vVV`. Files
    that are not the published ones, all and unchanged, are accepted with a warning, which the store
    keeps (`Store.notices`).

    Args:
        source: zip (read in memory, never extracted) or folder.
        root: data root; None: `data_root()`.
        repair: what to do with NaN and Inf (see `write_store`); the published files have none.
        overwrite: replace an existing store. Without, one that holds the very same is returned, one
            that differs is refused.

    Raises:
        UserError: naming the files that are not as expected.
    """
    source = Path(source)
    base = Path(root) if root is not None else data_root()
    with open_source(source, ".json") as files:
        if len(files) == 0:
            raise UserError(f"{source} holds no .json files named like a01_s01_e00_v01.json.")
        notices = _differences(files)
        clips = tqdm(_read_all(files), total=len(files), desc="nw_ucla", unit="clip")
        store = write_unless_there(
            base / NW_UCLA.name,
            NW_UCLA,
            clips,
            overwrite=overwrite,
            instead=ANOTHER_ROOT,
            repair=repair,
            notices=notices,
        )
    for notice in notices:  # last, where a progress bar does not hide it
        log.warning("%s: %s", source, notice)
    return store


def _differences(files: Source) -> list[str]:
    """In what the files differ from the published set; [] where they are that set."""
    if len(files) != NUM_CLIPS:
        views = [match[4] for name in files if (match := _NAME.fullmatch(PurePosixPath(name).stem))]
        there = Counter(_SPLIT_OF_VIEW.get(int(view), "") for view in views)
        splits = (f"{split} {there[split]:,} of {count:,}" for split, count in PUBLISHED.items())
        return [
            f"Not the whole published set: {counted(len(files), 'clip')} of {NUM_CLIPS:,} "
            f"({', '.join(splits)}); accuracies on it are not comparable with published ones."
        ]
    try:
        digest = content_digest(files)
    except UserError:  # which reading the clips says, of all files at once
        return []
    if digest == DIGEST:
        return []
    return [
        f"Not the published files: content sha256 {digest[:12]}..., published {DIGEST[:12]}...; "
        "accuracies on it may not be comparable with published ones."
    ]


def _read_all(files: Source) -> Iterator[ClipRecord]:
    """Clips by name; what could not be read is raised at the end, all at once."""
    problems = Problems()
    for name in sorted(files, key=lambda n: (PurePosixPath(n).stem, n)):
        try:
            yield parse_clip(PurePosixPath(name).stem, files.read(name))
        except UserError as error:
            problems.add(f"{name}: {error}")
    problems.raise_if_any(f"{files.origin} is not NW-UCLA as expected")


def parse_clip(name: str, content: bytes) -> ClipRecord:
    """A clip from a file's stem and bytes.

    Raises:
        UserError: if name or content are not as expected.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise UserError("the name is not like a01_s01_e00_v01")
    action, subject, _, view = map(int, match.groups())
    if action not in _ACTIONS or view not in _SPLIT_OF_VIEW:
        known = ", ".join(f"a{a:02}" for a in _ACTIONS)
        raise UserError(f"unknown action or view; expected {known} and v01, v02, v03")
    data, written = _parse_json(content)
    label = _ACTIONS.index(action)
    if written != label + 1:
        raise UserError(f"the file says label {written!r}; a{action:02} is {label + 1}")
    return ClipRecord(
        sample_id=name,
        label=label,
        data=data,
        splits={"xview": _SPLIT_OF_VIEW[view]},
        extra={"subject": subject, "camera": view},
    )


def _parse_json(content: bytes) -> tuple[np.ndarray, object]:
    """Joints (T, 20, 3) float32 and the label as written (from 1)."""
    try:
        fields = json.loads(content)
        data = np.array(fields["skeletons"], dtype=np.float32)
        return data, fields["label"]
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise UserError(
            "expected JSON with 'skeletons' [T][20][3] (numbers, metres) and 'label'; "
            f"{type(error).__name__}: {str(error)[:200]}"
        ) from error
