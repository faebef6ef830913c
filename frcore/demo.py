"""`frcore demo`: the same small model with and without FR Head, on the same test clips."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frcore.errors import UserError
from frcore.run import Run

if TYPE_CHECKING:
    from frcore.predictions import Predictions

RECIPES = ("synthetic_tiny", "synthetic_tiny_frhead")


def train_or_reuse(recipe: str, out: Path) -> tuple[Run, str]:
    """Trains a recipe under `out`, or goes on with what is there; says in words which it was."""
    from frcore.train import fit

    before = {path.parent: len(Run(path.parent).metrics) for path in out.glob("*/metrics.csv")}
    run = fit(recipe, out=out / recipe)
    done = len(run.metrics)
    seen = before.get(run.path, 0)
    if seen == done:
        return run, f"finished earlier in {run.path}, reused (delete it to train again)"
    if seen:
        return run, f"resumed in {run.path} after epoch {seen} of {done}"
    return run, f"trained {done} epochs in {run.path}"


Row = tuple[str, str, str, str]  # quantity, without, with, difference


def compare(without: Run, with_head: Run) -> list[Row]:
    """Predicts the test split with both runs and puts them side by side."""
    from frcore.data import get_benchmark
    from frcore.inference import predict

    a, b = (predict(run, split="test") for run in (without, with_head))
    planted = get_benchmark(str(a.metadata["benchmark"])).confusable
    rows = compare_predictions(a, b, planted)
    seconds = [float(run.metrics["seconds"].sum()) for run in (without, with_head)]
    rows.append(_row("training, seconds", *seconds, "{:.0f}", "{:+.0f}"))
    return rows


def compare_predictions(
    a: "Predictions", b: "Predictions", planted: Iterable[tuple[int, ...]]
) -> list[Row]:
    """Accuracies of two models over all clips, over planted groups of classes and over the rest."""
    if a.sample_ids != b.sample_ids:
        raise UserError("The two runs do not predict the same test clips; delete both, run again.")
    group = np.arange(a.num_classes)  # class -> a number its group shares
    for classes in planted:
        group[list(classes)] = a.num_classes + min(classes)
    ambiguous = (group >= a.num_classes)[a.labels]

    def accuracy(name: str, clips: np.ndarray) -> Row:
        shares = [float(p.correct[clips].mean()) if clips.any() else np.nan for p in (a, b)]
        return _row(f"{name} ({clips.sum():,} clips)", *(100 * s for s in shares))

    fixed, broken = int((~a.correct & b.correct).sum()), int((a.correct & ~b.correct).sum())
    stay = [
        100 * float((group[p.predicted] == group[p.labels])[~p.correct].mean())
        if not p.correct.all()
        else np.nan
        for p in (a, b)
    ]
    return [
        accuracy("accuracy, %", np.ones(len(a), bool)),
        accuracy("look-alike classes, %", ambiguous),
        accuracy("other classes, %", ~ambiguous),
        _row("errors within look-alikes, %", *stay),
        ("clips only this model gets right", str(broken), str(fixed), f"{fixed - broken:+}"),
    ]


def next_steps(runs: list[Run], *, compare: bool = True) -> str:
    """What to do after the demo; without `compare`, which `make demo` does itself."""
    activate = Path(sys.prefix) / ("Scripts/activate" if os.name == "nt" else "bin/activate")
    asleep = activate.is_file() and not os.environ.get("VIRTUAL_ENV")  # as `make demo` uses it
    shown = os.path.relpath(activate) if activate.is_relative_to(Path.cwd()) else str(activate)
    return (
        f"The runs: {', '.join(str(run.path) for run in runs)}\n"
        "Next:\n"
        + (f"  source {shown}     once a terminal, for what follows\n" if asleep else "")
        + (
            f"  frviz compare {runs[0].path} {runs[-1].path} --report report.html\n"
            "                                what the head changed, with tests and figures\n"
            if compare
            else ""
        )
        + "  make lab                      the notebooks, starting with 02_train_fr_head\n"
        "  frcore recipes                all recipes, also the full models and NW-UCLA\n"
        "  frcore train synthetic_tiny_frhead --seed 1 --out runs/seed1    another seed"
    )


def _row(name: str, a: float, b: float, shape: str = "{:.1f}", change: str = "{:+.1f}") -> Row:
    shown = [float(shape.format(value)) for value in (a, b)]  # whose difference a reader checks
    cells = zip((shape, shape, change), (*shown, shown[1] - shown[0]), strict=True)
    return name, *("-" if np.isnan(value) else text.format(value) for text, value in cells)
