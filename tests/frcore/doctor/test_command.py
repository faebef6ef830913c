"""`frcore doctor`: words, JSON, mistakes."""

import json
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from frcore.cli import app
from frcore.doctor import command, machine
from frcore.doctor import measure as measuring
from frcore.doctor.measure import Measured

SOURCES = [path.read_text(encoding="utf-8") for path in Path(command.__file__).parent.glob("*.py")]
ADVISED = sorted(set(re.findall(r"--set ([\w.]+=(?:\{[\w.]+\}|[\w-]+))", "\n".join(SOURCES))))
FILLED = {"{free}": "2", "{best.threads}": "2", "{best.precision}": "bf16", "{fits}": "16"}


def run(*arguments):
    return CliRunner().invoke(app, ["doctor", *arguments])


def test_the_machine_is_described_in_words():
    result = run("--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "train.device" in result.stdout and "free memory, host" in result.stdout
    assert max(map(len, result.stdout.split("What")[0].splitlines())) <= 80


def test_json_holds_everything_by_section(tiny_store):
    changes = ("--set", "benchmark=tiny", "--set", "data.transform.frames=8")
    result = run("synthetic_tiny_frhead", *changes, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    read = json.loads(result.stdout)
    assert set(read) == {"machine", "recipe", "missing", "faster"}
    assert read["machine"]["device"] == {"value": "cpu", "why": "train.device"}
    assert read["recipe"]["steps an epoch"]["value"] == 2
    assert "tiny" in read["machine"]["data"]["value"] and read["missing"] == ""


def test_a_missing_store_is_said_with_commands_on_lines_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path / "none"))
    monkeypatch.setattr(machine, "settings_advice", lambda _: [])
    result = run("nw_ucla_joint", "--device", "cpu")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    start = lines.index(
        f"No store 'nw_ucla' in {tmp_path / 'none'}. Make it from the download with"
    )
    assert lines[start + 1 : start + 4] == [
        "  frcore data prepare nw_ucla --source all_sqe.zip",
        "or download it with",
        "  frcore data fetch nw_ucla",
    ]
    assert lines[-1] == "Without its clips, their place and the steps are not known."
    assert "Nothing was found" not in result.stdout
    assert "fetch nw_ucla" in json.loads(run("nw_ucla_joint", "--json").stdout)["missing"]


def test_a_data_root_that_cannot_be_made_is_said(read_only, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(read_only / "x"))
    missing = json.loads(run("synthetic_tiny", "--json").stdout)["missing"]
    assert missing.startswith(f"No store 'synthetic' in {read_only / 'x'}. Make it with")
    assert missing.endswith(": Read-only file system. FRCORE_DATA names another folder.")


def test_what_goes_wrong_with_the_recipe_comes_before_what_is_slow(tiny_store):
    changes = ("--set", "benchmark=tiny", "--set", "train.batch_size=100000000")
    changes += ("--set", "train.compile=default", "--device", "cpu")
    advice = json.loads(run("synthetic_tiny", *changes, "--json").stdout)["faster"]
    assert advice[0].startswith("--set train.batch_size=")
    assert any(text.startswith("--set train.compile=off") for text in advice[1:])


def test_measured_figures_take_the_place_of_rules(tiny_store, monkeypatch):
    rates = [Measured(1, "bf16", 2.0), Measured(2, "bf16", 5.0)]
    monkeypatch.setattr(measuring, "measure", lambda config, machine: rates)
    changes = ("--set", "benchmark=tiny", "--set", "train.precision=bf16", "--device", "cpu")
    read = json.loads(run("synthetic_tiny", *changes, "--measure", "--json").stdout)
    assert read["faster"] == [
        "--set train.threads=2: measured 2.5 times as fast as what would be used."
    ]
    assert read["measured"]["2 threads, bf16"]["value"]["rate"] == 5.0
    ruled = json.loads(run("synthetic_tiny", *changes, "--json").stdout)
    assert read["faster"][0] not in ruled["faster"] and "measured" not in ruled


@pytest.mark.parametrize("change", ADVISED)
def test_what_it_advises_to_set_can_be_set(change, monkeypatch):
    key, _, value = change.partition("=")
    value, seen = FILLED.get(value, value), {}

    def diagnose(config, **_):
        seen.update(config.model_dump())
        return {}, "", []

    monkeypatch.setattr(command, "_diagnose", diagnose)
    result = run("synthetic_tiny", "--set", f"{key}={value}")
    section, _, field = key.partition(".")
    assert result.exit_code == 0, result.output
    assert str(seen[section][field]) == value


def test_the_advice_is_found():
    assert {"train.compile=off", "train.threads={free}", "data.residence=auto"} <= set(ADVISED)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--measure",), "--measure needs a recipe: frcore doctor synthetic_tiny --measure"),
        (("--set", "seed=1"), "--set needs a recipe"),
        (("synthetic_tny",), "Did you mean 'synthetic_tiny' or"),
        (("nosuch",), "Unknown recipe 'nosuch'. All "),
        (("synthetic_tiny", "--set", "train.thread=1"), "Did you mean 'threads'?"),
        (("synthetic_tiny", "--threads", "1"), "--set train.threads=1"),
        (("synthetic_tiny", "--device", "gpu"), "train.device"),
    ],
)
def test_a_mistake_is_one_message(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2 and message in result.stderr and result.stdout == ""


def test_a_torch_that_cannot_be_imported_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    result = run()
    assert result.exit_code == 2 and "torch cannot be imported" in result.stderr
