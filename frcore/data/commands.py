"""The commands `frcore data ...`: raw files to stores, and what is wrong with them."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from frcore.commands import show, table_of
from frcore.errors import UserError, counted, unknown_name

_NTU = "frcore.data.ntu.prepare"
_OF_NTU = (_NTU, ("source", "exclude", "preset", "workers", "skip_bad", "overwrite"))
# Name -> module that makes the store, and the options it takes.
_PREPARE: dict[str, tuple[str, tuple[str, ...]]] = {
    "nw_ucla": ("frcore.data.ucla", ("source", "repair", "overwrite")),
    "ntu60": _OF_NTU,
    "ntu120": _OF_NTU,
    "synthetic": ("frcore.data.synthetic", ()),
}

data = typer.Typer(no_args_is_help=True, help="Prepare, fetch, check and list benchmarks.")


@data.command()
def prepare(
    benchmark: Annotated[str, typer.Argument(help="nw_ucla, ntu60, ntu120 or synthetic")],
    source: Annotated[
        list[Path] | None,
        typer.Option(
            help="The downloaded archive, or the folder it unpacks to; NTU: also several times, "
            "and folders that hold archives."
        ),
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(help="NTU: samples to leave out, one a line, such as the official list."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="NTU: how bodies are chosen, 'field' (default) or 'clean'.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="NTU: processes. Default: one a core.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="NTU: leave out unreadable files and list them.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing store, else refused.")
    ] = False,
    repair: Annotated[
        str | None,
        typer.Option(help="NW-UCLA, NaN and Inf: 'interpolate' or 'drop' the clip; else refused."),
    ] = None,
) -> None:
    """Turn downloaded files into a packed store under $FRCORE_DATA."""
    import importlib

    options = {
        "source": source,
        "exclude": exclude,
        "preset": preset,
        "workers": workers,
        "skip_bad": skip_bad or None,
        "overwrite": overwrite or None,
        "repair": repair,
    }
    given = {name: value for name, value in options.items() if value not in (None, [])}
    name = _check_options(benchmark, given)
    sources = given.pop("source", [])
    module = importlib.import_module(name)
    if name != _NTU:
        store = module.prepare(*sources, **given)
    else:
        from frcore.data.ntu.report import report_rows

        store = module.prepare(sources, benchmark=benchmark, **given)
        show(table_of(report_rows(store.record["report"]), benchmark, "", ""))
    typer.echo(f"{store!r}\nReady in {store.path}. Next: frcore data check {benchmark}")


def _check_options(benchmark: str, given: dict[str, Any]) -> str:
    """The module that makes a benchmark's store; refuses options that it does not take."""
    if benchmark not in _PREPARE:
        raise unknown_name("benchmark to prepare", benchmark, _PREPARE)
    module, takes = _PREPARE[benchmark]
    foreign = [f"--{name.replace('_', '-')}" for name in given if name not in takes]
    if foreign and not takes:
        raise UserError(f"'{benchmark}' is generated: it takes no {', '.join(foreign)}.")
    if foreign:
        known = ", ".join(f"--{name.replace('_', '-')}" for name in takes)
        raise UserError(f"'{benchmark}' takes no {', '.join(foreign)}. Its options: {known}.")
    if takes and "source" not in given:
        raise UserError(f"Give the downloaded files: frcore data prepare {benchmark} --source PATH")
    if len(given.get("source", ())) > 1 and module != _NTU:
        raise UserError(f"'{benchmark}' takes one --source; {len(given['source'])} are given.")
    if given.get("repair") not in (None, "interpolate", "drop"):
        raise unknown_name("value of --repair", given["repair"], ("interpolate", "drop"))
    return module


@data.command()
def fetch(
    benchmark: Annotated[str, typer.Argument(help="nw_ucla")],
    url: Annotated[str | None, typer.Option(help="Another place to download from.")] = None,
) -> None:
    """Download, verify and prepare a benchmark."""
    from frcore.data import fetch_benchmark

    result = fetch_benchmark(benchmark, url=url)
    typer.echo(f"{result!r}\nNext: frcore data check {benchmark}")


@data.command("import")
def import_file(
    benchmark: Annotated[str, typer.Argument(help="ntu60 or ntu120")],
    file: Annotated[Path, typer.Argument(help=".npz (CTR-GCN family) or .pkl (pyskl).")],
    protocol: Annotated[
        str | None, typer.Option(help="Of an npz: xsub, xview or xset. Default: by its name.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the store. Default: the benchmark's, as recipes expect.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out clips that cannot be used, list them.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing store.")
    ] = False,
) -> None:
    """Turn a file that others prepared into a packed store under $FRCORE_DATA."""
    from frcore.data import import_clips

    options = {"protocol": protocol, "name": name, "skip_bad": skip_bad, "overwrite": overwrite}
    store = import_clips(benchmark, file, **options)
    typer.echo(f"{store!r}\nReady in {store.path}. Next: frcore data check {store.path.name}")


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
        f"{counted(len(outcomes), 'raw file')} in {folder}, {empty:,} of them without any body. "
        f"Bodies that must be dropped: {reasons['short']:,} short, {reasons['spread']:,} too wide, "
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

    root = data_root()
    stores = {path.parent.name for path in root.glob("*/store.json")}
    known = list_benchmarks()
    rows = [
        (name, *_state(root / name, name), str(root / name))
        for name in [*known, *sorted(stores - set(known))]
    ]
    show(table_of(rows, "benchmark", "state", "clips", "preset", "path"))


def _state(path: Path, name: str) -> tuple[str, str, str]:
    """Of a store: whether it is there, its clips, its preset."""
    from frcore.data import open_store
    from frcore.display import short

    if not (path / "store.json").is_file():
        return ("made on first use" if name == "synthetic" else "absent"), "", ""
    try:
        store = open_store(path)
    except UserError as error:
        return f"unreadable: {error}", "", ""
    return "present", f"{len(store):,}", short(store.preset)
