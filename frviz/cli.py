"""The `frviz` command. Heavy imports happen inside each command."""

from pathlib import Path
from typing import Annotated, Any

import typer

from frcore.commands import make_app

app = make_app(
    "frviz", "See which actions a recogniser confuses, and whether a change really helped."
)


# Options that both commands have.
Names = Annotated[tuple[str, str] | None, typer.Option(help="How the two are called, A and B.")]
Labels = Annotated[
    Path | None, typer.Option(help="True classes of published score files (val_label.pkl).")
]
BenchmarkName = Annotated[
    str | None, typer.Option(help="Whose class names score files have, such as nw_ucla.")
]
Scores = Annotated[
    tuple[str, str] | None, typer.Option(help="Arrays of .npz score files to take, for A and B.")
]


def main() -> None:
    """Entry point of `frviz` and `python -m frviz`."""
    app(prog_name="frviz")


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
    names: Names = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="Whose confusions make groups and levels; both models by default."),
    ] = None,
    labels: Labels = None,
    benchmark: BenchmarkName = None,
    scores: Scores = None,
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

    which = scores or (None, None)
    sides = [
        [_source(path, labels, benchmark, array) for path in (first, *(more or []))]
        for first, more, array in ((a, more_a, which[0]), (b, more_b, which[1]))
    ]
    judge = None if reference is None else _source(reference, labels, benchmark, which[0])
    comparison = compare_models(*sides, names=names or None, reference=judge, seed=seed)
    typer.echo(comparison.verdict if verdict else repr(comparison))
    if report is not None:
        typer.echo(f"Report: {comparison.report(report)}")


@app.command()
def explore(
    a: Annotated[Path, typer.Argument(help="A run, a checkpoint or predictions.")],
    b: Annotated[Path | None, typer.Argument(help="Another one over the same clips.")] = None,
    out: Annotated[Path, typer.Option(help="The HTML file, to be opened offline.")] = Path(
        "explorer.html"
    ),
    clips: Annotated[int, typer.Option(help="Clips that the file carries, mistakes first.")] = 64,
    names: Names = None,
    space: Annotated[
        str, typer.Option(help="Features of the map: backbone, or a head's branch.")
    ] = "backbone",
    method: Annotated[
        str, typer.Option(help="Of the map: auto, tsne, umap, pacmap, pca or none.")
    ] = "auto",
    labels: Labels = None,
    benchmark: BenchmarkName = None,
    scores: Scores = None,
    seed: Annotated[int, typer.Option(help="Of the map, intervals and halves.")] = 0,
) -> None:
    """Write linked views of one model or two as one HTML file, with skeletons that play."""
    from frviz.exploration import explore as explore_models

    which = scores or (None, None)
    sources = [
        _source(path, labels, benchmark, array)
        for path, array in zip((a, b), which, strict=True)
        if path is not None
    ]
    made = explore_models(*sources, names=names or None, space=space, method=method, seed=seed)
    typer.echo(f"{made!r}\nExplorer: {made.to_html(out, clips=clips)}")


def _source(path: Path, labels: Path | None, benchmark: str | None, scores: str | None) -> Any:
    """A run or predictions as they are; a score file with what is known of it."""
    score_file = path.suffix.lower() in (".pkl", ".pickle", ".npy", ".csv") or scores
    if not score_file or not path.is_file():
        return path
    from frcore.scores import read_scores

    return read_scores(path, labels, benchmark=benchmark, scores=scores)
