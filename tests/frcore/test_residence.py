"""How much memory is free, and runs whose clips are streamed from disk."""

import os
import signal
import threading

import numpy as np
import pytest
import torch

import frcore
from frcore import residence
from frcore.checkpoint import load_checkpoint
from frcore.config import load_recipe
from frcore.data import augment
from frcore.residence import free_memory, is_resident
from frcore.train import Trainer

CPU = torch.device("cpu")
CLOCK = ["seconds", "eval_seconds", "samples_per_s"]
GIB = 2**30


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Makes /proc and the control groups' folder hold these files."""
    monkeypatch.setattr(residence, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(residence, "_CGROUPS", tmp_path / "cgroup")

    def put(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(str(text))

    return put


def meminfo(available):
    text = f"MemTotal:  99999999 kB\nMemFree:  1 kB\nMemAvailable:  {available // 1024} kB\n"
    return {"proc/meminfo": text}


def test_free_memory_is_what_linux_calls_available(system):
    system(meminfo(6 * GIB))
    assert free_memory(CPU) == 6 * GIB


def test_limits_of_control_groups_count_also_those_further_up(system):
    system(meminfo(64 * GIB) | {"proc/self/cgroup": "0::/slurm/job_7/step_0\n"})
    group = {"memory.max": "max", "memory.current": 0, "memory.stat": "inactive_file 0\n"}
    limited = {"memory.max": 16 * GIB, "memory.current": 9 * GIB}
    limited |= {"memory.stat": f"anon 5\ninactive_file {3 * GIB}\n"}  # of files: can be dropped
    for folder, files in (("slurm/job_7/step_0", group), ("slurm/job_7", limited)):
        system({f"cgroup/{folder}/{name}": text for name, text in files.items()})
    assert free_memory(CPU) == 10 * GIB


def test_control_groups_of_version_1_count(system):
    system(meminfo(64 * GIB) | {"proc/self/cgroup": "9:cpu:/x\n4:cpuset,memory:/job\n0::/\n"})
    files = {"memory.limit_in_bytes": 8 * GIB, "memory.usage_in_bytes": 3 * GIB}
    files |= {"memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n"}
    system({f"cgroup/memory/job/{name}": text for name, text in files.items()})
    assert free_memory(CPU) == 6 * GIB


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "0::/a\n", "cgroup/a/memory.max": "much"},
        {"proc/self/cgroup": "0::/a\n", "cgroup/a/memory.max": 5},
    ],
)
def test_what_the_system_does_not_say_limits_nothing(files, system, monkeypatch):
    def unknown(name):
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown, raising=False)
    system(files)
    assert free_memory(CPU) is None
    assert is_resident(10**15, CPU)


def test_memory_of_a_card_is_asked_of_the_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5 * GIB, 80 * GIB))
    cuda = torch.device("cuda:1")
    assert free_memory(cuda) == 5 * GIB
    assert is_resident(5 * GIB // 2, cuda) and not is_resident(5 * GIB // 2 + 1, cuda)


def test_where_clips_are_is_no_part_of_the_hash(tiny_config):
    hashes = {
        load_recipe(tiny_config, {"data.residence": where}).hash
        for where in ("auto", "device", "stream")
    }
    assert hashes == {load_recipe(tiny_config).hash}


# ---- whole runs ----------------------------------------------------------------------------------


def fit_streamed(config, out, **changes):
    return frcore.fit(config, out=out, **{"data.residence": "stream", **changes})


def assert_same_run(run, other):
    ours, theirs = (r.metrics.drop(columns=CLOCK) for r in (run, other))
    assert ours.equals(theirs)
    tensors = [load_checkpoint(r.checkpoint()).tensors for r in (run, other)]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


def workers():
    return [t for t in threading.enumerate() if t.name.startswith("frcore-prefetch")]


def test_a_streamed_run_stopped_and_resumed_has_the_bits_of_a_resident_one(
    tiny_config, trained, tmp_path, monkeypatch
):
    step = Trainer._train_step

    def stop_in_the_second_epoch(self, *batch):
        step(self, *batch)
        if (self.epoch, self.step) == (1, 0):
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", stop_in_the_second_epoch)
        assert fit_streamed(tiny_config, tmp_path / "run").state == "interrupted"
    assert workers() == []
    run = fit_streamed(tiny_config, tmp_path / "run")
    assert_same_run(run, trained)
    np.testing.assert_array_equal(frcore.predict(run).logits, frcore.predict(trained).logits)
    assert workers() == []


def test_a_disk_that_fails_ends_a_run_with_its_error(tiny_config, tmp_path, monkeypatch):
    pack = augment.pack_frames

    def fail(clips, *args, **options):
        if len(clips) == 16:  # the last batch of the epoch
            raise OSError("input/output error")
        return pack(clips, *args, **options)

    monkeypatch.setattr(augment, "pack_frames", fail)
    with pytest.raises(OSError, match="input/output"):
        fit_streamed(tiny_config, tmp_path / "run", head=None)
    assert workers() == [] and frcore.Run.open(tmp_path / "run").state == "interrupted"
