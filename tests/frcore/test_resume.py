"""However a run is stopped, the same command ends bit-equal to one that never was."""

import errno
import os
import random
import shutil
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

import frcore
from frcore.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    CheckpointError,
    load_checkpoint,
    load_latest,
    read_metadata,
    save_checkpoint,
)
from frcore.cli import app
from frcore.config import load_recipe
from frcore.data import open_store
from frcore.errors import UserError
from frcore.files import WriteError
from frcore.guard import StepGuard
from frcore.process import LockedError
from frcore.run import Run
from frcore.run_dir import RunDir

pytestmark = pytest.mark.timeout(900)  # a set-up runs many processes, one after another

SCRIPT = Path(__file__).with_name("signalled_training.py")
STEPS = 9  # 3 epochs of 3 (tiny_config)
CLOCK = ["seconds", "eval_seconds", "samples_per_s"]  # the columns that may differ

_random = random.Random(0)


def at(event, number, how=signal.SIGKILL):
    return {"event": event, "number": number, "signal": int(how)}


def before(file, epoch):
    """Killed at an epoch's end, when `file` is written under another name, not yet renamed."""
    return at(f"publish {file}", epoch)


FAST = {f"step {n}": at("step", n) for n in sorted(_random.sample(range(1, STEPS + 1), 3))} | {
    "between metrics and history": before("history.npz", 2),
    "between calibration and best": before("best.safetensors", 1),
    "between last and previous": before("last.safetensors", 2),
    "after all, before its mark": before("state.json", 1),
}
SLOW = {f"every step: {n}": at("step", n) for n in range(1, STEPS + 1)} | {
    f"{file}, epoch {epoch}": before(file, epoch)
    for epoch in (1, 2, 3)
    for file in ("metrics.csv", "history.npz", "calibration.npz", "last.safetensors")
}
STOPPED = {
    "in a step": at("step", 5, signal.SIGTERM),
    "in the last step of an epoch": at("step", 6, signal.SIGTERM),
    "in an evaluation": at("evaluate", 3, signal.SIGTERM),
}
TWICE = {  # the second signal in a save: its temporary file is there, `last` already moved away
    "while it saves": at("step", 5, signal.SIGTERM) | {"again": ["publish last.safetensors", 2]},
    "before it saves": at("step", 5, signal.SIGTERM)
    | {"again": ["publish previous.safetensors", 1]},
}
POSITIONS = {
    "in a step": (1, 2),
    "in the last step of an epoch": (1, 3),
    "in an evaluation": (1, 3),
}


def contents(run):
    """All that must not depend on how often a run was stopped."""
    last, best = (load_checkpoint(run.path / name) for name in (LAST, BEST))
    clock = {"seconds", "metrics"}
    return {
        "last": last.tensors,
        "best": best.tensors,
        "metadata": {k: v for k, v in last.metadata.items() if k not in clock},
        "best metadata": {k: v for k, v in best.metadata.items() if k not in clock},
        "metrics": run.metrics.drop(columns=CLOCK),
        "history": run.history,
        "calibration": run.calibration,
        "state": run.state,
    }


def assert_bit_equal(run, other, *, but=()):
    ours, theirs = contents(run), contents(other)
    for part in ("last", "best"):
        assert ours[part].keys() == theirs[part].keys()
        for name, tensor in ours[part].items():
            assert torch.equal(tensor, theirs[part][name]), f"{part}: {name}"
    for part in ("history", "calibration"):
        assert ours[part].keys() == theirs[part].keys()
        for name, array in ours[part].items():
            np.testing.assert_array_equal(array, theirs[part][name], err_msg=f"{part}: {name}")
    pd.testing.assert_frame_equal(ours["metrics"], theirs["metrics"], check_exact=True)
    for part in {"metadata", "best metadata", "state"}.difference(but):
        assert ours[part] == theirs[part]


@pytest.fixture(scope="module")
def signalled(run_jobs, tiny_config, tmp_path_factory):
    return run_jobs(
        SCRIPT, tiny_config, tmp_path_factory.mktemp("signalled"), FAST | STOPPED | TWICE
    )


