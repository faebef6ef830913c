"""What the scripts here write down of runs, as JSON under results/."""

import json
import logging
import os
import platform
from pathlib import Path
from typing import Any

import torch

import frcore
import frviz
from frcore.files import atomic_write


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    return {"processor": processor(), "cores": os.cpu_count(), "torch": torch.__version__}


def processor() -> str:
    """The processor's name, from /proc where there is one."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def run_directory(recipe: str, stream: str, duplicates: str, seed: int) -> str:
    """Where a run of the scripts here lies; a recipe's own stream is not named."""
    changed = [] if stream == frcore.load_recipe(recipe).data.stream else [stream]
    return "runs/" + "-".join([recipe, *changed, duplicates, f"s{seed}"])


def figures(recipe: str, run: frcore.Run, predictions: frcore.Predictions) -> dict[str, Any]:
    """What came out of a run."""
    metrics, config = run.metrics, run.config
    seconds = metrics["seconds"] + metrics["eval_seconds"]
    return {
        "recipe": recipe,
        "duplicates": config["data"]["duplicates"],
        "seed": config["seed"],
        "stream": config["data"]["stream"],
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


def compared(without: frcore.Predictions, with_head: frcore.Predictions) -> dict[str, Any]:
    """What the head changed, clip by clip."""
    comparison = frviz.compare(without, with_head, names=("without", "with FR Head"))
    return {
        "fixed": len(comparison.fixed),
        "broken": len(comparison.broken),
        "p": comparison.mcnemar_p,
        "interval": [round(100 * limit, 2) for limit in comparison.interval],
        "verdict": comparison.verdict,
    }


def write(path: Path, result: dict[str, Any]) -> None:
    """Replaces a file of results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(result, indent=2) + "\n")
    logging.getLogger(__name__).info("Written: %s", path)
