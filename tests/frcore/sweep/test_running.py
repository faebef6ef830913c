"""How a sweep's runs are worked off: skipped, started, waited for, failed, stopped."""

import io
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from frcore.errors import UserError
from frcore.files import WriteError
from frcore.process import ProcessLock
from frcore.run import LOCK
from frcore.sweep import local, progress, scheduling
from frcore.sweep.local import LocalPool, launch
from frcore.sweep.progress import Progress
from frcore.sweep.running import work_off
from frcore.sweep.scheduling import Scheduling


def seen(job):
    return json.loads((job.path / "seen.json").read_text())


def states(plan):
    return [job.state for job in plan.jobs]


def stop_when(condition, number=signal.SIGTERM):
    """Sends this process a signal once `condition()` is true."""

    def watch():
        until = time.monotonic() + 20
        while not condition() and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()


def test_all_runs_are_worked_off_and_finished_ones_skipped(stand_in, write_run, capsys):
    plan = stand_in({})
    write_run(plan.jobs[1], [[1, 0]])
    assert work_off(plan, LocalPool(2)) == {}
    assert states(plan) == 4 * ["finished"]
    assert not (plan.jobs[1].path / "seen.json").exists()
    assert plan.jobs[0].log.read_text() == f"began {plan.jobs[0].path.name}\n"
    said = capsys.readouterr().out
    assert "table4: 4 runs, 1 of them finished" in said and "[4 finished]" in said


def test_a_failure_stops_nothing_else_and_is_tried_again(stand_in):
    plan = stand_in({"ctrgcn_tiny_fr-bone-s0": "fail"})
    assert work_off(plan, LocalPool(1)) == {plan.jobs[1].path: 3}
    assert states(plan) == ["finished", "partial", "finished", "finished"]
    stand_in({})
    assert work_off(plan, LocalPool(1)) == {} and states(plan) == 4 * ["finished"]
    assert plan.jobs[1].log.read_text().count("began") == 2  # nothing of the first is lost


def test_sigterm_stops_the_processes_and_leaves_with_143(stand_in):
    plan = stand_in({"ctrgcn_tiny-bone-s0": "wait", "ctrgcn_tiny_fr-bone-s0": "wait"})
    stop_when(lambda: all((job.path / "seen.json").exists() for job in plan.jobs[:2]))
    pool = LocalPool(2)
    with pytest.raises(SystemExit) as left:
        work_off(plan, pool)
    assert left.value.code == 143
    assert [process.poll() for process in pool._running] == [143, 143]
    assert states(plan) == ["partial", "partial", "waiting", "waiting"]


def test_ctrl_c_gives_back_what_there_is(stand_in):
    plan = stand_in({"ctrgcn_tiny_fr": "wait"})
    stop_when(lambda: (plan.jobs[1].path / "seen.json").exists(), signal.SIGINT)
    assert work_off(plan, LocalPool(1)) == {}  # stopped is not failed
    assert states(plan) == ["finished", "partial", "waiting", "waiting"]


