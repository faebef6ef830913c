"""One run over several processes: which of them this is, and what they tell each other.

`torchrun` starts the processes and numbers them (their ranks). All of them walk through the same
steps, each on its part of a batch; the first one writes and speaks. With one process every function
here gives back what it is given, at no cost.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from frcore.display import SILENT
from frcore.errors import UserError

log = logging.getLogger(__name__)

T = TypeVar("T")

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK")  # which torchrun sets
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
_PATIENCE = timedelta(minutes=10)  # with a process that is there and does not answer
_FEWEST = 2  # views a rank: batch norm cannot train on one value a channel


class RankLost(UserError):
    """Another process of the run has ended or does not answer."""


@dataclass(frozen=True)
class Launch:
    """One of the processes that make up a run."""

    rank: int = 0
    size: int = 1  # processes in all
    local_rank: int = 0  # among those on this machine
    local_size: int = 1

    def backend(self, device: torch.device) -> str | None:
        """By what the processes of a run talk: a card's by NCCL, and over the host by Gloo."""
        if self.size == 1:
            return None
        return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"


_here = Launch()
_store: "dist.Store | None" = None  # kept: another run in these processes needs it again
_meetings = 0


def launch() -> Launch:
    """Which process this was started as, by the environment that `torchrun` makes.

    Raises:
        UserError: that environment is there in part, or its numbers do not fit together.
    """
    there = [name for name in _NUMBERS if os.environ.get(name)]
    if not there:
        return Launch()
    missing = [name for name in _NUMBERS + _ADDRESS if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"The environment has {', '.join(there)} as one of several processes would, but not "
            f"{', '.join(missing)}. Start with torchrun, which sets them all, or unset these to "
            "train in one process."
        )
    names = (*_NUMBERS, "LOCAL_WORLD_SIZE")
    texts = {name: os.environ.get(name, "1") for name in names}
    wrong = [f"{name}={text!r:.40}" for name, text in texts.items() if not text.isdecimal()]
    if wrong:
        raise UserError(f"{', '.join(wrong)}: expected whole numbers, as torchrun sets them.")
    rank, size, local_rank, local_size = map(int, texts.values())
    if rank >= size:
        raise UserError(f"RANK={rank} must be below WORLD_SIZE={size}, as torchrun sets them.")
    return Launch(rank, size, local_rank, local_size) if size > 1 else Launch()


@contextmanager
def joined(process: Launch, device: torch.device) -> Iterator[None]:
    """The processes of a run find each other; until the end all but the first are silent.

    Args:
        process: this one; alone it has nobody to wait for.
        device: where it computes.

    Raises:
        RankLost: the others did not come.
    """
    global _here
    if process.size == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _talking():
        dist.init_process_group(
            process.backend(device),
            store=_meeting_place(process),
            rank=process.rank,
            world_size=process.size,
            timeout=_PATIENCE,
        )
    _here = process
    silent = SILENT.set(process.rank > 0)
    disabled = logging.root.manager.disable
    if process.rank > 0:
        logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        SILENT.reset(silent)
        _here = Launch()
        dist.destroy_process_group()


def _meeting_place(process: Launch) -> "dist.Store":
    """The store where the processes find each other; what an earlier run left there is not seen."""
    global _store, _meetings
    if _store is None:
        where = dist.rendezvous("env://", process.rank, process.size, timeout=_PATIENCE)
        _store = next(where)[0]
    _meetings += 1
    return dist.PrefixStore(f"frcore/{_meetings}", _store)


@contextmanager
def _talking() -> Iterator[None]:
    """What goes wrong between processes, in words."""
    try:
        yield
    except RuntimeError as error:  # of which torch's errors are
        reason = str(error).partition("\n")[0]
        raise RankLost(
            "Another process of this run has ended or does not answer, so this one ends too; what "
            f"the other said is the cause. Start all of them again to go on ({reason:.200})."
        ) from error


def here() -> Launch:
    """Which process this is, while they are joined; else the only one."""
    return _here


def is_first() -> bool:
    """Whether this is the process that writes and speaks."""
    return _here.rank == 0


# ---- the batch, by rank --------------------------------------------------------------------------


class Part(NamedTuple):
    """What this rank does of a batch."""

    rows: slice
    share: float  # of the batch's views; 0: they are another rank's, done again and not counted


