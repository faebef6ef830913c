"""The commands `frcore data ...`: raw files to stores, and what is wrong with them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from frcore.commands import show, table_of
from frcore.errors import UserError, unknown_name

_PREPARE = {"nw_ucla": "frcore.data.ucla", "synthetic": "frcore.data.synthetic"}

data = typer.Typer(no_args_is_help=True, help="Prepare, fetch, check and list benchmarks.")


@data.command()
def prepare(
    benchmark: Annotated[str, typer.Argument(help="nw_ucla or synthetic")],
    source: Annotated[
        Path | None, typer.Option(help="The downloaded archive, or the folder it unpacks to.")
    ] = None,
    repair: Annotated[
        str | None,
        typer.Option(help="NaN and Inf: 'interpolate' or 'drop' the clip; else refused."),
    ] = None,
) -> None:
    """Turn downloaded files into a packed store under $FRCORE_DATA."""
    import importlib

    if benchmark not in _PREPARE:
        from frcore.data.catalog import NO_READER, no_reader

        if benchmark in NO_READER:
            raise UserError(no_reader(benchmark))
        raise unknown_name("benchmark to prepare", benchmark, _PREPARE)
    if repair not in (None, "interpolate", "drop"):
        raise unknown_name("value of --repair", repair, ("interpolate", "drop"))
    module = importlib.import_module(_PREPARE[benchmark])
    if benchmark == "synthetic":
        if source is not None or repair is not None:
            raise UserError(
                "The benchmark 'synthetic' is generated: it takes no --source, --repair."
            )
        store = module.prepare()
    elif source is None:
        raise UserError(f"Give the downloaded files: frcore data prepare {benchmark} --source PATH")
    else:
        store = module.prepare(source, repair=repair)
    typer.echo(f"{store!r}\nReady in {store.path}. Next: frcore data check {benchmark}")


@data.command()
def fetch(
    benchmark: Annotated[str, typer.Argument(help="nw_ucla")],
    url: Annotated[str | None, typer.Option(help="Another place to download from.")] = None,
) -> None:
    """Download, verify and prepare a benchmark."""
    from frcore.data import fetch_benchmark

    result = fetch_benchmark(benchmark, url=url)
    typer.echo(f"{result!r}\nNext: frcore data check {benchmark}")


@data.command("simulate-raw")
def simulate_raw(
    folder: Annotated[Path, typer.Argument(help="Where to; made if need be.")],
    files: Annotated[int, typer.Option(help="How many.")] = 200,
    benchmark: Annotated[str, typer.Option("--set", help="ntu60 or ntu120")] = "ntu60",
    zipped: Annotated[bool, typer.Option("--zip", help="The official archives of them.")] = False,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
) -> None:
    """Write synthetic raw .skeleton files, to try the preparation of NTU RGB+D without its data."""
    from collections import Counter

    from frcore.data.ntu.raw_synthetic import write_raw_set

    outcomes = write_raw_set(folder, files, benchmark=benchmark, seed=seed, zipped=zipped)
    reasons = Counter(reason for outcome in outcomes for reason in outcome.dropped.values())
    empty = sum(not outcome.body_ids for outcome in outcomes)
    typer.echo(
        f"{len(outcomes):,} raw files in {folder}, {empty:,} of them without any body. Bodies that "
        f"must be dropped: {reasons['short']:,} short, {reasons['spread']:,} too wide, "
        f"{reasons['no_slot']:,} without a slot.\n"
        f"Next: frcore data prepare {benchmark} --source {folder}"
    )


@data.command()
def check(
    benchmark: Annotated[str, typer.Argument(help="A benchmark's name, or a store's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    protocol: Annotated[str | None, typer.Option(help="Default: the benchmark's first.")] = None,
) -> None:
    """Report NaN, empty, single-frame and flat clips, and content copied across the split."""
    from frcore.data import check_store, open_store

    report = check_store(open_store(benchmark), protocol=protocol)
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else str(report))


@data.command("list")
def list_stores() -> None:
    """List benchmarks: present or not, clips, where."""
    from frcore.data import data_root, list_benchmarks
    from frcore.data.catalog import NO_READER

    root = data_root()
    stores = {path.parent.name for path in root.glob("*/store.json")}
    known = list_benchmarks()
    rows = [
        (name, *_state(root / name, name), str(root / name))
        for name in [*known, *sorted(stores - set(known))]
    ]
    rows += [(name, "no reader yet", "", "") for name in NO_READER if name not in stores]
    show(table_of(rows, "benchmark", "state", "clips", "path"))


def _state(path: Path, name: str) -> tuple[str, str]:
    from frcore.data import open_store

    if not (path / "store.json").is_file():
        return ("made on first use" if name == "synthetic" else "absent"), ""
    try:
        return "present", f"{len(open_store(path)):,}"
    except UserError as error:
        return f"unreadable: {error}", ""
