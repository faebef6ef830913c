"""`frcore sweep` as a user meets it; in the slow tier with real runs, one of which is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import frcore
from frcore.checkpoint import LAST, load_checkpoint
from frcore.cli import app
from frcore.sweep import running
from frcore.sweep.plan import Job

ROOT = Path(__file__).resolve().parents[3]
EPOCHS = 8  # of 2 steps each: seconds in which a run can be killed
CLOCK = ["seconds", "eval_seconds", "samples_per_s"]  # the columns that may differ


def words(plan, *more):
    changes = [f"--set={key}={value}" for key, value in plan.changes.items()]
    where = ("--benchmark", "synthetic", "--seeds", str(len(plan.seeds)), "--out", str(plan.out))
    return ["sweep", plan.table.name, *where, *changes, *more]


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_print_lists_the_command_lines_and_trains_nothing(plan_of, monkeypatch):
    monkeypatch.setattr(running, "run_sweep", None)
    plan = plan_of()
    result = run(*words(plan, "--print"))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == plan.lines() and len(plan.lines()) == 4
    assert not plan.out.exists()


def test_a_finished_sweep_is_only_shown(plan_of, write_run, monkeypatch):
    monkeypatch.setattr(running, "work_off", None)
    plan = plan_of()
    for job in plan.jobs:
        write_run(job, [[1, 0, job.seed]])
    result = run(*words(plan))
    assert result.exit_code == 0, result.output
    assert "| with FR Head | ctrgcn_tiny+fr | 2 | 50.00 ± 23.57 | +0.00 |" in result.stdout
    assert f"Written to {plan.out}" in result.stdout and "frviz compare" in result.stdout


def test_fault_04_a_folder_that_cannot_be_written_is_said_before_anything_runs(
    plan_of, read_only, monkeypatch
):
    monkeypatch.setattr(running, "work_off", None)
    result = run(*words(plan_of()), "--out", str(read_only / "sweeps"))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: Cannot write {read_only / 'sweeps'}")
    assert result.stderr.endswith(": Read-only file system.\n")


@pytest.mark.parametrize(("failed", "code"), [(True, 1), (False, 130)])
def test_what_is_left_decides_the_exit_code(plan_of, write_run, monkeypatch, failed, code):
    plan = plan_of()
    write_run(plan.jobs[0], [[1, 0]])
    left = {plan.jobs[1].path: -9} if failed else {}
    monkeypatch.setattr(running, "work_off", lambda *_: left)
    result = run(*words(plan))
    assert result.exit_code == code
    said = (
        f"with FR Head, seed 0 (exit code -9); see {plan.jobs[1].log}" if failed else "3 runs are"
    )
    assert said in result.stderr and "1 of 4 runs are finished" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("table7", "--benchmark", "synthetic"), "Unknown table 'table7'"),
        (("table1", "--benchmark", "ntu120", "--quick"), "no recipe 'ntu120_xsub_joint_quick'"),
        (("table4", "--benchmark", "synthetic", "--set", "seed=1"), "use --seeds"),
        (("table4", "--benchmark", "synthetic", "--jobs", "0"), "jobs: expected 1 or more"),
    ],
)
def test_a_mistake_is_one_message(arguments, message, tmp_path):
    result = run("sweep", *arguments, "--out", str(tmp_path / "sweeps"))
    assert result.exit_code == 2 and message in result.stderr and result.stdout == ""
    assert not (tmp_path / "sweeps").exists()


# ---- real runs -----------------------------------------------------------------------------------


def start(plan, *more) -> subprocess.Popen:
    command = [sys.executable, "-m", "frcore", *words(plan, *more)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **pipes)


def wait_for_epochs(job: Job, count: int) -> None:
    until = time.monotonic() + 120
    while not job.path.is_dir() or len(job.run.metrics) < count:
        assert time.monotonic() < until, job.log.read_text() if job.log.exists() else "no log"
        time.sleep(0.02)


def owner(job: Job) -> int:
    return json.loads((job.path / "run.lock").read_text())["pid"]


def assert_as_if_never_stopped(job: Job, out: Path) -> None:
    ours, theirs = job.run, frcore.fit(job.config, out=out)
    metrics = [r.metrics.drop(columns=CLOCK) for r in (ours, theirs)]
    pd.testing.assert_frame_equal(*metrics, check_exact=True)
    tensors = [load_checkpoint(r.path / LAST).tensors for r in (ours, theirs)]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


@pytest.mark.slow
def test_four_runs_of_which_one_is_killed(plan_of, tmp_path):
    plan = plan_of(changes={"train.epochs": EPOCHS})
    victim = plan.jobs[1]
    first = start(plan, "--jobs", "2")
    wait_for_epochs(victim, 2)
    os.kill(owner(victim), signal.SIGKILL)
    out, err = first.communicate(timeout=240)
    assert first.returncode == 1, err
    assert "with FR Head, seed 0 (exit code -9)" in err and "3 of 4 runs are finished" in out
    assert [job.state for job in plan.jobs] == ["finished", "partial", "finished", "finished"]
    done = 2 <= len(victim.run.metrics) < EPOCHS
    before = {job.path: (job.path / LAST).stat().st_mtime_ns for job in plan.jobs}

    again = start(plan)
    out, err = again.communicate(timeout=240)
    assert done and again.returncode == 0, err
    after = {job.path: (job.path / LAST).stat().st_mtime_ns for job in plan.jobs}
    assert {path for path in after if after[path] != before[path]} == {victim.path}
    assert "| without FR Head | ctrgcn_tiny | 2 |" in out
    assert "| with FR Head | ctrgcn_tiny+fr | 2 |" in out
    assert_as_if_never_stopped(victim, tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_sweep_itself_is_killed(plan_of, number, tmp_path):
    plan = plan_of(changes={"train.epochs": EPOCHS}, seeds=1)
    first = start(plan)
    wait_for_epochs(plan.jobs[0], 2)
    child = owner(plan.jobs[0])
    first.send_signal(number)
    first.communicate(timeout=60)
    assert first.returncode == (143 if number == signal.SIGTERM else -9)
    if number == signal.SIGTERM:  # its process has saved and left
        assert plan.jobs[0].state == "partial"
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    out, err = start(plan).communicate(timeout=240)  # waits for one that is still leaving
    assert [job.state for job in plan.jobs] == ["finished", "finished"], out + err
    assert "| with FR Head | ctrgcn_tiny+fr | 1 |" in out
    assert_as_if_never_stopped(plan.jobs[0], tmp_path / "alone")


@pytest.mark.slow
def test_a_cluster_trains_a_table(plan_of):
    distributed = pytest.importorskip("distributed", reason="needs the extra [cluster]")
    plan = plan_of(seeds=1)
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**settings) as cluster:
        result = frcore.run_sweep(
            "table4",
            seeds=1,
            changes=plan.changes,
            scheduler=cluster.scheduler_address,
            out=plan.out,
        )
    assert result.unfinished == [] and dict(result.failed) == {}
    assert [job.state for job in plan.jobs] == ["finished", "finished"]
    assert result.runs["accuracy"].between(0, 100).all()