@pytest.fixture(scope="module")
def signalled_slowly(run_jobs, tiny_config, tmp_path_factory):
    return run_jobs(SCRIPT, tiny_config, tmp_path_factory.mktemp("signalled"), SLOW)


@pytest.mark.parametrize("moment", FAST)
def test_fault_01_killed_and_started_again_ends_bit_equal(moment, signalled, tiny_config, trained):
    out, result = signalled[moment]
    assert result["exit"] == -signal.SIGKILL
    assert Run(out).state == "interrupted"
    assert_bit_equal(frcore.fit(tiny_config, out=out), trained)


@pytest.mark.slow
@pytest.mark.parametrize("moment", SLOW)
def test_fault_01_killed_anywhere_and_started_again(moment, signalled_slowly, tiny_config, trained):
    out, result = signalled_slowly[moment]
    assert result["exit"] == -signal.SIGKILL
    assert_bit_equal(frcore.fit(tiny_config, out=out), trained)


@pytest.mark.parametrize("moment", STOPPED)
def test_fault_07_sigterm_saves_at_once_exits_143_and_goes_on_bit_equal(
    moment, signalled, tiny_config, trained
):
    out, result = signalled[moment]
    assert result["exit"] == 143 and result["after"] < 10
    meta = read_metadata(out / LAST)
    assert (meta["epoch"], meta["step"]) == POSITIONS[moment]
    assert Run(out).state == "interrupted" and len(Run(out).metrics) == 1
    run = frcore.fit(tiny_config, out=out)
    assert run.metrics["seconds"][1] > meta["seconds"] > 0  # both parts of the epoch
    assert_bit_equal(run, trained)


@pytest.mark.parametrize("moment", TWICE)
def test_fault_07_a_second_sigterm_exits_at_once_and_harms_nothing(
    moment, signalled, tiny_config, trained
):
    out, result = signalled[moment]
    assert result["exit"] == 143 and result["after"] < 10
    assert list(out.glob(".last.safetensors.*"))  # it was in a save
    assert_bit_equal(frcore.fit(tiny_config, out=out), trained)
    assert not list(out.glob(".last.safetensors.*"))


@pytest.mark.slow
def test_fault_01_stopped_and_killed_again_and_again(run_jobs, tiny_config, trained, tmp_path):
    out = str(tmp_path / "run")
    kinds = [signal.SIGTERM, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL]
    jobs = {str(n): at("step", 2, kind) | {"out": out} for n, kind in enumerate(kinds)}
    results = run_jobs(SCRIPT, tiny_config, tmp_path, jobs)
    assert [r["exit"] for _, r in results.values()] == [143, 143, -9, 143, -9]
    meta = read_metadata(Path(out) / LAST)
    # Stops keep 2 steps each: at 2 of 3, then at 1 of the next epoch. The kill keeps none, as no
    # epoch ended in it; the third stop is at 3 of 3; the last kill sees that epoch's end.
    assert (meta["epoch"], meta["step"]) == (2, 0)
    assert_bit_equal(frcore.fit(tiny_config, out=out), trained)


def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def interrupted(tiny_config, tmp_path_factory):
    """A run after Ctrl-C in the second of three steps of the second epoch."""
    calls, step = [], StepGuard.step

    def interrupt_fifth(self, *args):
        calls.append(args)
        if len(calls) == 5:
            interrupt()
        return step(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepGuard, "step", interrupt_fifth)
        return frcore.fit(tiny_config, out=tmp_path_factory.mktemp("interrupted") / "tiny_run")


@pytest.fixture
def partial(interrupted, tmp_path):
    """A copy of `interrupted`."""
    shutil.copytree(interrupted.path, tmp_path / "tiny_run")
    return Run.open(tmp_path / "tiny_run")


def test_fault_07_ctrl_c_gives_the_partial_run_and_goes_on_bit_equal(partial, tiny_config, trained):
    assert partial.state == "interrupted" and len(partial.metrics) == 1
    meta = read_metadata(partial.checkpoint())
    assert (meta["epoch"], meta["step"]) == (1, 2)
    assert frcore.predict(partial).metadata["epoch"] == 1  # usable as it is
    assert frcore.fit(tiny_config, out=partial.path).path == partial.path
    assert_bit_equal(partial, trained)


