"""The same runs on a Dask cluster: submitted, failed, stopped."""

import json
import time
from pathlib import Path

import pytest

from frcore.errors import UserError
from frcore.sweep import running
from frcore.sweep.cluster import ClusterPool
from frcore.sweep.running import work_off

distributed = pytest.importorskip("distributed", reason="needs the extra [cluster]")


@pytest.fixture(scope="module")
def address():
    """A scheduler with one worker, which takes two runs at a time; in threads of this process."""
    settings = {"n_workers": 1, "threads_per_worker": 2, "processes": False}
    with distributed.LocalCluster(**settings, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def test_the_cluster_runs_what_is_not_finished(stand_in, write_run, address, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", "some/data")  # a worker may start in another folder
    plan = stand_in({"ctrgcn_tiny_fr-bone-s1": "fail"})
    write_run(plan.jobs[0], [[1, 0]])
    assert work_off(plan, ClusterPool(address)) == {plan.jobs[3].path: 3}
    assert [job.state for job in plan.jobs] == ["finished"] * 3 + ["partial"]
    seen = json.loads((plan.jobs[1].path / "seen.json").read_text())
    assert seen["FRCORE_DATA"] == str(Path("some/data").resolve())
    assert plan.jobs[1].log.read_text() == f"began {plan.jobs[1].path.name}\n"


def test_a_stop_reaches_the_workers(stand_in, address, monkeypatch):
    plan = stand_in({"ctrgcn_tiny": "wait"})
    stops = []

    class Stop:
        signal = None

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        @property
        def requested(self):
            stops.append(sum((job.path / "seen.json").exists() for job in plan.jobs))
            return stops[-1] == 2  # both threads of the worker have one

    monkeypatch.setattr(running, "StopRequest", Stop)
    begin = time.monotonic()
    assert work_off(plan, ClusterPool(address)) == {}
    assert time.monotonic() - begin < 30
    assert sorted(job.state for job in plan.jobs) == 2 * ["partial"] + 2 * ["waiting"]
    time.sleep(1.5)  # nothing begins afterwards
    assert sum((job.path / "seen.json").exists() for job in plan.jobs) == 2


def test_no_scheduler_is_one_message(monkeypatch):
    monkeypatch.setattr("frcore.sweep.cluster.PATIENCE", 0.5)
    with pytest.raises(UserError, match="No Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        ClusterPool("tcp://127.0.0.1:9").__enter__()
    with pytest.raises(UserError, match="No Dask scheduler answers at 'nowhere at all'"):
        ClusterPool("nowhere at all").__enter__()
