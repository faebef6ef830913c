"""Writes a store: clips stream into one file, each is checked, the folder appears whole or not."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frcore.data.benchmarks import Benchmark, check_name
from frcore.data.clips import SHOWN, SPLITS, ClipRecord, Problems, Repair, content_hash, tidy_clip
from frcore.errors import UserError
from frcore.files import make_folder_of, write_errors
from frcore.process import ProcessLock

log = logging.getLogger(__name__)

FORMAT = 1
CLIPS, SAMPLES, RECORD = "clips.npy", "samples.csv", "store.json"
FIXED_COLUMNS = {
    "sample_id": "str",
    "label": "int64",
    "num_frames": "int64",
    "num_persons": "int64",
    "offset": "int64",  # in floats, into clips.npy
    "content_hash": "str",
}


def write_files(
    path: Path,
    benchmark: Benchmark,
    clips: Iterable[ClipRecord],
    *,
    preset: str = "",
    allow_nonfinite: bool = False,
    repair: Repair | None = None,
    notices: Sequence[str] = (),
    report: Mapping[str, Any] | None = None,
    tables: Mapping[str, str] | None = None,
) -> None:
    """Writes a store's files beside `path`, then puts the folder in place (see `write_store`)."""
    if repair not in (None, "interpolate", "drop"):
        raise UserError(f"repair is {repair!r}; expected None, 'interpolate' or 'drop'.")
    refuse_foreign_folder(path)
    make_folder_of(path)
    temp, old = (path.parent / f".{path.name}{suffix}" for suffix in (".tmp", ".old"))
    with ProcessLock(path.parent / f".{path.name}.lock"):
        # Under the lock, a folder of this name is what a killed writer left.
        shutil.rmtree(temp, ignore_errors=True)
        try:
            with write_errors(path, 0):
                temp.mkdir()
            with _Writer(temp, path, benchmark, allow_nonfinite, repair) as writer:
                for record in clips:
                    writer.add(record)
                writer.finish(preset, notices, report or {}, tables or {})
            with write_errors(path, 0):
                _put_in_place(temp, path, old)
        finally:
            shutil.rmtree(temp, ignore_errors=True)


