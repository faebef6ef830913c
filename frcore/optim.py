"""The optimiser of a run and its learning rate as a function of the position in epochs."""

import logging
import math

import torch
from torch import nn

from frcore.config import OptimConfig

log = logging.getLogger(__name__)


def build_optimizer(model: nn.Module, optim: OptimConfig) -> torch.optim.SGD:
    """Fused SGD over all parameters, with momentum buffers there from the start.

    A fused optimiser can skip a step without a look at the device (see `StepGuard`); one that skips
    its very first step would otherwise start from uninitialised momentum.
    """
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=optim.lr,
        momentum=optim.momentum,
        nesterov=optim.nesterov,
        weight_decay=optim.weight_decay,
        fused=True,
    )
    if optim.momentum > 0:
        for p in model.parameters():
            optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return optimizer


def learning_rate(optim: OptimConfig, epochs: int, position: float) -> float:
    """The learning rate of a step.

    Args:
        optim: `lr` is reached at the end of a linear warm-up by whole epochs; then it is multiplied
            by `gamma` at each milestone, or falls to 0 along half a cosine, step by step.
        epochs: of the whole run.
        position: epochs done before the step, with their fraction.
    """
    if position < optim.warmup_epochs:
        return optim.lr * (math.floor(position) + 1) / optim.warmup_epochs
    if optim.schedule == "step":
        return optim.lr * optim.gamma ** sum(m <= position for m in optim.milestones)
    progress = (position - optim.warmup_epochs) / (epochs - optim.warmup_epochs)
    return optim.lr * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def check_warmup(optim: OptimConfig, epochs: int) -> None:
    """Warns of a warm-up that takes the whole run."""
    if optim.warmup_epochs >= epochs:
        log.warning(
            "optim.warmup_epochs=%d is not over when training is (train.epochs=%d).",
            optim.warmup_epochs,
            epochs,
        )
