"""Times a training step against one of the published structure, in one run on one device.

    python benchmarks/training.py                            # NW-UCLA's sizes, 16 clips a step
    python benchmarks/training.py --sizes ntu --device cuda  # 64 clips of 2 persons, 64 frames
    python benchmarks/training.py --compile default          # also compiled; minutes to begin with
    python benchmarks/training.py --quick                    # half as many clips
    python benchmarks/training.py --out results/bench_training.json

The slow path is `published_model`: the same weights give the same logits, loss, prototypes and
updated weights, which is checked first. Ours is the trainer's own step, with its guard against
values that are not finite and its records. Both take turns, and a ratio is the median over rounds:
times alone say little on a machine that others use as well.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from records import machine, write
from training_steps import SIZES, Ours, Published, check_equal, cost_of, pair

from frcore.device import autocast

TARGETS = {"fp32": 1.5, "bf16": 2.5}  # times the published step with FR Head, on a CPU
HEAD_SHARE = 0.05  # of a step, at most

log = logging.getLogger(__name__)


def inference(ours: Ours, published: Published, clips: torch.Tensor) -> dict[str, Callable]:
    """A forward pass of each without gradient, in evaluation mode."""

    def quiet(model: torch.nn.Module, dtype: torch.dtype) -> Callable[[], None]:
        def forward() -> None:
            model.eval()
            with torch.inference_mode(), autocast(clips.device, dtype):
                model(clips)
            model.train()

        return forward

    return {
        "published": quiet(published.model, torch.float32),
        "fp32": quiet(ours.model, torch.float32),
        "bf16": quiet(ours.model, torch.bfloat16),
    }


def timed(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Seconds a call."""
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / repeats


def race(
    works: dict[str, Callable[[], Any]], device: torch.device, rounds: int, repeats: int
) -> dict[str, list[float]]:
    """Seconds a call of each by rounds, in which all take turns; a first call does not count."""
    for work in works.values():
        timed(work, device, min(repeats, 2))
    found = [{n: timed(w, device, repeats) for n, w in works.items()} for _ in range(rounds)]
    return {name: [times[name] for times in found] for name in works}


def ratio(times: dict[str, list[float]], slow: str, fast: str) -> float:
    """How many times as fast, the median over rounds."""
    return round(float(np.median(np.divide(times[slow], times[fast]))), 2)


def rates(times: dict[str, list[float]], batch: int) -> dict[str, float]:
    """Samples a second, the best round of each: what disturbs makes it slower only."""
    return {name: round(batch / min(seconds), 1) for name, seconds in times.items()}


def main() -> None:
    """Checks, measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", choices=SIZES, default="nw_ucla")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of the CPU; default: torch's choice")
    parser.add_argument(
        "--compile", help="also time a step compiled in this mode, as train.compile"
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--conditions", default="alone on the machine", help="kept with the times")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("frcore").setLevel(logging.WARNING)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    device, sizes = torch.device(asked.device), SIZES[asked.sizes]
    if device.type == "cuda" and not torch.cuda.is_available():
        log.info("No CUDA card here: nothing is measured on one.")
        return
    rounds, repeats = (3, 1) if asked.quick else (9, 4 if device.type == "cpu" else 50)
    if asked.quick:
        sizes = sizes._replace(batch=sizes.batch // 2)
    with tempfile.TemporaryDirectory() as folder:
        made = {
            (head, precision): pair(sizes, device, Path(folder), head=head, precision=precision)
            for head, precision in ((True, "fp32"), (False, "fp32"), (True, "bf16"))
        }
        for head in (True, False):
            check_equal(*made[head, "fp32"])
        (ours, published), (bare, published_bare) = made[True, "fp32"], made[False, "fp32"]
        clips = ours.clips
        works = {
            "published": lambda: published.step(clips, ours.labels),
            "fp32": lambda: ours.step(clips),
            "bf16": lambda: made[True, "bf16"][0].step(clips),
            "published, no head": lambda: published_bare.step(clips, ours.labels),
            "fp32, no head": lambda: bare.step(clips),
        }
        if not asked.quick:
            settings = {key: bare.trainer.optimizer.defaults[key] for key in ("lr", "weight_decay")}
            last = Published(
                sizes, device, head=True, memory_format=torch.channels_last, **settings
            )
            works["published, channels last"] = lambda: last.step(clips, ours.labels)
        if asked.compile:
            options = {"head": True, "compile": asked.compile}
            for precision in ("fp32", "bf16"):
                run = Ours(sizes, device, Path(folder), precision=precision, **options)
                works[f"{precision}, compiled"] = lambda run=run: run.step(run.clips)
        costs = {name: cost_of(works[name]) for name in ("published", "fp32")}
        times = race(works, device, rounds, repeats)
        forward = race(inference(ours, published, clips), device, rounds, repeats)
    headless = ("published", "published, no head", "fp32, no head")
    ratios = {name: ratio(times, "published", name) for name in works if name not in headless}
    ratios["fp32, no head"] = ratio(times, "published, no head", "fp32, no head")
    shares = {
        name: round(1 - 1 / ratio(times, name, f"{name}, no head"), 3)
        for name in ("published", "fp32")
    }
    result = {
        "what": f"training step of CTR-GCN at the sizes of {asked.sizes}, {sizes.batch} clips",
        "machine": machine() | {"device": _name(device), "threads": torch.get_num_threads()},
        "conditions": f"{_threads(device)}, {asked.conditions}",
        "samples_per_s": rates(times, sizes.batch),
        "times_the_published_step": ratios,
        "share_of_the_head": shares,
        "inference": {
            "samples_per_s": rates(forward, sizes.batch),
            "times_the_published": {n: ratio(forward, "published", n) for n in ("fp32", "bf16")},
        },
        "cost_of_a_step": costs,
    }
    _show(result, device)
    if asked.out:
        write(asked.out, result)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _threads(device: torch.device) -> str:
    """How the host computes; bfloat16 does not pay on a CPU without matrix units."""
    count = torch.get_num_threads()
    units = "" if device.type == "cuda" or torch.cpu._is_amx_tile_supported() else ", no AMX"
    return f"{count} thread{'s' if count > 1 else ''}{units}"


def _show(result: dict[str, Any], device: torch.device) -> None:
    log.info("%s, on %s", result["what"], result["machine"]["device"])
    for name, value in result["samples_per_s"].items():
        log.info("  %-20s %9.1f samples/s", name, value)
    for name, value in result["times_the_published_step"].items():
        target = f" (target {TARGETS[name]})" if device.type == "cpu" and name in TARGETS else ""
        log.info("  %-20s %9.2f times the published step%s", name, value, target)
    for name, share in result["share_of_the_head"].items():
        log.info("  %-20s %8.1f %% of a step is the head (target 5)", name, 100 * share)
    for name, value in result["inference"]["times_the_published"].items():
        log.info("  %-20s %9.2f times the published inference", name, value)
    for name, cost in result["cost_of_a_step"].items():
        log.info(
            "  %-20s %9s operators, %s waits, %.0f MB kept for the backward pass",
            name, f"{cost['operators']:,}", cost["waits"], cost["saved_mb"],
        )  # fmt: skip


if __name__ == "__main__":
    main()
