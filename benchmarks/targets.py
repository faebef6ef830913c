"""What the benchmarks measured beside what is aimed at: one table over their JSON files.

    python benchmarks/targets.py                # of results/, as committed
    python benchmarks/targets.py runs/bench     # of a `make bench` on this machine

A ratio is of two things measured in one run; the targets of seconds are for two CPU cores.
"""

import argparse
import json
import operator
from pathlib import Path
from typing import Any, NamedTuple

from frcore.commands import show, table_of

RESULTS = Path(__file__).resolve().parents[1] / "results"
HEADS = ("what", "measured", "target", "")


class Target(NamedTuple):
    """A figure of a JSON file and its limit; without one it is printed all the same."""

    what: str  # "{clips}" is how many clips the file's largest size has
    file: str
    path: str  # keys, joined by "/"; "*" is the largest size
    least: float | None = None
    most: float | None = None
    unit: str = "x"
    why: str = ""  # it is missed, where that is known


_STEP, _GPU = "bench_training", "bench_training_ntu_cuda"
_RATIO, _SHARE = "times_the_published_step", "share_of_the_head/fp32"
_SECONDS, _MS, _FEEDER = "sizes/*/seconds", "sizes/*/ms", "times_the_feeder"
_AMX = (
    "the processor measured here has no matrix units (AMX): its products of small matrices are no "
    "faster in bfloat16 than in float32, which `train.precision=auto` takes here"
)
_NUMPY = (
    "a third of the time finds lines and checks characters, a third converts digits, in dozens of "
    "NumPy calls on arrays of some thousand numbers; a compiled one would be a second one to keep"
)
_LIMBS = "the feeder's own scaling of joints is one NumPy call a bone, for all frames at once"
_SOFTWARE = "drawn by the processor: the machine has no graphics card, which the target is of"
_KERNEL = "intervals and tables are computed in Python first; a page that holds them is faster"
TARGETS = (
    Target("training step with FR Head, CPU, fp32", _STEP, f"{_RATIO}/fp32", 1.5),
    Target("the same, bf16", _STEP, f"{_RATIO}/bf16", 2.5, why=_AMX),
    Target("the same without FR Head, fp32", _STEP, f"{_RATIO}/fp32, no head"),
    Target("published step with channels last", _STEP, f"{_RATIO}/published, channels last"),
    Target("inference, CPU, fp32", _STEP, "inference/times_the_published/fp32"),
    Target("FR Head's share of a step, CPU", _STEP, _SHARE, most=0.05, unit=""),
    Target("training step, GPU, NTU's sizes, fp32", _GPU, f"{_RATIO}/fp32", 6),
    Target("the same, bf16", _GPU, f"{_RATIO}/bf16", 6),
    Target("the same, bf16, compiled", _GPU, f"{_RATIO}/bf16, compiled", 6),
    Target("  samples", _GPU, "samples_per_s/bf16, compiled", 8000, unit=" samples/s"),
    Target("FR Head's share of a step, GPU", _GPU, _SHARE, most=0.05, unit=""),
    Target("pipeline, joint, one core", "bench_pipeline", f"rates/joint/{_FEEDER}", 20),
    Target("pipeline, bone, one core", "bench_pipeline", f"rates/bone/{_FEEDER}", 20),
    Target("  joint, limbs scaled", "bench_pipeline", f"rates/joint, limbs scaled/{_FEEDER}", 20,
           why=_LIMBS),
    Target("  bone, limbs scaled", "bench_pipeline", f"rates/bone, limbs scaled/{_FEEDER}", 20),
    Target("  {clips} clips, from memory (8,000 by 16 cores)", "bench_scale",
           "sizes/*/batches/samples_per_cpu_s", 500, unit=" samples/s"),
    Target("  {clips} clips, streamed", "bench_scale",
           "sizes/*/streamed/samples_per_cpu_s", 500, unit=" samples/s"),
    Target("opening {clips} clips", "bench_scale", "sizes/*/open/seconds", most=1, unit=" s"),
    Target("  memory", "bench_scale", "sizes/*/open/resident_mb", most=200, unit=" MB"),
    Target("checking {clips} clips", "bench_scale", "sizes/*/check/seconds", unit=" s"),
    Target("saving, loading, comparing 50,919 predictions", "bench_scale",
           "sizes/113945/predictions/seconds", unit=" s"),
    Target("parsing raw NTU files, one core", "bench_raw", "times_line_by_line", 10, why=_NUMPY),
    Target("comparing {clips} clips", "bench_analysis", f"{_SECONDS}/compare", most=5, unit=" s"),
    Target("PCA of {clips} clips", "bench_analysis", f"{_SECONDS}/pca", unit=" s"),
    Target("UMAP of {clips} clips", "bench_analysis", f"{_SECONDS}/umap", most=90, unit=" s"),
    Target("t-SNE of {clips} clips", "bench_analysis", f"{_SECONDS}/tsne", most=300, unit=" s"),
    Target("explorer, page of {clips} clips: first paint", "bench_explorer", f"{_MS}/open",
           most=2000, unit=" ms"),
    Target("  in JupyterLab, from running the cell", "bench_explorer",
           f"{_MS}/first paint in JupyterLab", most=2000, unit=" ms", why=_KERNEL),
    Target("  a frame of both maps while panning", "bench_explorer", f"{_MS}/frame", most=16.7,
           unit=" ms", why=_SOFTWARE),
)  # fmt: skip


class Row(NamedTuple):
    """A line of the table."""

    what: str
    measured: str
    target: str
    verdict: str
    why: str


def rows(folder: Path) -> list[Row]:
    """What was measured, the figure, its target and whether it is met; targets of no file: none."""
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("bench_*.json")}
    lines = []
    for target in TARGETS:
        file = found.get(target.file, {})
        size = next(reversed(file.get("sizes", {})), "")
        value = _value(file, target.path.replace("*", size))
        if value is None:
            continue
        what = target.what.replace("{clips}", _clips(file, size))
        limit, met, word = target.least, operator.ge, "at least"
        if target.most is not None:
            limit, met, word = target.most, operator.le, "at most"
        aim = f"{word} {_number(limit, target.unit)}" if limit is not None else ""
        missed = limit is not None and not met(value, limit)
        verdict = "" if limit is None else "missed" if missed else "met"
        lines.append(
            Row(what, _number(value, target.unit), aim, verdict, target.why if missed else "")
        )
    return lines


def _clips(file: Any, size: str) -> str:
    """How many clips a size has: its name, or what stands there."""
    return f"{int(size) if size.isdigit() else file['sizes'][size]['clips']:,}" if size else ""


def _value(found: Any, path: str) -> float | None:
    """The number at a path, None where it was not measured."""
    for key in path.split("/"):
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return float(found)


def _number(value: float, unit: str) -> str:
    if not unit:
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}{unit}" if value >= 100 else f"{value:.3g}{unit}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=RESULTS)
    asked = parser.parse_args()
    found = rows(asked.folder)
    show(table_of([row[:-1] for row in found], *HEADS))
    for row in found:
        if row.why:
            print(f"{row.what.strip()}: {row.why}.")


if __name__ == "__main__":
    main()
