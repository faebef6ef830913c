"""Checkpoints survive kills at any line, full disks, cuts and bit flips (FAULTS 2, 3 and 5)."""

import errno
import hashlib
import json
import logging
import os
import random
import signal
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import frcore.checkpoint
import frcore.files
from frcore.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_latest,
    match_tensors,
    read_metadata,
    rotate_and_save,
    save_checkpoint,
)
from frcore.files import WriteError

LAST, PREVIOUS = "last.safetensors", "previous.safetensors"


def tensors(step: int, size: int = 6) -> dict[str, np.ndarray]:
    return {
        "model.weight": np.full((2, size), step, np.float32),
        "optim.momentum": np.arange(size, dtype=np.float64) * step,
        "meters.count": np.array(step, np.int64),
    }


def save_step(directory: Path, step: int) -> str:
    return rotate_and_save(directory, tensors(step), {"epoch": step})


def latest_step(directory: Path) -> int | None:
    """The step of the newest intact checkpoint, whose tensors must all be of that step."""
    found = load_latest(directory, framework="numpy")
    if found is None:
        return None
    step = found.metadata["epoch"]
    for name, expected in tensors(step).items():
        np.testing.assert_array_equal(found.tensors[name], expected)
    return step


# --- what is written is what is read ------------------------------------------------------------


def test_tensors_of_every_kind_come_back_bit_equal(tmp_path):
    import torch

    base = torch.randn(4, 3)
    saved = {
        "model.weight": base.t(),  # not contiguous
        "model.tied": base.t(),  # shares memory with the one above
        "model.half": torch.randn(5).to(torch.bfloat16),
        "optim.step": torch.tensor(7),
        "model.empty": torch.zeros(0, 3),
        "meters.loss": np.array([0.1, np.nan, -np.inf]),
        "model.grad": torch.ones(2, requires_grad=True),
    }
    save_checkpoint(tmp_path / "a.safetensors", saved, {})
    found = load_checkpoint(tmp_path / "a.safetensors").tensors
    assert set(found) == set(saved)
    for name, value in saved.items():
        value = torch.as_tensor(value).detach()
        assert found[name].dtype == value.dtype and found[name].shape == value.shape, name
        assert torch.equal(found[name].nan_to_num(nan=7), value.nan_to_num(nan=7)), name


def test_metadata_is_readable_without_the_tensors_and_without_torch(tmp_path):
    path = tmp_path / "a.safetensors"
    metadata = {"epoch": 3, "config": {"name": 'ünïcode " }'}, "classes": ["a", "b"], "acc": 0.1}
    save_checkpoint(path, tensors(1), metadata)
    code = (
        "import sys, frcore.checkpoint as c, frcore.run_dir, json;"
        "print(json.dumps(c.read_metadata(sys.argv[1])));"
        "c.load_checkpoint(sys.argv[1], framework='numpy');"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == metadata
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] + b"garbage!")
    assert read_metadata(path) == metadata  # the tensors were not looked at
    path.write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match="cut"):
        read_metadata(path)


def test_sidecar_is_what_sha256sum_writes(tmp_path):
    path = tmp_path / "best.safetensors"
    for step in (1, 2):  # also after a replacement
        digest = save_checkpoint(path, tensors(step), {})
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (tmp_path / "best.safetensors.sha256").read_text() == f"{digest}  {path.name}\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, path.name + ".sha256"]


def test_the_same_state_makes_the_same_file(tmp_path):
    first = save_checkpoint(tmp_path / "a.safetensors", tensors(1), {"epoch": 1})
    again = dict(reversed(tensors(1).items()))
    assert save_checkpoint(tmp_path / "b.safetensors", again, {"epoch": 1}) == first


def test_parts_lose_their_prefix_and_the_repr_is_one_line(tmp_path):
    save_step(tmp_path, 4)
    found = load_latest(tmp_path, framework="numpy")
    assert list(found.part("optim")) == ["momentum"]
    assert repr(found) == f"Checkpoint('{tmp_path / LAST}', 3 tensors, epoch 4)"


def test_the_one_before_is_kept_as_previous(tmp_path):
    assert load_latest(tmp_path) is None
    for step in range(1, 5):
        save_step(tmp_path, step)
        assert latest_step(tmp_path) == step
        if step > 1:
            assert read_metadata(tmp_path / PREVIOUS)["epoch"] == step - 1


# --- kills (FAULTS 2) ---------------------------------------------------------------------------


