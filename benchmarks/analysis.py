"""Times frviz at the sizes of NTU RGB+D 60 and 120 X-Sub; prints them, writes results/bench_*.json.

python benchmarks/analysis.py                   # everything, minutes
python benchmarks/analysis.py --quick           # the smaller size, no report, no UMAP, no t-SNE
python benchmarks/analysis.py --out results/bench_analysis.json

Predictions are made up: errors have the structure of real ones (each class is confused with a few
neighbours), features are noisy class means. Nothing is taken from a cache.
"""

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from records import machine, write

import frviz
from frcore.predictions import Predictions

SIZES = {"ntu60": (16_487, 60), "ntu120": (50_919, 120)}  # test clips of X-Sub, classes
TARGETS = {"compare": 5, "umap": 90, "tsne": 300}  # seconds at ntu120 on 2 cores
WIDTH = 256

log = logging.getLogger(__name__)


def predictions(clips: int, classes: int, seed: int) -> Predictions:
    """A model that is right on some 85 % of the clips and confuses neighbouring classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(clips) % classes
    centres = np.random.default_rng(1).normal(size=(classes, WIDTH)).astype(np.float32)
    features = centres[labels] + 2 * rng.normal(size=(clips, WIDTH)).astype(np.float32)
    logits = rng.normal(size=(clips, classes)).astype(np.float32)
    taken = np.where(
        rng.random(clips) < 0.85, labels, (labels + rng.integers(1, 5, clips)) % classes
    )
    logits[np.arange(clips), taken] += 6
    return Predictions(
        tuple(f"S{n:06}" for n in range(clips)),
        labels,
        class_names=tuple(f"action {k}" for k in range(classes)),
        logits=logits,
        features={"backbone": features},
    )


def timed(what: str, work: Callable[[], Any], times: dict[str, float], size: str = "") -> Any:
    """The result of some work; its seconds are logged and kept."""
    start = time.perf_counter()
    result = work()
    times[what] = round(time.perf_counter() - start, 2)
    target = TARGETS.get(what) if size == "ntu120" else None
    log.info("  %-12s %8.2f s%s", what, times[what], f"   (target {target} s)" if target else "")
    return result


def all_tables(a: Predictions, b: Predictions) -> frviz.Comparison:
    """`frviz.compare` with everything it knows, intervals included."""
    comparison = frviz.compare(a, b)
    for table in ("summary", "per_class", "groups", "levels", "cells", "agreement", "fixed"):
        getattr(comparison, table)
    return comparison


def measure(name: str, *, quick: bool) -> dict[str, Any]:
    """Seconds of the steps at one size."""
    clips, classes = SIZES[name]
    log.info("%s: %s clips x %s classes", name, f"{clips:,}", classes)
    a, b = (predictions(clips, classes, seed) for seed in (0, 1))
    times: dict[str, float] = {}
    comparison = timed("compare", lambda: all_tables(a, b), times, name)
    timed("clusters", lambda: frviz.class_clusters(a), times)
    timed("figures", comparison.figures, times)
    timed("pca", lambda: frviz.embed(a, method="pca"), times)
    found = {"clips": clips, "classes": classes, "seconds": times}
    if quick:
        return found
    with tempfile.TemporaryDirectory() as folder:
        report = timed("report", lambda: comparison.report(Path(folder) / "report.html"), times)
        size = report.stat().st_size
    timed("overlap", lambda: frviz.neighbourhood_overlap(a, b), times)
    table = timed("umap", lambda: frviz.embed(a, method="umap"), times, name)
    timed("quality", lambda: frviz.map_quality(a, table), times)
    timed("tsne", lambda: frviz.embed(a, method="tsne"), times, name)
    return found | {"report_bytes": size}


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sizes = ["ntu60"] if asked.quick else list(SIZES)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["FRVIZ_CACHE"] = cache
        compiling: dict[str, float] = {}
        if not asked.quick:
            few = predictions(500, 10, 0)
            log.info("Once a process:")
            timed("compile UMAP", lambda: frviz.embed(few, method="umap"), compiling)
        found = {name: measure(name, quick=asked.quick) for name in sizes}
    if asked.out:
        once = {"seconds_once_a_process": compiling}
        what = {"what": "frviz at full scale", "machine": machine()}
        write(asked.out, {**what, **once, "sizes": found})


if __name__ == "__main__":
    main()