class _Writer:
    """State of one store being written; memory holds the table, never the clips."""

    def __init__(
        self,
        folder: Path,
        target: Path,  # where it will be: what errors name
        benchmark: Benchmark,
        allow_nonfinite: bool,
        repair: Repair | None,
    ) -> None:
        self.folder, self.target, self.benchmark = folder, target, benchmark
        self.options = {"allow_nonfinite": allow_nonfinite, "repair": repair}
        self.problems, self.size = Problems(), 0
        self.columns: dict[
            str, list[Any]
        ] = {}  # a dictionary a clip would take three times as much
        self.seen: dict[str, int] = {}  # sample id -> its clip, counted from 0
        self.count = 0
        self.done: dict[str, list[str]] = {
            "persons_dropped": [], "persons_moved": [], "interpolated": [], "left_out": [],
        }  # fmt: skip
        with write_errors(target / CLIPS, 0):
            self.file = (folder / CLIPS).open("wb")
            self.header_bytes = self._write_header()

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def _write_header(self) -> int:
        header = {"descr": "<f4", "fortran_order": False, "shape": (self.size,)}
        # NumPy pads this header so that the array may grow: written again at the end, it fits.
        np.lib.format.write_array_header_1_0(self.file, header)
        return self.file.tell()

    def add(self, record: ClipRecord) -> None:
        """Checks and appends a clip; collects problems and writes nothing after the first."""
        try:
            self._check_fields(record)
            clip = tidy_clip(record, self.benchmark, **self.options)
        except UserError as error:
            self.problems.add(error)
            return
        for what, happened in (
            ("persons_dropped", clip.dropped_persons),
            ("persons_moved", clip.moved_persons),
            ("interpolated", clip.repaired),
            ("left_out", clip.data is None),
        ):
            if happened:
                self.done[what].append(record.sample_id)
        if clip.data is not None and not self.problems:
            self._append(record, clip.data)

    def _append(self, record: ClipRecord, data: np.ndarray) -> None:
        row = {
            "sample_id": record.sample_id,
            "label": int(record.label),
            "num_frames": data.shape[0],
            "num_persons": data.shape[1],
            "offset": self.size,
            "content_hash": content_hash(data),
        }
        row |= {f"split_{p}": record.splits.get(p, "") for p in self.benchmark.protocols}
        for column, value in (row | dict(record.extra)).items():
            self.columns.setdefault(column, []).append(value)
        with write_errors(self.target / CLIPS, data.nbytes):
            self.file.write(data.astype("<f4", copy=False).data)
        self.size += data.size

    def _check_fields(self, record: ClipRecord) -> None:
        name, label, num_classes = record.sample_id, record.label, self.benchmark.num_classes
        number, self.count = self.count, self.count + 1
        if not isinstance(name, str) or not name or not name.isprintable():
            raise UserError(f"sample id {name!r:.80} is not a string of printable characters.")
        if name in self.seen:
            raise UserError(
                f"sample id '{name}' occurs more than once: clips {self.seen[name]} and {number}, "
                "counted from 0."
            )
        self.seen[name] = number
        if isinstance(label, bool | np.bool_) or not isinstance(label, int | np.integer):
            raise UserError(
                f"label of clip '{name}' is {label!r}; expected a whole number (names of classes "
                "go into class_names)."
            )
        if not 0 <= label < num_classes:
            raise UserError(f"label of clip '{name}' is {label}; expected 0..{num_classes - 1}.")
        for protocol, split in record.splits.items():
            if protocol not in self.benchmark.protocols:
                known = ", ".join(self.benchmark.protocols)
                raise UserError(f"clip '{name}' has protocol '{protocol}'; expected: {known}.")
            if split not in SPLITS:
                raise UserError(
                    f"split of clip '{name}' is {split!r}; expected train, val, test or ''."
                )
        self._check_extra(record)

    def _check_extra(self, record: ClipRecord) -> None:
        for key, value in record.extra.items():
            check_name("column", key)
            if key in FIXED_COLUMNS or key.startswith("split_"):
                raise UserError(f"column '{key}' of clip '{record.sample_id}' is the store's own.")
            if isinstance(value, str) and value and not value.isprintable():
                raise UserError(
                    f"{key} of clip '{record.sample_id}' is not printable: {value!r:.80}."
                )
        if self.columns and set(record.extra) != set(self.columns) - self._own_columns():
            raise UserError(
                f"clip '{record.sample_id}' has other extra columns than the first clip."
            )

    def _own_columns(self) -> set[str]:
        return {*FIXED_COLUMNS, *(f"split_{p}" for p in self.benchmark.protocols)}

    def finish(
        self,
        preset: str,
        notices: Sequence[str],
        report: Mapping[str, Any],
        tables: Mapping[str, str],
    ) -> None:
        """Writes the tables and the record, or raises what was collected."""
        self.problems.raise_if_any(f"Cannot make the store '{self.benchmark.name}'")
        if not self.columns:
            raise UserError(
                f"Cannot make the store '{self.benchmark.name}': no clips were given or left."
            )
        with write_errors(self.target / CLIPS, 4 * self.size):
            self.file.seek(0)
            if self._write_header() != self.header_bytes:
                raise RuntimeError("the .npy header changed its length")
            _flush(self.file)
        samples = pd.DataFrame(self.columns)
        self.columns.clear()
        extra = {c: _kind(samples[c]) for c in samples.columns if c not in self._own_columns()}
        table = samples.astype(extra).to_csv(index=False, lineterminator="\n").encode()
        self._write(SAMPLES, table)
        for name, text in tables.items():
            self._write(name, text.encode())
        record = {
            "format": FORMAT,
            "benchmark": self.benchmark.to_dict(),
            "preset": preset,
            "fingerprint": fingerprint(samples, self.benchmark),
            "counts": {
                "clips": len(samples),
                "frames": int(samples.num_frames.sum()),
                **{what: len(ids) for what, ids in self.done.items()},
            },
            "left_out": self.done["left_out"],
            "notices": list(notices),
            "report": dict(report),
            "columns": extra,
            "files": {
                CLIPS: {"bytes": self.header_bytes + 4 * self.size},
                SAMPLES: {"sha256": hashlib.sha256(table).hexdigest()},
            },
        }
        self._write(RECORD, json.dumps(record, indent=1).encode())
        self._notify()

    def _write(self, name: str, content: bytes) -> None:
        with (
            write_errors(self.target / name, len(content)),
            (self.folder / name).open("wb") as file,
        ):
            file.write(content)
            _flush(file)

    def _notify(self) -> None:
        texts = {
            "persons_dropped": f"more than {self.benchmark.num_persons} person(s), "
            "those with the least energy dropped",
            "persons_moved": "an empty person before another, moved to the first free slot",
            "interpolated": "NaN or Inf, interpolated in time",
            "left_out": "NaN or Inf, left out",
        }
        for what, ids in self.done.items():
            if ids:
                more = ", ..." if len(ids) > SHOWN else ""
                names = ", ".join(i[:80] for i in ids[:SHOWN]) + more
                log.warning(
                    "%s: %d clip(s) with %s: %s", self.benchmark.name, len(ids), texts[what], names
                )


def fingerprint(samples: pd.DataFrame, benchmark: Benchmark) -> str:
    """64 hex digits over ids, contents, labels, splits and what else a model sees; in any order."""
    columns = ["sample_id", "label", "content_hash"]
    columns += [f"split_{p}" for p in benchmark.protocols]
    columns += [c for c in ("subject",) if c in samples]  # it decides what val_subjects holds out
    rows = sorted("\t".join(row) for row in samples[columns].astype(str).to_numpy(dtype=object))
    digest = hashlib.sha256(json.dumps(benchmark.skeleton.to_dict(), sort_keys=True).encode())
    if benchmark.absent_person != "zero":
        digest.update(f"absent person: {benchmark.absent_person}".encode())
    if benchmark.centered:
        digest.update(b"centered")
    digest.update("\n".join(["", *columns, *rows]).encode())
    return digest.hexdigest()


def _kind(column: pd.Series) -> str:
    """How an extra column is stored and read back: whole numbers, numbers, or text."""
    values = column.tolist()
    if all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values):
        return "int64"
    numbers = all(
        isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values
    )
    return "float64" if numbers else "str"


def refuse_foreign_folder(path: Path) -> None:
    """Raises a UserError where a store would replace something else."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UserError(f"{path} is a link or no folder; a store cannot replace it.")
    if path.is_dir() and any(path.iterdir()) and not (path / RECORD).is_file():
        raise UserError(
            f"{path} holds other files and no store; move them away or use another name."
        )


def _put_in_place(temp: Path, path: Path, old: Path) -> None:
    """Renames the complete folder; an existing store goes only now, or comes back."""
    try:
        temp.rename(path)  # also replaces an empty folder
        return
    except OSError:
        if not path.is_dir():
            raise
    shutil.rmtree(old, ignore_errors=True)
    path.rename(old)
    try:
        temp.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
