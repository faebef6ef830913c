"""What a run needs to go on as if it had never stopped: tensors of a checkpoint, and its checks."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frcore.checkpoint import Checkpoint, match_tensors
from frcore.config import RunConfig
from frcore.data.store import Store
from frcore.errors import UserError
from frcore.ranks import here
from frcore.records import EpochRecord
from frcore.run import Run
from frcore.run_dir import RunDir

log = logging.getLogger(__name__)


def training_state(
    model: nn.Module, optimizer: torch.optim.SGD, record: EpochRecord | None
) -> dict[str, Tensor]:
    """Weights and buffers ("model.*"), momentum ("optim.*") and, within an epoch, its sums."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    for name, p in model.named_parameters():
        if "momentum_buffer" in optimizer.state[p]:
            tensors[f"optim.{name}"] = optimizer.state[p]["momentum_buffer"]
    return tensors | (record.tensors() if record is not None else {})


def restore_state(
    checkpoint: Checkpoint,
    model: nn.Module,
    optimizer: torch.optim.SGD,
    record: EpochRecord | None,
) -> None:
    """Puts the tensors of a checkpoint where `training_state` took them from.

    Raises:
        CheckpointError: they are those of another model, listed with both shapes.
    """
    found = checkpoint.part("model")
    model.load_state_dict(match_tensors(found, model.state_dict(), source=checkpoint.path))
    momentum = checkpoint.part("optim")
    for name, p in model.named_parameters():
        if name in momentum:
            optimizer.state[p]["momentum_buffer"].copy_(momentum[name])
    if record is not None:
        record.load(checkpoint.part("meters"))


def check_same_data(path: Path, metadata: Mapping[str, Any], store: Store) -> None:
    """Refuses to go on with other clips than those that a checkpoint was trained on.

    Raises:
        UserError: naming both fingerprints.
    """
    if metadata["fingerprint"] != store.fingerprint:
        raise UserError(
            f"{path} was trained on other clips of '{store.benchmark.name}' than {store.path} "
            f"holds now (fingerprint {metadata['fingerprint'][:12]}, now "
            f"{store.fingerprint[:12]}). Restore that store, or choose another run directory."
        )


def record_environment(
    directory: RunDir, config: RunConfig, store: Store, device: torch.device
) -> None:
    """Writes configuration and environment of a run that begins or goes on.

    Where it goes on under other conditions, says that it is no longer bit-equal to one that was
    never stopped.
    """
    before = Run(directory.path).environment
    directory.write_config(
        config.model_dump(mode="json"),
        config_hash=config.hash,
        device=str(device),
        threads=torch.get_num_threads(),
        processes=here().size,
        backend=here().backend(device),
        data={"fingerprint": store.fingerprint, "preset": store.preset},
    )
    now = Run(directory.path).environment
    changed = [
        f"{name} {old.get(name)} -> {new.get(name)}"
        for old, new, names in (
            (before, now, ("device", "threads", "processes")),
            (before.get("versions", {}), now.get("versions", {}), ("frcore", "torch")),
        )
        for name in names
        if name in old and old[name] != new.get(name)
    ]
    if changed:
        log.warning(
            "Resumed under other conditions (%s): sound, but not bit-equal to an unbroken run.",
            ", ".join(changed),
        )
