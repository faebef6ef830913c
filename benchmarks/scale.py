"""Measures a simulated NTU RGB+D 120, from 1,000 clips to all 113,945: time and memory by size.

    python benchmarks/scale.py                      # all sizes: some minutes, 4 GB of disk
    python benchmarks/scale.py --quick              # 1,000 and 3,000 clips
    python benchmarks/scale.py --out results/bench_scale.json   # and a chart beside it

Each step runs in a process of its own (scale_steps.py). Stores are made in a temporary folder and
deleted; --keep DIR keeps them there. How time and memory grow is the slope of a straight line
through their logarithms: 1 is linear. Time is that of the CPU, memory what comes on top of Python
and its imports.
"""

import argparse
import json
import logging
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from plotly.subplots import make_subplots
from records import machine, write
from scale_steps import STEPS
from scale_store import CLIPS

from frcore.errors import UserError
from frviz.figures.style import COLOURS, finish

SIZES = (1_000, 10_000, 50_000, CLIPS)
QUICK = (2_000,)
NOT_QUICK = ("check", "predictions", "train")  # steps, a process each
BYTES_A_CLIP = 32_000  # of a store, with room to spare
TARGETS = {  # at all clips, as promised: step -> what, how much at most
    "open": {"seconds": 1, "resident_mb": 200},
    "check": {"seconds": 300},
    "predictions": {"seconds": 30},
}
FASTEST_GPU, CORES = 8_000, 16  # samples/s that such a GPU trains on, beside so many cores
PUBLISHED_FEEDER = 720  # samples/s a core
SHOWN = ("seconds", "cpu_seconds", "peak_mb", "base_mb", "resident_mb", "clips_per_s",
         "samples_per_s", "samples_per_cpu_s", "loading_seconds", "loading_cpu_seconds",
         "queries_seconds", "save_seconds", "load_seconds", "compare_seconds", "step",
         "predicted", "predict_seconds")  # fmt: skip
FLOOR_MB = 1.0  # what a step adds to Python's memory is not measured finer

log = logging.getLogger(__name__)
Found = dict[str, Any]


def run_step(step: str, folder: Path, clips: int) -> Found:
    """What a step found, from a process of its own."""
    script = Path(__file__).with_name("scale_steps.py")
    command = [sys.executable, script, step, folder, str(clips)]
    # What is freed goes back to the system at once: kept, it would hide what small sizes need.
    env = os.environ | {"TQDM_DISABLE": "1", "MALLOC_MMAP_THRESHOLD_": "1000000"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: _rounded(value) for name, value in found.items()}


def _rounded(value: Any) -> Any:
    """Three digits after the point are enough, and NaN is no JSON."""
    if not isinstance(value, float):
        return value
    return round(value, 3) if math.isfinite(value) else None


def measure(clips: int, folder: Path, *, without: Sequence[str] = ()) -> dict[str, Found]:
    """The steps at one size; the store stays in the folder."""
    needed = clips * BYTES_A_CLIP
    if (free := shutil.disk_usage(folder).free) < needed:
        raise UserError(
            f"{clips:,} clips need {needed:,} bytes in {folder}, {free:,} are free; choose another "
            "folder (--keep) or fewer clips (--sizes)."
        )
    found = {}
    log.info("%s clips", f"{clips:,}")
    for step in STEPS:
        if step in without:
            continue
        found[step] = run_step(step, folder, clips)
        shown = [f"{name} {found[step][name]:,.6g}" for name in SHOWN if found[step].get(name)]
        log.info("  %-12s %s", step, ", ".join(shown))
    return found


def costs(sizes: dict[int, dict[str, Found]]) -> dict[str, pd.DataFrame]:
    """What grows: "time" and "memory", a row a size and a column a step that all sizes have."""
    steps = [step for step in STEPS if all(step in found for found in sizes.values())]

    def table(cost: Callable[[Found], float]) -> pd.DataFrame:
        rows = [[cost(found[step]) for step in steps] for found in sizes.values()]
        return pd.DataFrame(rows, pd.Index(sizes, name="clips", dtype=float), steps)

    return {"time": table(lambda found: found["cpu_seconds"]), "memory": table(_added)}


