"""The live view: right numbers, one display, never in the way of training."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import frviz.live_view as module
from frviz.live_view import live


def row(epoch, **changes):
    values = {"epoch": epoch, "ce": 2.0 / epoch, "cl": 4.0 / epoch, "train_acc": 0.5}
    values |= {"test_acc": 0.1 * epoch, "tp": 60, "fn": 20, "fp": 40}
    return {**values, **changes}


def run(rows=(), *, epochs=4, select="last", name="my_run"):
    metrics = pd.DataFrame(list(rows), columns=None if rows else ["epoch"])
    config = {"train": {"epochs": epochs, "select": select}}
    return SimpleNamespace(path=Path(name), config=config, metrics=metrics)


def curves(figure):
    return {trace.name: list(trace.y) for trace in figure.data if trace.name}


@pytest.fixture
def notebook(monkeypatch):
    """Stands in for JupyterLab; returns what it drew, as (what, bundle)."""
    sent, plotly = [], "application/vnd.plotly.v1+json"

    class Handle:
        drawn = True

        def update(self, bundle, raw):
            assert raw
            if plotly in bundle and not self.drawn:  # its renderer draws once
                sent.append(("update", bundle))
            self.drawn = plotly in bundle

    def display(bundle, *, raw, display_id):
        assert raw and display_id is True
        sent.append(("display", bundle))
        return Handle()

    monkeypatch.setattr(module, "_in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    return sent


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_one_display_is_updated_at_most_twice_a_second_and_always_at_the_end(notebook, clock):
    view = live()
    view.on_start(run())
    for epoch, seconds in enumerate([0.1, 0.2, 0.7, 0.8], start=1):
        clock[0] = seconds
        view.on_epoch(run(), row(epoch))
    view.on_end(run())
    assert [what for what, _ in notebook] == ["display", "update", "update"]
    drawn = [bundle["application/vnd.plotly.v1+json"] for _, bundle in notebook]
    assert [len(d["data"]) for d in drawn][-1] > len(drawn[0]["data"])
    last = {t.get("name"): t["x"] for t in drawn[-1]["data"]}
    assert last["CE"] == [1, 2, 3, 4]
    assert len(json.dumps(notebook[-1][1])) < 50_000  # no JavaScript library in the notebook


def test_title_and_text_tell_epoch_accuracy_and_time_left(notebook, clock):
    view = live()
    view.on_start(run([row(1)]))  # resumed: epoch 1 is there
    clock[0] = 90.0
    view.on_epoch(run(), row(2))
    assert notebook[-1][1]["text/plain"] == "my_run: epoch 2/4 · CE 1.000 · test 20.0 % · 3:00 left"
    view.on_end(run())
    assert notebook[-1][1]["text/plain"].endswith("test 20.0 % · stopped")
    for epoch in (3, 4):
        view.on_epoch(run(), row(epoch))
    view.on_end(run())
    assert notebook[-1][1]["text/plain"].endswith("test 40.0 %")


def test_a_second_run_gets_its_own_display(notebook, clock):
    view = live()
    for name in ("first", "second"):
        view.on_start(run(name=name))
        view.on_epoch(run(name=name), row(1))
        view.on_end(run(name=name))
    assert [what for what, _ in notebook].count("display") == 2
    assert repr(view) == "LiveView('second', 1 epochs)"
    assert curves(view.figure())["CE"] == [2]


def test_outside_a_notebook_it_logs_a_line_an_epoch(caplog, clock):
    view = live()
    with caplog.at_level(logging.INFO, logger="frviz.live_view"):
        view.on_start(run())
        clock[0] = 1.0
        view.on_epoch(run(), row(1))
        view.on_end(run())
    assert caplog.messages == ["my_run: epoch 1/4 · CE 2.000 · test 10.0 % · 0:03 left"]
    assert curves(view.figure())["test"] == [10]


def test_a_failure_is_logged_once_and_training_goes_on(caplog, notebook, clock):
    view = live()
    view.on_start(run())
    clock[0] = 1.0
    view.on_epoch(run(), {"epoch": "x"})
    view.on_epoch(run(), row(2))
    view.on_end(run())
    assert len(caplog.records) == 1 and "switched off" in caplog.messages[0]
    assert len(notebook) == 1 and "off" in repr(view)


def test_it_needs_no_torch():
    code = "import sys, frviz; frviz.live(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
