"""The command line: arguments reach the right function, mistakes are one message and exit 2."""

import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from frcore import demo
from frcore.callbacks import TensorBoard
from frcore.cli import app
from frcore.data.benchmarks import Benchmark
from frcore.data.clips import ClipRecord
from frcore.data.ntu.report import RULES
from frcore.data.store import write_store
from frcore.errors import UserError
from frcore.predictions import Predictions
from frcore.recipe_files import list_recipes
from frcore.skeleton import Skeleton

IMPORT = ("import-weights", "w.pt", "--backbone", "ctrgcn", "--benchmark", "ntu60")


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def module(monkeypatch):
    """Puts a stand-in for a module that a command imports; returns what it was called with."""
    calls = []

    def install(name, **functions):
        def recorded(function_name, result):
            def call(*args, **kwargs):
                calls.append((function_name, args, kwargs))
                if isinstance(result, BaseException):
                    raise result
                return result

            return call

        stand_in = types.ModuleType(name)
        for function_name, result in functions.items():
            setattr(stand_in, function_name, recorded(function_name, result))
        monkeypatch.setitem(sys.modules, name, stand_in)
        return calls

    return install


class FakeRun:
    def __init__(self, path, state="finished"):
        self.path, self.state = path, state

    def __repr__(self):
        return f"Run('{self.path}', {self.state})"


def test_help_is_fast_and_imports_nothing_heavy():
    code = (
        "import sys; from frcore.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'pandas', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "predict" in done.stdout


def test_train_hands_over_parsed_values(module, tmp_path):
    calls = module("frcore.train", fit=FakeRun(tmp_path))
    result = run(
        *("train", "synthetic_tiny", "--set", "optim.lr=0.05", "--set", "optim.milestones=[3, 4]"),
        *("--set", "model.overrides={width: 8}", "--seed", 7, "--device", "cpu", "--out", tmp_path),
    )
    assert result.exit_code == 0, result.output
    (_, (config,), kwargs) = calls[0]
    assert (config.name, config.seed, config.train.device) == ("synthetic_tiny", 7, "cpu")
    assert (config.optim.lr, config.optim.milestones) == (0.05, (3, 4))
    assert config.model.overrides == {"width": 8}
    assert kwargs == {"out": tmp_path}
    assert f"frcore predict {tmp_path}" in result.output


def test_train_hands_over_the_callback_of_tensorboard(module, tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra [tensorboard]")
    calls = module("frcore.train", fit=FakeRun(tmp_path))
    assert run("train", "synthetic_tiny", "--tensorboard").exit_code == 0
    ((_, _, kwargs),) = calls
    assert [type(callback) for callback in kwargs["callbacks"]] == [TensorBoard]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "synthetic_tny"), "Did you mean 'synthetic_tiny' or"),
        (
            ("train", "synthetic_tiny", "--set", "optim.lerning_rate=1"),
            "optim.lerning_rate: unknown",
        ),
        (("train", "synthetic_tiny", "--set", "optim.lr=fast"), "optim.lr: "),
        (("train", "synthetic_tiny", "--set", "optim.lr"), "expected KEY=VALUE"),
        (("train", "synthetic_tiny", "--set", "seed=1", "--set", "seed=2"), "more than once"),
        (("train", "synthetic_tiny", "--set", "seed=[1"), "not plain YAML"),
        (("train", "synthetic_tiny", "--set", "seed=!!python/object:os.system x"), "plain YAML"),
        (("train", "synthetic_tiny", "--set", "seed=2001-13-40"), "plain YAML"),
        (("train", "none.yaml"), "none.yaml"),
        (("predict", "no/such/run"), "No run directory or checkpoint at no/such/run"),
        (("predict", ".", "--out", "x.json"), "ending in .npz or .csv"),
        (("data", "prepare", "nw_ucl"), "Did you mean 'nw_ucla'?"),
        (("data", "prepare", "nw_ucla"), "--source PATH"),
        (("data", "prepare", "ntu60"), "frcore data prepare ntu60 --source PATH"),
        (("data", "prepare", "ntu60", "--source", "x", "--preset", "fields"), "'field'"),
        (("data", "prepare", "ntu60", "--source", "x", "--workers", "0"), "workers is 0"),
        (("data", "prepare", "ntu60", "--source", "x", "--repair", "drop"), "takes no --repair"),
        (("data", "prepare", "nw_ucla", "--source", "x", "--skip-bad"), "takes no --skip-bad"),
        (("data", "prepare", "nw_ucla", "--source", "x", "--source", "y"), "takes one --source"),
        (("data", "prepare", "nw_ucla", "--source", "x", "--repair", "mend"), "interpolate, drop"),
        (("data", "prepare", "synthetic", "--overwrite"), "generated: it takes no --overwrite"),
        (("data", "prepare", "synthetic", "--workers", "2"), "generated: it takes no --workers"),
        (("data", "fetch", "ntu120"), "no public download"),
        (("data", "check", "ntu60"), "frcore data prepare ntu60 --source PATH"),
        (("train", "synthetic_tiny", "--epochs", "3"), "--set train.epochs=3\n"),
        (("train", "synthetic_tiny", "--batch-size=4"), "--set train.batch_size=4\n"),
        (("train", "synthetic_tiny", "--learning-rate"), "--set optim.lr=VALUE\n"),
        (("train", "a", "--momentum", "0"), "--set head.momentum=0 or --set optim.momentum=0\n"),
        (("train", "synthetic_tiny", "--nonsense", "3"), "No such option: --nonsense"),
        (("data", "check", "no_such_benchmark"), "no_such_benchmark"),
        ((*IMPORT, "--out", "c.pt"), "--out c.pt: expected a name ending in .safetensors"),
        ((*IMPORT, "--out", "c.safetensors"), "No store 'ntu60'"),
        ((*IMPORT, "--frames", "64"), "--set data.transform.frames=64"),
    ],
)
def test_fault_19_a_mistake_is_one_message_without_a_traceback(module, arguments, message):
    calls = module("frcore.train", fit=None)
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr and "Traceback" not in result.stderr
    assert result.stdout == "" and not calls


