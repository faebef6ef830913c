"""Checkpoints: one safetensors file with JSON metadata, a sha256 beside it, safe against kills.

Tensors keep the names they are given (`model.*`, `optim.*`, `meters.*`). `<file>.sha256` is in the
format of `sha256sum`; while a file is being replaced it lists the digests of both contents, so that
the file verifies at every instant. Importing this module and reading metadata need no torch.
"""

import hashlib
import json
import logging
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from frcore.errors import UserError
from frcore.files import atomic_write, discard, publish, write_temp

log = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.safetensors", "previous.safetensors", "best.safetensors"
_KEY = "frcore"  # the one key of the safetensors metadata; its value is a JSON text
_MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors format


class CheckpointError(UserError):
    """A checkpoint that is damaged, is none, or belongs to another model."""


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint in memory."""

    tensors: dict[str, Any] = field(repr=False)  # name -> torch.Tensor (CPU) or NumPy array
    metadata: dict[str, Any] = field(repr=False)
    path: Path
    sha256: str

    def part(self, name: str) -> dict[str, Any]:
        """The tensors of one part ("model", "optim", "meters"), without that prefix."""
        return {k[len(name) + 1 :]: t for k, t in self.tensors.items() if k.startswith(name + ".")}

    def __repr__(self) -> str:
        position = "".join(
            f", {k} {self.metadata[k]}" for k in ("epoch", "step") if k in self.metadata
        )
        return f"Checkpoint('{self.path}', {len(self.tensors)} tensors{position})"


def save_checkpoint(path: str | Path, tensors: Mapping[str, Any], metadata: dict[str, Any]) -> str:
    """Write one checkpoint, replacing `path` in one step.

    Args:
        path: the file; its sha256 goes to "<path>.sha256".
        tensors: name -> torch.Tensor (any device) or NumPy array.
        metadata: what JSON can hold.

    Returns:
        The sha256 of the file, in hex.

    Raises:
        WriteError: disk full (with the bytes needed) or not writable; the older file is intact.
    """
    path = Path(path)
    data = _to_bytes(tensors, metadata)
    digest = hashlib.sha256(data).hexdigest()
    _replace(write_temp(path, data), path, digest)
    return digest


def rotate_and_save(
    directory: str | Path, tensors: Mapping[str, Any], metadata: dict[str, Any]
) -> str:
    """Save as `last.safetensors`; the one before becomes `previous.safetensors`.

    Killed at any moment, it leaves at least one of the two intact. A damaged `last` never takes the
    place of an intact `previous`.

    Returns:
        The sha256 of the new file, in hex.

    Raises:
        WriteError: as `save_checkpoint`.
    """
    last, previous = Path(directory) / LAST, Path(directory) / PREVIOUS
    data = _to_bytes(tensors, metadata)
    digest = hashlib.sha256(data).hexdigest()
    temp = write_temp(last, data)
    try:
        if last.exists():
            try:
                _replace(last, previous, _read_verified(last)[1])
            except CheckpointError as error:
                log.warning("Not kept as %s: %s", PREVIOUS, error)
        _replace(temp, last, digest)
    finally:
        discard(temp)
    return digest


def load_checkpoint(
    path: str | Path, *, framework: Literal["torch", "numpy"] = "torch"
) -> Checkpoint:
    """Read a checkpoint; digest and structure are verified before anything of it is used.

    A file without its ".sha256" (moved by hand) is loaded with a warning.

    Args:
        path: the file.
        framework: "torch" gives tensors on the CPU, "numpy" arrays (and imports no torch).

    Raises:
        CheckpointError: missing, damaged (with expected and actual digest) or not a checkpoint.
    """
    path = Path(path)
    data, digest = _read_verified(path)
    metadata = _metadata(_header(data, len(data), path), path)
    if framework == "torch":
        from safetensors.torch import load
    else:
        from safetensors.numpy import load
    try:
        tensors = load(data)
    except Exception as error:  # the format's own checks: SafetensorError, KeyError, TypeError
        raise CheckpointError(f"{path} is not a sound safetensors file: {error}.") from error
    return Checkpoint(tensors, metadata, path, digest)


def load_latest(
    directory: str | Path, *, framework: Literal["torch", "numpy"] = "torch"
) -> Checkpoint | None:
    """The newest intact checkpoint: `last`, else `previous` with a warning, None if neither exists.

    Raises:
        CheckpointError: one or both are there, and none is intact.
    """
    errors = []
    for path in (Path(directory) / LAST, Path(directory) / PREVIOUS):
        if not path.exists():
            continue
        try:
            found = load_checkpoint(path, framework=framework)
        except CheckpointError as error:
            errors.append(str(error))
            continue
        if path.name != LAST:
            reason = " ".join(errors) or "It is missing."
            log.warning("%s cannot be used, continuing from %s. %s", LAST, path, reason)
        return found
    if errors:
        raise CheckpointError(
            "\n".join(errors) + f"\nNo intact checkpoint is left in {directory}: restore one, or "
            "delete the directory to start again."
        )
    return None


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata alone, from the head of the file: no tensor is read, no digest computed.

    Raises:
        CheckpointError: missing, or not one of our checkpoints.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(8)
            start += file.read(_header_size(start, size, path))
    except OSError as error:
        raise _unreadable(path, error) from error
    return _metadata(_header(start, size, path), path)


def match_tensors(
    found: Mapping[str, Any],
    expected: Mapping[str, Any],
    *,
    source: str | Path,
    partial: bool = False,
) -> dict[str, Any]:
    """Those of the `found` tensors that fit the `expected` ones in name and shape.

    Args:
        found: tensors of a checkpoint's part.
        expected: the model's state dict.
        source: what messages call the checkpoint.
        partial: skip what does not fit, with a warning, instead of failing.

    Raises:
        CheckpointError: listing every key that does not fit, with both shapes.
    """

    def shape(tensors: Mapping[str, Any], key: str) -> str:
        return str(tuple(tensors[key].shape)) if key in tensors else "missing"

    keys = dict.fromkeys([*expected, *found])
    unfit = {k: (shape(found, k), shape(expected, k)) for k in keys}
    unfit = {k: (a, b) for k, (a, b) in unfit.items() if a != b}
    text = "; ".join(f"{k}: {a} in the file, {b} in the model" for k, (a, b) in unfit.items())
    if unfit and not partial:
        raise CheckpointError(
            f"{source} is a checkpoint of another model ({len(unfit)} tensors do not fit): {text}."
        )
    if unfit:
        log.warning("Skipped %d tensors of %s: %s.", len(unfit), source, text)
    return {k: tensor for k, tensor in found.items() if k not in unfit}


def _to_bytes(tensors: Mapping[str, Any], metadata: dict[str, Any]) -> bytes:
    text = {_KEY: json.dumps(metadata)}
    if all(isinstance(t, np.ndarray | np.generic) for t in tensors.values()):
        from safetensors.numpy import save

        return save({k: np.array(t, order="C") for k, t in tensors.items()}, text)  # keeps 0-d
    import torch
    from safetensors.torch import save

    # clone: the format refuses tensors that share memory (tied weights), which are saved twice.
    cpu = {k: torch.as_tensor(t).detach().cpu() for k, t in tensors.items()}
    return save({k: t.clone(memory_format=torch.contiguous_format) for k, t in cpu.items()}, text)


def _replace(source: Path, target: Path, digest: str) -> None:
    """Rename `source` (whose sha256 is `digest`) to `target`, which verifies at every instant."""
    sidecar = _sidecar(target)
    try:
        good = {digest} | _intact_digest(target)
        atomic_write(sidecar, "".join(f"{d}  {target.name}\n" for d in sorted(good)))
        publish(source, target)
        if len(good) > 1:
            atomic_write(sidecar, f"{digest}  {target.name}\n")
    except BaseException:
        if source.name.startswith("."):
            discard(source)
        raise


def _intact_digest(path: Path) -> set[str]:
    """The digest of a file that may stay in use; none if it is missing or known to be damaged."""
    if not path.exists():
        return set()
    listed, actual = _listed(path), _read(path)[1]
    return {actual} if listed is None or actual in listed else set()


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _listed(path: Path) -> list[str] | None:
    """The digests that the file beside `path` lists (none if it is garbage); None without it."""
    try:
        text = _sidecar(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(_sidecar(path), error) from error
    return re.findall(r"^([0-9a-f]{64}) [ *]", text, re.MULTILINE)


def _read(path: Path) -> tuple[bytes, str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    return data, hashlib.sha256(data).hexdigest()


def _read_verified(path: Path) -> tuple[bytes, str]:
    """Content and digest of a checkpoint whose digest and header were found right."""
    data, digest = _read(path)
    expected = _listed(path)
    if expected is None:
        log.warning("%s has no %s beside it: not verified.", path, _sidecar(path).name)
    elif digest not in expected:
        raise CheckpointError(
            f"{path} is damaged: {_sidecar(path).name} expects sha256 "
            f"{' or '.join(map(_short, expected)) or '(none readable)'}, it has {_short(digest)}."
        )
    _header(data, len(data), path)
    return data, digest


def _short(digest: str) -> str:
    return f"{digest[:12]}..."


def _header_size(start: bytes, size: int, path: Path) -> int:
    length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else -1
    if not 2 <= length <= min(size - 8, _MAX_HEADER):
        raise CheckpointError(
            f"{path} is not a safetensors file: {size:,} bytes, its header claims {length:,}."
        )
    return length


def _header(start: bytes, size: int, path: Path) -> dict[str, Any]:
    """The JSON header; sizes it claims are compared with the file's `size`, never allocated."""
    length = _header_size(start, size, path)
    try:
        header = json.loads(start[8 : 8 + length])
        ends = [info["data_offsets"][1] for k, info in header.items() if k != "__metadata__"]
        claimed = max(ends, default=0)
        sound = isinstance(header, dict) and claimed == size - 8 - length
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} has an unreadable safetensors header: {error}.") from error
    if not sound:
        raise CheckpointError(
            f"{path} is cut or padded: its header describes {claimed:,} bytes of tensors, the file "
            f"has {size - 8 - length:,}."
        )
    return header


def _metadata(header: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        metadata = json.loads(header["__metadata__"][_KEY])
        if isinstance(metadata, dict):
            return metadata
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    raise CheckpointError(f"{path} is a safetensors file, but not a checkpoint of frcore.")


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"Cannot read {path}: {error.strerror or error}.")
