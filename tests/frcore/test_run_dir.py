"""Run directories: locks, numbers, and logs that are cut back to a checkpoint."""

import errno
import json
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import frcore.files
import frcore.process
from frcore.checkpoint import LAST
from frcore.errors import UserError
from frcore.files import WriteError
from frcore.process import LockedError
from frcore.run import Run
from frcore.run_dir import RunDir, WatchedDir, choose_run_dir

POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
CONFIG = {"model": {"backbone": "ctrgcn_tiny"}, "head": {"levels": [1]}, "train": {"epochs": 40}}


def start(code: str, *args: object) -> subprocess.Popen:
    """A Python process that has printed its first line."""
    command = [sys.executable, "-c", code, *map(str, args)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    process.first_line = process.stdout.readline().strip()
    return process


HOLD = """
import sys, time
from frcore.run_dir import RunDir
with RunDir(sys.argv[1]) as run_dir:
    print("locked", flush=True)
    time.sleep(60)
"""


def make_run(path: Path, *rows: dict) -> Run:
    with RunDir(path) as run_dir:
        run_dir.write_config(CONFIG, config_hash="abc")
        for row in rows:
            run_dir.append_metrics(row)
    return Run.open(path)


# --- lock (FAULTS 24) ---------------------------------------------------------------------------


@POSIX
def test_fault_24_a_second_process_is_refused_and_a_dead_ones_lock_is_taken_over(tmp_path, caplog):
    holder = start(HOLD, tmp_path / "run")
    try:
        with pytest.raises(LockedError) as error, RunDir(tmp_path / "run"):
            pass
        lock = tmp_path / "run" / "run.lock"
        for text in (str(holder.pid), socket.gethostname(), str(lock)):
            assert text in str(error.value)
        assert lock.exists()
    finally:
        holder.kill()  # not yet reaped: a zombie is dead, too
    deadline = time.monotonic() + 5
    while Path(f"/proc/{holder.pid}/stat").exists() and time.monotonic() < deadline:
        if " Z " in Path(f"/proc/{holder.pid}/stat").read_text():
            break
    if not Path("/proc").exists():
        holder.wait()
    with caplog.at_level(logging.WARNING), RunDir(tmp_path / "run"):
        assert str(holder.pid) in caplog.text and "Taking over" in caplog.text
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()
    holder.communicate()


def test_fault_24_this_process_cannot_open_a_directory_twice(tmp_path):
    with RunDir(tmp_path), pytest.raises(LockedError, match=str(os.getpid())), RunDir(tmp_path):
        pass
    with RunDir(tmp_path):
        pass  # released, also by the failure


def test_leaving_does_not_delete_the_lock_of_someone_else(tmp_path):
    lock = tmp_path / "run.lock"
    with RunDir(tmp_path):
        lock.rename(tmp_path / "moved")  # a user's "rm", then another process starts
        lock.write_text("{}")
    assert lock.exists()


def test_fault_24_a_pid_that_is_used_again_does_not_keep_a_stale_lock(tmp_path):
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "process_start": "boot/1"}
    (tmp_path / "run.lock").write_text(json.dumps(owner))
    if frcore.process._process_start(os.getpid()) is None:
        pytest.skip("no /proc: process start times are unknown here")
    with RunDir(tmp_path):
        pass


def test_a_lock_of_another_host_is_kept_and_the_file_to_delete_is_named(tmp_path):
    lock = tmp_path / "run.lock"
    lock.write_text(json.dumps({"pid": 2**22 + 1, "host": "elsewhere"}))
    with pytest.raises(LockedError) as error, RunDir(tmp_path):
        pass
    assert "elsewhere" in str(error.value) and f"delete {lock}" in str(error.value)


@pytest.mark.parametrize("content", ["", '{"pid": "x"}', '{"pid": 1e300}'])
def test_fault_24_a_lock_that_was_never_finished_is_taken_over(tmp_path, content):
    (tmp_path / "run.lock").write_text(content)
    with RunDir(tmp_path):
        pass


