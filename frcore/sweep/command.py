"""`frcore sweep`."""

from pathlib import Path
from typing import Annotated

import typer

from frcore.commands import INTERRUPTED, parse_changes

FAILED = 1


def sweep(
    table: Annotated[
        str,
        typer.Argument(
            help="table1 (parts of FR Head), table2 (weights), table3 (backbones), table4 (levels "
            "and groups), table5 (streams)"
        ),
    ],
    benchmark: Annotated[str, typer.Option(help="nw_ucla, ntu60, ntu120 or synthetic")],
    protocol: Annotated[str | None, typer.Option(help="Default: the benchmark's first.")] = None,
    seeds: Annotated[int, typer.Option(help="Runs a row: seeds 0, 1, 2, ...")] = 5,
    jobs: Annotated[
        int, typer.Option(help="Processes at a time on this machine; several may share a GPU.")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Dask scheduler, whose workers run them instead."),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--print", help="Print the command lines of unfinished runs, no more.")
    ] = False,
    quick: Annotated[bool, typer.Option(help="The recipe for minutes on a CPU.")] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value in all runs. Repeats."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = None,
    out: Annotated[Path, typer.Option(help="Where runs and tables lie.")] = Path("runs/sweeps"),
) -> None:
    """Train one of the paper's tables; started again with the same command, it goes on."""
    asked = {
        "protocol": protocol,
        "seeds": seeds,
        "quick": quick,
        "changes": parse_changes(changes or []),
        "device": device,
        "out": out,
    }
    if listed:
        from frcore.sweep.plan import make_plan

        for line in make_plan(table, benchmark, **asked).lines():
            typer.echo(line)
        return

    from frcore.sweep.running import run_sweep

    result = run_sweep(table, benchmark, jobs=jobs, scheduler=scheduler, **asked)
    typer.echo(f"{result.markdown}\nWritten to {result.path} and .csv")
    for job in result.plan.jobs:
        if job.path in result.failed:
            why = f"exit code {result.failed[job.path]}"
            typer.echo(f"Failed: {job.row}, seed {job.seed} ({why}); see {job.log}", err=True)
    if result.failed:
        typer.echo("The same command tries these again, from where they are.", err=True)
        raise typer.Exit(FAILED)
    if result.unfinished:
        left = len(result.unfinished)
        typer.echo(f"Stopped: {left} runs are left. The same command goes on from there.", err=True)
        raise typer.Exit(INTERRUPTED)
    if result.next_step:
        typer.echo(f"Levels, groups, classes and clips: {result.next_step}")
