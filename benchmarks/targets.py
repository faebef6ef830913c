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

    what: str
    file: str
    path: str  # keys, joined by "/"
    least: float | None = None
    most: float | None = None
    unit: str = "x"


_STEP, _GPU = "bench_training", "bench_training_ntu_cuda"
_RATIO, _SHARE = "times_the_published_step", "share_of_the_head/fp32"
_NTU, _FEEDER = "sizes/ntu120/seconds", "times_the_feeder"
TARGETS = (
    Target("training step with FR Head, CPU, fp32", _STEP, f"{_RATIO}/fp32", 1.5),
    Target("the same, bf16", _STEP, f"{_RATIO}/bf16", 2.5),
    Target("the same without FR Head, fp32", _STEP, f"{_RATIO}/fp32, no head"),
    Target("inference, CPU, fp32", _STEP, "inference/times_the_published/fp32"),
    Target("FR Head's share of a step, CPU", _STEP, _SHARE, most=0.05, unit=""),
    Target("training step, GPU, NTU's sizes, fp32", _GPU, f"{_RATIO}/fp32", 6),
    Target("the same, bf16", _GPU, f"{_RATIO}/bf16", 6),
    Target("the same, bf16", _GPU, "samples_per_s/bf16", 8000, unit=" samples/s"),
    Target("FR Head's share of a step, GPU", _GPU, _SHARE, most=0.05, unit=""),
    Target("pipeline, joint, one core", "bench_pipeline", f"rates/joint/{_FEEDER}", 20),
    Target("pipeline, bone, one core", "bench_pipeline", f"rates/bone/{_FEEDER}", 20),
    Target("  joint, limbs scaled", "bench_pipeline", f"rates/joint, limbs scaled/{_FEEDER}", 20),
    Target("  bone, limbs scaled", "bench_pipeline", f"rates/bone, limbs scaled/{_FEEDER}", 20),
    Target("  113,945 clips, from memory (8,000 by 16 cores)", "bench_scale",
           "sizes/113945/batches/samples_per_cpu_s", 500, unit=" samples/s"),
    Target("  113,945 clips, streamed", "bench_scale",
           "sizes/113945/streamed/samples_per_cpu_s", 500, unit=" samples/s"),
    Target("opening 113,945 clips", "bench_scale", "sizes/113945/open/seconds", most=1, unit=" s"),
    Target("  memory", "bench_scale", "sizes/113945/open/resident_mb", most=200, unit=" MB"),
    Target("checking 113,945 clips", "bench_scale", "sizes/113945/check/seconds", unit=" s"),
    Target("saving, loading, comparing 50,919 predictions", "bench_scale",
           "sizes/113945/predictions/seconds", unit=" s"),
    Target("parsing raw NTU files, one core", "bench_raw", "times_line_by_line", 10),
    Target("comparing 50,919 clips", "bench_analysis", f"{_NTU}/compare", most=5, unit=" s"),
    Target("UMAP of 50,919 clips", "bench_analysis", f"{_NTU}/umap", most=90, unit=" s"),
    Target("t-SNE of 50,919 clips", "bench_analysis", f"{_NTU}/tsne", most=300, unit=" s"),
    Target("explorer, first paint in JupyterLab, 50,919 clips", "bench_explorer",
           "sizes/ntu120/ms/first paint in JupyterLab", most=2000, unit=" ms"),
    Target("explorer, draw of 114,480 clips", "bench_explorer", "sizes/all of ntu120/ms/draw",
           most=16.7, unit=" ms"),
)  # fmt: skip


def rows(folder: Path) -> list[tuple[str, str, str, str]]:
    """What was measured, the figure, its target and whether it is met; targets of no file: none."""
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("bench_*.json")}
    lines = []
    for target in TARGETS:
        value = _value(found.get(target.file), target.path)
        if value is None:
            continue
        limit, met, word = target.least, operator.ge, "at least"
        if target.most is not None:
            limit, met, word = target.most, operator.le, "at most"
        aim = f"{word} {_number(limit, target.unit)}" if limit is not None else ""
        verdict = "" if limit is None else "met" if met(value, limit) else "missed"
        lines.append((target.what, _number(value, target.unit), aim, verdict))
    return lines


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
    show(table_of(rows(asked.folder), *HEADS))


if __name__ == "__main__":
    main()
