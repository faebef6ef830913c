"""Trains what `make demo` trains, or takes its runs; writes results/demo.json.

python benchmarks/demo.py
"""

import logging
from pathlib import Path

from records import compared, figures, machine, write

import frcore
from frcore.demo import RECIPES

RESULT = Path("results/demo.json")


def main() -> None:
    """Trains what is missing, predicts, writes the file."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    runs = [frcore.fit(recipe, out=Path("runs/demo") / recipe) for recipe in RECIPES]
    predictions = [frcore.predict(run) for run in runs]
    result = {
        "what": "make demo: the embedded benchmark, ctrgcn_tiny; last epoch; one seed",
        "machine": machine(),
        "runs": list(map(figures, RECIPES, runs, predictions)),
        "head": compared(*predictions),
    }
    write(RESULT, result)


if __name__ == "__main__":
    main()
