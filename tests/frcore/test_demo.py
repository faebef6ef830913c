"""The demo, for real, on a quarter of the embedded benchmark, with one epoch of a smaller model."""

import re

import pytest
from typer.testing import CliRunner

import frcore
from frcore import demo, train
from frcore.cli import app
from frcore.data.synthetic import prepare
from frcore.run import Run

SMALL = {
    "model.overrides": {"width": 8},
    "data.transform.frames": 8,
    "train.epochs": 1,
    "optim.warmup_epochs": 0,
    "optim.lr": 0.05,
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The directory, and what two calls of the command printed."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("demo")
    fit = train.fit
    prepare(data, clips_per_subject_and_class=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRCORE_DATA", str(data))
        patch.setattr(train, "fit", lambda recipe, **options: fit(recipe, **options, **SMALL))
        results = [CliRunner().invoke(app, ["demo", "--out", str(out)]) for _ in range(2)]
        assert [r.exit_code for r in results] == [0, 0], results[0].output
        yield out, *(re.sub(r"\s*\n\s*", "\n", r.stdout) for r in results)


def test_the_demo_trains_both_recipes_and_compares_them(shown):
    out, text, _ = shown
    runs = [Run.open(out / recipe) for recipe in demo.RECIPES]
    assert [run.config["head"] is not None for run in runs] == [False, True]
    for recipe in demo.RECIPES:
        assert f"{recipe}: trained 1 epochs in" in text
    a, b = (frcore.predict(run) for run in runs)
    row = re.search(r"accuracy, % \(([\d,]+) clips\)\s*│\s*(\S+)\s*│\s*(\S+)\s*│\s*(\S+)", text)
    percent = [f"{100 * p.accuracy():.1f}" for p in (a, b)]
    difference = float(percent[1]) - float(percent[0])  # of what is printed: a reader checks it
    assert row.groups() == (f"{len(a):,}", *percent, f"{difference:+.1f}")
    assert "frviz compare" in text and "make lab" in text


def test_the_demo_reuses_finished_runs_and_says_so(shown):
    _, text, again = shown
    for recipe in demo.RECIPES:
        assert f"{recipe}: finished earlier in" in again
    assert "trained" not in again.split("│")[0]
    table = [line for line in text.splitlines() if "│" in line]
    assert [line for line in again.splitlines() if "│" in line] == table
