"""Runs at a glance: found, told apart, damaged ones listed, and the command that goes on works."""

import json
import logging
import os
import shlex
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import frcore
from frcore import overview
from frcore.cli import app
from frcore.config import load_recipe
from frcore.errors import UserError
from frcore.overview import duration, list_runs, summarize
from frcore.run import Run
from frcore.run_dir import RunDir, choose_run_dir

EPOCH = {"seconds": 4.0, "eval_seconds": 1.0}
NAN = float("nan")


def write_run(path, rows=(), *, finished=False, config_hash=None, environment=(), **changes):
    """A run's directory as training leaves it."""
    config = load_recipe("synthetic_tiny_frhead", {"train.epochs": 10, "seed": 3, **changes})
    with RunDir(path) as directory:
        record = {"config_hash": config_hash or config.hash, "device": "cpu", "threads": 1}
        record |= dict(environment)
        directory.write_config(config.model_dump(mode="json"), **record)
        for number, row in enumerate(rows, start=1):
            directory.append_metrics({"epoch": number, **EPOCH, **row})
        if finished:
            directory.finish(len(rows))
        elif rows:
            directory.save({"model.x": np.zeros(1)}, {"epoch": len(rows), "step": 0})
    return config


def run_command(*arguments):
    return CliRunner().invoke(app, ["runs", *map(str, arguments)])


@pytest.fixture
def runs(tmp_path):
    """One of each state, at several depths, beside what is no run."""
    write_run(tmp_path / "seed-10", [{"test_acc": 0.5, "test_acc_unseen": 0.75}], finished=True)
    write_run(tmp_path / "seed-2", [{"val_acc": 0.25}], finished=True)
    write_run(tmp_path / "sweeps" / "x" / "cut", [{"test_acc": NAN}])
    write_run(tmp_path / "broken")
    (tmp_path / "broken" / "config.json").write_text("{")
    other = tmp_path / "model"
    other.mkdir()
    (other / "config.json").write_text("{}")  # of another program
    write_run(tmp_path / "seed-2" / "inside")  # belongs to the run around it
    write_run(tmp_path / ".hidden" / "run")
    return tmp_path


def names(found, folder):
    return [run.path.relative_to(folder).as_posix() for run in found]


def test_runs_are_found_at_any_depth_and_sorted_by_what_needs_a_look(runs):
    write_run(runs / "other")
    with RunDir(runs / "deep" / "er"):  # is being written
        shutil.copy(runs / "other" / "config.json", runs / "deep" / "er")
        found = list_runs(runs)
    assert names(found, runs) == [
        *("deep/er", "other", "sweeps/x/cut", "broken", "seed-2", "seed-10"),
    ]
    states = ["running", "interrupted", "interrupted", "damaged", "finished", "finished"]
    assert [run.state for run in found] == states


def test_links_are_followed_once_and_circles_end(runs, monkeypatch):
    (runs / "sweeps" / "up").symlink_to(runs, target_is_directory=True)
    (runs / "again").symlink_to(runs / "seed-10", target_is_directory=True)
    visited, real = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: visited.append(path) or real(path))
    found = list_runs(runs)
    assert len(found) == 4 and len({run.path.resolve() for run in found}) == 4
    assert len(visited) < 15


def test_a_folder_that_cannot_be_read_is_named(runs, monkeypatch, caplog):
    real = os.scandir

    def scandir(path):
        if Path(path).name == "sweeps":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with caplog.at_level(logging.WARNING):
        assert len(list_runs(runs)) == 3
    assert "Cannot look into" in caplog.text and "sweeps: Permission denied" in caplog.text


def test_a_summary_holds_what_the_run_says(tmp_path):
    rows = [{"test_acc": 0.5, "test_acc_unseen": 0.25}, {"test_acc": 0.75, "test_acc_unseen": 0.5}]
    rows += [{"test_acc": NAN, "test_acc_unseen": NAN}]  # not evaluated
    write_run(tmp_path, rows, finished=True)
    run = summarize(tmp_path)
    assert (run.recipe, run.model) == ("synthetic_tiny_frhead", "ctrgcn_tiny+fr")
    assert (run.benchmark, run.device, run.seed) == ("synthetic", "cpu", 3)
    assert (run.done, run.epochs, run.seconds_left) == (3, 10, None)
    assert run.accuracies == {"test_acc": 0.75, "test_acc_unseen": 0.5}
    assert Run(tmp_path).accuracies == run.accuracies


def test_the_accuracy_is_that_of_the_epoch_which_the_run_selects(tmp_path):
    rows = [{"val_acc": 0.5, "test_acc": 0.25}, {"val_acc": 0.25, "test_acc": 0.75}]
    write_run(tmp_path, rows, **{"train.select": "val_best"})
    assert summarize(tmp_path).accuracies == {"val_acc": 0.5, "test_acc": 0.25}


