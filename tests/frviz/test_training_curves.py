"""Training curves: right numbers, axes that hold them, a choice by accuracy that is said."""

import math

import pandas as pd

from frviz.figures.training import training_curves


def row(epoch, **changes):
    values = {"epoch": epoch, "ce": 2.0 / epoch, "cl": 4.0 / epoch, "train_acc": 0.5}
    values |= {"test_acc": 0.1 * epoch, "tp": 60, "fn": 20, "fp": 40}
    return {**values, **changes}


def curves(figure):
    return {trace.name: list(trace.y) for trace in figure.data if trace.name}


def test_curves_hold_losses_and_percentages():
    figure = training_curves(pd.DataFrame([row(1), row(2)]), outcomes=True)
    assert curves(figure) == {
        **{"CE": [2, 1], "CL (FR Head)": [4, 2], "train": [50, 50], "test": [10, 20]},
        **{"TP": [75, 75], "FN, FP": [25, 25]},  # of 60 + 20 clips
    }


def test_a_run_without_head_or_evaluation_shows_what_it_has():
    rows = [row(1, cl=0.0, test_acc=math.nan), row(2, cl=0.0, test_acc=math.nan)]
    metrics = pd.DataFrame(rows).drop(columns=["tp", "fn", "fp"])
    assert list(curves(training_curves(metrics, outcomes=True))) == ["CE", "train"]
    assert curves(training_curves(pd.DataFrame(columns=["epoch"]))) == {}


def test_losses_lie_inside_the_log_axis():
    low, high = training_curves(pd.DataFrame([row(1), row(2)])).layout.yaxis.range
    assert low < math.log10(1) and math.log10(4) < high
    low, high = training_curves(pd.DataFrame([row(1, ce=math.nan, cl=0)])).layout.yaxis.range
    assert high - low >= math.log10(5)


def test_a_choice_made_on_test_is_said_and_ringed():
    metrics = pd.DataFrame([row(1, test_acc=0.3), row(2, test_acc=0.4), row(3, test_acc=0.2)])
    figure = training_curves(metrics, select="test_best")
    assert "epoch 2 selected on test: optimistic" in figure.layout.title.text
    ring = figure.data[-1]
    assert (list(ring.x), list(ring.y)) == ([2], [40.0])
    assert "selected on test" not in training_curves(metrics).layout.title.text
    assert (
        "selected on test" in training_curves(metrics.head(0), select="test_best").layout.title.text
    )


def test_fault_18_names_are_inert():
    figure = training_curves(pd.DataFrame([row(1)]), title="<img src=x onerror=alert(1)>")
    assert "<img" not in figure.layout.title.text and "&lt;img" in figure.layout.title.text
