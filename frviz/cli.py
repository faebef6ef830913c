"""The `frviz` command. Heavy imports happen inside each command."""

from pathlib import Path
from typing import Annotated, Any

import typer

from frcore.commands import make_app
from frcore.errors import UserError

app = make_app(
    "frviz", "See which actions a recogniser confuses, and whether a change really helped."
)


# Options that both commands have. What is said of each of two models is one option with two values.
MoreA = Annotated[
    list[Path] | None, typer.Option("--a", help="Another seed of A; may be repeated.")
]
MoreB = Annotated[
    list[Path] | None, typer.Option("--b", help="Another seed of B; may be repeated.")
]
Names = Annotated[tuple[str, str] | None, typer.Option(help="How the two are called, A and B.")]
Reference = Annotated[
    Path | None,
    typer.Option(help="Whose confusions make groups and levels; by default the models' own."),
]
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
    more_a: MoreA = None,
    more_b: MoreB = None,
    names: Names = None,
    reference: Reference = None,
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
    from frcore.files import check_writable
    from frviz.comparison import compare as compare_models

    if report is not None:
        check_writable(report)  # a mistake in the path is known before the work
    which = scores or (None, None)
    sides = _sides((a, b), (more_a, more_b), labels, benchmark, which)
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
    more_a: MoreA = None,
    more_b: MoreB = None,
    name: Annotated[str | None, typer.Option(help="How one model is called.")] = None,
    names: Names = None,
    space: Annotated[
        str, typer.Option(help="Features of the map: backbone, or a head's branch.")
    ] = "backbone",
    method: Annotated[
        str, typer.Option(help="Of the map: auto, tsne, umap, pacmap, pca or none.")
    ] = "auto",
    data: Annotated[
        str | None,
        typer.Option(help="Store of the clips, a name or ./folder; by default that predicted on."),
    ] = None,
    reference: Reference = None,
    labels: Labels = None,
    benchmark: BenchmarkName = None,
    score: Annotated[
        str | None, typer.Option(help="Array of one model's .npz score file to take.")
    ] = None,
    scores: Scores = None,
    seed: Annotated[int, typer.Option(help="Of the map, intervals and halves.")] = 0,
) -> None:
    """Write linked views of one model or two as one HTML file, with skeletons that play.

    Two models have --names and --scores, with a value each; one model has --name and --score.
    """
    from frcore.files import check_writable
    from frviz.exploration import explore as explore_models

    if b is None and (more_a or more_b):
        raise UserError("--a and --b add seeds to two models: frviz explore A B --a A1 --b B1.")
    models = (a,) if b is None else (a, b)
    called = _by_model("name", name, names, len(models))
    which = _by_model("score", score, scores, len(models))
    check_writable(out)
    sides = _sides(models, (more_a, more_b), labels, benchmark, which)
    judge = None if reference is None else _source(reference, labels, benchmark, which[0])
    made = explore_models(
        *(sides[0] if b is None else sides),  # one model is no list of seeds
        names=None if None in called else called,
        space=space,
        method=method,
        data=data,
        reference=judge,
        seed=seed,
    )
    typer.echo(f"{made!r}\nExplorer: {made.to_html(out, clips=clips)}")


def _by_model(
    option: str, one: str | None, two: tuple[str, str] | None, models: int
) -> tuple[str | None, ...]:
    """What is said of each model: by `--name` of one, by `--names` of two."""
    if (two if models == 1 else one) is not None:
        here = "is one" if models == 1 else "are two"
        raise UserError(f"--{option} is for one model, --{option}s A B for two; here {here}.")
    return (one,) if models == 1 else two or (None, None)


def _sides(
    models: tuple[Path, ...],
    seeds: tuple[list[Path] | None, ...],
    labels: Path | None,
    benchmark: str | None,
    which: tuple[str | None, ...],
) -> list[list[Any]]:
    """Each model's runs, the first one first."""
    return [
        [_source(path, labels, benchmark, array) for path in (first, *(more or []))]
        for first, more, array in zip(models, seeds, which, strict=False)
    ]


def _source(path: Path, labels: Path | None, benchmark: str | None, scores: str | None) -> Any:
    """A run or predictions as they are; a score file with what is known of it."""
    score_file = path.suffix.lower() in (".pkl", ".pickle", ".npy", ".csv") or scores
    if not score_file or not path.is_file():
        return path
    from frcore.scores import read_scores

    return read_scores(path, labels, benchmark=benchmark, scores=scores)
