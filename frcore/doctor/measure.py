"""Which threads and precision are fastest, by training a few steps with each on made-up clips."""

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm.auto import tqdm

from frcore.config import RunConfig, load_recipe
from frcore.data.arrays import from_arrays
from frcore.data.benchmarks import Benchmark
from frcore.data.catalog import get_benchmark
from frcore.display import SILENT
from frcore.doctor.findings import Finding
from frcore.doctor.machine import Machine
from frcore.train import fit

SECONDS = 60.0  # that all of it may take, by and large
CLIPS = 16  # at most in a batch on a CPU
_TRIAL = 4  # at least
_EPOCHS = 3  # the first one warms up
_GPU_STEPS = 20  # an epoch: one alone is over before a clock can tell
_NOISE = 1.15  # a gain below this factor is none

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Measured:
    """How fast training is with some settings."""

    threads: int
    precision: Precision
    samples_per_s: float | None = None  # None: there was no time left to measure it


def measure(config: RunConfig, machine: Machine) -> list[Measured]:
    """Trains a few steps of a recipe's model with 1, 2, 4, ... threads, and in both precisions.

    The first of what comes back is what training would use as it is.

    Raises:
        KeyboardInterrupt: it was stopped.
    """
    counts, on_cpu = thread_counts(machine), machine.device.type == "cpu"
    with tempfile.TemporaryDirectory(prefix="frcore-doctor-") as folder:

        def rate(threads: int, precision: Precision, batch: int) -> float:
            own = Path(tempfile.mkdtemp(dir=folder))
            store = made_up_store(get_benchmark(config.benchmark), batch, own)
            small = small_run(config, store, batch, steps=1 if on_cpu else _GPU_STEPS)
            chosen = {"train.threads": threads, "train.precision": precision}
            return _rate(load_recipe(small, chosen), own / "run")

        batch = config.train.batch_size
        if on_cpu:
            trial = rate(machine.threads, machine.precision, min(batch, _TRIAL))
            batch = min(batch, batch_in_time(trial, settings=len(counts) + 1))
        measured = functools.partial(rate, batch=batch)
        return compare(measured, counts, machine.precision)


def batch_in_time(rate: float, *, settings: int) -> int:
    """Clips of a batch with which all settings take about `SECONDS`, half of them twice as long."""
    clips = SECONDS * rate / (1.5 * settings)
    return max(_TRIAL, min(CLIPS, int(clips / _EPOCHS)))


def thread_counts(machine: Machine) -> list[int]:
    """What would be used, then 1, 2, 4, ... and all cores; a card is driven by what is used."""
    if machine.device.type != "cpu":
        return [machine.threads]
    counts = [1 << power for power in range(machine.cores.bit_length())]
    counts = [count for count in counts if count <= machine.cores]
    return list(dict.fromkeys([machine.threads, *counts, machine.cores]))


def compare(
    rate: Callable[[int, Precision], float],
    counts: Sequence[int],
    precision: Precision,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> list[Measured]:
    """Measures each number of threads, then the other precision with the best of them.

    Args:
        rate: samples a second, of threads and precision.
        counts: numbers of threads, at least one; the first is measured in any case.
        precision: of all of them.
        clock: seconds; what would end after `SECONDS` of it is left out.
    """
    begin, longest, found = clock(), 0.0, []

    def next_one(threads: int, chosen: Precision) -> None:
        nonlocal longest
        start = clock()
        enough = start - begin + longest <= SECONDS
        found.append(Measured(threads, chosen, rate(threads, chosen) if enough else None))
        longest = max(longest, clock() - start)
        bar.update()

    with tqdm(total=len(counts) + 1, desc="measuring", unit="setting", leave=False) as bar:
        for threads in counts:
            next_one(threads, precision)
        next_one(fastest(found).threads, "fp32" if precision == "bf16" else "bf16")
    return found


def fastest(measured: Sequence[Measured]) -> Measured:
    """The one with the most samples a second."""
    return max(measured, key=lambda one: one.samples_per_s or 0.0)


def made_up_store(benchmark: Benchmark, count: int, folder: Path) -> Path:
    """A store of noise in the shape of a benchmark's clips, all for training."""
    rng = np.random.default_rng(0)
    shape = (benchmark.num_frames, benchmark.skeleton.num_joints, benchmark.channels)
    size = (count, *shape, benchmark.num_persons)
    store = from_arrays(
        "made_up",
        list(rng.normal(size=size).astype(np.float32)),
        np.arange(count) % benchmark.num_classes,
        split=["train"] * count,
        skeleton=benchmark.skeleton,
        class_names=benchmark.class_names,
        num_frames=benchmark.num_frames,
        root=folder,
    )
    return store.path


def small_run(config: RunConfig, store: Path, batch: int, *, steps: int) -> RunConfig:
    """The recipe with its model and its steps, on other clips and for a few epochs."""
    changes = {
        "benchmark": str(store),
        "data.protocol": None,
        "data.val_subjects": (),
        "data.repeats": steps,
        "optim.warmup_epochs": 0,
        "train.epochs": _EPOCHS,
        "train.batch_size": batch,
        "train.compile": "off",  # it takes minutes to begin
        "train.select": "last",
    }
    return load_recipe(config, changes)


def _rate(config: RunConfig, out: Path) -> float:
    token = SILENT.set(True)  # the bar of `compare` is enough
    try:
        run = fit(config, out=out)
    finally:
        SILENT.reset(token)
    if run.state != "finished":  # Ctrl-C, which training takes as a wish to go on later
        raise KeyboardInterrupt
    return float(run.metrics["samples_per_s"].iloc[1:].max())


def measured_findings(measured: Sequence[Measured]) -> list[Finding]:
    """Samples a second of each setting, and how many times those of the first."""
    found = []
    for one in measured:
        name = f"{one.threads} thread{'s' * (one.threads != 1)}, {one.precision}"
        shown, why = "no time was left", ""
        if one.samples_per_s is not None:
            shown = f"{one.samples_per_s:.1f} clips/s"
            why = f"{one.samples_per_s / measured[0].samples_per_s:.2f} times"
        value = {"threads": one.threads, "precision": one.precision, "rate": one.samples_per_s}
        found.append(Finding(name, value, shown, why if found else "as it would be used"))
    return found


def measured_advice(measured: Sequence[Measured]) -> list[str]:
    """What to set, where that is faster than what would be used by more than noise."""
    now, best = measured[0], fastest(measured)
    gain = best.samples_per_s / now.samples_per_s
    if gain < _NOISE:
        return []
    changes = [f"--set train.threads={best.threads}"] if best.threads != now.threads else []
    if best.precision != now.precision:
        changes.append(f"--set train.precision={best.precision}")
    return [f"{' '.join(changes)}: measured {gain:.1f} times as fast as what would be used."]
