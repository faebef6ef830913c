"""A sweep of a tiny store, and runs that are written instead of trained."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from frcore.data.store import Store
    from frcore.sweep.plan import Job, Plan

TINY = {  # on top of synthetic_tiny: 2 steps an epoch
    "benchmark": "tiny",
    "train.epochs": 3,
    "optim.warmup_epochs": 0,
    "data.transform.frames": 8,
}


@pytest.fixture
def plan_of(tiny_store: "Store", tmp_path: Path) -> Callable[..., "Plan"]:
    """Plans a table over `tiny_store` in a folder of the test's own."""
    from frcore.sweep.plan import make_plan

    def make(table: str = "table4", **more: Any) -> "Plan":
        changes = {**TINY, **more.pop("changes", {})}
        given = {"seeds": 2, "out": tmp_path / "sweeps", **more}
        return make_plan(table, "synthetic", changes=changes, **given)

    return make


@pytest.fixture
def stand_in(
    plan_of: Callable[..., "Plan"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, str]], "Plan"]:
    """A plan whose processes do what they are told, by the start of their name (stand_in.py)."""
    from frcore.sweep import progress, scheduling

    here = (str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, here)))
    monkeypatch.setenv("STAND_IN", str(tmp_path / "plan.json"))
    monkeypatch.setattr(scheduling, "PAUSE", 0.02)
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    plan = plan_of()
    grid = {
        place: replace(job, command=("stand_in", *job.command[1:]))
        for place, job in plan.grid.items()
    }
    plan = replace(plan, grid=grid)

    def told(what: dict[str, str]) -> "Plan":
        (tmp_path / "plan.json").write_text(json.dumps(what))
        return plan

    return told


@pytest.fixture
def write_run() -> Callable[..., None]:
    """Writes a run's directory as training leaves it."""
    return _write_run


def _write_run(
    job: "Job",
    right: Sequence[Sequence[int]],
    *,
    ids: Sequence[str] | None = None,
    val: Sequence[float] | None = None,
    finished: bool = True,
) -> None:
    """Of a job; `right` is 0 or 1 by epoch and test clip."""
    from frcore.run_dir import RunDir

    right = np.array(right)
    ids = [f"test/{n}" for n in range(right.shape[1])] if ids is None else ids
    labels = np.arange(right.shape[1]) % 5
    with RunDir(job.path) as directory:
        config = job.config.model_dump(mode="json")
        directory.write_config(config, config_hash=job.config.hash)
        for number, row in enumerate(right):
            clips = {"test_predicted": np.where(row, labels, (labels + 1) % 5)}
            fixed = {"test_labels": labels, "test_sample_ids": np.array(ids)}
            measured = {"seconds": 4.0, "eval_seconds": 1.0, "test_acc": float(row.mean())}
            measured |= {} if val is None else {"val_acc": val[number]}
            directory.append_metrics({"epoch": number + 1, **measured})
            directory.append_arrays("history", number + 1, clips, fixed=fixed)
        if finished:
            directory.finish(len(right))
