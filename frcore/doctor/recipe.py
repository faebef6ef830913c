"""What a recipe would take: its model, memory, where its clips would lie, steps an epoch."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from frcore.config import RunConfig
from frcore.data.benchmarks import Benchmark
from frcore.data.catalog import existing_store, get_benchmark
from frcore.data.random import batch_ends
from frcore.data.store import Store, StoreNotFound, data_root
from frcore.device import autocast
from frcore.doctor.findings import Finding, gigabytes
from frcore.doctor.machine import RUNS, free_disk
from frcore.files import WriteError, check_writable
from frcore.recognizer import Recognizer, build_recognizer, check_model
from frcore.residence import free_memory, is_resident
from frcore.run_dir import COPIES
from frcore.splits import load_split

_PROBE = 2  # clips of the batch whose memory is counted
_SHARE = 0.8  # of what is free is given to a batch: the peak is higher than what is kept


@dataclass(frozen=True)
class Place:
    """Where the clips of a split would lie."""

    split: str
    clips: int
    size: int  # bytes
    resident: bool


@dataclass(frozen=True)
class Needs:
    """What a recipe takes."""

    config: RunConfig
    device: torch.device
    parameters: int  # of backbone and classifier
    head_parameters: int  # of FR Head, which only training has
    state: int  # bytes of weights, gradients, momentum and prototypes
    activations: int  # bytes kept for the backward pass of a batch
    free: int | None  # bytes of the device
    free_disk: int | None  # bytes, where runs are
    places: tuple[Place, ...] = ()
    absent: str = ""  # why the clips are not known, and the commands that make them

    @property
    def memory(self) -> int:
        """Bytes on the device beside the clips; its peak is somewhat higher."""
        return self.state + self.activations

    @property
    def checkpoints(self) -> int:
        """Bytes on the disk, at most: weights and momentum, several times."""
        return COPIES * 8 * (self.parameters + self.head_parameters)

    @property
    def steps(self) -> int | None:
        """Steps an epoch."""
        clips = {place.split: place.clips for place in self.places}
        if "train" not in clips:
            return None
        views = clips["train"] * self.config.data.repeats
        return len(batch_ends(views, self.config.train.batch_size))


def look_at_recipe(config: RunConfig, device: torch.device, dtype: torch.dtype) -> Needs:
    """Finds out what training a recipe takes; nothing is trained, made or loaded.

    Raises:
        UserError: no such benchmark, or a model that cannot be built.
    """
    benchmark = get_benchmark(config.benchmark)
    check_model(config, benchmark)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        model = build_recognizer(config, benchmark).to(device)
        clip = saved_for_backward(model, config, benchmark, dtype) / _PROBE
    head = 0 if model.head is None else _count(model.head.parameters())
    total = _count(model.parameters())
    places, absent = (), ""
    try:
        places = places_of(existing_store(config.benchmark), config, device)
    except StoreNotFound as error:
        absent = f"{error}{_why_not_made()}"
    return Needs(
        config=config,
        device=device,
        parameters=total - head,
        head_parameters=head,
        state=4 * (3 * total + _count(model.buffers())),
        activations=round(clip * config.train.batch_size),
        free=free_memory(device),
        free_disk=free_disk(RUNS),
        places=places,
        absent=absent,
    )


def _why_not_made() -> str:
    try:
        check_writable(data_root() / "store")
    except WriteError as error:
        return f"\nNor can it be made there: {error} FRCORE_DATA names another folder."
    return ""


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def saved_for_backward(
    model: Recognizer, config: RunConfig, benchmark: Benchmark, dtype: torch.dtype
) -> int:
    """Bytes that a training step of two made-up clips keeps for its backward pass."""
    device = next(model.parameters()).device
    shape = (benchmark.channels, model.backbone.num_frames, benchmark.skeleton.num_joints)
    clips = torch.randn(_PROBE, *shape, model.backbone.num_persons, device=device)
    labels = torch.arange(_PROBE, device=device) % benchmark.num_classes
    weights = (*model.parameters(), *model.buffers(), clips)
    own = {tensor.untyped_storage().data_ptr() for tensor in weights}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with autocast(device, dtype):
            out = model(clips)
        loss = F.cross_entropy(out.logits.float(), labels)
        if model.head is not None:
            loss = loss + model.head(out.stages, labels, out.logits.float()).loss
    del loss
    return sum(kept.values())


def places_of(store: Store, config: RunConfig, device: torch.device) -> tuple[Place, ...]:
    """Where training would put the clips of each split, in the order in which it loads them."""
    unloaded = config.data.model_copy(update={"residence": "stream"})
    places, taken = [], 0
    for split in ("train", "val", "test"):
        pipeline = load_split(store, split, unloaded, device, training=split == "train")
        if pipeline is None:
            continue
        # What lies there by then: half of the memory that is free must hold the clips, and what
        # has been taken lowers that half by half of itself.
        resident = is_resident(pipeline.size + taken // 2, device, config.data.residence)
        taken += pipeline.size if resident else 0
        places.append(Place(split, len(pipeline.clips), pipeline.size, resident))
    return tuple(places)


def recipe_findings(needs: Needs) -> list[Finding]:
    """What a recipe takes, in words."""
    n, config = needs, needs.config
    head = f" and {n.head_parameters:,} of FR Head, in training" if n.head_parameters else ""
    parts = f"weights, gradients and momentum {gigabytes(n.state)}, a batch of "
    parts += f"{config.train.batch_size} {gigabytes(n.activations)}; the peak is somewhat higher"
    sizes = {"parameters": n.parameters, "head": n.head_parameters}
    return [
        Finding("model", config.model_name, config.model_name, f"recipe {config.name}"),
        Finding("parameters", sizes, f"{n.parameters:,}{head}"),
        Finding("memory", n.memory, f"about {gigabytes(n.memory)} on {n.device}", parts),
        _clips_finding(n),
        Finding("steps an epoch", n.steps, "unknown" if n.steps is None else f"{n.steps:,}"),
    ]


def _clips_finding(n: Needs) -> Finding:
    if n.absent:
        return Finding("clips", None, "not there", f"no store '{n.config.benchmark}'")
    value = {
        place.split: {"clips": place.clips, "bytes": place.size, "resident": place.resident}
        for place in n.places
    }
    shown = ", ".join(
        f"{place.split} {gigabytes(place.size)} "
        + (f"on {n.device}" if place.resident else "streamed from disk")
        for place in n.places
    )
    why = "data.residence"
    if n.config.data.residence == "auto":
        why = f"at most half of the {gigabytes(n.free)} that are free on {n.device} is for clips"
    return Finding("clips", value, shown, why)


def _memory_advice(needs: Needs) -> list[str]:
    """What does not fit on the device, and what to do about just that."""
    n = needs
    taken = sum(place.size for place in n.places if place.resident)
    if n.free is None or n.memory + taken <= n.free:
        return []
    has = f"on {n.device}, and {gigabytes(n.free)} are free."
    if n.memory <= n.free:
        return [
            "--set data.residence=stream, or a smaller train.batch_size: the clips take "
            f"{gigabytes(taken)} beside the {gigabytes(n.memory)} of training {has}"
        ]
    if n.state > n.free:
        return [f"A smaller model: its weights alone take {gigabytes(n.state)} in training {has}"]
    batch = n.config.train.batch_size
    most = int(_SHARE * (n.free - n.state) * batch / n.activations)
    fits = 1 << max(most, 1).bit_length() - 1  # a power of two
    return [
        f"--set train.batch_size={fits}, or another smaller one: a batch of {batch:,} takes about "
        f"{gigabytes(n.activations)} {has}"
    ]


def recipe_advice(needs: Needs) -> list[str]:
    """What would fail, or be slow."""
    n, advice = needs, _memory_advice(needs)
    streamed = [place.split for place in n.places if not place.resident]
    if streamed and n.config.data.residence == "stream" and n.free is not None:
        size = sum(place.size for place in n.places)
        if size <= n.free / 2:
            advice.append(
                f"--set data.residence=auto: the clips would fit on {n.device} ({gigabytes(size)})."
            )
    if n.free_disk is not None and n.free_disk < n.checkpoints:
        advice.append(
            f"Make room where {RUNS} lies: checkpoints take up to {gigabytes(n.checkpoints)}, and "
            f"{gigabytes(n.free_disk)} are free."
        )
    return advice