def test_a_running_run_tells_the_time_left_at_its_own_pace(tmp_path):
    write_run(tmp_path, [{}, {"eval_seconds": 3.0}, {"eval_seconds": 2.0}])  # 5, 7 and 6 seconds
    with RunDir(tmp_path):
        run = summarize(tmp_path)
    assert run.state == "running" and run.seconds_left == 7 * 6.0 and run.resume == ()


def test_a_lock_of_another_host_is_said_to_be_no_proof(tmp_path, monkeypatch):
    write_run(tmp_path)
    with RunDir(tmp_path):
        assert summarize(tmp_path).note == ""
        text = (tmp_path / "run.lock").read_text()
        (tmp_path / "run.lock").write_text(text.replace(socket.gethostname(), "node7"))
        run = summarize(tmp_path)
    assert run.state == "running" and "node7" in run.note and "cannot be seen" in run.note


def test_the_command_of_an_interrupted_run_goes_on_with_it(tiny_config, tmp_path):
    class Stop:
        def on_epoch(self, run, row):
            raise KeyboardInterrupt

    path = tmp_path / "it's a run"
    with pytest.raises(KeyboardInterrupt):
        frcore.fit(tiny_config, out=path, callbacks=[Stop()], **{"optim.lr": 0.03})
    shown = run_command(tmp_path).stdout
    words = shlex.split(next(line for line in shown.splitlines() if line.startswith("frcore")))
    assert tuple(words) == summarize(path).resume
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    assert [run.path for run in list_runs(tmp_path)] == [path]  # no second directory
    run = summarize(path)
    assert (run.state, run.done) == ("finished", 3) and run.resume == ()
    assert Run(path).config["optim"]["lr"] == 0.03


@pytest.mark.parametrize(
    ("processes", "each", "start"),
    [
        (1, 1, []),
        (2, 2, ["torchrun", "--nproc-per-node", "2", "-m"]),
        (2, None, ["torchrun", "--nproc-per-node", "2", "-m"]),  # of an earlier version
        (8, 4, ["torchrun", "--nnodes", "2", "--nproc-per-node", "4", "-m"]),
        ("8; rm", "4", []),
    ],
)
def test_a_run_in_several_processes_goes_on_in_as_many(tmp_path, processes, each, start):
    environment = {"processes": processes, "processes_per_machine": each, "device": "cuda"}
    write_run(tmp_path, [{}], environment=environment)
    run = summarize(tmp_path)
    train = ["frcore", "train", f"{tmp_path}/config.json", "--out", str(tmp_path)]
    assert run.resume == (*start, *train)
    shown = run_command(tmp_path).stdout.splitlines()
    assert shown[-1] == shlex.join(run.resume)
    assert shown[0].endswith(f", {processes} x cuda" if start else ", cuda")
    assert ("2 machines" in run.note) == (processes == 8)


def test_an_interrupted_run_is_as_far_as_it_will_go_on_from(tmp_path):
    rows = [{"test_acc": 0.25}, {"test_acc": 0.5}]
    write_run(tmp_path, rows)
    with RunDir(tmp_path) as directory:  # killed, or the disk full, before the next checkpoint
        directory.append_metrics({"epoch": 3, **EPOCH, "test_acc": 0.75})
    run = summarize(tmp_path)
    assert (run.state, run.done, run.accuracies) == ("interrupted", 2, {"test_acc": 0.5})
    for file in tmp_path.glob("*.safetensors*"):
        file.unlink()
    run = summarize(tmp_path)
    assert (run.state, run.done, run.accuracies) == ("interrupted", 0, {})
    assert run.note == "has no checkpoint yet and begins anew" and run.resume


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(("lines", "logged"), [(None, 0), (0, 0), (1, 0), (2, 1)])
def test_a_log_that_lost_its_end_is_damaged(tmp_path, finished, lines, logged):
    write_run(tmp_path, [{}, {}], finished=finished)
    log = tmp_path / "metrics.csv"
    content = log.read_text().splitlines(keepends=True)
    log.unlink() if lines is None else log.write_text("".join(content[:lines]) + "2,0.")
    run = summarize(tmp_path)
    assert run.state == "damaged" and run.resume == ()
    whose = "the run" if finished else "its checkpoint"
    assert f"ends after epoch {logged}, {whose} after epoch 2" in run.note


def test_a_checkpoint_that_nothing_goes_on_from_is_damage(tmp_path):
    write_run(tmp_path, [{}])
    with RunDir(tmp_path) as directory:
        directory.save({"model.x": np.zeros(1)}, {"epoch": "many"})
    assert summarize(tmp_path).state == "damaged" and "'many'" in summarize(tmp_path).note
    for name in ("last", "previous"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"x" * 99)
    assert summarize(tmp_path).state == "damaged" and "intact" in summarize(tmp_path).note


