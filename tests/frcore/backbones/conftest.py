"""Shared by tests of backbones: recorded values, and weights that leave no part of a net unseen."""

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(scope="session")
def values(golden: Path) -> ModuleType:
    """`fill(key, shape)` and `uniform(name, count)` of tests/golden/fill.py."""
    spec = importlib.util.spec_from_file_location("golden_fill", golden / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def recorded(golden: Path) -> Callable[[str], Mapping[str, np.ndarray]]:
    """The arrays of one golden file by name."""
    return lambda name: np.load(golden / f"{name}.npz")


@pytest.fixture(scope="session")
def published_state(golden: Path, values: ModuleType) -> Callable[[str], dict[str, Tensor]]:
    """The state dict of a published model, by the name of its list of shapes."""

    def load(name: str) -> dict[str, Tensor]:
        shapes = json.loads((golden / f"{name}_state_shapes.json").read_text(encoding="utf-8"))
        return {
            key: torch.from_numpy(np.asarray(values.fill(key, tuple(shape))))
            for key, shape in shapes.items()
        }

    return load


@pytest.fixture(scope="session")
def difference() -> Callable[[Any, np.ndarray], float]:
    """max |ours - golden| / max |golden|."""

    def relative(ours: Any, theirs: np.ndarray) -> float:
        ours = ours.detach().numpy() if isinstance(ours, Tensor) else np.asarray(ours)
        assert ours.shape == theirs.shape
        return float(np.abs(ours - theirs).max() / np.abs(theirs).max())

    return relative


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