def test_fault_19_several_mistakes_are_reported_at_once():
    result = run("train", "synthetic_tiny", "--set", "optim.lr=-1", "--set", "train.epoch=3")
    assert "optim.lr" in result.stderr and "Did you mean 'epochs'?" in result.stderr


def test_fault_19_a_file_of_mistakes_is_refused_at_once_before_any_data(tmp_path, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path / "data"))
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: synthetic_tiny_frhead\nlerning_rate: 0.1\nseed: -1\n"
        "train: {epochs: many, batch_size: 0}\nhead: {levels: [1, 5]}\n"
        "optim: {lr: .nan, momentum: 0, lerning_rate: 1}\n"
    )
    result = run("train", path, "--out", tmp_path / "run")
    assert result.exit_code == 2 and "Traceback" not in result.output
    for said in (
        f"8 mistakes in {path}",
        "lerning_rate: unknown key.",
        "seed: Input should be greater than or equal to 0, not -1",
        "train.epochs: Input should be a valid integer",
        "train.batch_size: Input should be greater than or equal to 1, not 0",
        "head.level_weights: 2 levels need as many weights, not 4",
        "optim.lr: Input should be a finite number, not nan",
        "optim.nesterov: needs optim.momentum above 0",
        "optim.lerning_rate: unknown key. Did you mean 'lr'?",
    ):
        assert said in result.stderr
    assert not (tmp_path / "data").exists() and not (tmp_path / "run").exists()
    result = run("train", tmp_path / "none.yaml")
    assert result.exit_code == 2 and "No configuration file at" in result.stderr


