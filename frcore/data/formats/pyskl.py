"""The pickles of pyskl and mmaction2 (Duan et al., ACM MM 2022): NTU RGB+D as 3-D skeletons.

`{"split": {name: [sample names]}, "annotations": [{frame_dir, label, keypoint (M, T, V, C),
total_frames, ...}]}`. Read without executing anything; arrays stay in the file until their turn.
The field's test split is called "val" there ("xsub_val"): in a store it is "test".

Where a clip has one person, pyskl gives a model zeros for the second one. A store gives what the
recipes here are published with, whatever it is made from: for NTU RGB+D 120 a copy of the first.
"""

import reprlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from frcore.data.benchmarks import Benchmark
from frcore.data.clips import SHOWN, ClipRecord
from frcore.data.formats.findings import Findings
from frcore.data.ntu.protocols import NtuName, parse_name
from frcore.errors import UserError, counted
from frcore.pickled_arrays import StoredArray
from frcore.pickles import read_pickle

_ABSENT_PERSON = "zero"  # of pyskl's own pipeline (FormatGCNInput)
_SPLIT_OF = {"train": "train", "val": "test"}  # what follows the protocol's name


class PysklFile:
    """An opened pickle, made by `open_pyskl`."""

    preset = "pyskl pickle"

    def __init__(self, path: Path, benchmark: Benchmark) -> None:
        self.path, self.benchmark = path, benchmark
        content = read_pickle(path, lazy=True)
        if not isinstance(content, dict) or not {"split", "annotations"} <= content.keys():
            held = f"the keys {list(content)[:10]}" if isinstance(content, dict) else "no such keys"
            raise UserError(
                f"{path} is no pickle of pyskl: expected a dictionary with 'split' and "
                f"'annotations', it has {held:.300}."
            )
        self._splits = _read_splits(content["split"], path, benchmark)
        self._annotations = content["annotations"]
        if not isinstance(self._annotations, list) or not all(
            isinstance(a, dict) for a in self._annotations
        ):
            raise UserError(f"{path}: 'annotations' is not a list of dictionaries.")
        if self._annotations:
            _refuse_other_poses(self._annotations[0], path, benchmark)

    def changes(self) -> dict[str, Any]:
        """Fields of the benchmark's record that such a file decides: none."""
        return {}

    def records(self, found: Findings) -> Iterator[ClipRecord]:
        """The clips by their names (`frame_dir`), in the order of the file."""
        names = [_name_of(a, number) for number, a in enumerate(self._annotations)]
        parsed = _parse_all(names, self.benchmark)
        if parsed is None:
            found.note("The clips' names do not tell setup, camera and subject.")
        if self.benchmark.absent_person != _ABSENT_PERSON:
            found.note(
                f"Clips of one person have '{self.benchmark.absent_person}' for the second one, as "
                f"the recipes of {self.benchmark.name} were published with; pyskl itself has "
                f"'{_ABSENT_PERSON}'."
            )
        seen: set[str] = set()
        differ: list[str] = []
        rows = zip(names, self._annotations, strict=True)
        for name, annotation in tqdm(rows, total=len(names), desc=self.benchmark.name, unit="clip"):
            try:
                if annotation.get("frame_dir") != name:
                    raise UserError("its 'frame_dir' is no printable text")
                if name in seen:
                    raise UserError("its name occurs more than once")
                seen.add(name)
                said = parsed[name] if parsed else None
                label = _read_label(annotation.get("label"), self.benchmark, said)
                data = _read_joints(annotation, self.benchmark)
            except UserError as error:
                found.leave_out(name, str(error))
                continue
            splits = self._splits.get(name, {})
            if said and not splits.items() <= said.splits(self.benchmark.name).items():
                differ.append(name)
            extra = said.columns() if said else {}
            yield ClipRecord(name, label, data, splits, extra, axes="M T V C")
        for name in sorted(self._splits.keys() - seen):
            found.leave_out(name, "a split names it, no annotation has it")
        self._note_unused(found, sorted(seen))
        if differ:
            more = ", ..." if len(differ) > SHOWN else ""
            found.note(
                f"{len(differ):,} clip(s) are in another split than their names say; the file's "
                f"split is kept: {', '.join(differ[:SHOWN])}{more}."
            )

    def _note_unused(self, found: Findings, names: list[str]) -> None:
        """Tells of clips that are in no split of a protocol which the file has."""
        for protocol in sorted({p for splits in self._splits.values() for p in splits}):
            unused = [name for name in names if protocol not in self._splits.get(name, {})]
            if unused:
                more = ", ..." if len(unused) > SHOWN else ""
                found.note(
                    f"{len(unused):,} clip(s) are in no split of {protocol}, which neither trains "
                    f"nor tests on them: {', '.join(unused[:SHOWN])}{more}."
                )


