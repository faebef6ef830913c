"""The `frviz` command. Heavy imports happen inside each command."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frcore.commands import make_app

if TYPE_CHECKING:
    from frcore.predictions import Predictions

app = make_app()


def main() -> None:
    """Entry point of `frviz` and `python -m frviz`."""
    app(prog_name="frviz")


def _version(shown: bool) -> None:
    if shown:
        from frcore import __version__

        typer.echo(f"frviz {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of mistakes.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """See which actions a recogniser confuses, and whether a change really helped."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="The baseline: a run, a checkpoint or predictions.")],
    b: Annotated[Path, typer.Argument(help="What changed, likewise.")],
    more_a: Annotated[
        list[Path] | None, typer.Option("--a", help="Another seed of A; may be repeated.")
    ] = None,
    more_b: Annotated[
        list[Path] | None, typer.Option("--b", help="Another seed of B; may be repeated.")
    ] = None,
    names: Annotated[
        tuple[str, str] | None, typer.Option(help="How the two are called, A and B.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Whose confusions make groups and levels; A by default.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="True classes of published score files (val_label.pkl).")
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option(help="Whose class names score files have, such as nw_ucla.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write everything to this HTML file, to be read offline.")
    ] = None,
    verdict: Annotated[
        bool, typer.Option("--verdict", help="Print what came out in words, without the table.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of intervals and halves.")] = 0,
) -> None:
    """Compare two models over the same test clips: did it help, where, more than by chance?"""
    from frviz.comparison import compare as compare_models

    sides: list[list[Any]] = [[a, *(more_a or [])], [b, *(more_b or [])]]
    if labels or benchmark:
        sides = [[_scores(path, labels, benchmark) for path in side] for side in sides]
    comparison = compare_models(*sides, names=names or None, reference=reference, seed=seed)
    typer.echo(comparison.verdict if verdict else repr(comparison))
    if report is not None:
        typer.echo(f"Report: {comparison.report(report)}")


def _scores(path: Path, labels: Path | None, benchmark: str | None) -> "Predictions":
    """A published score file; its folder tells files of the same name apart."""
    from frcore.scores import read_scores

    source = str(Path(path.parent.name) / path.name)
    return read_scores(path, labels, benchmark=benchmark, metadata={"source": source})
