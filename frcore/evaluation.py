"""A trained recogniser over a split: logits and features, batch by batch, without gradients."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor

from frcore.data.augment import ClipPipeline
from frcore.errors import UserError, unknown_name
from frcore.recognizer import Recognizer

Precision = Literal["auto", "fp32", "bf16"]
BACKBONE_SPACE = "backbone"


def choose_device(device: str) -> torch.device:
    """ "auto" is CUDA where there is one; a device that is not there is a UserError."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = torch.device(device)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"Device '{device}' is not here: torch sees {torch.cuda.device_count()} CUDA devices. "
            "Choose 'cpu' or 'auto'."
        )
    return chosen


def choose_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """The backbone's autocast type: "auto" is bfloat16 where matrix units multiply it.

    Vector units alone do not pay: with AVX-512 BF16 and no AMX, bfloat16 products were measured at
    half the rate of float32 ones.
    """
    if precision == "auto":
        if device.type == "cuda":
            fast = torch.cuda.get_device_capability(device) >= (8, 0)
        else:
            fast = torch.cpu._is_amx_tile_supported()
        precision = "bf16" if fast else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """Autocast of the backbone to `dtype`; float32 runs as it is."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def usable_threads() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@torch.no_grad()
def forward_split(
    model: Recognizer,
    pipeline: ClipPipeline,
    *,
    batch_size: int,
    dtype: torch.dtype,
    spaces: Sequence[str] = (),
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (N, K) and features {space: (N, D)} of all clips of a pipeline, float32 on the CPU.

    The model is in evaluation mode meanwhile and in its former mode afterwards.

    Raises:
        UserError: for a space that the model does not have.
    """
    known = (BACKBONE_SPACE, *(model.head.spaces if model.head is not None else ()))
    for space in spaces:
        if space not in known:
            raise unknown_name("space", space, known)
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    logits: list[Tensor] = []
    features: dict[str, list[Tensor]] = {space: [] for space in spaces}
    for index in torch.arange(len(pipeline.clips)).split(batch_size):
        with autocast(device, dtype):
            out = model(pipeline(index).to(device))
        logits.append(out.logits.float())
        for space, parts in features.items():
            own = space == BACKBONE_SPACE
            part = out.embedding if own else model.head.project(out.stages, len(index), space)
            parts.append(part.float())
    model.train(was_training)
    return torch.cat(logits).cpu(), {s: torch.cat(parts).cpu() for s, parts in features.items()}
