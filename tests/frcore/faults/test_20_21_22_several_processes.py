"""Rows 20, 21 and 22 of the list of faults: one run over several processes, here with Gloo on CPUs.

What several cards do beside (NCCL, batch norm over all of them) needs several cards.
"""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import frcore
from frcore.checkpoint import LAST, load_checkpoint, read_metadata
from frcore.config import load_recipe
from frcore.data.random import epoch_order
from frcore.run import Run
from frcore.splits import load_splits

pytestmark = pytest.mark.timeout(900)  # a set-up runs many processes, one after another

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("several_processes.py")
TERM, KILL = int(signal.SIGTERM), int(signal.SIGKILL)
SHORT = {"train.epochs": 1, "optim.warmup_epochs": 0, "data.repeats": 1}
# 7 epochs of 3 steps of 15, 15 and 2 clips: two ranks have 7 and 8, and both do the last batch
STEPS = {
    "train.epochs": 7,
    "train.batch_size": 15,
    "train.eval_every": 7,
    "data.repeats": 1,
    "data.transform.frames": 8,
    "model.dropout": 0.0,
    "head.warm_start": False,
    "head.hidden": 64,
    "optim.lr": 0.001,
    "optim.warmup_epochs": 0,
    "optim.milestones": [5],
}
JOBS = {
    "one: steps": {"do": "steps", "ranks": 1, "set": STEPS},
    "two: steps": {"do": "steps", "set": STEPS},
    "one: talk": {"do": "talk", "ranks": 1},
    "two: talk": {"do": "talk"},
    "spoiled": {"do": "train", "set": SHORT, "events": [[1, 1, "spoil", 0]]},
    "killed": {"do": "train", "events": [[4, 1, KILL, 0]]},
    "a mistake": {"do": "train", "ranks": 3, "set": {"optim.lr": -1}, "set 2": {"train.epochs": 0}},
    "stopped": {"do": "train", "events": [[4, 1, TERM, 0], [4, 0, TERM, 2]]},
}
SLOW = {
    "the first one killed": {"do": "train", "events": [[4, 0, KILL, 0]]},
    "one raises": {"do": "train", "events": [[4, 1, "raise", 0]]},
    "the first one raises": {"do": "train", "events": [[5, 0, "raise", 0]]},
    "one of four killed": {"do": "train", "ranks": 4, "events": [[4, 2, KILL, 0]]},
    "one of three stopped": {"do": "train", "ranks": 3, "events": [[4, 2, TERM, 0]]},
    "stopped in an evaluation": {"do": "train", "events": [[0, 1, TERM, 0]]},
    "stopped twice": {"do": "train", "events": [[5, r, TERM, s] for r in (0, 1) for s in (0, 0.1)]},
}