def test_debug_shows_the_traceback_of_a_mistake_and_a_defect_always_has_one(module, tmp_path):
    module("frcore.train", fit=UserError("in use"))
    assert isinstance(run("--debug", "train", "synthetic_tiny").exception, UserError)
    assert isinstance(run("train", "synthetic_tiny").exception, SystemExit)
    module("frcore.train", fit=ZeroDivisionError())
    assert isinstance(run("train", "synthetic_tiny").exception, ZeroDivisionError)


def test_an_interrupted_training_exits_130_and_says_how_to_go_on(module, tmp_path):
    module("frcore.train", fit=FakeRun(tmp_path, "interrupted"))
    result = run("train", "synthetic_tiny")
    assert result.exit_code == 130 and "same command goes on" in result.stderr
    module("frcore.train", fit=KeyboardInterrupt())
    result = run("train", "synthetic_tiny")
    assert result.exit_code == 130 and "Interrupted" in result.stderr


def test_sigterm_keeps_its_exit_code(module):
    module("frcore.train", fit=SystemExit(143))
    assert run("train", "synthetic_tiny").exit_code == 143


def predictions(predicted, labels=(0, 1, 2, 3), **changes):
    ids = [f"=clip{i}" for i in range(len(labels))]
    names = ["write", "type", "<b>", "@sit"]
    return Predictions.from_labels(ids, labels, predicted, names, **changes)


def test_predict_prints_both_accuracies_and_writes_files(module, tmp_path):
    made = predictions([0, 0, 2, 0], copies=np.array([True, False, False, False]))
    calls = module("frcore.inference", predict=made)
    result = run(
        *("predict", tmp_path, "--split", "val", "--space", "fin.spatial", "--space", "backbone"),
        *("--data", "gestures"),
        *("--out", tmp_path / "p.npz"),
    )
    assert result.exit_code == 0, result.output
    assert calls[0][1] == (tmp_path,)
    assert calls[0][2]["split"] == "val" and calls[0][2]["data"] == "gestures"
    assert calls[0][2]["spaces"] == ("fin.spatial", "backbone")
    assert "all 4 clips:    50.00%" in result.stdout
    assert "unseen 3 clips: 33.33%   (1 are copies of training clips)" in result.stdout
    assert Predictions.load(tmp_path / "p.npz").predicted.tolist() == [0, 0, 2, 0]


@pytest.mark.parametrize("name", ["p.csv", "p.npz", "new/p.npz"])
def test_fault_04_predict_says_what_it_cannot_write_before_it_predicts(module, read_only, name):
    calls = module("frcore.inference", predict=None)
    result = run("predict", "runs/x", "--out", read_only / name)
    assert (result.exit_code, calls) == (2, [])
    assert result.stderr == f"Error: Cannot write {read_only / name}: Read-only file system.\n"


def test_predict_speaks_of_copies_for_test_clips_only(module, tmp_path):
    module("frcore.inference", predict=predictions([0, 0, 2, 0], metadata={"split": "train"}))
    result = run("predict", tmp_path, "--split", "train")
    assert "all 4 clips" in result.stdout and "unseen" not in result.stdout


def test_fault_18_csv_cells_that_a_spreadsheet_would_run_are_quoted(module, tmp_path):
    module("frcore.inference", predict=predictions([0, 0, 2, 3]))
    run("predict", tmp_path, "--out", tmp_path / "p.csv")
    table = pd.read_csv(tmp_path / "p.csv")
    assert table["sample_id"].tolist()[0] == "'=clip0"
    assert table["class"].tolist() == ["write", "type", "<b>", "'@sit"]
    assert table["label"].tolist() == [0, 1, 2, 3]


