"""Callbacks of training: TensorBoard shows what metrics.csv holds."""

import builtins
import errno
import math
import os
import subprocess
import sys

import pandas as pd
import pytest

import frcore
from frcore.errors import UserError
from frcore.files import WriteError
from frcore.run import Run
from frcore.run_dir import RunDir

pytest.importorskip("tensorboard", reason="needs the extra [tensorboard]")

NAN = float("nan")


def write_rows(path, *rows):
    with RunDir(path) as directory:
        directory.write_config({}, config_hash="abc")
        directory.truncate(0)
        for row in rows:
            directory.append_metrics(row)
    return Run(path)


def shown(run) -> pd.DataFrame:
    """What TensorBoard reads: a row an epoch, a column a scalar, by its own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    points = {}
    for tag in events.Tags()["scalars"]:
        scalars = events.Scalars(tag)
        steps = [scalar.step for scalar in scalars]
        assert steps == sorted(set(steps)), f"{tag} has double points: {steps}"
        assert not any(math.isnan(scalar.value) for scalar in scalars), tag
        points[tag.rpartition("/")[2]] = pd.Series([s.value for s in scalars], index=steps)
    return pd.DataFrame(points)


def assert_shows_metrics(run):
    expected = run.metrics.set_index("epoch").astype("float32").dropna(axis=1, how="all")
    found = shown(run)[list(expected)].astype("float32")
    pd.testing.assert_frame_equal(found, expected, check_names=False)


def test_every_column_and_epoch_of_a_training_is_shown(tiny_config, tmp_path):
    run = frcore.fit(tiny_config, out=tmp_path / "run", callbacks=[frcore.TensorBoard()])
    assert len(run.metrics) == 3 and set(run.metrics) - {"epoch"} == set(shown(run))
    assert_shows_metrics(run)


def test_an_epoch_without_evaluation_has_no_point(tmp_path):
    rows = ({"epoch": 1, "loss": 2.0, "test_acc": NAN}, {"epoch": 2, "loss": 1.0, "test_acc": 0.5})
    run = write_rows(tmp_path, *rows)
    board = frcore.TensorBoard()
    board.on_start(run)
    board.on_end(run)
    assert shown(run)["test_acc"].dropna().to_dict() == {2: 0.5}


def test_a_resumed_run_has_no_double_points_and_none_of_what_was_cut_back(tmp_path):
    def row(epoch, loss):
        return {"epoch": epoch, "loss": loss}

    run = write_rows(tmp_path, row(1, 5.0))
    board = frcore.TensorBoard()
    board.on_start(run)
    board.on_epoch(run, row(2, 4.0))
    board.on_epoch(run, row(3, 9.0))  # killed here, before a checkpoint held this epoch
    assert shown(run)["loss"].to_dict() == {1: 5.0, 2: 4.0, 3: 9.0}  # also while it runs

    run = write_rows(tmp_path, row(1, 5.0), row(2, 4.0))
    again = frcore.TensorBoard()
    again.on_start(run)
    assert shown(run)["loss"].to_dict() == {1: 5.0, 2: 4.0}
    again.on_epoch(run, row(3, 3.0))
    again.on_end(run)
    assert shown(run)["loss"].to_dict() == {1: 5.0, 2: 4.0, 3: 3.0}


def test_epochs_from_before_the_callback_was_used_are_shown_too(trained, tmp_path):
    run = write_rows(tmp_path, *trained.metrics.to_dict("records"))
    board = frcore.TensorBoard()
    board.on_start(run)
    board.on_end(run)
    assert_shows_metrics(run)


def test_without_the_package_the_error_names_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError("No module named 'tensorboard'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r'pip install "frcore\[tensorboard\]"'):
        frcore.TensorBoard()


def test_files_that_cannot_be_written_are_an_error_that_names_them(tmp_path):
    run = write_rows(tmp_path)
    (tmp_path / "tensorboard").write_text("a file")
    with pytest.raises(WriteError, match="tensorboard"):
        frcore.TensorBoard().on_start(run)


def test_a_full_disk_is_an_error_that_names_the_files(tmp_path, monkeypatch):
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    run, board = write_rows(tmp_path), frcore.TensorBoard()
    board.on_start(run)
    monkeypatch.setattr(RecordWriter, "write", full)
    monkeypatch.setattr("threading.excepthook", lambda args: None)  # of the thread that writes
    with pytest.raises(WriteError, match="No space left to write .*tensorboard"):
        board.on_epoch(run, {"epoch": 1, "loss": 2.0})


def test_training_without_the_callback_does_not_load_tensorboard():
    code = "import sys, frcore.train, frcore.callbacks; print('tensorboard' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "False"