@POSIX
def test_fault_24_of_many_processes_that_find_a_stale_lock_one_wins(tmp_path):
    stale = tmp_path / "run.lock"
    stale.write_text(json.dumps({"pid": 2**30, "host": socket.gethostname()}))
    code = """
import sys, time
from pathlib import Path
from frcore.process import LockedError, ProcessLock
print("ready", flush=True)
sys.stdin.readline()
try:
    with ProcessLock(Path(sys.argv[1]) / "run.lock"):
        print("won", flush=True)
        time.sleep(1)
except LockedError:
    print("lost")
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    children = [subprocess.Popen(command, text=True, **pipes) for _ in range(3)]
    assert [child.stdout.readline() for child in children] == 3 * ["ready\n"]
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    said = sorted(child.communicate()[0].strip() for child in children)
    assert said == ["lost", "lost", "won"]


# --- directory (FAULTS 4) -----------------------------------------------------------------------


def test_fault_04_a_directory_that_cannot_be_written_is_named_at_once(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(WriteError, match="file"), RunDir(path):
            pass

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WriteError, match=r"run.*Permission denied"), RunDir(tmp_path / "run"):
        pass


def test_fault_03_too_little_room_is_said_before_the_training(tmp_path, monkeypatch, caplog):
    free = {}
    usage = lambda _: SimpleNamespace(total=10**12, free=free["bytes"])  # noqa: E731
    monkeypatch.setattr(frcore.files.shutil, "disk_usage", usage)
    with RunDir(tmp_path / "run") as directory:
        free["bytes"] = 999
        with pytest.raises(WriteError, match=r"run to train: .* 1,000 bytes, and 999 are free"):
            directory.check_room(1_000)
        free["bytes"] = 3_999
        directory.check_room(1_000)
        assert "Space may run out" in caplog.text and "3,999 are free" in caplog.text
        caplog.clear()
        free["bytes"] = 4_000
        directory.check_room(1_000)
        (tmp_path / "run" / LAST).write_bytes(bytes(1_000))  # the next one takes its place
        free["bytes"] = 3_000
        directory.check_room(1_000)
        WatchedDir(tmp_path / "run").check_room(10**15)  # another process looks
        assert caplog.text == ""


def test_a_file_system_that_does_not_say_its_size_is_not_taken_for_a_full_one(
    tmp_path, monkeypatch, caplog
):
    usage = SimpleNamespace(total=0, free=0)
    monkeypatch.setattr(frcore.files.shutil, "disk_usage", lambda _: usage)
    RunDir(tmp_path).check_room(1_000)
    assert caplog.text == ""


def test_fault_02_temporary_files_of_killed_writers_are_cleaned_and_no_others(tmp_path):
    ours, others = tmp_path / ".last.safetensors.12ab34cd.frtmp", tmp_path / ".notes.tmp"
    for path in (ours, others):
        path.write_text("x")
    with RunDir(tmp_path):
        assert not ours.exists() and others.exists()


def test_the_same_configuration_resumes_and_another_gets_a_numbered_directory(tmp_path, caplog):
    out = tmp_path / "runs" / "x"
    assert choose_run_dir(out, "abc") == (out, False)
    make_run(out)
    assert choose_run_dir(out, "abc") == (out, True)
    with caplog.at_level(logging.WARNING):
        assert choose_run_dir(out, "other") == (out.with_name("x-2"), False)
    assert "x-2" in caplog.text
    with RunDir(out.with_name("x-2")) as run_dir:
        assert choose_run_dir(out, "other") == (out.with_name("x-2"), False)  # nothing in it yet
        run_dir.write_config(CONFIG, config_hash="other")
    assert choose_run_dir(out, "other") == (out.with_name("x-2"), True)
    assert choose_run_dir(out, "third") == (out.with_name("x-3"), False)
    out.with_name("x-3").mkdir()
    (out.with_name("x-3") / "thesis.txt").write_text("not ours")
    assert choose_run_dir(out, "third") == (out.with_name("x-4"), False)


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("not ours")
    with pytest.raises(UserError, match="holds files, but no run"):
        choose_run_dir(tmp_path, "abc")
    with pytest.raises(UserError, match="thesis.txt is a file; a run needs a directory"):
        choose_run_dir(tmp_path / "thesis.txt", "abc")


def test_a_resumed_run_remembers_its_earlier_environments(tmp_path):
    for threads in (2, 2, 4, 4, 2):
        with RunDir(tmp_path) as run_dir:
            run_dir.write_config(CONFIG, config_hash="abc", threads=threads)
    record = Run.open(tmp_path).environment
    assert record["threads"] == 2
    assert [earlier["threads"] for earlier in record["earlier"]] == [2, 4]
    assert all("earlier" not in earlier for earlier in record["earlier"])


# --- logs ---------------------------------------------------------------------------------------


def test_metrics_reload_bit_equal(tmp_path):
    values = [0.1 + 0.2, 1e-308, 1 / 3, float("inf"), np.float32(0.1), np.float64(2 / 3)]
    rows = [{"epoch": i + 1, "loss": v, "test_acc": None} for i, v in enumerate(values)]
    metrics = make_run(tmp_path, *rows).metrics
    assert metrics["loss"].tolist() == [float(v) for v in values]
    assert metrics["epoch"].tolist() == [1, 2, 3, 4, 5, 6] and metrics["test_acc"].isna().all()


def test_a_row_may_leave_columns_empty_but_not_add_any(tmp_path):
    with RunDir(tmp_path) as run_dir:
        run_dir.append_metrics({"epoch": 1, "loss": 2.0, "test_acc": 0.5})
        run_dir.append_metrics({"test_acc": 0.75, "epoch": 2})
        with pytest.raises(UserError, match=r"val_acc"):
            run_dir.append_metrics({"epoch": 3, "val_acc": 1.0})
        with pytest.raises(UserError, match="epoch"):
            run_dir.append_metrics({"loss": 1.0})
    text = (tmp_path / "metrics.csv").read_text()
    assert text == "epoch,loss,test_acc\n1,2.0,0.5\n2,,0.75\n"


def test_logs_are_cut_back_to_an_epoch_and_grow_to_the_same_bytes(tmp_path):
    def add(run_dir, epoch):
        run_dir.append_metrics({"epoch": epoch, "loss": 1 / epoch})
        arrays = {"train_predicted": np.arange(4) % epoch, "mean": np.float32(epoch)}
        ids = {"sample_ids": np.array(["a", "b", "c"])}  # as long as there are epochs, yet not cut
        run_dir.append_arrays("history", epoch, arrays, fixed=ids)

    names = ("metrics.csv", "history.npz")
    with RunDir(tmp_path) as run_dir:
        for epoch in (1, 2, 3):
            add(run_dir, epoch)
        before = {name: (tmp_path / name).read_bytes() for name in names}
        with (tmp_path / "metrics.csv").open("a") as file:
            file.write("4,0.")  # half a row
        run_dir.truncate(1)
        history = Run(tmp_path).history
        assert (tmp_path / "metrics.csv").read_text() == "epoch,loss\n1,1.0\n"
        assert history["epoch"].tolist() == [1] and history["train_predicted"].shape == (1, 4)
        assert history["sample_ids"].tolist() == ["a", "b", "c"]
        for epoch in (2, 3):
            add(run_dir, epoch)
        history = Run(tmp_path).history
        assert history["mean"].tolist() == [1, 2, 3] and history["mean"].dtype == np.float32
        assert history["train_predicted"].tolist() == [[0, 0, 0, 0], [0, 1, 0, 1], [0, 1, 2, 0]]
        after = {name: (tmp_path / name).read_bytes() for name in names}
        assert after["metrics.csv"] == before["metrics.csv"]
        run_dir.truncate(0)
        assert Run(tmp_path).metrics.empty and len(Run(tmp_path).history["epoch"]) == 0
        add(run_dir, 1)
        assert Run(tmp_path).history["epoch"].tolist() == [1]


def test_a_half_written_row_is_never_read(tmp_path):
    run = make_run(tmp_path, {"epoch": 1, "loss": 1.5})
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("2,0.12")
    assert run.metrics.to_dict("list") == {"epoch": [1], "loss": [1.5]}


def test_fault_15_arrays_that_would_need_pickle_are_neither_written_nor_read(tmp_path):
    with RunDir(tmp_path) as run_dir:
        with pytest.raises(UserError, match="names"):
            run_dir.save_arrays("history", {"names": np.array([{}, None])})
        np.savez(tmp_path / "history.npz", names=np.array([{}, None]))
        with pytest.raises(UserError, match=r"history\.npz"):
            run_dir.load_arrays("history")
        (tmp_path / "history.npz").write_bytes(b"PK\x03\x04 cut")
        with pytest.raises(UserError, match=r"history\.npz"):
            run_dir.load_arrays("history")
        assert run_dir.load_arrays("calibration") == {}


def test_a_packed_log_could_be_a_bomb_and_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "history.npz", epoch=np.zeros(10_000_000, int))
    with pytest.raises(UserError, match=r"history\.npz: its arrays are compressed"):
        _ = Run(tmp_path).history


def test_a_damaged_log_is_not_cut_back_by_guessing(tmp_path):
    make_run(tmp_path, {"epoch": 1, "loss": 1.5})
    for content in ("epoch,loss\nx,1\n", "loss\n1\n", "loss,epoch\n1\n"):
        (tmp_path / "metrics.csv").write_text(content)
        with RunDir(tmp_path) as run_dir, pytest.raises(UserError, match="metrics.csv is damaged"):
            run_dir.truncate(1)
        assert (tmp_path / "metrics.csv").read_text() == content


def test_an_epoch_of_another_shape_is_refused(tmp_path):
    with RunDir(tmp_path) as run_dir:
        run_dir.append_arrays("calibration", 1, {"size": np.zeros(3)})
        with pytest.raises(UserError, match=r"epoch 2 brings.*4"):
            run_dir.append_arrays("calibration", 2, {"size": np.zeros(4)})