def test_an_error_leaves_no_process_behind(stand_in, monkeypatch):
    plan = stand_in({"ctrgcn_tiny": "wait"})
    pool = LocalPool(2)

    def explode(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(Progress, "__call__", explode)
    with pytest.raises(ZeroDivisionError):
        work_off(plan, pool)
    assert [process.poll() for process in pool._running] == [-9, -9]


class Handle:
    def __init__(self, code=None):
        self.code = code

    def poll(self):
        return self.code


class FakePool:
    free, workers = True, 1

    def __init__(self, start):
        self.start = start


def test_a_run_of_another_process_is_waited_for(plan_of, write_run, monkeypatch):
    monkeypatch.setattr(scheduling, "PAUSE", 0.0)
    plan, looks, started = plan_of(seeds=1), [], []
    write_run(plan.jobs[0], [[1, 0]], finished=False)
    lock = ProcessLock(plan.jobs[0].path / LOCK)
    lock.__enter__()

    def start(job):
        started.append(job.path)
        write_run(job, [[1, 1]])
        return Handle(0)

    def watch(scheduling):
        looks.append([progress.state_of(job, scheduling) for job in plan.jobs])
        if len(looks) == 3:
            lock.__exit__()

    assert Scheduling(plan.jobs, FakePool(start)).run(watch, lambda: False) == {}
    assert looks[:3] == 3 * [["elsewhere", "finished"]]
    assert started == [plan.jobs[1].path, plan.jobs[0].path]


def test_a_run_that_another_process_took_first_has_not_failed(plan_of, write_run, monkeypatch):
    monkeypatch.setattr(scheduling, "PAUSE", 0.0)
    plan, locks = plan_of(seeds=1), []

    def start(job):
        if not locks and job is plan.jobs[0]:  # the other one was faster: ours left with 2
            write_run(job, [[1, 0]], finished=False)
            locks.append(ProcessLock(job.path / LOCK))
            locks[0].__enter__()
            return Handle(2)
        write_run(job, [[1, 1]])
        return Handle(0)

    def watch(scheduling):
        if plan.jobs[0] in scheduling.waiting:
            locks[0].__exit__()

    assert Scheduling(plan.jobs, FakePool(start)).run(watch, lambda: False) == {}
    assert states(plan) == ["finished", "finished"]


def test_fault_04_a_log_that_cannot_be_written_is_an_error_not_a_traceback(read_only):
    for log in (read_only / "x.log", read_only / "runs" / "x.log"):
        with pytest.raises(WriteError, match=f"Cannot write {log}: Read-only file system"):
            launch(("frcore", "recipes"), log, {})


def test_cores_and_gpus_are_divided(monkeypatch):
    monkeypatch.setattr(local, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, 2")
    with LocalPool(3) as pool:
        told = [pool.environment(slot) for slot in range(3)]
    assert [x["OMP_NUM_THREADS"] for x in told] == ["2", "2", "2"]
    assert [x["CUDA_VISIBLE_DEVICES"] for x in told] == ["0", "2", "0"]
    with LocalPool(3, device="cuda:1") as pool:
        assert "CUDA_VISIBLE_DEVICES" not in pool.environment(0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")  # one card is shared as it is
    with LocalPool(3) as pool:
        assert "CUDA_VISIBLE_DEVICES" not in pool.environment(0)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")  # the user's own
    assert "OMP_NUM_THREADS" not in LocalPool(3).environment(0)
    assert (
        LocalPool(9).environment(0)["PYTHONPATH"].startswith(str(Path(local.__file__).parents[2]))
    )
    with pytest.raises(UserError, match="jobs: expected 1 or more, got 0"):
        LocalPool(0)


def test_a_process_sees_its_share_and_draws_no_bars(stand_in, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(local, "cores", lambda: 6)
    plan = stand_in({})
    work_off(plan, LocalPool(2))
    assert {seen(job)["OMP_NUM_THREADS"] for job in plan.jobs} == {"3"}
    assert {seen(job)["TQDM_DISABLE"] for job in plan.jobs} == {"1"}


def drawn(plan, workers, height=40):
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=height)
    return Progress(plan, workers, console)


def test_the_progress_table_says_where_each_run_is(plan_of, write_run):
    plan = plan_of()
    write_run(plan.jobs[0], [[1, 0], [1, 1], [1, 1]])
    write_run(plan.jobs[1], [[1, 0], [1, 0]], finished=False)
    shown = drawn(plan, 2)
    with shown:
        shown(Scheduling(plan.jobs, FakePool(None)))
    cells = [shown._cells(job) for job in plan.jobs]
    # 5 seconds an epoch; a run that has not begun takes as long as the others.
    assert cells[0] == ("without FR Head", "0", "finished", "3/3", "100.0", "")
    assert cells[1] == ("with FR Head", "0", "waiting", "2/3", "50.0", "5 s")
    assert cells[2] == ("without FR Head", "1", "waiting", "0/3", "", "15 s")
    assert shown.summary() == "1 finished, 3 waiting; about 18 s left"  # (5 + 15 + 15) / 2
    text = shown.console.file.getvalue()
    assert "test so far, %" in text and "without FR Head" in text


def test_a_small_screen_shows_the_runs_that_something_happens_to(plan_of):
    plan = plan_of()
    shown = drawn(plan, 1, height=10)
    shown.looks[plan.jobs[2].path] = shown.looks[plan.jobs[2].path]._replace(state="running")
    assert shown.table().row_count == 1
    assert drawn(plan, 1).table().row_count == 4
