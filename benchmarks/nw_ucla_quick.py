"""Trains the quick NW-UCLA recipes, with and without FR Head; writes results/nw_ucla_quick.json.

    python benchmarks/nw_ucla_quick.py                          # one seed: two runs; resumes
    python benchmarks/nw_ucla_quick.py --seeds 0 1 2            # differences between seeds
    python benchmarks/nw_ucla_quick.py --duplicates drop keep   # as published, too: copies trained

Finished runs in runs/ are taken as they are, so the figures can be made again without training.
What disturbed the times is said by --conditions "..." and kept with them.
"""

import argparse
import itertools
import json
import logging
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

import frcore
from frcore.demo import fixed_broken, verdict
from frcore.files import atomic_write

RECIPES = ("nw_ucla_joint_quick", "nw_ucla_joint_quick_frhead")
RESULT = Path("results/nw_ucla_quick.json")


def processor() -> str:
    """The processor's name, from /proc where there is one."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def train(recipe: str, duplicates: str, seed: int) -> frcore.Run:
    """The run of a recipe, trained now unless it is there."""
    out = Path("runs") / f"{recipe}-{duplicates}-s{seed}"
    return frcore.fit(recipe, out=out, seed=seed, data={"duplicates": duplicates})


def figures(recipe: str, run: frcore.Run, predictions: frcore.Predictions) -> dict[str, Any]:
    """What came out of a run."""
    metrics, config = run.metrics, run.config
    seconds = metrics["seconds"] + metrics["eval_seconds"]
    return {
        "recipe": recipe,
        "duplicates": config["data"]["duplicates"],
        "seed": config["seed"],
        "accuracy_all": round(100 * predictions.accuracy(), 2),
        "accuracy_unseen": round(100 * predictions.accuracy(unseen_only=True), 2),
        "clips_all": len(predictions),
        "clips_unseen": int((~predictions.copies).sum()),
        "epochs": int(metrics["epoch"].iloc[-1]),
        "clips_per_epoch": round(float((metrics["samples_per_s"] * metrics["seconds"]).iloc[0])),
        "minutes": round(float(seconds.sum()) / 60, 1),
        "samples_per_s": round(float(metrics["samples_per_s"].median()), 1),
        "samples_per_s_best_epoch": round(float(metrics["samples_per_s"].max()), 1),
        "threads": run.environment["threads"],
        "select": run.select,
        "config_hash": run.environment["config_hash"],
        "commit": run.environment["commit"],
    }


def compare(duplicates: str, seeds: list[int]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Figures of all runs with one treatment of the copies, and what the head changed."""
    runs, changes = [], []
    for seed in seeds:
        pair = [train(recipe, duplicates, seed) for recipe in RECIPES]
        predictions = [frcore.predict(run) for run in pair]
        runs += map(figures, RECIPES, pair, predictions)
        correct = [p.correct for p in predictions]
        fixed, broken = fixed_broken(*correct)
        words = verdict(*correct)
        changes.append({"seed": seed, "fixed": fixed, "broken": broken, "verdict": words})
    accuracy = {
        kind: {
            recipe: [r[f"accuracy_{kind}"] for r in runs if r["recipe"] == recipe]
            for recipe in RECIPES
        }
        for kind in ("all", "unseen")
    }
    means = {
        f"mean_accuracy_{kind}": {name: round(float(np.mean(v)), 2) for name, v in found.items()}
        for kind, found in accuracy.items()
    }
    return runs, {"duplicates": duplicates, **means, "head": changes}


def main() -> None:
    """Trains what is missing, predicts, writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--duplicates", nargs="+", choices=("drop", "keep"), default=["drop"])
    parser.add_argument("--conditions", default="alone on the machine", help="kept with the times")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    runs, summaries = zip(*(compare(d, asked.seeds) for d in asked.duplicates), strict=True)
    result = {
        "what": "NW-UCLA, joint stream, quick recipes on a CPU; last epoch",
        "machine": {"processor": processor(), "cores": os.cpu_count(), "torch": torch.__version__},
        "conditions": asked.conditions,
        "runs": list(itertools.chain(*runs)),
        "summary": list(summaries),
    }
    RESULT.parent.mkdir(exist_ok=True)
    atomic_write(RESULT, json.dumps(result, indent=2) + "\n")
    logging.getLogger(__name__).info("Written: %s", RESULT)


if __name__ == "__main__":
    main()
