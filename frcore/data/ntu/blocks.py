"""Blocks: the clips of some raw files in one file of the work folder, which survives a kill.

A block's name is a digest of all that decides its content (its files, the preset, this version), so
one that is there and whole is right, whoever made it. This module is what the processes run.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from frcore import __version__
from frcore.data.ntu.bodies import NoBodyLeft, choose_bodies
from frcore.data.ntu.contents import Contents, RawFile
from frcore.data.ntu.presets import NtuPreset
from frcore.data.ntu.raw import NoBodyError, parse_skeleton
from frcore.data.ntu.sources import BAD
from frcore.errors import UserError
from frcore.files import atomic_write

FORMAT = 2  # to be raised with every change of what a block holds
FILES_PER_BLOCK = 64  # about a second's work is lost by a kill; some MB of memory
NO_BODY = "no body"
_PERSON = 25 * 3  # floats a frame


@dataclass(slots=True)
class Outcome:
    """What became of a file."""

    name: str
    frames: int = 0  # T and M of the clip; 0: none was made
    persons: int = 0
    left_out: str = ""  # why none was made: "no body", "bad file"
    detail: str = ""
    counts: dict[str, int] = field(default_factory=dict)  # rule -> bodies or frames, if any

    @property
    def size(self) -> int:
        """Floats of the clip."""
        return self.frames * self.persons * _PERSON


class BlockTask(NamedTuple):
    """Files to convert into one block."""

    files: Sequence[RawFile]
    preset: NtuPreset
    path: Path


@dataclass(frozen=True, eq=False)
class Block:
    """A block, read."""

    outcomes: list[Outcome]
    values: np.ndarray  # flat float32: the clips one after the other


def plan_blocks(files: Sequence[RawFile], preset: NtuPreset, folder: Path) -> list[BlockTask]:
    """All blocks of a conversion, in the order of the files."""
    tasks = []
    rules = json.dumps([FORMAT, __version__, asdict(preset)])
    for start in range(0, len(files), FILES_PER_BLOCK):
        part = files[start : start + FILES_PER_BLOCK]
        told = json.dumps([rules, [(file.name, file.path, file.stamp.hex()) for file in part]])
        digest = hashlib.sha256(told.encode()).hexdigest()[:32]
        tasks.append(BlockTask(part, preset, folder / f"{digest}.block"))
    return tasks


def write_block(task: BlockTask, contents: Contents) -> list[Outcome]:
    """Converts the files of a block and writes it, at once or not at all."""
    outcomes, clips = [], []
    for file in task.files:
        outcome, joints = convert(file, contents, task.preset)
        outcomes.append(outcome)
        if joints is not None:
            clips.append(np.ascontiguousarray(joints, dtype="<f4").tobytes())
    header = json.dumps([astuple(outcome) for outcome in outcomes]).encode()
    payload = b"".join([header, b"\n", *clips])
    atomic_write(task.path, hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
    return outcomes


def read_block(task: BlockTask) -> Block | None:
    """A block that is there and whole; None else."""
    try:
        content = task.path.read_bytes()
    except OSError:
        return None
    checksum, _, payload = content.partition(b"\n")
    if hashlib.sha256(payload).hexdigest().encode() != checksum:
        return None
    header, _, values = payload.partition(b"\n")
    outcomes = [Outcome(*fields) for fields in json.loads(header)]
    return Block(outcomes, np.frombuffer(values, dtype="<f4"))


def convert(
    file: RawFile, contents: Contents, preset: NtuPreset
) -> tuple[Outcome, np.ndarray | None]:
    """What becomes of a file, and its clip (T, M, 25, 3) if one does."""
    place = f"{file.path} in {contents.sources[file.source]}"
    try:
        content = contents.read(file)
    except UserError as error:  # which names the place
        return Outcome(file.name, left_out=BAD, detail=str(error)), None
    try:
        clip = parse_skeleton(content)
        chosen = choose_bodies(clip, preset)
        joints = chosen.joints
        if not np.isfinite(joints).all():
            raise UserError("a joint is NaN, Inf or too large for float32")
    except (NoBodyError, NoBodyLeft) as error:
        return Outcome(file.name, left_out=NO_BODY, detail=str(error)), None
    except UserError as error:
        return Outcome(file.name, left_out=BAD, detail=f"{place}: {error}"), None
    except Exception as error:  # a defect of this program: it still has to name the file
        error.add_note(f"while converting {place}")
        raise
    counts = {
        "frames_without_body": clip.dropped_frames,
        "short": chosen.short,
        "spread": chosen.spread,
        "merged": chosen.merged,
        "discarded": chosen.discarded,
        "empty_frames": chosen.empty_frames,
    }
    counts = {rule: count for rule, count in counts.items() if count}
    return Outcome(file.name, joints.shape[0], joints.shape[1], counts=counts), joints
