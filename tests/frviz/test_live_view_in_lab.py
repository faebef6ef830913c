"""The live view in a real JupyterLab: what a reader sees is what was trained."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """A JupyterLab of its own on 127.0.0.1; the address of a notebook in it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL.strip())])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    (tmp_path / "root").mkdir()
    nbformat.write(notebook, tmp_path / "root" / "live.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, base = secrets.token_hex(16), f"http://127.0.0.1:{port}"
    folders = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    own = {f"JUPYTER_{name}": str(tmp_path / name) for name in folders}
    own |= {f"JUPYTERLAB_{name}_DIR": str(tmp_path / name) for name in ("SETTINGS", "WORKSPACES")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ip=127.0.0.1", f"--port={port}", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={tmp_path / 'root'}"]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **own, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
        )
        try:
            wait_for(f"{base}/api?token={token}", server, tmp_path / "lab.log")
            yield f"{base}/lab/workspaces/test/tree/live.ipynb?reset&token={token}"
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(240):
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"JupyterLab did not start: {log.read_text()}")


def run_the_cell(page: Page) -> None:
    """Asks again until the kernel has heard it: a new one says too early that it listens."""
    for _ in range(20):
        page.click(".jp-CodeCell .cm-content")
        page.keyboard.press("Control+Enter")
        page.wait_for_timeout(2000)
        if page.locator(".jp-CodeCell .jp-InputPrompt").first.text_content() != "[ ]:":
            return
    pytest.fail("JupyterLab did not run the cell.")


def wait_until_drawn(page: Page, pattern: str) -> None:
    """Until a text stands in the figure; SVG's text is no "visible" one to Playwright."""
    text = "document.querySelector('.jp-RenderedPlotly')?.textContent"
    page.wait_for_function(f"wanted => RegExp(wanted).test({text})", arg=pattern, timeout=PATIENCE)


def test_curves_in_jupyterlab_follow_the_training(lab: str, page: Page) -> None:
    page.goto(lab, timeout=PATIENCE)
    page.wait_for_selector("text=(ipykernel) | Idle", timeout=PATIENCE)
    run_the_cell(page)
    wait_until_drawn(page, "epoch [1-4]/5")  # while it trains
    page.wait_for_selector('.jp-InputPrompt >> text="[1]:"', timeout=PATIENCE)  # it has ended
    for text in ("epoch 5/5 · CE 0.200 · test 50.0 %", "CE", "train", "test"):
        wait_until_drawn(page, text)
    assert page.locator(".jp-RenderedPlotly").count() == 1
