"""Times the explorer in headless Chromium at the sizes of NTU RGB+D 60 and 120; prints the table.

    python benchmarks/explorer.py                   # 16,487, 50,919 and 114,480 clips; JupyterLab
    python benchmarks/explorer.py --quick           # the smallest size, no JupyterLab
    python benchmarks/explorer.py --out results/bench_explorer.json

Milliseconds by the browser's own clock, medians of several. Predictions are those of analysis.py,
maps are made before by PCA: how they are drawn does not depend on their method. Needs Chromium.
"""

import argparse
import logging
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import nbformat
from analysis import predictions
from playwright.sync_api import Browser, Page, sync_playwright
from records import machine, write

import frviz

SIZES = {"ntu60": (16_487, 60), "ntu120": (50_919, 120), "all of ntu120": (114_480, 120)}
FIRST = "first paint in JupyterLab"
FRAME = "frame"  # panning moves both maps
TARGETS = {  # ms, as promised
    "ntu60": {"open": 1500},
    "ntu120": {"draw": 16, "matrix": 16, "lasso": 50, "hover": 16, FIRST: 2000},
    "all of ntu120": {"open": 2000, FRAME: 16.7, FIRST: 2000},
}
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
ROUNDS, QUICK_ROUNDS = 7, 3
MEASURES = """window.measures = []; new PerformanceObserver(list => window.measures.push(
    ...list.getEntries().map(m => [m.name, m.startTime, m.duration]))).observe({type: 'measure'})"""
CELLS = """
import analysis, frviz
a, b = (analysis.predictions({clips}, {classes}, seed) for seed in (0, 1))
maps = frviz.embed_pair(a, b, method="pca")
### frviz.explore(a, b, maps=maps)
"""

log = logging.getLogger(__name__)


def durations(page: Page, prefix: str) -> list[float]:
    """Milliseconds of all measures whose name begins so."""
    found = page.evaluate("window.measures")
    return [ms for name, _, ms in found if name.startswith(f"frviz {prefix}")]


def lasso(page: Page, share: float) -> None:
    """Draws around a part of the first map."""
    box = page.locator(".frx-map canvas").first.bounding_box()
    corners = [(0.1, 0.1), (0.1 + share, 0.1), (0.1 + share, 0.1 + share), (0.1, 0.1 + share)]
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in (*points[1:], points[0]):
        page.mouse.move(*point, steps=20)
    page.mouse.up()
    page.wait_for_timeout(400)


def in_page(browser: Browser, path: Path, rounds: int) -> dict[str, float]:
    """Milliseconds of each act in an exported page."""
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    page.add_init_script(MEASURES)
    page.goto(path.as_uri())
    page.wait_for_selector(".frx-space .frx-row")
    page.wait_for_timeout(1500)
    drawn = [start + ms for name, start, ms in page.evaluate("window.measures") if "Map" in name]
    first = {"open": min(max(drawn[:2]), 60_000)}
    box = page.locator(".frx-map canvas").first.bounding_box()
    page.locator(".frx-panel-matrix [data-value=all]").click()  # not clusters: they are fewer
    for number in range(rounds):
        lasso(page, 0.5 + 0.05 * number)
        x, y = box["x"] + box["width"] * (0.3 + 0.05 * number), box["y"] + box["height"] / 2
        page.mouse.move(x, y, steps=3)
        page.locator(".frx-panel-matrix .frx-segment").nth(number % 3).click()
        page.wait_for_timeout(200)
    names = {"draw": "draw Map", "matrix": "draw Confusion", "lasso": "lasso", "hover": "hover"}
    found = {what: durations(page, prefix)[2:] for what, prefix in names.items()}
    page.close()
    medians = {what: statistics.median(ms) for what, ms in found.items()}
    return first | medians | {FRAME: 2 * medians["draw"]}


def in_lab(browser: Browser, folder: Path, clips: int, classes: int) -> float:
    """Milliseconds from running a cell to the drawn maps, in a real JupyterLab."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, address = secrets.token_hex(16), f"http://127.0.0.1:{port}"
    cells = CELLS.format(clips=clips, classes=classes).strip().split("### ")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "explorer.ipynb")
    here = Path(__file__).resolve().parent
    env = os.environ | {"PYTHONPATH": f"{here.parent}{os.pathsep}{here}"}
    env |= {f"JUPYTER_{n}": str(folder / n) for n in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--ip=127.0.0.1", f"--IdentityProvider.token={token}", f"--notebook-dir={folder}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env=env, **quiet)
    try:
        wait_for(f"{address}/api?token={token}")
        return first_paint(browser, f"{address}/lab/tree/explorer.ipynb?token={token}")
    finally:
        server.terminate()
        server.wait(timeout=30)


def first_paint(browser: Browser, address: str) -> float:
    """Runs both cells; times the second one."""
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    page.add_init_script(MEASURES)
    page.goto(address, timeout=120_000)
    page.wait_for_selector("text=(ipykernel) | Idle", timeout=120_000)
    page.wait_for_timeout(3000)  # a new kernel says too early that it listens
    for number in range(2):
        page.locator(".jp-CodeCell .cm-content").nth(number).click()
        start = page.evaluate("performance.now()")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(f'.jp-InputPrompt >> text="[{number + 1}]:"', timeout=300_000)
    drawn = "window.measures.filter(m => m[0].includes('Map')).length >= 2"
    page.wait_for_function(drawn, timeout=60_000)
    ends = [s + ms for name, s, ms in page.evaluate("window.measures") if "Map" in name]
    page.close()
    return max(ends[:2]) - start


def wait_for(address: str) -> None:
    """Until a server answers."""
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError("JupyterLab did not start.")


def measure(browser: Browser, name: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Everything at one size."""
    clips, classes = SIZES[name]
    log.info("%s: %s clips x %s classes, two maps", name, f"{clips:,}", classes)
    a, b = (predictions(clips, classes, seed) for seed in (0, 1))
    maps = frviz.embed_pair(a, b, method="pca")
    start = time.perf_counter()
    explorer = frviz.explore(a, b, maps=maps)
    times = {"explore": 1000 * (time.perf_counter() - start)}
    page = explorer.to_html(folder / f"{clips}.html")
    times |= in_page(browser, page, rounds)
    for what, ms in times.items():
        say(name, what, ms)
    rounded = {what: round(ms, 1) for what, ms in times.items()}
    return {"clips": clips, "classes": classes, "page_bytes": page.stat().st_size, "ms": rounded}


def say(name: str, what: str, ms: float) -> None:
    """A figure, beside its target where it has one."""
    target = TARGETS[name].get(what)
    log.info("  %-26s %8.1f ms%s", what, ms, f"   (target {target} ms)" if target else "")


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        log.info("No Chromium on this machine: the explorer is not timed.")
        return
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        os.environ["FRVIZ_CACHE"] = made
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS.split())
        sizes, rounds = list(SIZES), ROUNDS
        if asked.quick:
            sizes, rounds = sizes[:1], QUICK_ROUNDS
        found = {name: measure(browser, name, Path(made), rounds) for name in sizes}
        for name in () if asked.quick else sizes[1:]:
            log.info("%s: from running the cell to the first paint", name)
            ms = in_lab(browser, Path(made), *SIZES[name])
            found[name]["ms"][FIRST] = round(ms, 1)
            say(name, FIRST, ms)
        browser.close()
    if asked.out:
        write(asked.out, {"what": "the explorer", "machine": machine(), "sizes": found})


if __name__ == "__main__":
    main()
