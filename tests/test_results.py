"""Figures that the README quotes are those that were measured."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import frcore

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FILES = sorted(p for p in (ROOT / "results").glob("*.json") if not p.name.startswith("bench_"))


def accuracies(found: object, name: str = "") -> Iterator[tuple[str, float]]:
    """Path and value of every number whose key holds "accuracy" or ends in "_acc"."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield from accuracies(value, f"{name}.{key}")
    elif isinstance(found, list):
        for number, value in enumerate(found):
            yield from accuracies(value, f"{name}[{number}]")
    elif isinstance(found, int | float) and not isinstance(found, bool):
        key = re.sub(r"\[\d+\]", "", name).rpartition(".")[2]
        if "accuracy" in key or key.endswith("_acc"):
            yield name, float(found)


def quoted(share: float, text: str) -> bool:
    """Whether a share (0..1, or in percent) stands in a text in percent, with 1 or 2 digits."""
    percent = 100 * share if share <= 1 else share
    forms = "|".join(re.escape(f"{percent:.{digits}f}") for digits in (1, 2))
    return re.search(rf"(?<![\d.])(?:{forms})(?!\.?\d)", text) is not None


def unquoted(record: object, text: str) -> list[str]:
    return [f"{name} = {value}" for name, value in accuracies(record) if not quoted(value, text)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_readme_quotes_each_measured_accuracy(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    section = README[README.index("## Results") :]
    section = section[: section.index("\n## ", 1)]
    assert path.name in section
    assert list(accuracies(record)), f"{path.name} holds no accuracy"
    assert unquoted(record, section) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_figures_are_those_of_the_recipes_as_they_are_shipped(path: Path) -> None:
    for run in json.loads(path.read_text(encoding="utf-8"))["runs"]:
        changes = {"seed": run["seed"], "data.duplicates": run["duplicates"]}
        changes |= {"data.stream": run["stream"]} if "stream" in run else {}
        assert frcore.load_recipe(run["recipe"], changes).hash == run["config_hash"], run["recipe"]


def test_the_demo_and_the_quick_recipes_were_measured() -> None:
    assert {path.name for path in FILES} >= {"demo.json", "nw_ucla_quick.json"}


def test_a_figure_that_differs_is_found() -> None:
    record = {"runs": [{"accuracy": 0.9052, "accuracy_unseen": 0.8862, "epochs": 20}]}
    assert unquoted(record, "| 90.5 % | 88.62% |") == []
    assert unquoted(record, "| 90.6 % | 88.62 % |") == [".runs[0].accuracy = 0.9052"]
    assert unquoted(record, "| 190.5 % | 88.621 % |") == [
        ".runs[0].accuracy = 0.9052",
        ".runs[0].accuracy_unseen = 0.8862",
    ]
    assert unquoted({"test_acc": [0.5, 0.25], "pass_accuracy": True}, "50.0 and 25.0") == []


def test_the_page_of_results_is_up_to_date() -> None:
    script = ROOT / "benchmarks" / "results_page.py"
    made = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def test_every_run_has_its_command_on_the_page() -> None:
    page = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    for path in FILES:
        for run in json.loads(path.read_text(encoding="utf-8"))["runs"]:
            changes = f"--seed {run['seed']} --set data.duplicates={run['duplicates']}"
            assert f"frcore train {run['recipe']} {changes} --out " in page
            assert f"{run['accuracy_unseen']:.2f} ({run['clips_unseen']})" in page