@pytest.fixture(scope="module")
def done(run_jobs, tiny_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    again = {"do": "train", "out": str(folder / str(list(JOBS).index("stopped")))}
    goes_on = {
        "alone, streamed": again
        | {"ranks": 1, "set": {"data.residence": "stream"}, "events": [[3, 0, TERM, 0]]},
        "three": again | {"ranks": 3},
    }
    return run_jobs(SCRIPT, tiny_config, folder, JOBS | goes_on)


@pytest.fixture(scope="module")
def done_slowly(run_jobs, tiny_config, tmp_path_factory):
    return run_jobs(SCRIPT, tiny_config, tmp_path_factory.mktemp("several"), SLOW)


def said(out, rank):
    return Path(f"{out}.{rank}").read_text()


def arrays(out, rank):
    return dict(np.load(f"{out}.{rank}.npz"))


def views(out, ranks):
    """{(epoch, step): views of the whole batch in their order}, by what each rank wrote down."""
    whole = {}
    for rank in range(ranks):
        for line in Path(f"{out}.{rank}.seen").read_text().splitlines():
            epoch, step, seen, waits = json.loads(line)
            assert waits == []  # a step reads nothing from the device
            whole.setdefault((epoch, step), []).extend(seen)
    return whole


# ---- 20: two processes are one -------------------------------------------------------------------


def test_fault_20_two_processes_take_the_steps_of_one(done):
    (one, alone), (two, both) = done["one: steps"], done["two: steps"]
    assert (alone["exit"], both["exit"]) == ([0], [0, 0]), said(two, 0)
    expected, first, second = arrays(one, 0), arrays(two, 0), arrays(two, 1)
    assert len(expected["loss"]) == 21
    for ours in (first, second):
        np.testing.assert_allclose(ours["loss"], expected["loss"], rtol=0, atol=1e-10)
        np.testing.assert_allclose(ours["gradients"], expected["gradients"], rtol=0, atol=1e-10)
    assert np.abs(expected["gradients"]).max(1).min() > 0.01
    seen = np.zeros(3)
    for step in range(21):
        name = f"outcomes_{step}"  # (n, 3K): who is TP, FN and FP of which class
        whole = expected[name]
        parts = [first[name], second[name]]
        if len(whole) == 2:  # too few for both, who therefore do them both
            assert [len(part) for part in parts] == [2, 2]
            np.testing.assert_array_equal(parts[1], whole)
            parts.pop()
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        seen += whole.reshape(len(whole), 3, -1).sum((0, 2))
    assert (seen > 20).all()


def test_fault_20_prototypes_momentum_and_logs_are_those_of_one(done):
    one, two = done["one: steps"][0], done["two: steps"][0]
    expected, ours = (load_checkpoint(out / LAST).tensors for out in (one, two))
    assert expected.keys() == ours.keys() and any("prototypes" in name for name in ours)
    for name, tensor in expected.items():
        np.testing.assert_allclose(ours[name], tensor, rtol=0, atol=1e-10, err_msg=name)
    for name in ("tp", "fn", "fp", "fn_batches", "fp_batches"):
        a, b = Run(two).calibration[name], Run(one).calibration[name]
        np.testing.assert_array_equal(a, b, err_msg=name)
    for name, array in Run(one).history.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(Run(two).history[name], array, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(Run(two).history[name], array, err_msg=name)
    clock = ["seconds", "eval_seconds", "samples_per_s"]
    rows, others = (Run(out).metrics.drop(columns=clock) for out in (one, two))
    np.testing.assert_allclose(others.to_numpy(), rows.to_numpy(), atol=1e-10)
    assert (rows["tp"] + rows["fn"] == 32).all()  # each clip once


def test_fault_20_evaluation_counts_each_clip_once(done):
    expected = arrays(done["one: talk"][0], 0)
    out, result = done["two: talk"]
    assert result["exit"] == [0, 0] and expected["logits_8"].shape == (20, 5)
    for name in ("logits_8", "logits_64", "features_8", "features_64"):
        for rank in (0, 1):  # the same batches, so the same bits
            np.testing.assert_array_equal(arrays(out, rank)[name], expected[name], err_msg=name)


def test_fault_20_running_statistics_are_the_mean_of_all_ranks(done):
    for rank in (0, 1):
        found = arrays(done["two: talk"][0], rank)
        assert found["mean"].tolist() == [0.5] * 3 and found["var"].tolist() == [2.0] * 3


def test_fault_20_records_are_collected_at_the_first_rank_however_often(done):
    first, second = (arrays(done["two: talk"][0], rank) for rank in (0, 1))
    assert (first["views"], second["views"]) == (2, 0)
    assert first["predicted"].tolist() == [[0, 1, -1, -1]]
    assert (second["predicted"] == -1).all()


def test_fault_20_ranks_with_other_data_are_refused_by_all(done):
    for rank in (0, 1):
        text = str(arrays(done["two: talk"][0], rank)["different"])
        assert "differ in clips: rank 0 has those of 0, rank 1 has those of 1." in text


def test_fault_20_a_step_that_is_not_finite_at_one_rank_is_skipped_by_all(done):
    out, result = done["spoiled"]
    assert result["exit"] == [0, 0], said(out, 0)
    row = Run(out).metrics.iloc[0]
    assert row["skipped_steps"] == 1 and math.isfinite(row["loss"])
    assert row["tp"] + row["fn"] == 8  # of 24 and 8 clips, those of the second step
    assert "Clips: train/" in said(out, 0) and said(out, 0).count("step skipped") == 1
    assert all(t.isfinite().all() for n, t in load_checkpoint(out / LAST).part("model").items())


# ---- 21: one writer; all leave -------------------------------------------------------------------


def test_fault_21_the_first_rank_alone_writes_and_speaks(done):
    out, _ = done["spoiled"]
    assert said(out, 1) == ""
    assert f"Next: frcore predict {out}" in said(out, 0)
    assert "batch norm sees each one's part" in said(out, 0)
    run = Run(out)
    assert run.state == "finished" and not (out / "run.lock").exists()
    assert (run.environment["processes"], run.environment["backend"]) == (2, "gloo")
    assert sorted(p.name for p in out.parent.glob(f"{out.name}*") if p.is_dir()) == [out.name]


def assert_left(out, result, last):
    """All ranks ended in time and not with 0; the last checkpoint is valid, the run resumable."""
    assert all(code != 0 for code in result["exit"]) and result["after"] < 60
    meta = load_checkpoint(out / LAST).metadata
    assert (meta["epoch"], meta["step"]) == last
    assert Run(out).state == "interrupted"
    assert not list(out.glob("*.tmp"))


def test_fault_21_a_killed_rank_ends_the_run_and_is_named(done, tiny_config):
    out, result = done["killed"]
    assert_left(out, result, last=(1, 0))
    assert result["exit"] == [2, -KILL]
    message = next(line for line in said(out, 0).splitlines() if line.startswith("Error: "))
    assert message.startswith("Error: Rank 1 of this run has ended")
    assert f"{out}/last.safetensors is intact (epoch 1, step 0)" in message
    go_on = f"torchrun --nproc-per-node 2 -m frcore train {out}/config.json --out {out}"
    assert message.endswith(f"to go on: {go_on}")
    assert "Traceback" not in said(out, 0) and ".cc" not in message
    assert len(frcore.fit(tiny_config, out=out).metrics) == 3


def test_fault_21_the_mistake_of_all_is_said_once_and_that_of_one_by_itself(done):
    out, result = done["a mistake"]
    assert result["exit"] == [2, 2, 2]
    assert said(out, 0).startswith("Error: ") and "optim.lr" in said(out, 0)
    assert said(out, 1) == ""
    assert "train.epochs" in said(out, 2)  # beside the one of all


def test_fault_21_sigterm_two_seconds_apart_stops_all_at_one_step(done):
    out, result = done["stopped"]
    assert result["exit"][:2] == [143, 143] and result["after"] < 60
    assert said(out, 0).count("Stopped after epoch 1, step 1.") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "codes", "last"),
    [
        ("the first one killed", [-KILL, 2], (1, 0)),
        ("one raises", [2, 99], (1, 0)),
        ("the first one raises", [99, 2], (1, 0)),
        ("one of four killed", [2, 2, -KILL, 2], (1, 0)),
        ("one of three stopped", [143, 143, 143], (1, 1)),
        ("stopped in an evaluation", [143, 143], (0, 3)),
        ("stopped twice", [143, 143], (1, 2)),  # by a scheduler, and by torchrun that it stopped
    ],
)
def test_fault_21_all_leave_whoever_is_hit(name, codes, last, done_slowly, tiny_config):
    out, result = done_slowly[name]
    assert_left(out, result, last)
    assert result["exit"] == codes
    metrics = frcore.fit(tiny_config, out=out).metrics
    assert (metrics["tp"] + metrics["fn"]).tolist() == [64, 64, 64]


