"""Runs as a reader sees them: state, table, checkpoints, what is missing."""

import json
from pathlib import Path

import pandas as pd
import pytest

from frcore.errors import UserError
from frcore.run import Run
from frcore.run_dir import RunDir

CONFIG = {"model": {"backbone": "ctrgcn_tiny"}, "head": {"levels": [1]}, "train": {"epochs": 40}}


def make_run(path: Path, config: dict = CONFIG, rows: tuple[dict, ...] = ()) -> Run:
    with RunDir(path) as run_dir:
        run_dir.write_config(config, config_hash="abc")
        for row in rows:
            run_dir.append_metrics(row)
    return Run.open(path)


def test_state_follows_the_life_of_a_run(tmp_path):
    with RunDir(tmp_path) as run_dir:
        run_dir.write_config(CONFIG, config_hash="abc", device="cpu", threads=2)
        assert Run.open(tmp_path).state == "running"
    run = Run.open(tmp_path)
    assert run.state == "interrupted" and run.config == CONFIG
    assert run.environment["threads"] == 2 and run.environment["versions"]["numpy"]
    with RunDir(tmp_path) as run_dir:
        run_dir.finish(40)
    assert run.state == "finished"
    assert json.loads((tmp_path / "state.json").read_text()) == {"state": "finished", "epoch": 40}


def test_a_run_introduces_itself_in_one_line_and_a_small_table(tmp_path):
    rows = ({"epoch": 39, "test_acc": 0.9}, {"epoch": 40, "test_acc": 0.8119})
    run = make_run(tmp_path / "x", rows=rows)
    text = f"Run('{tmp_path / 'x'}', ctrgcn_tiny+fr, interrupted, epoch 40/40, test 81.2 %)"
    assert repr(run) == text
    assert ">ctrgcn_tiny+fr</" in run._repr_html_()
    best = CONFIG | {"head": None, "train": {"epochs": 40, "select": "test_best"}}
    run = make_run(tmp_path / "y", best, rows)
    assert repr(run).endswith("ctrgcn_tiny, interrupted, epoch 40/40, test 90.0 % (test_best))")


def test_fault_18_names_in_the_table_are_inert(tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    run = make_run(tmp_path / "x", {"model": {"backbone": evil}})
    assert evil not in run._repr_html_() and "&lt;img" in run._repr_html_()
    assert "epoch 0/?" in repr(run)


def test_the_selected_checkpoint_is_the_best_one_only_if_the_run_selects_by_accuracy(tmp_path):
    run = make_run(tmp_path / "x")
    with pytest.raises(UserError, match="none"):
        run.checkpoint()
    for name in ("last", "best"):
        (run.path / f"{name}.safetensors").touch()
    assert run.checkpoint() == run.checkpoint("last") == run.path / "last.safetensors"
    with pytest.raises(UserError, match=r"previous.*Available: last, best"):
        run.checkpoint("previous")
    with pytest.raises(UserError, match="Did you mean 'best'"):
        run.checkpoint("bset")
    best = make_run(tmp_path / "y", CONFIG | {"train": {"select": "val_best"}})
    (best.path / "previous.safetensors").touch()
    assert best.checkpoint().name == "previous.safetensors"  # killed between two renames
    (best.path / "best.safetensors").touch()
    assert best.checkpoint().name == "best.safetensors"


def test_a_directory_without_a_run_is_an_error_that_names_runs_nearby(tmp_path):
    make_run(tmp_path / "runs" / "a")
    for path in (tmp_path / "runs", tmp_path / "runs" / "b"):
        with pytest.raises(UserError, match=r"No run in.*runs/a"):
            Run.open(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"epoch,loss\n1,\xff\n", "Cannot read .*metrics.csv"),
        (b"epoch,loss\n1,low\n", "metrics.csv is damaged: column .loss. holds something else"),
        (b"epoch,loss\n1.5,2\n", "no column 'epoch' of whole numbers"),
        (b"loss\n2\n", "no column 'epoch'"),
        (b'epoch,loss\n1,"2\n', "metrics.csv is damaged"),
    ],
)
def test_a_damaged_log_is_an_error_that_names_it(content, said, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(UserError, match=said):
        repr(Run.open(tmp_path))


def test_a_run_without_rows_has_an_empty_table(tmp_path):
    metrics = make_run(tmp_path).metrics
    assert isinstance(metrics, pd.DataFrame) and metrics.empty and "epoch" in metrics
