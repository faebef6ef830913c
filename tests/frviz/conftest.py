"""Predictions made up for the tests of tables and figures, and a browser."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
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
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120_000  # milliseconds


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


@pytest.fixture
def seen(page: "Page") -> dict[str, list[str]]:
    """What the page asks for (its own module is a "blob:"), its messages and dialogs."""
    found: dict[str, list[str]] = {"requests": [], "console": [], "dialogs": []}
    page.on("request", lambda r: found["requests"].append(r.url.partition("null/")[0]))
    page.on("console", lambda m: found["console"].append(m.text))
    page.on("pageerror", lambda e: found["console"].append(str(e)))
    page.on("dialog", lambda d: (found["dialogs"].append(d.message), d.dismiss()))
    return found


@dataclass(frozen=True)
class Lab:
    """A JupyterLab on 127.0.0.1 and its folder of notebooks."""

    address: str
    token: str
    root: Path

    def open(self, page: "Page", name: str, cells: Sequence[str]) -> None:
        """Opens a new notebook in a workspace of its own, its kernel ready."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
        )
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, self.root / f"{name}.ipynb")
        where = f"lab/workspaces/{name}/tree/{name}.ipynb?reset&token={self.token}"
        page.goto(f"{self.address}/{where}", timeout=PATIENCE)
        page.wait_for_selector("text=(ipykernel) | Idle", timeout=PATIENCE)

    def run_cell(self, page: "Page", number: int) -> None:
        """Asks again until the kernel has heard it: a new one says too early that it listens."""
        cell = page.locator(".jp-CodeCell").nth(number)
        for _ in range(20):
            cell.locator(".cm-content").click()
            page.keyboard.press("Control+Enter")
            page.wait_for_timeout(1000)
            if cell.locator(".jp-InputPrompt").first.text_content() != "[ ]:":
                return
        pytest.fail("JupyterLab did not run the cell.")

    def stop_kernels(self) -> None:
        """Ends all kernels: many at once would fill the memory."""
        for kernel in json.load(self._ask("api/kernels")):
            self._ask(f"api/kernels/{kernel['id']}", "DELETE").close()

    def _ask(self, path: str, method: str = "GET") -> HTTPResponse:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.address}/{path}", headers=headers, method=method)
        return urllib.request.urlopen(request, timeout=30)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab with settings and workspaces of its own."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "root").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Lab(f"http://127.0.0.1:{port}", secrets.token_hex(16), folder / "root")
    own = {f"JUPYTER_{n}": str(folder / n) for n in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")}
    own |= {f"JUPYTERLAB_{n}_DIR": str(folder / n) for n in ("SETTINGS", "WORKSPACES")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ip=127.0.0.1", f"--port={port}", f"--IdentityProvider.token={made.token}"]
    command += [f"--ServerApp.root_dir={made.root}"]
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **own, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
        )
        try:
            wait_for(f"{made.address}/api?token={made.token}", server, folder / "lab.log")
            yield made
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    """Until a server answers."""
    for _ in range(240):
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"JupyterLab did not start: {log.read_text()}")
