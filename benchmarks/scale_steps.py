"""One step of scale.py, in a process of its own: what it takes in time and memory.

    python benchmarks/scale_steps.py STEP FOLDER CLIPS

FOLDER holds the store "ntu120" (after the step "write"). The last line printed is JSON: seconds by
the clock, seconds of CPU, megabytes resident before ("base_mb": Python and what it had to import)
and at most ("peak_mb"), and what else the step has to say.
"""

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

CLASSES, WIDTH, TEST_SHARE = 120, 256, 50_919 / 113_945
NTU_TURN = (math.degrees(0.3),) * 3  # degrees about each axis, at most
TRAINING_SECONDS = 20
SMALL = {  # as small as a model can be: what is measured is what surrounds it
    "name": "scale",
    "benchmark": "ntu120",
    "data": {"persons": 1, "stream": "bone", "transform": {"frames": 16, "rotation": NTU_TURN}},
    "model": {"backbone": "stgcn_tiny", "overrides": {"width": 4}},
    "optim": {"warmup_epochs": 0},
    "train": {"epochs": 1, "threads": 1},
}

Found = dict[str, Any]


def resident(what: str = "VmRSS") -> float:
    """Megabytes of this process: now ("VmRSS") or at most ("VmHWM"); NaN where /proc is not.

    (`getrusage` would begin with what the parent process had.)
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(s.split()[1]) / 1024 for s in lines if s.startswith(what)), math.nan)


def before() -> Found:
    """What is resident as a step begins; from here on the highest value counts anew."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return {"base_mb": resident()}


@contextmanager
def measured(found: Found, what: str = "") -> Iterator[None]:
    """Adds the seconds of a block, by the clock and of CPU, to what was found."""
    clock, cpu = time.perf_counter(), time.process_time()
    yield
    found[f"{what}seconds"] = time.perf_counter() - clock
    found[f"{what}cpu_seconds"] = time.process_time() - cpu


def write(folder: Path, clips: int) -> Found:
    """The simulated clips through `write_store`."""
    from scale_store import SimulatedSet

    from frcore.data.benchmarks import NTU120
    from frcore.data.store import write_store

    simulated = SimulatedSet(clips)
    found = before() | {"making_seconds": 0.0}
    with measured(found):
        store = write_store(folder / "ntu120", NTU120, _timed(simulated, found), preset="simulated")
    found["clips_per_s"] = clips / (found["seconds"] - found["making_seconds"])
    found["bytes"] = sum(path.stat().st_size for path in store.path.iterdir())
    return found


def _timed(clips: Iterable[Any], found: Found) -> Iterator[Any]:
    """The clips; the seconds that it takes to make them are kept apart."""
    begin = time.perf_counter()
    for clip in clips:
        found["making_seconds"] += time.perf_counter() - begin
        yield clip
        begin = time.perf_counter()


def open_it(folder: Path, clips: int) -> Found:
    """Opening the store, and what is asked of its table."""
    from frcore.data.catalog import open_store

    found = before()
    with measured(found):
        store = open_store(folder / "ntu120")
    found |= {"resident_mb": resident(), "peak_mb": resident("VmHWM")}
    with measured(found, "queries_"):
        for protocol in store.benchmark.protocols:
            found[protocol] = [
                len(store.split(side, protocol=protocol)) for side in ("train", "test")
            ]
            store.split("train", protocol=protocol, duplicates="drop")
            store.copies(protocol=protocol)
    return found


def check(folder: Path, clips: int) -> Found:
    """`frcore data check`; the copies that were planted must be found."""
    from scale_store import SimulatedSet

    from frcore.data.catalog import open_store
    from frcore.data.check import check_store

    planted = SimulatedSet(clips).copies
    store = open_store(folder / "ntu120")
    found = before()
    with measured(found):
        report = check_store(store)
    if dict(report.copies) != planted:
        raise SystemExit(f"Planted copies {planted}, found {report.copies}.")
    return found | {"clips_per_s": clips / found["seconds"], "copies": len(report.copies)}


def batches(folder: Path, clips: int, *, residence: str) -> Found:
    """An epoch of X-Sub training batches on one thread: crop-resize, rotation, bones."""
    import torch

    from frcore.config import load_recipe
    from frcore.data.catalog import open_store
    from frcore.data.random import batch_ends, epoch_order
    from frcore.splits import load_split

    torch.set_num_threads(1)
    changes = {"residence": residence, "duplicates": "keep", "transform.limb_scale": (1.0, 1.0)}
    config = load_recipe("ntu120_xsub_bone", {f"data.{key}": v for key, v in changes.items()})
    store = open_store(folder / "ntu120")
    found = before()
    with measured(found, "loading_"):
        pipeline = load_split(store, "train", config.data, torch.device("cpu"), training=True)
    order, _ = epoch_order(pipeline.clips.keys, seed=0, epoch=0)
    ends = batch_ends(len(order), config.train.batch_size)
    batches = [(index, 0) for index in order.tensor_split(ends[:-1])]
    with measured(found):
        for batch in pipeline.batches(batches):
            last = batch
    found |= {"samples": len(order), "batch": list(last.shape)}
    return found | {f"samples_per_{kind}s": len(order) / found[f"{kind}seconds"]
                    for kind in ("", "cpu_")}  # fmt: skip


def train(folder: Path, clips: int) -> Found:
    """Some seconds of training, as a Ctrl-C would end it, and predictions of the test clips."""
    from frcore.checkpoint import read_metadata
    from frcore.display import SILENT
    from frcore.inference import predict
    from frcore.train import fit

    os.environ["FRCORE_DATA"] = str(folder)
    SILENT.set(True)
    found = before()
    with measured(found):
        run = fit(SMALL, out=folder / "run", callbacks=[_Interrupt(TRAINING_SECONDS)])
    with measured(found, "predict_"):
        predictions = predict(run)
    position = {what: read_metadata(run.checkpoint())[what] for what in ("epoch", "step")}
    return found | position | {"predicted": len(predictions)}


class _Interrupt:
    """Stops training after so many seconds, as Ctrl-C does."""

    def __init__(self, seconds: float) -> None:
        self.timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))

    def on_start(self, run: Any) -> None:
        self.timer.start()

    def on_end(self, run: Any) -> None:
        self.timer.cancel()


def predictions(folder: Path, clips: int) -> Found:
    """Predictions of as many test clips as X-Sub has of so many: saved, loaded, compared."""
    from analysis import all_tables
    from analysis import predictions as made_up

    from frcore.predictions import Predictions

    test_clips = max(CLASSES, round(TEST_SHARE * clips))
    pair = [made_up(test_clips, CLASSES, seed) for seed in (0, 1)]
    paths = [folder / f"{seed}.npz" for seed in (0, 1)]
    found = before() | {"test_clips": test_clips}
    with measured(found):
        with measured(found, "save_"):
            for one, path in zip(pair, paths, strict=True):
                one.save(path)
        with measured(found, "load_"):
            pair = [Predictions.load(path) for path in paths]
        with measured(found, "compare_"):
            all_tables(*pair)
    return found | {"bytes": paths[0].stat().st_size}


STEPS: dict[str, Callable[[Path, int], Found]] = {
    "write": write,
    "open": open_it,
    "check": check,
    "batches": partial(batches, residence="device"),
    "streamed": partial(batches, residence="stream"),
    "predictions": predictions,
    "train": train,
}

if __name__ == "__main__":
    step, where, count = sys.argv[1:]
    result = STEPS[step](Path(where), int(count))
    result.setdefault("peak_mb", resident("VmHWM"))
    print(json.dumps(result))
