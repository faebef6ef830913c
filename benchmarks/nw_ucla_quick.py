r"""Trains the quick NW-UCLA recipes, with and without FR Head; writes results/nw_ucla_quick.json.

    python benchmarks/nw_ucla_quick.py                          # one seed: two runs; resumes
    python benchmarks/nw_ucla_quick.py --seeds 0 1 2            # differences between seeds
    python benchmarks/nw_ucla_quick.py --duplicates keep --recipes nw_ucla_joint_quick \
        --out results/nw_ucla_quick_copies.json                 # as published: copies trained
    python benchmarks/nw_ucla_quick.py --stream bone --out results/nw_ucla_quick_bone.json

Finished runs in runs/ are taken as they are, so the figures can be made again without training.
What disturbed the times is said by --conditions "..." and kept with them.
"""

import argparse
import itertools
import logging
from pathlib import Path
from typing import Any

import numpy as np
from records import compared, figures, machine, run_directory, write

import frcore
from frcore.data.benchmarks import STREAMS

RECIPES = ("nw_ucla_joint_quick", "nw_ucla_joint_quick_frhead")
RESULT = Path("results/nw_ucla_quick.json")


def train(recipe: str, stream: str, duplicates: str, seed: int) -> frcore.Run:
    """The run of a recipe, trained now unless it is there."""
    out = run_directory(recipe, stream, duplicates, seed)
    return frcore.fit(recipe, out=out, seed=seed, data={"duplicates": duplicates, "stream": stream})


def compare(
    stream: str, duplicates: str, recipes: list[str], seeds: list[int]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Figures of all runs with one treatment of the copies, and what the head changed."""
    runs, changes = [], []
    for seed in seeds:
        made = [train(recipe, stream, duplicates, seed) for recipe in recipes]
        predictions = [frcore.predict(run) for run in made]
        runs += map(figures, recipes, made, predictions)
        if recipes == list(RECIPES):
            changes.append({"seed": seed, **compared(*predictions)})
    accuracy = {
        kind: {
            recipe: [r[f"accuracy_{kind}"] for r in runs if r["recipe"] == recipe]
            for recipe in recipes
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
    parser.add_argument("--stream", choices=STREAMS, default="joint")
    parser.add_argument("--duplicates", nargs="+", choices=("drop", "keep"), default=["drop"])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--conditions", default="alone on the machine", help="kept with the times")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = [compare(asked.stream, d, asked.recipes, asked.seeds) for d in asked.duplicates]
    runs, summaries = zip(*found, strict=True)
    result = {
        "what": f"NW-UCLA, {asked.stream} stream, quick recipes on a CPU; last epoch",
        "machine": machine(),
        "conditions": asked.conditions,
        "runs": list(itertools.chain(*runs)),
        "summary": list(summaries),
    }
    write(asked.out, result)


if __name__ == "__main__":
    main()
