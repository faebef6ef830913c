"""Trains the quick NW-UCLA recipes, with and without FR Head; writes results/nw_ucla_quick.json.

    python benchmarks/nw_ucla_quick.py        # about half an hour on two CPU cores; resumes

Finished runs in runs/ are taken as they are, so the figures can be made again without training.
What disturbed the times is said by --conditions "..." and kept with them.
"""

import argparse
import json
import logging
import os
import platform
from pathlib import Path
from typing import Any

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


def figures(run: frcore.Run, predictions: frcore.Predictions) -> dict[str, Any]:
    """What came out of a run."""
    metrics, config = run.metrics, run.config
    seconds = float((metrics["seconds"] + metrics["eval_seconds"]).sum())
    return {
        "config_hash": run.environment["config_hash"],
        "commit": run.environment["commit"],
        "seed": config["seed"],
        "epochs": int(metrics["epoch"].iloc[-1]),
        "clips_per_epoch": round(float((metrics["samples_per_s"] * metrics["seconds"]).iloc[0])),
        "duplicates": config["data"]["duplicates"],
        "select": run.select,
        "accuracy_all": round(100 * predictions.accuracy(), 2),
        "accuracy_unseen": round(100 * predictions.accuracy(unseen_only=True), 2),
        "clips_all": len(predictions),
        "clips_unseen": int((~predictions.seen_copies).sum()),
        "minutes": round(seconds / 60, 1),
        "samples_per_s": round(float(metrics["samples_per_s"].median()), 1),
        "threads": run.environment["threads"],
    }


def main() -> None:
    """Trains what is missing, predicts, writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conditions", default="alone on the machine", help="kept with the times")
    conditions = parser.parse_args().conditions
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    runs = [frcore.fit(recipe) for recipe in RECIPES]
    base, head = (frcore.predict(run) for run in runs)
    fixed, broken = fixed_broken(base.correct, head.correct)
    result = {
        "what": "NW-UCLA, joint stream, quick recipes on a CPU; last epoch; one seed",
        "machine": {"processor": processor(), "cores": os.cpu_count(), "torch": torch.__version__},
        "conditions": conditions,
        "runs": {
            recipe: figures(run, predictions)
            for recipe, run, predictions in zip(RECIPES, runs, (base, head), strict=True)
        },
        "comparison": {
            "fixed_by_head": fixed,
            "broken_by_head": broken,
            "verdict": verdict(base.correct, head.correct),
        },
    }
    RESULT.parent.mkdir(exist_ok=True)
    atomic_write(RESULT, json.dumps(result, indent=2) + "\n")
    logging.getLogger(__name__).info("Written: %s", RESULT)


if __name__ == "__main__":
    main()
