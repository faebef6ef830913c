"""What the processes of a run share in a training step: its batch, sums, gradients, batch norm.

Two sums a step: one inside FR Head (TP, FN and FP features and counts of all branches of a width),
one of gradients and loss. With one process every function here gives back what it is given.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from frcore.errors import UserError
from frcore.ranks import Launch, here, is_first, reduce_

log = logging.getLogger(__name__)

_FEWEST = 2  # views a rank: batch norm cannot train on one value a channel


class Part(NamedTuple):
    """What this rank does of a batch."""

    rows: slice
    share: float  # of the batch's views; 0: they are another rank's, done again and not counted


def part_of(views: int) -> Part:
    """This rank's part of a batch: consecutive rows, as many as the other ranks have or one less.

    A batch that does not give everybody two is done whole by all ranks, and counts at the first:
    no rank is without work, which would leave it without gradients, statistics and shapes.
    """
    if views < _FEWEST * here().size:
        return Part(slice(views), float(is_first()))
    start, end = (views * rank // here().size for rank in (here().rank, here().rank + 1))
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
    if here().size == 1:
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
    if here().size == 1:
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
    if here().size == 1:
        return rows
    whole = rows.new_zeros(count, *rows.shape[1:])
    whole[places] = rows
    return reduce_(whole)


# ---- batch norm ----------------------------------------------------------------------------------


def share_norms(model: nn.Module, device: torch.device) -> nn.Module:
    """On CUDA, batch norms that see the whole batch; torch has none for CPUs, which says so."""
    if here().size == 1:
        return model
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    log.warning(
        "%d processes on CPUs: batch norm sees each one's part of a batch, so this run is not "
        "equal to one in a single process. Running statistics are the mean of theirs.",
        here().size,
    )
    return model


@torch.no_grad()
def average_norms(model: nn.Module) -> None:
    """Makes running statistics that belong to each rank the mean of all ranks' own.

    So every rank evaluates, and the checkpoint holds, one model that has seen all clips. As running
    statistics are linear in what they are made of, it does not matter when and how often.
    """
    if here().size == 1:
        return
    each = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    each = [m for m in each if m.track_running_stats and not isinstance(m, nn.SyncBatchNorm)]
    buffers = [buffer for m in each for buffer in (m.running_mean, m.running_var)]
    if buffers:
        flat = reduce_(torch.cat(buffers)) / here().size
        for buffer, mean in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
            buffer.copy_(mean)
