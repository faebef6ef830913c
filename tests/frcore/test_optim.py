"""The learning rate by hand, and the optimiser against the formula of Nesterov momentum."""

import math

import pytest
import torch
from torch import nn

from frcore.config import OptimConfig
from frcore.optim import build_optimizer, learning_rate


def rate(position, epochs=65, **changes):
    return learning_rate(OptimConfig(**changes), epochs, position)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (0, 0.02),
        (0.99, 0.02),  # by whole epochs
        (1, 0.04),
        (2, 0.06),
        (3, 0.08),
        (4.5, 0.1),
        (5, 0.1),
        (34.99, 0.1),
        (35, 0.01),
        (54.99, 0.01),
        (55, 0.001),
        (64.99, 0.001),
    ],
)
def test_the_published_schedule(position, expected):
    assert rate(position) == pytest.approx(expected)


def test_the_cosine_falls_from_the_end_of_warm_up_to_zero():
    cosine = {"schedule": "cosine", "warmup_epochs": 3, "lr": 0.2}
    assert rate(0, 33, **cosine) == pytest.approx(0.2 / 3)
    assert rate(2.9, 33, **cosine) == pytest.approx(0.2)
    assert rate(3, 33, **cosine) == pytest.approx(0.2)
    assert rate(18, 33, **cosine) == pytest.approx(0.1)  # half-way
    assert rate(10.5, 33, **cosine) == pytest.approx(0.1 * (1 + math.sqrt(0.5)))  # a quarter
    assert rate(33, 33, **cosine) == pytest.approx(0.0)


def test_without_warm_up_and_for_a_single_epoch():
    assert rate(0, warmup_epochs=0) == 0.1
    assert rate(0, 1, schedule="cosine", warmup_epochs=0) == pytest.approx(0.1)
    assert rate(0.5, 1, schedule="cosine", warmup_epochs=5) == pytest.approx(0.02)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.9, False), (0.0, False)])
def test_three_steps_are_those_of_the_formula(momentum, nesterov):
    """v = m v + g + wd w;  w = w - lr (g + wd w + m v) with Nesterov, else w - lr v."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    optim = OptimConfig(lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=0.01)
    optimizer = build_optimizer(model, optim)
    weight, velocity = model.weight.detach().clone(), torch.zeros(2, 3, dtype=torch.float64)
    for _ in range(3):
        gradient = torch.randn(2, 3, dtype=torch.float64)
        model.weight.grad, model.bias.grad = gradient.clone(), torch.zeros_like(model.bias)
        optimizer.step()
        gradient = gradient + 0.01 * weight
        velocity = momentum * velocity + gradient
        weight = weight - 0.1 * (gradient + momentum * velocity if nesterov else velocity)
        torch.testing.assert_close(model.weight.detach(), weight, rtol=1e-12, atol=1e-12)
    if momentum:
        found = optimizer.state[model.weight]["momentum_buffer"]
        torch.testing.assert_close(found, velocity, rtol=1e-12, atol=1e-12)


def test_momentum_is_there_before_the_first_step():
    model = nn.Linear(3, 2)
    optimizer = build_optimizer(model, OptimConfig())
    assert all((optimizer.state[p]["momentum_buffer"] == 0).all() for p in model.parameters())
