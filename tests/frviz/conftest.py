"""Predictions made up for the tests of tables and figures, and a browser."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest

from frcore.predictions import Predictions

if TYPE_CHECKING:
    from playwright.sync_api import Page

# A browser without a screen, a sandbox, or anything to talk to.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
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


@pytest.fixture
def page() -> "Iterator[Page]":
    """An empty page of the system's Chromium."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser.new_page(viewport={"width": 1280, "height": 900})
        browser.close()
