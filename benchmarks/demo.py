"""Trains what `make demo` trains, or takes its runs; writes results/demo.json.

python benchmarks/demo.py                  # the demo's own seed
python benchmarks/demo.py --seeds 0 1 2    # differences between seeds
"""

import argparse
import logging
from pathlib import Path

from records import compared, figures, machine, write

import frcore
from frcore.demo import RECIPES

RESULT = Path("results/demo.json")


def train(recipe: str, seed: int) -> frcore.Run:
    """The run of a recipe, trained now unless it is there."""
    out = Path("runs/demo") / (recipe if seed == 0 else f"{recipe}-s{seed}")
    return frcore.fit(recipe, out=out, seed=seed)


def main() -> None:
    """Trains what is missing, predicts, writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    seeds = parser.parse_args().seeds
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    runs, changes = [], []
    for seed in seeds:
        pair = [train(recipe, seed) for recipe in RECIPES]
        predictions = [frcore.predict(run) for run in pair]
        runs += map(figures, RECIPES, pair, predictions)
        changes.append({"seed": seed, **compared(*predictions)})
    result = {
        "what": "make demo: the embedded benchmark, ctrgcn_tiny; last epoch",
        "machine": machine(),
        "runs": runs,
        "head": changes,
    }
    write(RESULT, result)


if __name__ == "__main__":
    main()