def test_prepare_fetch_and_check_call_the_data_layer(module, tmp_path, monkeypatch):
    store = SimpleNamespace(path=tmp_path)
    calls = module("frcore.data.ucla", prepare=store)
    for option in ((), ("--overwrite",)):
        result = run("data", "prepare", "nw_ucla", "--source", tmp_path / "a.zip", *option)
        assert result.exit_code == 0
    assert calls[0][1] == (tmp_path / "a.zip",) and calls[0][2] == {}
    assert calls[1][1:] == ((tmp_path / "a.zip",), {"overwrite": True})
    report = SimpleNamespace(to_dict=lambda: {"clips": 4, "copies": 1})
    module("frcore.data.fetch", fetch_benchmark=store)
    module("frcore.data.check", check_store=report)
    module("frcore.data.catalog", open_store=store)
    assert run("data", "fetch", "nw_ucla", "--url", "http://127.0.0.1/x").exit_code == 0
    result = run("data", "check", "nw_ucla", "--json", "--protocol", "X-View")
    assert json.loads(result.stdout) == {"clips": 4, "copies": 1}
    assert calls[-3][0] == "fetch_benchmark" and calls[-3][2] == {"url": "http://127.0.0.1/x"}
    assert calls[-1] == ("check_store", (store,), {"protocol": "X-View"})


def test_prepare_of_ntu_passes_its_options_and_shows_the_report(module, tmp_path):
    one = {"clips": 3, "bodies": 4, "frames": 5}
    report = {
        "rules": {"name": "clean"},
        "files": {"found": 12, "prepared": 9},
        "left_out": {"bad file": 1, "excluded": 2},
        "exclude": {"names": 7, "matched": 2, "absent": 1, "unknown_lines": 0},
        "bodies": dict.fromkeys(RULES, one),
        "protocols": {
            "xsub": {"train": {"clips": 9, "published": 9}},
            "xset": {"train": {"clips": 8, "published": 54_468}},
        },
    }
    store = SimpleNamespace(path=tmp_path, record={"report": report})
    calls = module("frcore.data.ntu.prepare", prepare=store)
    result = run(
        *("data", "prepare", "ntu120", "--source", "a.zip", "--source", "b.zip"),
        *(
            "--exclude",
            "list.txt",
            "--preset",
            "clean",
            "--workers",
            "2",
            "--skip-bad",
            "--overwrite",
        ),
    )
    assert result.exit_code == 0, result.output
    assert calls[0][1] == ([Path("a.zip"), Path("b.zip")],)
    assert calls[0][2] == {
        "benchmark": "ntu120", "exclude": Path("list.txt"), "preset": "clean", "workers": 2,
        "skip_bad": True, "overwrite": True,
    }  # fmt: skip
    shown = " ".join(result.stdout.replace("│", " ").split())
    for text in (
        "left out: bad file 1", "left out: excluded 2",
        "names to exclude 7 2 were there, not there: 1",
        "short bodies dropped 4 in 3 clips", "empty frames dropped 5 in 3 clips",
        "xsub train 9 as published", "xset train 8 published 54,468", "clips prepared 9",
        "preset clean",
    ):  # fmt: skip
        assert text in shown


def test_data_list_names_benchmarks_that_are_absent_or_unreadable(tmp_path, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "store.json").write_text("{")
    stick = Skeleton("stick", ("a", "b"), ((1, 0),))
    clips = [ClipRecord("c", 0, np.ones((2, 2, 3)), {"xsub": "train"})]
    write_store(
        tmp_path / "own", Benchmark("own", stick, ("k",), 1, 8, ("xsub",)), clips, preset="clean"
    )
    result = run("data", "list")
    assert result.exit_code == 0, result.output
    lines = {line.split("│")[1].strip(): line for line in result.stdout.splitlines() if "│" in line}
    assert "absent" in lines["nw_ucla"] and "made on first use" in lines["synthetic"]
    assert "unreadable" in lines["mine"]
    assert [cell.strip() for cell in lines["own"].split("│")[2:5]] == ["present", "1", "clean"]
    assert "absent" in lines["ntu60"] and "absent" in lines["ntu120"]


def test_recipes_are_listed_with_a_line_each():
    result = run("recipes")
    assert result.exit_code == 0 and "Each with FR Head: NAME_frhead." in result.stdout
    names = {line.split("│")[1].strip() for line in result.stdout.splitlines() if "│" in line}
    plain = {name for name in list_recipes() if not name.endswith("_frhead")}
    assert plain <= names and {f"{name}_frhead" for name in plain} == set(list_recipes()) - plain


