"""`run_sweep`: works a table's runs off, however often it is stopped, and says what came out."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frcore.data.catalog import open_store
from frcore.files import check_writable
from frcore.stopping import StopRequest
from frcore.sweep.local import LocalPool
from frcore.sweep.plan import DEFAULT_OUT, Plan, make_plan
from frcore.sweep.progress import Progress
from frcore.sweep.scheduling import Scheduling

if TYPE_CHECKING:
    from frcore.sweep.cluster import ClusterPool
    from frcore.sweep.report import SweepResult


def run_sweep(
    table: str,
    benchmark: str = "synthetic",
    *,
    protocol: str | None = None,
    seeds: int = 5,
    jobs: int = 1,
    scheduler: str | None = None,
    quick: bool = False,
    changes: Mapping[str, Any] | None = None,
    device: str | None = None,
    out: str | Path = DEFAULT_OUT,
) -> "SweepResult":
    """Trains all runs of one of the paper's tables and puts them beside its figures.

    Finished runs are skipped, partial ones resumed; a changed configuration is another run. Tables
    share runs: the baseline is trained once.

    Args:
        table: "table1" (parts of FR Head), "table2" (weights), "table3" (backbones), "table4"
            (levels and groups) or "table5" (streams and fusion).
        benchmark: whose recipe is varied: "synthetic", "nw_ucla".
        protocol: default: the benchmark's first.
        seeds: so many runs a row, seeds 0, 1, 2, ...
        jobs: processes at a time on this machine; several may share a GPU.
        scheduler: address of a Dask scheduler, whose workers run them instead.
        quick: the recipe that takes minutes on a CPU.
        changes: values of every configuration, dotted, such as `{"train.epochs": 3}`.
        device: "auto", "cpu", "cuda", "cuda:1".
        out: where runs and tables lie.

    Returns:
        Tables of the runs, as far as they are finished: after Ctrl-C (or a notebook's stop button)
        of those that are; the others are saved.

    Raises:
        UserError: a mistake in what is asked for, before anything is trained.
        SystemExit: with code 143 after SIGTERM; all runs are saved and go on from there.
    """
    from frcore.sweep.report import SweepResult

    out = Path(out) if scheduler is None else Path(out).resolve()  # workers start elsewhere
    plan = make_plan(
        table,
        benchmark,
        protocol=protocol,
        seeds=seeds,
        quick=quick,
        changes=changes,
        device=device,
        out=out,
    )
    pool = make_pool(jobs, scheduler, device)
    store = open_store(plan.config.benchmark)  # made here if need be, not by all runs at once
    plan.check_runs(store)
    check_writable(plan.jobs[0].log)
    failed = {}
    if any(job.state != "finished" for job in plan.jobs):
        failed = work_off(plan, pool)
    return SweepResult.of(plan, store, failed)


def make_pool(jobs: int, scheduler: str | None, device: str | None) -> "LocalPool | ClusterPool":
    """Where the runs are worked off."""
    if scheduler is None:
        return LocalPool(jobs, device=device)
    from frcore.sweep.cluster import ClusterPool

    return ClusterPool(scheduler)


def work_off(plan: Plan, pool: "LocalPool | ClusterPool") -> dict[Path, int | str]:
    """Runs what is not finished; what failed, by directory, with its exit code.

    A failure does not stop the others. A run that another process has (another sweep, or what a
    killed one left behind) is waited for.
    """
    with StopRequest() as stop, pool, Progress(plan, pool.workers) as progress:
        failed = Scheduling(plan.jobs, pool).run(progress, lambda: stop.requested)
    if stop.signal is not None and stop.signal.name == "SIGTERM":
        raise SystemExit(stop.exit_code)
    return failed