def test_no_command_is_given_where_it_would_begin_a_new_run(tmp_path):
    config = write_run(tmp_path, config_hash="0123456789abcdef")
    run = summarize(tmp_path)
    assert run.state == "interrupted" and run.resume == () and "another hash" in run.note
    assert choose_run_dir(tmp_path, config.hash) != (tmp_path, True)  # what would happen


DAMAGE = {
    "config.json": ["{", "[]", '"x"', '{"train": "x"}', "[" * 100_000, b"\xff\xfe", None],
    "environment.json": ["{", b"\xff"],
    "state.json": ["{"],
    "metrics.csv": [
        *("loss\n1\n", "epoch,loss\nx,1\n", "epoch,loss\n1.5,1\n", "epoch,loss\n1,<b>\n"),
        *(b"epoch\n\xff\n", 'epoch,loss\n1,"2\n', "epoch\n1\n1,2,3,4\n"),
    ],
}


@pytest.mark.parametrize(
    ("name", "place"), [(n, i) for n, d in DAMAGE.items() for i in range(len(d))]
)
def test_a_damaged_run_is_listed_with_the_reason(tmp_path, name, place):
    write_run(tmp_path / "bad", [{"test_acc": 0.5}])
    content, path = DAMAGE[name][place], tmp_path / "bad" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    write_run(tmp_path / "good", [{"test_acc": 0.5}], finished=True)
    damaged, good = list_runs(tmp_path)
    assert (damaged.state, damaged.done, damaged.resume) == ("damaged", 0, ())
    assert good.state == "finished"
    assert damaged.note and "\n" not in damaged.note
    result = run_command(tmp_path)
    assert result.exit_code == 0 and "bad: damaged" in result.stdout


def test_odd_content_neither_crashes_nor_reaches_the_terminal(tmp_path):
    rows = [{"test_acc": float("inf"), "seconds": float("inf")}]
    write_run(tmp_path / "r\x1b[31med", rows)
    environment = tmp_path / "r\x1b[31med" / "environment.json"
    record = json.loads(environment.read_text())
    environment.write_text(json.dumps(record | {"device": ["\x1b[2J"] * 1000}))
    with RunDir(tmp_path / "r\x1b[31med"):
        result = run_command(tmp_path)
        read = json.loads(run_command(tmp_path, "--json").stdout, parse_constant=pytest.fail)
    assert result.exit_code == 0 and "\x1b" not in result.stdout and len(result.stdout) < 1000
    assert read[0]["accuracies"] == {} and read[0]["seconds_left"] is None


def test_the_list_counts_states_and_names_what_is_wrong(runs):
    lines = run_command(runs).stdout.splitlines()
    cut = f"{runs}/sweeps/x/cut: interrupted, epoch 1/10, synthetic_tiny_frhead, seed 3, cpu"
    assert lines[0] == cut
    assert lines[1] == f"{runs}/broken: damaged"
    assert lines[2].startswith(f"{runs}/seed-2: finished, epoch 1/10, val 25.0 %, synth")
    assert lines[3].startswith(f"{runs}/seed-10: finished, epoch 1/10, test 50.0, unseen 75.0 %")
    assert lines[4] == "4 runs: 1 interrupted, 1 damaged, 2 finished."
    assert lines[5].startswith(f"{runs}/broken: Cannot read {runs}/broken/config.json")
    assert lines[6] == "Interrupted; these commands go on with them:"
    assert lines[7] == f"frcore train {runs}/sweeps/x/cut/config.json --out {runs}/sweeps/x/cut"
    assert len(lines) == 8


def test_json_holds_the_same(runs):
    read = json.loads(run_command(runs, "--json").stdout)
    assert [run["state"] for run in read] == ["interrupted", "damaged", "finished", "finished"]
    assert read[0]["resume"][:2] == ["frcore", "train"] and read[3]["path"] == f"{runs}/seed-10"
    assert read[3]["accuracies"] == {"test_acc": 0.5, "test_acc_unseen": 0.75}


def test_figures_of_the_table_are_not_folded(runs):
    import io

    from rich.console import Console

    console = Console(file=io.StringIO(), width=overview.ROOM)
    console.print(overview.overview_table(list_runs(runs)))
    text = console.file.getvalue()
    assert "test 50.0, unseen 75.0" in text and "interrupted" in text
    assert max(map(len, text.splitlines())) <= overview.ROOM


def test_a_folder_without_runs_says_so_and_one_that_is_absent_is_an_error(tmp_path):
    assert run_command(tmp_path).stdout == f"No runs in {tmp_path}.\n"
    assert run_command(tmp_path, "--json").stdout == "[]\n"
    result = run_command(tmp_path / "none")
    assert result.exit_code == 2 and "No directory" in result.stderr
    with pytest.raises(UserError, match="--out said otherwise"):
        list_runs(tmp_path / "none")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(NAN, ""), (float("inf"), ""), (45.4, "45 s"), (600, "10 min"), (12_000, "3 h 20 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
