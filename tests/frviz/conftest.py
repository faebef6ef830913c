"""Predictions made up for the tests of tables and figures."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from frcore.predictions import Predictions

Make = Callable[..., Predictions]


@pytest.fixture(scope="session")
def make() -> Make:
    """Hard predictions from labels and predicted classes."""

    def made(
        labels: Sequence[int],
        predicted: Sequence[int],
        k: int | None = None,
        *,
        ids: Sequence[str] | None = None,
        **fields: object,
    ) -> Predictions:
        k = k or int(max([*labels, *predicted])) + 1
        names = fields.pop("class_names", [f"c{n}" for n in range(k)])
        ids = [f"s{n:05}" for n in range(len(labels))] if ids is None else ids
        return Predictions(
            tuple(ids), np.asarray(labels, int), class_names=tuple(names),
            predicted=np.asarray(predicted, int), **fields,
        )  # fmt: skip

    return made


@pytest.fixture(scope="session")
def random_pair(make: Make) -> Callable[..., tuple[Predictions, Predictions]]:
    """Two models with errors of their own: `quality` and `gain` are shares of right clips."""

    def drawn(
        n: int = 600, k: int = 10, *, quality: float = 0.8, gain: float = 0.0, seed: int = 0
    ) -> tuple[Predictions, Predictions]:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, k, n)
        near = (labels + rng.integers(1, 4, n)) % k  # confusions have a structure
        right = np.linspace(quality - 0.3, min(1, quality + 0.2), k)[labels]
        return tuple(
            make(labels, np.where(rng.random(n) < right + plus, labels, near), k)
            for plus in (0, gain)
        )

    return drawn
