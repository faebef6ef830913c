"""What is wrong with a store: missing values, clips without content, copies across the split."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from frcore.data.clips import SHOWN, SPLITS, content_hash
from frcore.data.store import Store
from frcore.errors import counted

_AXES = "xyz"


@dataclass(frozen=True, repr=False)
class StoreReport:
    """What `check_store` found. Frames are counted from 0; ids are sample ids.

    Attributes:
        name, preset, protocol, fingerprint: what was checked.
        clips, frames: how many; `lengths` is the shortest, median and longest clip in frames.
        splits: split -> clips.
        classes: one row a class: label, name, clips in train, val and test, copied test clips.
        nonfinite: id -> frames with NaN or Inf.
        empty: ids of clips that are zero throughout.
        single_frame: ids of clips of one frame.
        flat: id -> what is constant ("no motion", "axis z constant").
        damaged: ids whose stored values no longer have the recorded content hash.
        copies: (test id, train id) with the same content; one training clip a test clip.
        val_copies: (val id, train id) likewise.
        notices: what was remarkable when the store was made, such as an incomplete set.
    """

    name: str
    preset: str
    protocol: str
    fingerprint: str
    clips: int
    frames: int
    lengths: tuple[int, float, int]
    splits: dict[str, int]
    classes: list[dict[str, Any]]
    nonfinite: dict[str, list[int]]
    empty: list[str]
    single_frame: list[str]
    flat: dict[str, str]
    damaged: list[str]
    copies: list[tuple[str, str]]
    val_copies: list[tuple[str, str]]
    notices: list[str]

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        pairs = ("copies", "val_copies")
        fields = {**vars(self), "lengths": list(self.lengths)}
        return fields | {name: [list(pair) for pair in fields[name]] for name in pairs}

    def __repr__(self) -> str:
        return (
            f"StoreReport('{self.name}/{self.protocol}', {counted(self.clips, 'clip')}, "
            f"{counted(len(self.copies), 'copy', 'copies')} across the split, "
            f"{len(self.nonfinite)} with NaN or Inf, "
            f"{len(self.empty)} empty, {len(self.single_frame)} single-frame, "
            f"{len(self.flat)} flat)"
        )

    def __str__(self) -> str:
        shortest, median, longest = self.lengths
        splits = ", ".join(f"{count:,} {split or 'unused'}" for split, count in self.splits.items())
        lines = [
            f"{self.name}: {counted(self.clips, 'clip')}, {counted(self.frames, 'frame')} "
            f"({shortest}..{longest} a clip, median {median:g}), "
            f"{counted(len(self.classes), 'class', 'classes')}",
            f"  protocol {self.protocol}: {splits}",
            *([f"  preset {_plain(self.preset)}"] if self.preset else []),
            *(f"  NOTICE: {_plain(text, 500)}" for text in self.notices),
            _line("NaN or Inf", [f"{i} (frames {_some(f)})" for i, f in self.nonfinite.items()]),
            _line("empty (all zero)", self.empty),
            _line("single frame", self.single_frame),
            _line("flat", [f"{i} ({why})" for i, why in self.flat.items()]),
            _line("damaged (content changed)", self.damaged),
            _line("copies, val = train", [f"{a} = {b}" for a, b in self.val_copies]),
            _line("copies, test = train", [f"{a} = {b}" for a, b in self.copies]),
        ]
        for row in self.classes:
            if row["copies"]:
                lines.append(
                    f"    class {row['label']} '{_plain(row['name'])}': {row['copies']} of "
                    f"{row['test']} test clips are copies"
                )
        if self.copies:
            lines.append(
                f"  {len(self.copies)} of {self.splits['test']} test clips are identical to "
                "training clips: data.duplicates=drop leaves them out of training."
            )
        return "\n".join(lines)


def check_store(store: Store, protocol: str | None = None) -> StoreReport:
    """Reads every clip once and reports what training or testing could trip over.

    Memory holds some megabytes of clips at a time, however large the store is.

    Args:
        store: an open store.
        protocol: the way to split it; None: the default.
    """
    protocol = store.protocol(protocol)
    found = _read_clips(store)
    length, part = store.samples["num_frames"], store.samples[f"split_{protocol}"]
    copies = _copies(store.samples, part, "test")
    return StoreReport(
        name=store.benchmark.name,
        preset=store.preset,
        protocol=protocol,
        fingerprint=store.fingerprint,
        clips=len(store),
        frames=int(length.sum()),
        lengths=(int(length.min()), float(length.median()), int(length.max())),
        splits={s: int((part == s).sum()) for s in SPLITS if s or (part == "").any()},
        classes=_classes(store, part, {test for test, _ in copies}),
        nonfinite=found.nonfinite,
        empty=found.empty,
        single_frame=store.samples.loc[length == 1, "sample_id"].tolist(),
        flat=found.flat,
        damaged=found.damaged,
        copies=copies,
        val_copies=_copies(store.samples, part, "val"),
        notices=list(store.notices),
    )


@dataclass
class _Found:
    """What is wrong with single clips (see `StoreReport`)."""

    nonfinite: dict[str, list[int]] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    flat: dict[str, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


def _read_clips(store: Store) -> _Found:
    found = _Found()
    names, hashes = (store.samples[c].tolist() for c in ("sample_id", "content_hash"))
    with tqdm(total=len(store), desc="check", unit="clip") as bar:
        for rows in store.blocks():
            for row in rows:
                _check_clip(found, names[row], store.clip_at(row), hashes[row])
            store.release(rows)
            bar.update(len(rows))
    return found


def _check_clip(found: _Found, sample_id: str, clip: np.ndarray, recorded: str) -> None:
    if content_hash(clip) != recorded:
        found.damaged.append(sample_id)
    if not np.isfinite(clip).all():
        frames = np.isfinite(clip).all(axis=(1, 2, 3))  # (T,)
        found.nonfinite[sample_id] = np.flatnonzero(~frames).tolist()
    elif why := _flatness(clip):
        if clip.any():
            found.flat[sample_id] = why
        else:
            found.empty.append(sample_id)


def _flatness(clip: np.ndarray) -> str:
    """What does not change in a clip (T, M, V, C); "" where all does."""
    # The first frames tell of most clips that they move and extend: they are looked at first.
    if len(clip) > 1 and (clip[1] == clip[0]).all() and (clip == clip[0]).all():
        return "no motion"
    start = clip[0].reshape(-1, clip.shape[-1])
    if (start != start[0]).any(axis=0).all():
        return ""
    points = clip.reshape(-1, clip.shape[-1])
    constant = [_AXES[c] for c in np.flatnonzero((points == points[0]).all(axis=0))]
    return f"axis {' and '.join(constant)} constant" if constant else ""


def _copies(samples: pd.DataFrame, part: pd.Series, held_out: str) -> list[tuple[str, str]]:
    """(id, training id) of held-out clips whose content is also among the training clips."""
    train = samples[part == "train"].drop_duplicates("content_hash")
    source = dict(zip(train["content_hash"].tolist(), train["sample_id"].tolist(), strict=True))
    rows = samples[part == held_out]
    pairs = zip(rows["sample_id"].tolist(), rows["content_hash"].tolist(), strict=True)
    return [(sample_id, source[key]) for sample_id, key in pairs if key in source]


def _classes(store: Store, part: pd.Series, copied: set[str]) -> list[dict[str, Any]]:
    """One row a class: clips by split, and how many of its test clips are copies."""
    label = store.samples["label"]
    counts = pd.crosstab(label, part)
    copies = label[store.samples["sample_id"].isin(copied)].value_counts()
    return [
        {
            "label": k,
            "name": name,
            **{s: int(counts.get(s, {}).get(k, 0)) for s in ("train", "val", "test")},
            "copies": int(copies.get(k, 0)),
        }
        for k, name in enumerate(store.benchmark.class_names)
    ]


def _line(what: str, found: list[str]) -> str:
    names = [_plain(text) for text in found[:SHOWN]]
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"  {what}: {len(found)}" + (f": {', '.join(names)}{more}" if found else "")


def _some(frames: list[int]) -> str:
    return ", ".join(map(str, frames[:SHOWN])) + (", ..." if len(frames) > SHOWN else "")


def _plain(text: str, most: int = 120) -> str:
    """Text that a terminal shows as it is: names come from files."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])
