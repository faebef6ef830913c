"""Shared by tests of backbones: weights that leave no part of a net unseen."""

from collections.abc import Callable

import pytest
import torch
from torch import nn


@pytest.fixture(scope="session")
def shake() -> Callable[[nn.Module], nn.Module]:
    """Moves every weight and statistic: fresh networks hide parts behind zeros and 1e-6."""

    def apply(model: nn.Module, seed: int = 0) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in model.state_dict().values():
                if tensor.is_floating_point():
                    noise = torch.rand(tensor.shape, generator=generator)
                    tensor.add_(0.4 * noise.to(tensor.dtype) - 0.2)
        return model

    return apply
