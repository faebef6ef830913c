"""Weights that others saved, read as plain tensors: nothing that a file holds is executed."""

import contextlib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frcore.checkpoint import CheckpointError, read_metadata
from frcore.errors import UserError

_WRAPPERS = ("state_dict", "model")  # a state dict may lie in a training's file under one of these
_ALONE = "Save the state dict alone: torch.save(model.state_dict(), 'weights.pt')"


def read_weights(weights: Mapping[str, Any] | str | Path) -> tuple[dict[str, Tensor], str]:
    """A state dict with bare keys, and what messages call it.

    Args:
        weights: a state dict or a file: .safetensors, else what `torch.save` wrote. The state dict
            may lie under "state_dict" or "model"; "module." and "backbone." before keys go.

    Raises:
        UserError: no such file, not readable, more than tensors in it, or no state dict.
    """
    if isinstance(weights, Mapping):
        return _bare(weights, "The state dict"), "The state dict"
    if not isinstance(weights, str | Path):
        raise UserError(f"weights: a state dict or a path, not {type(weights).__name__}.")
    path = Path(weights)
    if not path.is_file():
        raise UserError(f"No file of weights at {path}.")
    safe = path.suffix.lower() == ".safetensors"
    content = _read_safetensors(path) if safe else _read_torch(path)
    return _bare(content, str(path)), str(path)


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():  # about pickles; what is wrong becomes an error
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever damaged or hostile bytes lead to
        text = str(error)
        if wanted := re.search(r"GLOBAL ([\w.]{1,80})", text):
            raise UserError(
                f"{path} is refused: it wants '{wanted[1]}', and only tensors are read; nothing "
                f"was executed. {_ALONE}."
            ) from error
        reason = re.search(r"Unsupported [^\n]{1,80}|unexpected EOF|reading zip archive", text)
        raise UserError(
            f"{path} is no whole file of weights that torch.save wrote "
            f"({reason[0] if reason else type(error).__name__}). Expected .pt, .pth or "
            ".safetensors; if it is one, it was cut or damaged: get it again."
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    with contextlib.suppress(CheckpointError):
        read_metadata(path)
        raise UserError(
            f"{path} is a checkpoint of frcore, whose names are ours: "
            "frcore.load_recognizer and frcore.predict read it."
        )
    try:
        return load_file(path)
    except Exception as error:  # the format's own checks
        raise UserError(f"{path} is not a sound safetensors file: {error}.") from error


def _bare(content: Any, source: str) -> dict[str, Tensor]:
    """The state dict in `content`, without what wrappers put before its keys."""
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not content:
        kind = "is empty" if isinstance(content, Mapping) else f"holds a {type(content).__name__}"
        raise UserError(f"{source} {kind}; a state dict is expected. {_ALONE}.")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise UserError(
                f"{source} holds more than tensors by name: {str(key)[:80]!r} is a "
                f"{type(value).__name__}. {_ALONE}."
            )
    bare: dict[str, Tensor] = {}
    for key, tensor in content.items():
        name = re.sub(r"^(module\.)*(backbone\.)?", "", key)
        if name in bare:
            raise UserError(f"{source} has '{name}' twice, with and without a prefix.")
        bare[name] = tensor.detach()
    return bare