def torchrun(config, folder):
    """The command of the README for two processes, its environment, and the run's directory."""
    recipe, out = folder / "mine.yaml", folder / "run"
    config = config | {"train": config["train"] | {"epochs": 8}, "head": None}
    recipe.write_text(yaml.safe_dump(json.loads(json.dumps(config))))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    command += ["-m", "frcore", "train", str(recipe), "--out", str(out)]
    return command, os.environ | {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}, out


@pytest.mark.slow
def test_fault_21_torchrun_starts_stops_and_goes_on(tiny_config, tmp_path):
    """The command of the README, stopped by SIGTERM to torchrun, and started again."""
    command, env, out = torchrun(tiny_config, tmp_path)
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as agent:
        for line in agent.stderr:
            if "epoch 2/8" in line:
                agent.send_signal(signal.SIGTERM)
        assert agent.wait(60) != 0
    meta = read_metadata(out / LAST)
    assert Run(out).state == "interrupted" and meta["epoch"] >= 1
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert Run(out).state == "finished" and Run(out).metrics["epoch"].tolist() == [*range(1, 9)]
    assert done.stdout.count("Next: frcore predict") == 1


@pytest.mark.slow
def test_fault_21_ranks_leave_with_their_killed_torchrun(tiny_config, tmp_path):
    command, env, out = torchrun(tiny_config, tmp_path)
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as agent:
        for line in agent.stderr:  # to the end of the ranks, who have the pipe as well
            if "epoch 2/8" in line and agent.poll() is None:
                agent.kill()
                agent.wait()
                killed = time.monotonic()
            last = line
    assert time.monotonic() - killed < 10
    assert "Stopped after epoch" in last
    meta = load_checkpoint(out / LAST).metadata
    assert 1 <= meta["epoch"] < 8 and Run(out).state == "interrupted"
    assert not (out / "run.lock").exists()


# ---- 22: another number of processes -------------------------------------------------------------


def test_fault_22_another_number_of_processes_sees_the_same_views(done, tiny_config, tiny_store):
    """2 ranks stop after 4 of 9 steps, 1 goes on for 3 (streaming from disk), 3 end it."""
    out = done["stopped"][0]
    assert [done[name][1]["exit"] for name in ("alone, streamed", "three")] == [[143], [0, 0, 0]]
    assert "processes 2 -> 1" in said(out, 0) and "processes 1 -> 3" in said(out, 0)
    seen = views(out, ranks=3)
    train = load_splits(tiny_store, load_recipe(tiny_config), torch.device("cpu")).train
    expected = {}
    for epoch in range(3):
        index, repeat = epoch_order(train.clips.keys, seed=0, epoch=epoch, repeats=2)
        digests = [
            hashlib.sha256(clip.numpy().tobytes()).hexdigest()
            for clip in train(index, epoch=epoch, repeat=repeat)
        ]
        names = [train.clips.sample_ids[i] for i in index]
        all_views = [list(v) for v in zip(names, repeat.tolist(), digests, strict=True)]
        expected |= {(epoch, step): all_views[24 * step :][:24] for step in range(3)}
    assert seen == expected


def test_fault_22_the_log_of_a_run_in_three_pieces_is_whole(done):
    run = Run(done["stopped"][0])
    assert run.state == "finished" and run.metrics["epoch"].tolist() == [1, 2, 3]
    assert (run.metrics["tp"] + run.metrics["fn"] == 64).all()  # also of the epochs in two pieces
    assert (run.history["train_predicted"] >= 0).all()
    assert np.isfinite(run.history["train_p_true"]).all()
    record = run.environment
    assert [r["processes"] for r in (*record["earlier"], record)] == [2, 1, 3]
