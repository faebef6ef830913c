"""Measuring threads and precision: what is tried, in how much time, and what is concluded."""

import dataclasses

import pytest
import torch

from frcore.config import TrainConfig, load_recipe
from frcore.data.catalog import get_benchmark
from frcore.data.store import read_store
from frcore.doctor import measure as measuring
from frcore.doctor.machine import look_at_machine
from frcore.doctor.measure import (
    Measured,
    batch_in_time,
    compare,
    made_up_store,
    measure,
    measured_advice,
    measured_findings,
    thread_counts,
)
from frcore.run import Run


@pytest.fixture
def here():
    return look_at_machine(TrainConfig(device="cpu", threads=1, precision="fp32"))


@pytest.mark.parametrize(
    ("threads", "cores", "counts"),
    [(2, 2, [2, 1]), (6, 6, [6, 1, 2, 4]), (1, 5, [1, 2, 4, 5]), (8, 1, [8, 1])],
)
def test_what_is_used_comes_first_then_powers_of_two_and_all_cores(here, threads, cores, counts):
    assert thread_counts(dataclasses.replace(here, threads=threads, cores=cores)) == counts
    card = dataclasses.replace(here, device=torch.device("cuda"), threads=threads, cores=cores)
    assert thread_counts(card) == [threads]


def test_the_other_precision_is_tried_with_the_best_threads():
    rates = {(2, "fp32"): 5.0, (1, "fp32"): 8.0, (4, "fp32"): 7.0, (1, "bf16"): 6.0}
    found = compare(lambda *setting: rates[setting], [2, 1, 4], "fp32")
    assert [(m.threads, m.precision, m.samples_per_s) for m in found] == [
        (threads, precision, rate) for (threads, precision), rate in rates.items()
    ]
    flipped = compare(lambda threads, precision: 1.0, [1], "bf16")
    assert [m.precision for m in flipped] == ["bf16", "fp32"]


def test_what_would_not_end_in_time_is_left_out():
    now = [0.0]

    def rate(threads, precision):
        now[0] += 25.0
        return 1.0

    found = compare(rate, [1, 2, 4, 8], "fp32", clock=lambda: now[0])
    assert [m.samples_per_s for m in found] == [1.0, 1.0, None, None, None]
    assert now[0] <= measuring.SECONDS
    assert measured_findings(found)[-1].shown == "no time was left"


def test_the_batch_is_such_that_all_ends_in_time():
    for rate in (0.5, 1.3, 20.0, 1e6):
        for settings in (3, 6):
            batch = batch_in_time(rate, settings=settings)
            assert 4 <= batch <= 16
            seconds = 1.5 * settings * 3 * batch / rate
            assert seconds <= measuring.SECONDS or batch == 4


def test_made_up_clips_have_the_shape_of_the_benchmark(tmp_path):
    for name in ("ntu120", "nw_ucla"):
        benchmark = get_benchmark(name)
        made = read_store(made_up_store(benchmark, 3, tmp_path / name))
        assert made.benchmark.class_names == benchmark.class_names
        assert made.benchmark.num_frames == benchmark.num_frames
        clip = made.clip_at(0)
        joints = benchmark.skeleton.num_joints
        assert clip.shape == (benchmark.num_frames, benchmark.num_persons, joints, 3)
        assert len(made.split("train")) == 3


def test_a_gain_beyond_noise_is_advised():
    now = Measured(2, "fp32", 10.0)
    assert measured_advice([now, Measured(1, "fp32", 11.0)]) == []
    best = [now, Measured(1, "fp32", 15.0), Measured(4, "fp32", None)]
    assert measured_advice(best)[0].startswith("--set train.threads=1: measured 1.5 times")
    both = [*best, Measured(1, "bf16", 30.0)]
    assert measured_advice(both)[0].startswith(
        "--set train.threads=1 --set train.precision=bf16: measured 3.0 times"
    )
    rows = measured_findings(both)
    assert [row.why for row in rows] == ["as it would be used", "1.50 times", "", "3.00 times"]
    assert rows[0].name == "2 threads, fp32" and rows[1].name == "1 thread, fp32"


def test_training_is_what_is_measured_and_nothing_is_left(
    tiny_store, tiny_config, here, tmp_path, monkeypatch
):
    """The recipe's own model, through `fit`, with the threads and precision that are named."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(measuring, "thread_counts", lambda machine: [1])
    real, seen = measuring.fit, []

    def fit(config, out):
        run = real(config, out=out)
        threads, made = run.environment["threads"], read_store(config.benchmark)
        seen.append((threads, config.train.precision, config.train.batch_size, len(made)))
        assert config.train.compile == "off"  # that alone would take minutes
        assert config.model == load_recipe(tiny_config).model and config.head.warm_start
        assert made.benchmark.skeleton == tiny_store.benchmark.skeleton
        return run

    monkeypatch.setattr(measuring, "fit", fit)
    found = measure(load_recipe(tiny_config, {"train.compile": "default"}), here)
    assert seen == [(1, "fp32", 4, 4), (1, "fp32", 16, 16), (1, "bf16", 16, 16)]
    assert [(m.threads, m.precision) for m in found] == [(1, "fp32"), (1, "bf16")]
    assert all(m.samples_per_s > 0 for m in found)
    assert list(tmp_path.glob("frcore-*")) == []


def test_the_warming_epoch_does_not_count(monkeypatch, tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,samples_per_s\n1,99.0\n2,4.0\n3,5.0\n")
    (tmp_path / "state.json").write_text('{"state": "finished"}')
    monkeypatch.setattr(measuring, "fit", lambda config, out: Run(tmp_path))
    assert measuring._rate(None, tmp_path) == 5.0
    (tmp_path / "state.json").unlink()
    with pytest.raises(KeyboardInterrupt):  # training was told to stop
        measuring._rate(None, tmp_path)