def part_of(views: int) -> Part:
    """This rank's part of a batch: consecutive rows, as many as the other ranks have or one less.

    A batch that does not give everybody two is done whole by all ranks, and counts at the first:
    no rank is without work, which would leave it without gradients, statistics and shapes.
    """
    if views < _FEWEST * _here.size:
        return Part(slice(views), float(is_first()))
    start, end = (views * rank // _here.size for rank in (_here.rank, _here.rank + 1))
    return Part(slice(start, end), (end - start) / views)


def check_batch_size(batch_size: int, process: Launch) -> None:
    """Refuses batches that cannot be split.

    Raises:
        UserError: fewer than two clips a process.
    """
    fewest = _FEWEST * process.size
    if process.size > 1 and batch_size < fewest:
        raise UserError(
            f"train.batch_size={batch_size} is that of all {process.size} processes together, and "
            f"each needs {_FEWEST} clips: choose {fewest} or more, or start fewer processes."
        )


# ---- sums over ranks -----------------------------------------------------------------------------


def reduce_(x: Tensor, how: Literal["sum", "max"] = "sum") -> Tensor:
    """Replaces `x` by the sum or the maximum of all ranks' `x`; the same bits on each."""
    if _here.size > 1:
        with _talking():
            dist.all_reduce(x, dist.ReduceOp.SUM if how == "sum" else dist.ReduceOp.MAX)
    return x


class _Sum(torch.autograd.Function):
    """Sum over ranks. What a rank adds has a part in every rank's loss: gradients add up as well.

    torch's own (`torch.distributed.nn`) warns that it will be removed.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return reduce_(x.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return reduce_(gradient.clone())


def summed(*tensors: Tensor, counted: bool = True) -> tuple[Tensor, ...]:
    """The sums over ranks of some tensors, in one go and with gradients.

    Args:
        *tensors: of one type; the same shapes on every rank.
        counted: whether this rank's own are in the sums.
    """
    if _here.size == 1:
        return tensors
    flat = torch.cat([t.flatten() for t in tensors])
    whole = _Sum.apply(flat if counted else flat * 0)  # a NaN stays one: it is the other's, too
    pieces = whole.split([t.numel() for t in tensors])
    return tuple(p.view_as(t) for p, t in zip(pieces, tensors, strict=True))


def sum_gradients(parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    """Sums gradients and loss over ranks in one go; returns the loss.

    One flat tensor after the backward pass: the networks here have a few million weights, so there
    is little that could be hidden behind it.
    """
    loss = loss.detach()
    if _here.size == 1:
        return loss
    changed = [p for p in parameters if p.grad is not None]
    parts = [*(p.grad.flatten() for p in changed), loss.flatten().to(changed[0].grad.dtype)]
    pieces = reduce_(torch.cat(parts)).split([part.numel() for part in parts])
    for p, piece in zip(changed, pieces, strict=False):
        p.grad = piece.view_as(p)
    return pieces[-1].view(())


def join_rows(rows: Tensor, places: Tensor, count: int) -> Tensor:
    """All ranks' rows in their order.

    Args:
        rows: (n, ...), this rank's.
        places: (n,) int64, where they belong; each place has one rank.
        count: N of the whole.
    """
    if _here.size == 1:
        return rows
    whole = rows.new_zeros(count, *rows.shape[1:])
    whole[places] = rows
    return reduce_(whole)


# ---- batch norm ----------------------------------------------------------------------------------


def share_norms(model: nn.Module, device: torch.device) -> nn.Module:
    """On CUDA, batch norms that see the whole batch; torch has none for CPUs, which says so."""
    if _here.size == 1:
        return model
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    log.warning(
        "%d processes on CPUs: batch norm sees each one's part of a batch, so this run is not "
        "equal to one in a single process. Running statistics are the mean of theirs.",
        _here.size,
    )
    return model


@torch.no_grad()
def average_norms(model: nn.Module) -> None:
    """Makes running statistics that belong to each rank the mean of all ranks' own.

    So every rank evaluates, and the checkpoint holds, one model that has seen all clips. As running
    statistics are linear in what they are made of, it does not matter when and how often.
    """
    if _here.size == 1:
        return
    each = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    each = [m for m in each if m.track_running_stats and not isinstance(m, nn.SyncBatchNorm)]
    buffers = [buffer for m in each for buffer in (m.running_mean, m.running_var)]
    if buffers:
        flat = reduce_(torch.cat(buffers)) / _here.size
        for buffer, mean in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
            buffer.copy_(mean)


# ---- what they agree on --------------------------------------------------------------------------


def highest(number: int) -> int:
    """The highest of all ranks' numbers. On the host: no device is waited for."""
    return number if _here.size == 1 else int(reduce_(torch.tensor(number), "max"))


def wait_for_all() -> None:
    """Every rank has come here."""
    highest(0)


@contextmanager
def first_goes_first() -> Iterator[None]:
    """The first rank is through this block before the others begin it: it may make their files."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()


def from_first(make: Callable[[], T]) -> T:
    """What `make()` gives at the first rank, on all of them."""
    if _here.size == 1:
        return make()
    made = [make() if is_first() else None]
    with _talking():
        dist.broadcast_object_list(made, src=0)
    return made[0]


def check_alike(**facts: Any) -> None:
    """Refuses to go on where ranks differ in what must be the same.

    Raises:
        UserError: on every rank, naming the facts and who has what.
    """
    if _here.size == 1:
        return
    found: list[Mapping[str, Any]] = [{}] * _here.size
    with _talking():
        dist.all_gather_object(found, facts)
    for name in facts:
        values = [other[name] for other in found]
        if any(value != values[0] for value in values):
            listed = ", ".join(f"rank {rank} has {value}" for rank, value in enumerate(values))
            raise UserError(
                f"The processes of this run differ in {name.replace('_', ' ')}: {listed}. Start "
                "them with one command, one installation, and on a file system that they share."
            )