# ---- while a step is compiled --------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(
    ("call", "sent"), [(1, signal.SIGTERM), (5, signal.SIGTERM), (5, signal.SIGINT)]
)
def test_fault_07_a_stop_does_not_wait_for_the_compiler(
    call, sent, tiny_config, trained, monkeypatch, tmp_path
):
    """Call 1 is the first step; call 5, the second of the second epoch, has another batch size."""
    calls = []

    def compile_slowly(model, *, mode):
        def forward(clips):
            calls.append(len(clips))
            out = model(clips)  # changes batch norm's statistics
            if len(calls) == call:
                os.kill(os.getpid(), sent)
                time.sleep(30)  # the compiler
            return out

        return forward

    out, begun = tmp_path / "run", time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "compile", compile_slowly)
        with pytest.raises(SystemExit) if sent == signal.SIGTERM else nullcontext() as stopped:
            frcore.fit(tiny_config, out=out, **{"train.compile": "default"})
    assert time.monotonic() - begun < 20 and len(calls) == call
    assert sent == signal.SIGINT or stopped.value.code == 143
    assert Run(out).state == "interrupted" and not (out / "run.lock").exists()
    assert (out / LAST).exists() == (call > 1)
    if call > 1:
        meta = read_metadata(out / LAST)
        assert (meta["epoch"], meta["step"]) == (1, 1)
    run = frcore.fit(tiny_config, out=out)
    assert_bit_equal(run, trained, but=["best metadata"])  # "compile" is in there


def test_fault_05_a_damaged_checkpoint_gives_way_to_the_previous_one(
    partial, tiny_config, trained, caplog
):
    data = bytearray((partial.path / LAST).read_bytes())
    data[-1] ^= 1
    (partial.path / LAST).write_bytes(data)
    assert_bit_equal(frcore.fit(tiny_config, out=partial.path), trained)
    assert "previous.safetensors" in caplog.text


