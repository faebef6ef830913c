"""NW-UCLA (Wang et al., CVPR 2014): one JSON a clip, as the CTR-GCN family distributes them."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm.auto import tqdm

from frcore.data.archive import Source, open_source
from frcore.data.benchmarks import NW_UCLA
from frcore.data.clips import ClipRecord, Problems, Repair
from frcore.data.store import Store, data_root, write_store
from frcore.errors import UserError

log = logging.getLogger(__name__)

NUM_CLIPS = 1484  # the whole set
_ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)  # label = position; a07 and a10 do not exist
_SPLIT_OF_VIEW = {1: "train", 2: "train", 3: "test"}  # cross-view, as every paper uses it
_NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)", re.ASCII)


def prepare(
    source: str | Path, *, root: str | Path | None = None, repair: Repair | None = None
) -> Store:
    """Makes the store "nw_ucla" from `all_sqe.zip` or a folder of its JSON files.

    Clips are kept as they are: (T, 1, 20, 3) float32, metres, camera frame. Labels, subject, view
    and split (train: views 1 and 2; test: view 3) follow from the names `aAA_sSS_eEE_vVV`.

    Args:
        source: zip (read in memory, never extracted) or folder.
        root: data root; None: `data_root()`.
        repair: what to do with NaN and Inf (see `write_store`); the published files have none.

    Raises:
        UserError: naming the files that are not as expected.
    """
    source = Path(source)
    base = Path(root) if root is not None else data_root()
    with open_source(source, ".json") as files:
        if len(files) == 0:
            raise UserError(f"{source} holds no .json files named like a01_s01_e00_v01.json.")
        if len(files) != NUM_CLIPS:
            log.warning("%s holds %d clips; the whole set has %d.", source, len(files), NUM_CLIPS)
        clips = tqdm(_read_all(files), total=len(files), desc="nw_ucla", unit="clip")
        return write_store(base / NW_UCLA.name, NW_UCLA, clips, repair=repair)


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
