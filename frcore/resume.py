"""What a run needs to go on as if it had never stopped: tensors of a checkpoint, and its checks."""

import logging
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frcore.checkpoint import (
    LAST,
    Checkpoint,
    CheckpointError,
    load_latest,
    match_tensors,
    read_metadata,
)
from frcore.config import RunConfig
from frcore.data.benchmarks import Benchmark
from frcore.data.store import Store
from frcore.errors import UserError
from frcore.overview import resume_command
from frcore.ranks import RankLost, here
from frcore.recognizer import build_recognizer
from frcore.records import EpochRecord
from frcore.run import Run
from frcore.run_dir import RunDir, choose_run_dir

log = logging.getLogger(__name__)


def find_run(out: str | Path | None, config: RunConfig) -> tuple[Path, bool]:
    """The directory of a run (default `runs/<recipe>`), and whether it is finished."""
    path, resumed = choose_run_dir(out or Path("runs") / config.name, config.hash)
    return path, resumed and Run.open(path).state == "finished"


def check_finished(path: Path, store: Store) -> None:
    """`check_same_data` of a finished run, where its last checkpoint is still there."""
    if (path / LAST).is_file():
        check_same_data(path / LAST, read_metadata(path / LAST), store)


@contextmanager
def say_how_to_go_on(path: Path) -> Iterator[None]:
    """Adds to the loss of a rank what the run's directory has, and the command that goes on.

    Raises:
        RankLost: that one.
    """
    try:
        yield
    except RankLost as error:
        try:
            saved = load_latest(path, framework="numpy")
        except CheckpointError as damage:
            raise RankLost(f"{error} {damage}") from error
        kept = "No checkpoint was made yet"
        if saved is not None:
            meta = saved.metadata
            kept = f"{saved.path} is intact (epoch {meta.get('epoch')}, step {meta.get('step')})"
        command = shlex.join(resume_command(Run(path)))
        raise RankLost(f"{error} {kept}; start all of them again to go on: {command}") from error


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
    buffers = {
        name: optimizer.state[p]["momentum_buffer"]
        for name, p in model.named_parameters()
        if "momentum_buffer" in optimizer.state[p]
    }
    momentum = match_tensors(checkpoint.part("optim"), buffers, source=checkpoint.path)
    for name, buffer in buffers.items():
        buffer.copy_(momentum[name])
    if record is not None:
        sums = checkpoint.part("meters")
        record.load(match_tensors(sums, record.sums, source=checkpoint.path))


def check_room(directory: RunDir, config: RunConfig, benchmark: Benchmark) -> None:
    """Looks whether the checkpoints of a training will find room: weights and momentum.

    Raises:
        WriteError: not even the first one.
    """
    with torch.device("meta"):
        model = build_recognizer(config, benchmark)
    directory.check_room(sum(2 * p.nbytes for p in model.parameters()))


def position_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Where a checkpoint stands in its run: "epoch", "step", "seconds", "best", and bad steps.

    Raises:
        CheckpointError: its metadata do not say so.
    """
    kinds = {"epoch": int, "step": int, "skipped_in_a_row": int}
    kinds |= {"seconds": int | float, "best": int | float | None}
    found = {name: checkpoint.metadata.get(name, "nothing") for name in kinds}
    for name, kind in kinds.items():
        value = found[name]
        if not isinstance(value, kind) or (value is not None and not 0 <= value < 2**53):
            raise CheckpointError(
                f"{checkpoint.path} is no checkpoint to go on from: its {name} is {value!r:.40}."
            )
    return found


def check_same_data(path: Path, metadata: Mapping[str, Any], store: Store) -> None:
    """Refuses to go on with other clips than those that a checkpoint was trained on.

    Raises:
        UserError: naming both fingerprints.
    """
    known = str(metadata.get("fingerprint"))
    if known != store.fingerprint:
        raise UserError(
            f"{path} was trained on other clips of '{store.benchmark.name}' than {store.path} "
            f"holds now (fingerprint {known[:12]}, now {store.fingerprint[:12]}). Restore that "
            "store, or choose another run directory."
        )


def record_environment(
    directory: RunDir, config: RunConfig, store: Store, device: torch.device
) -> None:
    """Writes configuration and environment of a run that begins or goes on, where it has room.

    Where it goes on under other conditions, says that it is no longer bit-equal to one that was
    never stopped.
    """
    check_room(directory, config, store.benchmark)
    before = Run(directory.path).environment
    directory.write_config(
        config.model_dump(mode="json"),
        config_hash=config.hash,
        device=str(device),
        threads=torch.get_num_threads(),
        processes=here().size,
        processes_per_machine=here().local_size,
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