@contextmanager
def open_pyskl(path: Path, benchmark: Benchmark, protocol: str | None) -> Iterator[PysklFile]:
    """Opens a pickle; its arrays are read one by one later.

    Args:
        path: the file.
        benchmark: NTU RGB+D 60 or 120.
        protocol: has to be None, as the file says it itself.

    Raises:
        UserError: naming the file and what was expected.
    """
    if protocol is not None:
        raise UserError(
            f"{path} names its protocols itself; leave out --protocol (protocol={protocol!r})."
        )
    yield PysklFile(path, benchmark)


def _read_splits(splits: Any, path: Path, benchmark: Benchmark) -> dict[str, dict[str, str]]:
    """Sample -> protocol -> split."""
    expected = {f"{p}_{end}": (p, s) for p in benchmark.protocols for end, s in _SPLIT_OF.items()}
    if not isinstance(splits, dict) or not splits:
        raise UserError(f"{path}: 'split' is no dictionary of lists; expected {list(expected)}.")
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for key, names in splits.items():
        if key not in expected:
            raise UserError(
                f"{path} has a split {reprlib.repr(key)}; {benchmark.name} has "
                f"{', '.join(expected)}. Is it a file of another benchmark?"
            )
        if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
            raise UserError(f"{path}: split '{key}' is not a list of sample names.")
        protocol, split = expected[key]
        for name in names:
            if found[name].setdefault(protocol, split) != split:
                raise UserError(
                    f"{path}: sample {reprlib.repr(name)} is in '{protocol}_train' and in "
                    f"'{protocol}_val'."
                )
    return found


def _refuse_other_poses(annotation: Mapping[str, Any], path: Path, benchmark: Benchmark) -> None:
    keypoint = annotation.get("keypoint")
    shape = tuple(getattr(keypoint, "shape", ()))
    if "keypoint_score" in annotation or (len(shape) == 4 and shape[3] == 2):
        joints = shape[2] if len(shape) == 4 else "unknown"
        raise UserError(
            f"{path} holds 2-D poses ({joints} joints, with scores of a keypoint detector), not "
            f"the {benchmark.skeleton.num_joints} joints in 3-D of {benchmark.name}. Use the file "
            "of 3-D skeletons (ntu60_3danno.pkl, ntu120_3danno.pkl), or make a store of your own "
            "of these clips: frcore.data.from_arrays(..., skeleton='coco17')."
        )


def _name_of(annotation: Mapping[str, Any], number: int) -> str:
    name = annotation.get("frame_dir")
    usable = isinstance(name, str) and name and name.isprintable()
    return name if usable else f"annotations[{number}]"


def _parse_all(names: list[str], benchmark: Benchmark) -> dict[str, NtuName] | None:
    """What the names say, where all are those of the data set."""
    try:
        parsed = {name: parse_name(name) for name in names}
    except UserError:
        return None
    return parsed if all(p.belongs_to(benchmark.name) for p in parsed.values()) else None


def _read_label(label: Any, benchmark: Benchmark, said: NtuName | None) -> int:
    if isinstance(label, np.ndarray) and label.shape == ():
        label = label.item()
    if type(label) is not int or not 0 <= label < benchmark.num_classes:
        raise UserError(
            f"label {reprlib.repr(label)}; expected a whole number, 0..{benchmark.num_classes - 1}"
        )
    if said and label != said.label:
        raise UserError(f"label {label}, but its name says action {said.action}: {said.label}")
    return label


def _read_joints(annotation: Mapping[str, Any], benchmark: Benchmark) -> np.ndarray:
    """(M, T, V, C) float32.

    Raises:
        UserError: what is wrong with it.
    """
    keypoint = annotation.get("keypoint")
    if not isinstance(keypoint, np.ndarray | StoredArray) or keypoint.dtype.kind != "f":
        raise UserError("'keypoint' is no array of floating-point numbers")
    shape, joints = keypoint.shape, (benchmark.skeleton.num_joints, benchmark.channels)
    if len(shape) != 4 or shape[2:] != joints or 0 in shape:
        raise UserError(f"'keypoint' has shape {shape}; expected (M, T, {joints[0]}, {joints[1]})")
    frames = annotation.get("total_frames", shape[1])
    if type(frames) is not int or frames != shape[1]:
        there = counted(shape[1], "frame")
        raise UserError(f"total_frames is {reprlib.repr(frames)}, its array has {there}")
    try:
        with np.errstate(over="ignore"):
            data = np.asarray(keypoint).astype(np.float32)
    except ValueError as error:  # long text in the file turns out not to be what it should
        raise UserError(f"'keypoint' is damaged: {error}") from error
    broken = ~np.isfinite(data).all(axis=(0, 2, 3))
    if broken.any():
        raise UserError(f"NaN or Inf in frame {broken.argmax()}")
    if not data.any():
        raise UserError("zeros only")
    return data