def run_and_die_before_line(count: int, action) -> bool:
    """Fork; the child dies, as by SIGKILL, before line `count` of our code. True if it got by."""
    ours = {frcore.checkpoint.__file__, frcore.files.__file__}
    only_compute = {"_to_bytes", "_header", "_header_size", "_listed", "_read"}
    pid = os.fork()
    if pid == 0:
        left = count

        def trace(frame, event, arg):
            nonlocal left
            if frame.f_code.co_filename not in ours or frame.f_code.co_name in only_compute:
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        code = 1
        os.fsync = lambda fd: None  # slow, and a kill (unlike a power cut) loses nothing unflushed
        try:
            sys.settrace(trace)
            action()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "the child raised"
    return os.WIFEXITED(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("start", ["nothing", "both", "last_damaged"])
def test_fault_02_killed_before_any_line_the_old_or_the_new_checkpoint_loads(tmp_path, start):
    steps = [] if start == "nothing" else [1, 2]
    for step in steps:
        save_step(tmp_path, step)
    if start == "last_damaged":
        (tmp_path / LAST).write_bytes(b"damaged")
    before = latest_step(tmp_path)
    # The directory goes on from kill to kill, so half-done rotations pile up.
    for count in range(1, 300):
        survived = run_and_die_before_line(count, partial(save_step, tmp_path, 100 + count))
        now = latest_step(tmp_path)
        assert now in (before, 100 + count), f"killed before line {count}"
        before = now
        if survived:
            break
    assert survived and before == 100 + count and count > 60
    save_step(tmp_path, 5000)
    assert latest_step(tmp_path) == 5000
    (tmp_path / LAST).unlink()
    assert latest_step(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fault_02_best_is_intact_whenever_its_replacement_is_killed(tmp_path):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, tensors(0), {"epoch": 0})
    for count in range(1, 300):
        survived = run_and_die_before_line(
            count, partial(save_checkpoint, path, tensors(count), {"epoch": count})
        )
        step = load_checkpoint(path, framework="numpy").metadata["epoch"]
        assert 0 <= step <= count
        if survived:
            break
    assert step == count > 40


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_fault_02_sigkill_at_random_times_in_mid_write_leaves_a_checkpoint(tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from frcore.checkpoint import rotate_and_save\n"
        "for i in range(10**6):\n"
        "    rotate_and_save(sys.argv[1], {'w': np.full(10**6, i, np.float32)}, {'i': i})\n"
        "    print(i, flush=True)\n"
    )
    rng, stray = random.Random(0), 0
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=-1)
        child.stdout.readline()
        time.sleep(rng.uniform(0, 0.08))
        child.kill()
        said = [int(line) for line in child.communicate()[0].split()] or [0]
        found = load_latest(tmp_path, framework="numpy")
        assert (found.tensors["w"] == found.metadata["i"]).all()
        assert found.metadata["i"] >= said[-1] - 1 or said == [0]
        stray += len(list(tmp_path.glob(".*.frtmp")))
    assert stray, "no kill hit a save: the test proves nothing"
    frcore.files.clean_temps(tmp_path)
    assert all(p.name.startswith(("last.", "previous.")) for p in tmp_path.iterdir())


# --- full disks (FAULTS 3) ----------------------------------------------------------------------


@pytest.mark.parametrize("call", range(8))
def test_fault_03_a_full_disk_stops_with_path_and_size_and_leaves_the_older_one(
    tmp_path, monkeypatch, call
):
    save_step(tmp_path, 1)
    save_step(tmp_path, 2)
    files, real, count = len(list(tmp_path.iterdir())), os.fsync, iter(range(100))

    def fsync(fd):
        if next(count) == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(WriteError) as error:
        save_step(tmp_path, 3)
    monkeypatch.undo()
    assert str(tmp_path) in str(error.value) and "bytes needed" in str(error.value)
    if call == 0:  # the data itself: 8 bytes a momentum, 4 a weight, ...
        assert LAST in str(error.value)
        assert f"{(tmp_path / LAST).stat().st_size:,} bytes needed" in str(error.value)
    assert latest_step(tmp_path) in ((2,) if call < 7 else (2, 3))
    assert len(list(tmp_path.iterdir())) <= files  # no half-written file stays on the full disk
    save_step(tmp_path, 4)
    assert latest_step(tmp_path) == 4


def test_a_directory_that_is_missing_is_named(tmp_path):
    with pytest.raises(WriteError, match="nowhere"):
        save_checkpoint(tmp_path / "nowhere" / "a.safetensors", tensors(1), {})


# --- damage (FAULTS 5) --------------------------------------------------------------------------


def test_fault_05_cut_at_every_fiftieth_falls_back_to_previous_naming_both(tmp_path, caplog):
    save_step(tmp_path, 1)
    save_step(tmp_path, 2)
    whole = (tmp_path / LAST).read_bytes()
    for part in range(50):
        (tmp_path / LAST).write_bytes(whole[: len(whole) * part // 50])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert latest_step(tmp_path) == 1
        assert LAST in caplog.text and PREVIOUS in caplog.text


def test_fault_05_200_random_bit_flips_are_all_detected_and_fall_back(tmp_path, caplog):
    save_step(tmp_path, 1)
    digest = save_step(tmp_path, 2)
    path, rng = tmp_path / LAST, random.Random(0)
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole)
        position = rng.randrange(8 * len(whole))
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError) as error:
            load_checkpoint(path, framework="numpy")
        actual = hashlib.sha256(damaged).hexdigest()
        shown = (str(path), f"sha256 {digest[:12]}...", f"it has {actual[:12]}...")
        assert all(text in str(error.value) for text in shown)
        assert digest not in str(error.value)
        caplog.clear()
        assert latest_step(tmp_path) == 1
        assert LAST in caplog.text and PREVIOUS in caplog.text


