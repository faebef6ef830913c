"""The explorer in a real JupyterLab: what is chosen on the page reaches Python, and back."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page

MAKE = """
import json
from pathlib import Path
import numpy as np
import frviz
from frcore.predictions import Predictions

rng = np.random.default_rng(0)
labels = rng.integers(0, 6, 300)
names = ("writing", "reading", "typing", "waving", "clapping", "bowing")

def model(noise, seed):
    features = np.eye(6)[labels] + noise * np.random.default_rng(seed).normal(size=(300, 6))
    ids = tuple(f"clip{n:03}" for n in range(300))
    known = {"class_names": names, "logits": features, "features": {"backbone": features}}
    return Predictions(ids, labels, **known)

explorer = frviz.explore(model(0.6, 1), model(0.5, 2), names=("plain", "FR Head"), method="pca")

def write(change):
    seen = {name: getattr(explorer, name) for name in ("selection", "anchor", "cell", "side")}
    Path("seen-NAME.json").write_text(json.dumps(seen))

explorer.observe(write, ["selection", "anchor", "cell"])
explorer
"""
FRESH = 20  # notebooks; one that never heard of a selection is one too many
PATIENCE = 60  # seconds

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


def start(lab, page: Page, name: str, *more: str) -> Path:
    """A notebook with an explorer on the page; the file in which Python writes what it hears."""
    lab.open(page, name, [MAKE.replace("NAME", name), *more])
    lab.run_cell(page, 0)
    page.wait_for_selector(".frx-map canvas", timeout=1000 * PATIENCE)
    drawn = "performance.getEntriesByType('measure').some(m => m.name.includes('Map of FR Head'))"
    page.wait_for_function(drawn)
    return lab.root / f"seen-{name}.json"


def heard(file: Path, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What Python heard, once it is what is wanted."""
    seen: dict[str, Any] = {}
    for _ in range(10 * PATIENCE):
        if file.exists() and file.read_text().endswith("}"):
            seen = json.loads(file.read_text())
            if wanted(seen):
                return seen
        time.sleep(0.1)
    pytest.fail(f"Python heard {seen or 'nothing'}")


def lasso(page: Page, canvas: Locator) -> None:
    """Draws around the middle of a map."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    left, top = box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"]
    right, bottom = box["x"] + 0.8 * box["width"], box["y"] + 0.8 * box["height"]
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top)):
        page.mouse.move(x, y, steps=5)
    page.mouse.up()


def test_selections_reach_python_in_fresh_notebooks(lab, page: Page) -> None:
    counts = []
    for number in range(FRESH):
        file = start(lab, page, f"fresh{number}")
        lasso(page, page.locator(".frx-map canvas").first)
        counts.append(len(heard(file, lambda seen: seen["selection"])["selection"]))
        lab.stop_kernels()
    assert len(counts) == FRESH
    assert len(set(counts)) == 1 and 50 < counts[0] < 300  # the same lasso, the same clips


def test_page_and_python_move_each_other(lab, page: Page) -> None:
    """Also while a cell runs, and after the page was loaded again."""
    sleep = "import time\nfor _ in range(250): time.sleep(0.1)"
    file = start(lab, page, "both", "explorer.anchor = 'reading'", sleep, "explorer.anchor = ''")
    page.locator(".frx-group", has_text="waving").first.click()
    group = heard(file, lambda seen: seen["anchor"])
    assert group["selection"]
    choice = page.locator(".frx-panel-maps select").first
    choice.select_option("tsne")  # which the kernel has to make
    page.wait_for_selector(".frx-maps-view .frx-note:has-text('t-SNE of')", timeout=1000 * PATIENCE)
    lab.run_cell(page, 1)
    page.wait_for_selector(".frx-chip:has-text('group of reading')")

    lab.run_cell(page, 2)  # runs for 25 seconds
    outcome = page.locator(".frx-outcome")
    outcome.filter(has_text="fixed").click()
    fixed = heard(file, lambda seen: seen["selection"] and seen["selection"] != group["selection"])
    count = len(fixed["selection"])
    prompt = page.locator(".jp-CodeCell").nth(2).locator(".jp-InputPrompt").first
    assert prompt.text_content() == "[*]:"
    assert outcome.filter(has_text="fixed").text_content().startswith(f"{count} of")

    # loaded again: a page is made of what was saved, and asks the kernel, which has to be free
    page.wait_for_selector("text=(ipykernel) | Idle", timeout=1000 * PATIENCE)
    page.locator(".jp-CodeCell").nth(2).click()
    page.keyboard.press("Control+s")
    page.wait_for_timeout(1500)
    page.reload()
    page.wait_for_selector(".frx-outcome", timeout=1000 * PATIENCE)
    page.wait_for_selector(f".frx-chip:has-text('{count} clips chosen')")
    outcome.filter(has_text="broken").click()
    heard(file, lambda seen: seen["selection"] and seen["selection"] != fixed["selection"])


def test_the_first_choice_is_heard_while_a_cell_runs(lab, page: Page) -> None:
    file = start(lab, page, "busy", "import time\nfor _ in range(200): time.sleep(0.1)")
    page.wait_for_timeout(1500)  # the page says hello, which opens its way to a busy kernel
    lab.run_cell(page, 1)
    page.locator(".frx-group", has_text="waving").first.click()
    assert heard(file, lambda seen: seen["anchor"])["selection"]
    assert page.locator(".jp-InputPrompt").nth(1).text_content() == "[*]:"
    lab.stop_kernels()


def test_keys_in_the_explorer_are_not_jupyterlabs(lab, page: Page) -> None:
    start(lab, page, "keys", "1 + 1", "2 + 2")
    cells = page.locator(".jp-CodeCell").count()
    places = (".frx-matrix canvas", ".frx-map canvas", ".frx-space .frx-row", ".frx-panel-head h3",
              ".frx-group[data-anchor]", ".frx-outcome")  # fmt: skip
    for place in places:
        page.locator(place).first.click()
        for key in ("a", "b", "x", "d", "d", "0", "0", "m", "y"):
            page.keyboard.press(key)
        page.wait_for_timeout(200)
        assert page.locator(".jp-CodeCell").count() == cells, place
        assert page.locator(".jp-Dialog").count() == 0, place
    assert page.locator(".frx-matrix canvas").count() == 1
    lab.stop_kernels()
