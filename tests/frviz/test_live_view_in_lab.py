"""The live view in a real JupyterLab: what a reader sees is what was trained."""

import pytest
from playwright.sync_api import Page

CELL = """
import time
from pathlib import Path
from types import SimpleNamespace
import pandas as pd
import frviz

view = frviz.live()
config = {"train": {"epochs": 5}}
run = SimpleNamespace(path=Path("run"), config=config, metrics=pd.DataFrame({"epoch": []}))
view.on_start(run)
for epoch in (1, 2, 3, 4, 5):
    time.sleep(1)
    accuracy = {"train_acc": epoch / 6, "test_acc": epoch / 10}
    view.on_epoch(run, {"epoch": epoch, "ce": 1 / epoch, **accuracy})
view.on_end(run)
"""
PATIENCE = 120_000  # milliseconds

pytestmark = pytest.mark.browser


def wait_until_drawn(page: Page, pattern: str) -> None:
    """Until a text stands in the figure; SVG's text is no "visible" one to Playwright."""
    text = "document.querySelector('.jp-RenderedPlotly')?.textContent"
    page.wait_for_function(f"wanted => RegExp(wanted).test({text})", arg=pattern, timeout=PATIENCE)


def test_curves_in_jupyterlab_follow_the_training(lab, page: Page) -> None:
    lab.open(page, "live", [CELL])
    lab.run_cell(page, 0)
    wait_until_drawn(page, "epoch [1-4]/5")  # while it trains
    page.wait_for_selector('.jp-InputPrompt >> text="[1]:"', timeout=PATIENCE)  # it has ended
    for text in ("epoch 5/5 · CE 0.200 · test 50.0 %", "CE", "train", "test"):
        wait_until_drawn(page, text)
    assert page.locator(".jp-RenderedPlotly").count() == 1
