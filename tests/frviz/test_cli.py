"""The frviz command: what it prints, what it writes, mistakes as one message with exit 2."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import frcore
from frviz.cli import app


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def files(random_pair, tmp_path: Path) -> list[Path]:
    pair = random_pair(200, gain=0.2)
    return [x.save(tmp_path / f"{name}.npz") for name, x in zip("ab", pair, strict=True)]


def test_compare_prints_a_table_and_a_verdict_and_writes_a_report(files, tmp_path) -> None:
    report = tmp_path / "new" / "report.html"
    done = run("compare", *files, "--names", "plain", "FR Head", "--report", report)
    assert done.exit_code == 0, done.output
    assert "top-1" in done.stdout
    assert "FR Head against plain: " in done.stdout
    assert f"Report: {report}" in done.stdout
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_only_the_verdict(files) -> None:
    done = run("compare", *files, "--verdict")
    assert done.stdout.startswith("B against A: ")
    assert "top-1" not in done.stdout


def test_seeds_and_a_reference(files) -> None:
    a, b = files
    done = run("compare", a, b, "--a", b, "--b", a, "--reference", b, "--seed", 3)
    assert done.exit_code == 0, done.output
    assert "B (2 runs) against A (2 runs): " in done.stdout


def test_published_score_files(reference) -> None:
    folder = reference / "data" / "scores" / "nw_ucla"
    files = [folder / stream / "epoch1_test_score.pkl" for stream in ("bone", "joint")]
    where = ("--labels", folder / "val_label.pkl", "--benchmark", "nw_ucla")
    done = run("compare", *files, *where)
    assert done.exit_code == 0, done.output
    assert (
        "joint/epoch1_test_score.pkl against bone/epoch1_test_score.pkl: 19 clips fixed, 13 broken"
    ) in done.stdout


def test_arrays_of_one_score_file(reference, tmp_path) -> None:
    path = reference / "data" / "scores" / "ntu60_xsub_predictions.npz"
    done = run("compare", path, path, "--scores", "agcn_joint", "agcn_bone", "--verdict")
    assert done.exit_code == 0, done.output
    assert "agcn_bone against agcn_joint: 892 clips fixed, 748 broken; a gain" in done.stdout
    which = ("--scores", "agcn_joint", "agcn_bone", "--benchmark", "ntu60")
    report = run("compare", path, path, *which, "--report", tmp_path / "r.html")
    assert report.exit_code == 0 and "Unknown" not in report.output, report.output
    assert "put on a hat/cap" in (tmp_path / "r.html").read_text(encoding="utf-8")
    asked = run("compare", path, path)
    assert "agcn_joint, agcn_bone" in asked.stderr
    assert "header" not in asked.stderr


def test_a_mistake_is_one_message(files, tmp_path) -> None:
    done = run("compare", files[0], tmp_path / "nowhere")
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: ")
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.output
    assert run("compare", *files, "--seed", -1).stderr.startswith("Error: seed")
    assert isinstance(run("--debug", "compare", files[0], "nowhere").exception, frcore.UserError)


@pytest.mark.parametrize(
    ("command", "module", "option"),
    [
        ("compare", "frviz.comparison", "--report"),
        ("explore", "frviz.exploration", "--out"),
    ],
)
def test_fault_04_what_cannot_be_written_is_said_before_the_work(
    files, read_only, monkeypatch, command, module, option
) -> None:
    monkeypatch.setattr(f"{module}.{command}", lambda *_, **__: pytest.fail("worked"))
    for path in (read_only / "r.html", read_only / "new" / "r.html"):
        done = run(command, *files, option, path)
        assert done.exit_code == 2
        assert done.stderr == f"Error: Cannot write {path}: Read-only file system.\n"


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from frviz.cli import app\n"
        "try: app(['compare', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'pandas', 'plotly', 'sklearn', 'umap'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")


def test_it_is_a_module_and_says_its_version() -> None:
    command = [sys.executable, "-m", "frviz", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"frviz {frcore.__version__}\n"
