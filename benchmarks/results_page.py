"""Writes results/README.md: every measured run of the JSON files there, with its command.

python benchmarks/results_page.py           # writes it
python benchmarks/results_page.py --check   # fails where it is out of date
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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
    return "\n".join(parts)


def section(name: str, record: Mapping[str, Any]) -> str:
    """One file: where it was measured, its runs, what the head changed, the commands."""
    machine = record["machine"]
    device = machine.get("device") or f"CPU, {machine['cores']} cores"
    lines = [
        f"## {record['what']}",
        "",
        f"`{name}`; {device} ({machine['processor']}), torch {machine['torch']}.",
    ]
    if "conditions" in record:
        lines[-1] += f" Conditions: {record['conditions']}."
    lines += ["", *table(COLUMNS, map(row, record["runs"]))]
    lines += ["", "```bash", *(command(run) for run in record["runs"]), "```", ""]
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


def command(run: Mapping[str, Any]) -> str:
    """What trains it."""
    return (
        f"frcore train {run['recipe']} --seed {run['seed']} "
        f"--set data.duplicates={run['duplicates']}"
    )


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