def test_the_demo_compares_groups_by_the_true_class():
    a = predictions([1, 1, 2, 2])  # write -> type, type, <b>, sit -> <b>
    b = predictions([0, 0, 2, 3])  # fixes write and sit, breaks type
    rows = {row[0]: row[1:] for row in demo.compare_predictions(a, b, [(0, 1)])}
    assert rows["accuracy, % (4 clips)"] == ("50.0", "75.0", "+25.0")
    assert rows["look-alike classes, % (2 clips)"] == ("50.0", "50.0", "+0.0")
    assert rows["other classes, % (2 clips)"] == ("50.0", "100.0", "+50.0")
    assert rows["errors within look-alikes, %"] == ("50.0", "100.0", "+50.0")
    assert rows["clips only this model gets right"] == ("1", "2", "+1")


def test_a_perfect_model_and_no_planted_group_divide_by_nothing():
    a = predictions([0, 1, 2, 3])
    rows = {row[0]: row[1:] for row in demo.compare_predictions(a, a, [])}
    assert rows["look-alike classes, % (0 clips)"] == ("-", "-", "-")
    assert rows["errors within look-alikes, %"] == ("-", "-", "-")
    assert rows["clips only this model gets right"] == ("0", "0", "+0")


class DemoRun(FakeRun):
    def __init__(self, path, epochs=2, state="finished"):
        super().__init__(path, state)
        self.metrics = pd.DataFrame({"epoch": range(1, epochs + 1), "seconds": [1.5] * epochs})


def test_the_demo_prints_a_comparison_and_says_what_it_reused(module, tmp_path, monkeypatch):
    paths = [tmp_path / recipe for recipe in demo.RECIPES]
    paths[0].mkdir()
    (paths[0] / "metrics.csv").write_text("epoch,seconds\n1,1.5\n2,1.5\n")
    trained = types.ModuleType("frcore.train")
    trained.fit = lambda recipe, *, out: DemoRun(out)
    monkeypatch.setitem(sys.modules, "frcore.train", trained)
    module("frcore.inference", predict=predictions([0, 0, 2, 3], metadata={"benchmark": "x"}))
    record = SimpleNamespace(confusable=((0, 1),))
    module("frcore.data.catalog", get_benchmark=record)
    result = run("demo", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "synthetic_tiny: finished earlier" in result.stdout.replace("\n", " ")
    assert "synthetic_tiny_frhead: trained 2 epochs" in result.stdout
    assert "look-alike classes" in result.stdout and "frviz compare" in result.stdout
    assert "make lab" in result.stdout
    result = run("demo", "--out", tmp_path, "--compared")  # as `make demo`, which then compares
    assert result.exit_code == 0, result.output
    assert "frviz compare" not in result.stdout and "make lab" in result.stdout


def test_an_interrupted_demo_exits_130(tmp_path, monkeypatch):
    trained = types.ModuleType("frcore.train")
    trained.fit = lambda recipe, *, out: DemoRun(out, state="interrupted")
    monkeypatch.setitem(sys.modules, "frcore.train", trained)
    assert run("demo", "--out", tmp_path).exit_code == 130


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("code", [143, 130, 2])
def test_a_stopped_command_does_not_wait_for_its_compilers(code):
    """Queued in threads, for which an ordinary end waits."""
    script = (
        "import sys, threading, time\n"
        "from frcore import cli\n"
        "sys.modules['torch._inductor'] = sys\n"
        "threading.Thread(target=time.sleep, args=[8]).start()\n"
        "cli.app = lambda **_: sys.exit(int(sys.argv[1]))\n"
        "cli.main()\n"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script, str(code)], timeout=60, check=False)
    assert done.returncode == code
    assert (time.monotonic() - begun > 8) == (code == 2)  # a mistake ends as ever