@pytest.mark.parametrize("content", [b"", b"garbage\n", b"0" * 64 + b"  last.safetensors\n"])
def test_fault_05_a_damaged_sidecar_counts_as_damage(tmp_path, content):
    save_step(tmp_path, 1)
    (tmp_path / (LAST + ".sha256")).write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_latest(tmp_path)


def test_fault_05_both_damaged_is_an_error_that_names_both(tmp_path):
    save_step(tmp_path, 1)
    save_step(tmp_path, 2)
    for name in (LAST, PREVIOUS):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError) as error:
        load_latest(tmp_path)
    last, previous, remedy = str(error.value).splitlines()
    assert f"{LAST} is damaged" in last and f"{PREVIOUS} is damaged" in previous
    assert remedy.startswith("No intact checkpoint is left in") and "delete the dir" in remedy
    assert max(map(len, (last, previous))) < 120 + len(str(tmp_path))


def test_fault_05_a_damaged_last_never_replaces_an_intact_previous(tmp_path, caplog):
    save_step(tmp_path, 1)
    save_step(tmp_path, 2)
    (tmp_path / LAST).write_bytes(b"damaged")
    save_step(tmp_path, 3)
    assert read_metadata(tmp_path / PREVIOUS)["epoch"] == 1
    assert latest_step(tmp_path) == 3


def test_without_its_sidecar_a_file_loads_with_a_warning_but_is_still_checked(tmp_path, caplog):
    save_step(tmp_path, 1)
    moved = tmp_path / "moved.safetensors"
    whole = (tmp_path / LAST).read_bytes()
    moved.write_bytes(whole)
    with caplog.at_level(logging.WARNING):
        assert load_checkpoint(moved, framework="numpy").metadata == {"epoch": 1}
    assert "moved.safetensors" in caplog.text and "not verified" in caplog.text
    for part in range(50):
        moved.write_bytes(whole[: len(whole) * part // 50])
        with pytest.raises(CheckpointError, match="moved"):
            load_checkpoint(moved, framework="numpy")
    moved.write_bytes(whole)
    save_checkpoint(moved, tensors(2), {"epoch": 2})  # replacing it is as safe as any
    assert load_checkpoint(moved, framework="numpy").metadata == {"epoch": 2}


def header_file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


HUGE = 2**60
HOSTILE = {
    "header length": header_file({}, length=HUGE),
    "header length above the format's": header_file({}, length=150_000_000),
    "tensor size": header_file(
        {"a": {"dtype": "F32", "shape": [HUGE // 4], "data_offsets": [0, HUGE]}}, b"1234"
    ),
    "shape only": header_file(
        {"__metadata__": {"frcore": "{}"}}
        | {"a": {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4]}},
        b"1234",
    ),
    "not JSON": header_file(b"\x80\x04cos\nsystem\n"),
    "a list": header_file([1, 2]),
    "deep nesting": header_file(b"[" * 100_000),
    "no offsets": header_file({"a": {"dtype": "F32"}}, b"1234"),
    "unknown dtype": header_file(
        {"__metadata__": {"frcore": "{}"}}
        | {"a": {"dtype": "O", "shape": [1], "data_offsets": [0, 4]}},
        b"1234",
    ),
    "no metadata": header_file(
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"1234"
    ),
    "metadata no JSON": header_file({"__metadata__": {"frcore": "{"}}),
    "empty": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_a_hostile_file_is_refused_by_name_and_allocates_nothing(tmp_path, what, framework):
    path = tmp_path / "evil.safetensors"
    path.write_bytes(HOSTILE[what])
    with pytest.raises(CheckpointError, match="evil"):
        load_checkpoint(path, framework=framework)
    if what not in ("tensor size", "shape only", "unknown dtype"):
        with pytest.raises(CheckpointError, match="evil"):
            read_metadata(path)


# --- another model's checkpoint (FAULTS 6) ------------------------------------------------------


def test_fault_06_keys_that_do_not_fit_are_listed_with_both_shapes():
    found = {"a": np.zeros((10, 4)), "b": np.zeros(3), "old": np.zeros(1)}
    expected = {"a": np.zeros((12, 4)), "b": np.zeros(3), "new": np.zeros(2)}
    with pytest.raises(CheckpointError) as error:
        match_tensors(found, expected, source="x.safetensors")
    for text in ("x.safetensors", "a: (10, 4) in the file, (12, 4) in the model", "old", "new"):
        assert text in str(error.value)


def test_fault_06_a_partial_load_happens_on_request_only_and_lists_what_is_skipped(caplog):
    found = {"a": np.zeros((10, 4)), "b": np.zeros(3), "old": np.zeros(1)}
    expected = {"a": np.zeros((12, 4)), "b": np.zeros(3)}
    with caplog.at_level(logging.WARNING):
        kept = match_tensors(found, expected, source="x.safetensors", partial=True)
    assert list(kept) == ["b"]
    assert "a: (10, 4)" in caplog.text and "old" in caplog.text
    assert list(match_tensors(expected, expected, source="x")) == ["a", "b"]