def _added(found: Found) -> float:
    """Megabytes on top of Python's; NaN where they were not measured."""
    there = found["peak_mb"] is not None
    return max(found["peak_mb"] - found["base_mb"], FLOOR_MB) if there else math.nan


def growth(tables: dict[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    """Exponents by step, over all sizes and between the two largest; {} for a single size."""
    found: dict[str, dict[str, float]] = {}
    for what, table in tables.items():
        for step in table.dropna(axis=1) if len(table) > 1 else ():
            for name, part in ((what, table[step]), (f"{what}_at_the_end", table[step].iloc[-2:])):
                slope = np.polyfit(np.log(part.index), np.log(part), 1)[0]
                found.setdefault(step, {})[name] = round(float(slope), 2)
    for step, slopes in found.items():
        log.info("  %-12s %s", step, ", ".join(f"{what} {n:.2f}" for what, n in slopes.items()))
    return found


def against_targets(found: dict[str, Found]) -> list[str]:
    """A line for each figure that something was promised of."""
    lines = [
        f"{step}: {what} {found[step][what]:g}, target {most} at most"
        for step, promised in TARGETS.items()
        for what, most in promised.items()
        if found[step].get(what) is not None
    ]
    rate = found["batches"]["samples_per_cpu_s"]
    return [
        *lines,
        f"batches: {rate:,.0f} samples per second of one core, {rate / PUBLISHED_FEEDER:.0f} times "
        f"the published feeder's {PUBLISHED_FEEDER}; {CORES} cores would feed "
        f"{CORES * rate:,.0f}/s to a GPU that takes {FASTEST_GPU:,}",
    ]


def chart(path: Path, tables: dict[str, pd.DataFrame]) -> None:
    """Time and memory of each step against the number of clips, as PNG; needs a Chrome."""
    units = {"time": "seconds of CPU", "memory": "megabytes on top of Python's"}
    figure = make_subplots(cols=2, horizontal_spacing=0.15)
    for column, what in enumerate(units, start=1):
        for number, (step, costs) in enumerate(tables[what].items()):
            figure.add_scatter(
                x=costs.index.tolist(),
                y=costs.tolist(),
                name=step,
                line_color=COLOURS[number],
                showlegend=column == 1,
                col=column,
                row=1,
            )
        figure.update_yaxes(title_text=units[what], col=column)
    finish(figure, title="A simulated NTU RGB+D 120, by number of clips", height=420)
    figure.update_layout(width=900)
    figure.update_xaxes(type="log", dtick=1).update_yaxes(type="log", dtick=1)
    try:
        figure.write_image(path)
    except RuntimeError as error:  # no Chrome
        log.info("No chart: %s", str(error).splitlines()[0])


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of clips, at most 113945")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make the stores here, keep them")
    parser.add_argument("--conditions", default="", help="what else to say of the machine")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for chatty in ("kaleido", "choreographer"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    sizes = sorted(set(asked.sizes or (QUICK if asked.quick else SIZES)))
    found: dict[int, dict[str, Found]] = {}
    for clips in sizes:
        with ExitStack() as stack:
            if asked.keep is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            else:
                folder = asked.keep / str(clips)
                folder.mkdir(parents=True, exist_ok=True)
            last = () if clips == sizes[-1] else ("train",)
            found[clips] = measure(clips, folder, without=NOT_QUICK if asked.quick else last)
    log.info("Growth with the number of clips: exponents, 1 is linear")
    tables = costs(found)
    slopes = growth(tables)
    for line in against_targets(found[sizes[-1]]) if sizes[-1] == CLIPS else ():
        log.info("%s", line)
    if asked.out:
        head = {"what": "a simulated NTU RGB+D 120", "machine": machine()}
        head |= {"conditions": asked.conditions} if asked.conditions else {}
        write(asked.out, head | {"growth": slopes, "sizes": found})
        if len(sizes) > 1:
            chart(asked.out.with_suffix(".png"), tables)


if __name__ == "__main__":
    main()
