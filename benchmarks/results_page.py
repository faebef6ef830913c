"""Writes results/README.md: every measured run of the JSON files there, with its command.

python benchmarks/results_page.py           # writes it
python benchmarks/results_page.py --check   # fails where it is out of date
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from records import run_directory
from targets import HEADS, rows

import frcore

RESULTS = Path(__file__).resolve().parents[1] / "results"
HEAD = """# Measured results

Generated from the JSON files beside it: `python benchmarks/results_page.py`. Accuracies are top-1
in percent (of so many clips), of the epoch that `select` names; "unseen" leaves out test clips
whose content is also among the benchmark's training clips. Copies `dropped`: these were taken out
of training; `kept`: they were trained on, as in published work. Figures of the two treatments must
not be compared over all clips.
"""
TREATMENT = {"drop": "dropped", "keep": "kept"}
COLUMNS = (
    "recipe",
    "seed",
    "copies",
    "all",
    "unseen",
    "epochs",
    "select",
    "minutes",
    "config",
    "commit",
)


def page() -> str:
    """The whole text."""
    parts = [HEAD]
    for path in sorted(RESULTS.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if "runs" in record:
            parts.append(section(path.name, record))
    return "\n".join([*parts, speed()])


def speed() -> str:
    """What `make bench` measured, beside what is aimed at."""
    lines = ["## Speed", "", "`bench_*.json`, by `make bench`; targets are those of two CPU cores."]
    where = json.loads((RESULTS / "bench_training.json").read_text(encoding="utf-8"))
    lines[-1] += f" The training step: {where['conditions']}."
    found = rows(RESULTS)
    lines += ["", *table((*HEADS[:3], "target is"), (row[:-1] for row in found)), ""]
    lines += [f"- Missed: {row.what.strip()}: {row.why}." for row in found if row.why]
    return "\n".join([*lines, ""])


def section(name: str, record: Mapping[str, Any]) -> str:
    """One file: where it was measured, its runs, what the head changed, the commands."""
    machine = record["machine"]
    treated = {TREATMENT[run["duplicates"]] for run in record["runs"]}
    device = machine.get("device") or f"CPU, {machine['cores']} cores"
    lines = [
        f"## {record['what']}, copies {' or '.join(sorted(treated))}",
        "",
        f"`{name}`; {device} ({machine['processor']}), torch {machine['torch']}.",
    ]
    if "conditions" in record:
        lines[-1] += f" Conditions: {record['conditions']}."
    lines += ["", *table(COLUMNS, map(row, record["runs"]))]
    lines += ["", *means(record["runs"])]
    lines += ["```bash", *(command(run) for run in record["runs"]), "```", ""]
    for change in changes(record):
        lines += [f"Seed {change['seed']}: {change['verdict']}", ""]
    return "\n".join(lines)


def row(run: Mapping[str, Any]) -> tuple[str, ...]:
    """A run's cells."""
    return (
        f"`{run['recipe']}`",
        str(run["seed"]),
        TREATMENT[run["duplicates"]],
        f"{run['accuracy_all']:.2f} ({run['clips_all']})",
        f"{run['accuracy_unseen']:.2f} ({run['clips_unseen']})",
        str(run["epochs"]),
        run["select"],
        f"{run['minutes']:.1f}",
        f"`{run['config_hash'][:12]}`",
        f"`{run['commit'][:9]}`",
    )


def means(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line a recipe of several seeds: mean and standard deviation."""
    lines = []
    for recipe in dict.fromkeys(run["recipe"] for run in runs):
        mine = [run for run in runs if run["recipe"] == recipe]
        if len(mine) < 2:
            continue
        values = ([run[f"accuracy_{part}"] for run in mine] for part in ("all", "unseen"))
        both = [f"{statistics.mean(v):.2f} ± {statistics.stdev(v):.2f}" for v in values]
        lines += [f"`{recipe}`, {len(mine)} seeds: {both[0]} % on all, {both[1]} % on unseen.", ""]
    return lines


def command(run: Mapping[str, Any]) -> str:
    """What trains it, and what gives the two accuracies."""
    own = frcore.load_recipe(run["recipe"]).data.stream
    stream = run.get("stream", own)
    out = run_directory(run["recipe"], stream, run["duplicates"], run["seed"])
    changes = f"--seed {run['seed']} --set data.duplicates={run['duplicates']}"
    if stream != own:
        changes += f" --set data.stream={stream}"
    return f"frcore train {run['recipe']} {changes} --out {out} && frcore predict {out}"


def changes(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the head changed, a seed each."""
    found = list(record.get("head", ()))
    for summary in record.get("summary", ()):
        found += summary["head"]
    return found


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a Markdown table."""
    heads = list(heads)
    return ["| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows)]


def main() -> int:
    """Writes the page, or says that it is out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    target, text = RESULTS / "README.md", page()
    if parser.parse_args().check:
        if target.is_file() and target.read_text(encoding="utf-8") == text:
            return 0
        print(f"{target} is out of date: python benchmarks/results_page.py", file=sys.stderr)
        return 1
    target.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
