"""A user's own data: NumPy arrays in, a store like any benchmark's out."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from frcore.data.benchmarks import BUILT_IN, Benchmark, check_name
from frcore.data.clips import ClipRecord, Problems, Repair
from frcore.data.replacing import write_unless_there
from frcore.data.store import Store, data_root
from frcore.errors import UserError, counted
from frcore.skeleton import Skeleton, get_skeleton

log = logging.getLogger(__name__)

PROTOCOL = "default"  # own data are split in one way


def from_arrays(
    name: str,
    clips: Iterable[np.ndarray],
    labels: Sequence[int],
    sample_ids: Sequence[str] | None = None,
    *,
    split: Sequence[str] | Mapping[str, str],
    skeleton: Skeleton | str,
    class_names: Sequence[str] | None = None,
    subjects: Sequence[int | str] | None = None,
    num_frames: int = 64,
    root: str | Path | None = None,
    overwrite: bool = False,
    repair: Repair | None = None,
) -> Store:
    """Makes a store of your own data, to be used by its name like any benchmark.

    Args:
        name: the store's folder in the data root and the benchmark's name.
        clips: N arrays (T, V, C) or (T, V, C, M), lengths may differ; C is 2 (x, y) or 3 (x, y, z).
        labels: N whole numbers, 0..K-1.
        sample_ids: N unique names; None: `<split>/000000`, ..., counted within each split in the
            order given.
        split: "train", "val" or "test" for each clip, or a dictionary from sample id to these.
        skeleton: the body, or the name of a known one ("ntu25", "ucla20", "coco17").
        class_names: K names; None: "0", "1", ... up to the largest label.
        subjects: who performed each clip, if known; needed by `val_subjects`.
        num_frames: frames that a model sees unless a recipe says otherwise
            (`data.transform.frames`); clips are stored at their own length.
        root: data root; None: `data_root()`.
        overwrite: replace an existing store of that name. Without, one that holds the very same is
            returned, so that a notebook's cell runs twice; one that differs is refused.
        repair: what to do with NaN and Inf (see `write_store`); None: refuse them.

    Raises:
        UserError: listing the first ten problems of all clips.
    """
    if isinstance(class_names, str):
        raise UserError(f"class_names is one text, '{class_names[:40]}'; give a list of names.")
    path = _store_path(name, Path(root) if root is not None else data_root())
    clips, labels = _as_list(clips), _as_list(labels)
    ids = None if sample_ids is None else _as_list(sample_ids)
    people = None if subjects is None else _as_list(subjects)
    _check_lengths(len(clips), labels=labels, sample_ids=ids, subjects=people)
    splits = _splits(split, ids, len(clips))
    benchmark = Benchmark(
        name=name,
        skeleton=get_skeleton(skeleton),
        class_names=_class_names(labels) if class_names is None else tuple(class_names),
        num_persons=max([1, *map(_count_persons, clips)]),
        num_frames=num_frames,
        protocols=(PROTOCOL,),
        channels=_count_channels(clips),
        source="own arrays",
    )
    if benchmark.channels == 3 and _look_like_scores(clips):
        log.warning(
            "The third channel lies in 0..1 in all clips, x and y do not: is it the score of a "
            "keypoint detector? It would be taken for z; pass clip[:, :, :2] to leave it out."
        )
    ids = ids if ids is not None else list(_numbered(splits))
    records = (
        ClipRecord(
            sample_id=ids[i],
            label=labels[i],
            data=clips[i],
            splits={PROTOCOL: splits[i]},
            extra={} if people is None else {"subject": people[i]},
            axes="T V C M",
        )
        for i in range(len(clips))
    )
    return write_unless_there(path, benchmark, records, overwrite=overwrite, repair=repair)


def _store_path(name: str, root: Path) -> Path:
    path = root / check_name("name", name)
    if name in BUILT_IN:
        raise UserError(
            f"'{name}' is a built-in name ({', '.join(BUILT_IN)}); give your data another."
        )
    return path


def _as_list(values: Any) -> list[Any]:
    """A list; arrays of numbers or text become plain Python values, arrays of clips their rows."""
    return values.tolist() if getattr(values, "ndim", 0) == 1 else list(values)


def _check_lengths(count: int, **columns: list[Any] | None) -> None:
    wrong = [f"{len(c)} {name}" for name, c in columns.items() if c is not None and len(c) != count]
    if wrong:
        raise UserError(
            f"{counted(count, 'clip')}, but {', '.join(wrong)}; give one for each clip."
        )


def _splits(split: Any, ids: list[str] | None, count: int) -> list[str]:
    """Each clip's split; its value is checked together with the clip."""
    if not isinstance(split, Mapping):
        if isinstance(split, str):
            raise UserError(f"split is {split!r}; give 'train', 'val' or 'test' for each clip.")
        values = _as_list(split)
        _check_lengths(count, split=values)
        return values
    if ids is None:
        raise UserError("split is a dictionary by sample id; pass sample_ids too.")
    problems, known = Problems(), set(ids)
    for sample_id in ids:
        if sample_id not in split:
            problems.add(f"clip '{sample_id}' has no entry in split")
    for sample_id in split:
        if sample_id not in known:
            problems.add(f"split names '{sample_id}', which is no clip")
    problems.raise_if_any("split and sample_ids do not agree")
    return [split[sample_id] for sample_id in ids]


def _numbered(splits: list[str]) -> Iterator[str]:
    counts: Counter[str] = Counter()
    for split in splits:
        yield f"{split or 'unused'}/{counts[split]:06}"
        counts[split] += 1


def _class_names(labels: list[Any]) -> tuple[str, ...]:
    """ "0", "1", ...; labels that are no whole numbers are refused later, with their clips."""
    whole = [k for k in labels if isinstance(k, int | np.integer) and k >= 0]
    if whole and max(whole) >= max(1000, 10 * len(labels)):
        raise UserError(f"The largest label is {max(whole)}; expected 0..K-1 without large gaps.")
    return tuple(str(k) for k in range(int(max(whole, default=0)) + 1))


def _count_persons(clip: Any) -> int:
    """Persons of a clip that are not zero throughout."""
    if np.ndim(clip) != 4:
        return 1
    return int((np.asarray(clip) != 0).any(axis=(0, 1, 2)).sum())


def _count_channels(clips: list[Any]) -> int:
    """C of most clips, so that the odd one out is what gets reported."""
    shapes = [np.shape(c) for c in clips if np.ndim(c) in (3, 4)]
    for axis in (2, 0, -1):  # the others: (C, T, V) and (M, T, V, C), refused with a hint
        found = Counter(shape[axis] for shape in shapes)
        usual = [c for c, _ in found.most_common() if c in (2, 3)]
        if usual:
            return usual[0]
    return 3


def _look_like_scores(clips: list[Any]) -> bool:
    """(x, y, score) instead of (x, y, z)."""
    whole = [np.asarray(c) for c in clips if np.ndim(c) in (3, 4) and np.shape(c)[2] == 3]
    whole = [np.nan_to_num(c) for c in whole if c.dtype.kind in "fiu" and c.size]
    thirds, others = [c[:, :, 2] for c in whole], [c[:, :, :2] for c in whole]
    return (
        bool(whole)
        and all(third.min() >= 0 and third.max() <= 1 for third in thirds)
        and max(np.abs(other).max() for other in others) > 2
    )