def test_fault_05_two_damaged_checkpoints_end_the_command_naming_both(
    partial, tiny_config, tmp_path
):
    for name in (LAST, PREVIOUS):
        data = (partial.path / name).read_bytes()
        (partial.path / name).write_bytes(data[: len(data) // 2])
    config = load_recipe(tiny_config).model_dump(mode="json")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    command = ["train", str(tmp_path / "mine.yaml"), "--out", str(partial.path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert LAST in result.stderr and PREVIOUS in result.stderr
    assert len(partial.metrics) == 1  # the logs are as they were


@pytest.mark.parametrize(
    ("synced", "named"),
    [
        (0, "metrics.csv"),
        (2, "history.npz"),
        (4, "calibration.npz"),
        (6, ".safetensors"),
        (8, ".safetensors"),
    ],
)
def test_fault_03_a_full_disk_stops_training_and_the_same_command_goes_on(
    synced, named, partial, tiny_config, trained, monkeypatch
):
    """Full at the end of the second epoch, when so many files and directories were synced."""
    calls, real, step = [], os.fsync, StepGuard.step

    def fsync(fd):
        calls.append(fd)
        if len(calls) > synced:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(fd)

    with monkeypatch.context() as patch:

        def step_then_fill(*args):
            patch.setattr(os, "fsync", fsync)
            return step(*args)

        patch.setattr(StepGuard, "step", step_then_fill)
        with pytest.raises(WriteError, match="bytes needed") as stopped:
            frcore.fit(tiny_config, out=partial.path)
    assert str(partial.path) in str(stopped.value) and named in str(stopped.value)
    assert load_latest(partial.path).metadata["epoch"] == 1
    assert_bit_equal(frcore.fit(tiny_config, out=partial.path), trained)


def test_a_stop_before_the_first_step_leaves_nothing_to_go_on_from(tiny_config, tmp_path):
    run = frcore.fit(tiny_config, out=tmp_path, callbacks=[SimpleNamespace(on_start=interrupt)])
    assert run.state == "interrupted" and len(run.metrics) == 0
    assert not (tmp_path / LAST).exists()


def test_a_finished_run_is_returned_at_once(monkeypatch, tiny_config, trained):
    monkeypatch.setattr("frcore.train.Trainer", None)
    again = frcore.fit(tiny_config, out=trained.path)
    assert again.path == trained.path and again.state == "finished"


def test_another_configuration_gets_a_numbered_directory(tiny_config, partial):
    short = {"train.epochs": 1, "optim.warmup_epochs": 0, "data.repeats": 1}
    run = frcore.fit(tiny_config, out=partial.path, **short)
    assert run.path == partial.path.with_name("tiny_run-2") and run.state == "finished"
    assert partial.state == "interrupted"
    # Where it runs is no part of the configuration.
    again = frcore.fit(tiny_config, out=partial.path, **short, **{"train.threads": 2})
    assert again.path == run.path


@pytest.mark.parametrize("which", ["partial", "trained"])
def test_other_clips_under_a_run_are_refused(which, tiny_config, monkeypatch, request):
    run, store = request.getfixturevalue(which), open_store("tiny")
    store.fingerprint, ours = 64 * "0", store.fingerprint
    monkeypatch.setattr("frcore.train.open_store", lambda name: store)
    with pytest.raises(UserError, match="trained on other clips of 'tiny'") as refused:
        frcore.fit(tiny_config, out=run.path)
    assert ours[:12] in str(refused.value) and 12 * "0" in str(refused.value)


def test_fault_24_a_directory_in_use_is_refused_before_training(tiny_config, partial):
    with RunDir(partial.path), pytest.raises(LockedError, match=f"process {os.getpid()} "):
        frcore.fit(tiny_config, out=partial.path)
    with RunDir(partial.path):
        assert partial.state == "running"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epoch": -1}, "its epoch is -1"),
        ({"step": "2"}, "its step is '2'"),
        ({"seconds": float("nan")}, "its seconds is nan"),
        ({"best": []}, r"its best is \[\]"),
        ({"skipped_in_a_row": None}, "its skipped_in_a_row is None"),
        ({"fingerprint": 3}, "fingerprint 3, now"),
        ({"optim.classifier.bias": None}, r"classifier.bias: missing in the file, \(5,\) in the"),
        ({"meters.views": None}, "views: missing in the file"),
    ],
)
def test_a_checkpoint_that_a_run_cannot_go_on_from_is_refused(changes, said, partial, tiny_config):
    checkpoint = load_checkpoint(partial.path / LAST)
    tensors = {name: x for name, x in checkpoint.tensors.items() if name not in changes}
    own = {name: value for name, value in changes.items() if name in checkpoint.metadata}
    save_checkpoint(partial.path / LAST, tensors, checkpoint.metadata | own)
    with pytest.raises(UserError, match=said) as refused:
        frcore.fit(tiny_config, out=partial.path)
    assert LAST in str(refused.value)


def test_other_threads_are_noted_as_no_longer_bit_equal(tiny_config, partial, caplog):
    before, seen = torch.get_num_threads(), []

    def look_and_stop(run):
        seen.append(torch.get_num_threads())
        interrupt()

    looking = SimpleNamespace(on_start=look_and_stop)
    frcore.fit(tiny_config, out=partial.path, callbacks=[looking], **{"train.threads": 2})
    assert "threads 1 -> 2" in caplog.text and "not bit-equal" in caplog.text
    assert seen == [2] and torch.get_num_threads() == before


def test_fault_06_weights_of_another_model_are_listed_with_both_shapes(tiny_config, partial):
    checkpoint = load_checkpoint(partial.path / LAST)
    tensors = checkpoint.tensors | {"model.classifier.bias": torch.zeros(7)}
    save_checkpoint(partial.path / LAST, tensors, checkpoint.metadata)
    with pytest.raises(CheckpointError, match=r"classifier.bias: \(7,\) in the file, \(5,\) in"):
        frcore.fit(tiny_config, out=partial.path)
