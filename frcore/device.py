"""Where a run computes, how exactly, and torch's settings meanwhile."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from torch import nn

from frcore.errors import UserError
from frcore.ranks import Launch

Precision = Literal["auto", "fp32", "bf16"]


def choose_device(device: str, process: Launch | None = None) -> torch.device:
    """ "auto" is CUDA where there is one.

    Args:
        device: by name.
        process: one of several that make up a run; each has a card of its own.

    Raises:
        UserError: for a device that is not here, or none that is used here.
    """
    if process is not None and process.size > 1:
        return _own_device(device, process)
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise UserError(f"Unknown device '{device}'. Choose 'auto', 'cpu', 'cuda' or 'cuda:1'.")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"Device '{device}' is not here: torch sees {torch.cuda.device_count()} CUDA devices. "
            "Choose 'cpu' or 'auto'."
        )
    return chosen


def _own_device(device: str, process: Launch) -> torch.device:
    """The card that has the number of a process on its machine; the CPU is everybody's."""
    if device.startswith("cuda:"):
        raise UserError(
            f"Device '{device}' is one card, and each of this run's {process.size} processes needs "
            "its own: choose 'auto', 'cuda' or 'cpu', or train in one process."
        )
    chosen = choose_device(device)
    if chosen.type == "cpu":
        return chosen
    if process.local_rank >= torch.cuda.device_count():
        raise UserError(
            f"Process {process.local_rank} on this machine has no card of its own: torch sees "
            f"{torch.cuda.device_count()} CUDA devices. Start as many processes as there are cards "
            "(torchrun --nproc-per-node), or choose 'cpu'."
        )
    return torch.device("cuda", process.local_rank)


def choose_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """The backbone's autocast type: "auto" is bfloat16 where matrix units multiply it.

    Vector units alone do not pay: with AVX-512 BF16 and no AMX, bfloat16 products were measured at
    half the rate of float32 ones.
    """
    if precision == "auto":
        precision = "bf16" if has_matrix_units(device) else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def has_matrix_units(device: torch.device) -> bool:
    """Whether matrix units multiply bfloat16 there: CUDA from compute capability 8.0 on, or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.cpu._is_amx_tile_supported()


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """Autocast of the backbone to `dtype`; float32 runs as it is."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def compiled(model: nn.Module, mode: str) -> Callable[..., Any]:
    """The model's forward pass for training, compiled unless `mode` is "off".

    "reduce-overhead" replays CUDA graphs, which is for small steps; "max-autotune" searches longer
    for fast kernels. Rounding may differ from the plain path; weights and names stay the model's.
    The first step takes minutes. On a CPU it was slower than the plain path in float32.
    """
    return model if mode == "off" else torch.compile(model, mode=mode)


@contextmanager
def torch_settings(
    device: torch.device, threads: int | None, deterministic: bool
) -> Iterator[None]:
    """Threads, determinism and random generators for a run; as they were before at its end.

    Args:
        device: whose generator is put back, beside the CPU's.
        threads: of the CPU; None: as they are.
        deterministic: on CUDA, algorithms that give the same bits each time (the CPU's always do).
    """
    threads_before = torch.get_num_threads()
    change = deterministic and device.type == "cuda"
    mode = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            if threads:
                torch.set_num_threads(threads)
            if change:
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
                torch.use_deterministic_algorithms(True, warn_only=True)
            yield
        finally:
            torch.set_num_threads(threads_before)
            if change:  # not on a CPU: this imports a compiler, which takes seconds
                torch.use_deterministic_algorithms(mode, warn_only=warn_only)
