"""The `frcore` command. Each command calls one public function; heavy imports happen inside it."""

import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from frcore.commands import INTERRUPTED, make_app, parse_changes, show, table_of
from frcore.data.commands import data
from frcore.doctor import command as doctor
from frcore.errors import UserError
from frcore.stopping import leave
from frcore.sweep import command

if TYPE_CHECKING:
    from frcore.predictions import Predictions
    from frcore.run import Run

app = make_app(
    "frcore", "Train skeleton action recognisers with the Feature Refinement Head (CVPR 2023)."
)
app.add_typer(data, name="data")


def main() -> None:
    """Entry point of `frcore` and `python -m frcore`."""
    # How long a waiting OpenMP thread spins before it sleeps (libgomp; read once, when torch is
    # first imported; the user's own settings win). A step of CTR-GCN on two cores, alone and beside
    # a busy process: 0.51 and 2.1 s spinning on, 0.58 and 1.7 s so, 0.83 and 1.1 s asleep at once.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        app(prog_name="frcore")
    except SystemExit as stop:
        if stop.code in (INTERRUPTED, 143) and "torch._inductor" in sys.modules:
            leave(stop.code)  # for all that the compiler was about to do, an end would wait
        raise


# ---- train and predict ---------------------------------------------------------------------------


@app.command()
def recipes() -> None:
    """List the recipes that come with frcore."""
    from frcore.recipe_files import list_recipes

    known = list_recipes()
    plain = [row for row in known.items() if not row[0].endswith("_frhead")]
    show(table_of(plain, "recipe", "what it trains"))
    typer.echo("Each with FR Head: NAME_frhead.")


class Train(TyperCommand):
    """Shows values of the configuration that are given as options (`--epochs 3`) as `--set`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {name for option in self.params for name in option.opts}
        for place, text in enumerate(args):
            name, equals, value = text.partition("=")
            if not name.startswith("--") or name in known:
                continue
            following = args[place + 1] if place + 1 < len(args) else "--"
            from frcore.config import RunConfig
            from frcore.config_errors import keys_called

            if keys := keys_called(name[2:].replace("-", "_"), RunConfig):
                value = value if equals else "VALUE" if following[:2] == "--" else following
                hints = " or ".join(f"--set {key}={value}" for key in keys)
                raise UserError(f"No option {name}; it is a value of the configuration: {hints}")
        return super().parse_args(ctx, args)


@app.command(cls=Train)
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a YAML file.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value: optim.lr=0.05. Repeats."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory; default runs/<recipe>.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order, augmentation.")] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write RUN/tensorboard, for TensorBoard.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show log messages.")] = False,
) -> None:
    """Train a recipe; started again with the same command, it goes on where it stopped."""
    from frcore.config import load_recipe

    if verbose:
        logging.getLogger().setLevel(logging.INFO)
    logging.getLogger("frcore.residence").setLevel(logging.INFO)  # says where the clips are
    overrides = parse_changes(changes or [])
    overrides |= {} if device is None else {"train.device": device}
    overrides |= {} if seed is None else {"seed": seed}
    config = load_recipe(recipe, overrides)  # mistakes are found before torch is imported

    from frcore.callbacks import TensorBoard
    from frcore.ranks import launch
    from frcore.train import fit

    begin, watched = time.time(), {"callbacks": [TensorBoard()]} if tensorboard else {}
    run = fit(config, out=out, **watched)
    if launch().rank > 0:  # of several processes the first one speaks
        raise typer.Exit(0 if run.state == "finished" else INTERRUPTED)
    _stop_if_interrupted(run)
    mark = run.path / "state.json"
    if mark.is_file() and mark.stat().st_mtime < begin:
        typer.echo("Finished already; delete the directory to train again.")
    typer.echo(f"{run!r}\nNext: frcore predict {run.path}")


def _stop_if_interrupted(run: "Run") -> None:
    if run.state != "finished":
        typer.echo(f"Interrupted: {run!r}\nThe same command goes on from there.", err=True)
        raise typer.Exit(INTERRUPTED)


@app.command()
def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to look, however deep.")
    ] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """List runs: state, epoch, accuracy, time left, and the commands that go on with them."""
    from frcore import overview

    found = overview.list_runs(folder)
    if as_json:
        typer.echo(json.dumps([run.to_dict() for run in found], indent=2))
        return
    if not found:
        typer.echo(f"No runs in {folder}.")
        return
    if sys.stdout.isatty() and shutil.get_terminal_size().columns >= overview.ROOM:
        show(overview.overview_table(found))
    else:
        typer.echo("\n".join(overview.overview_lines(found)))
    typer.echo("\n".join(overview.remarks(found)))


@app.command()
def predict(
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_CHECKPOINT", help="Directory or file.")],
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    store: Annotated[
        str | None,
        typer.Option("--data", help="Another store than the run's own: its name or folder."),
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(help="Features to keep: backbone, fin.spatial, ... Repeats."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write FILE.npz (all) or FILE.csv.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
) -> None:
    """Predict a split and print the accuracy, on all clips and on unseen ones."""
    if out is not None and out.suffix not in (".npz", ".csv"):
        raise UserError(f"--out {out}: expected a name ending in .npz or .csv.")

    if out is not None:
        from frcore.files import check_writable

        check_writable(out)  # a mistake in the path is known before the work

    from frcore.inference import predict as predict_split

    spaces = tuple(space or ("backbone",))
    predictions = predict_split(source, split=split, data=store, spaces=spaces, device=device)
    typer.echo(_accuracy(predictions))
    if out is not None:
        from frcore.predictions_file import write_csv

        predictions.save(out) if out.suffix == ".npz" else write_csv(out, predictions.frame())
        typer.echo(f"Written to {out}.")


def _accuracy(predictions: "Predictions") -> str:
    p, copies = predictions, int(predictions.copies.sum())
    lines = [repr(p), f"all {len(p):,} clips:    {p.accuracy():.2%}"]
    if p.logits is not None and p.num_classes > 5:
        lines[-1] += f"   (top-5 {p.accuracy(top=5):.2%})"
    if p.metadata.get("split", "test") == "train":
        return "\n".join(lines)
    unseen = f"unseen {len(p) - copies:,} clips: {p.accuracy(unseen_only=True):.2%}"
    note = f"   ({copies:,} are copies of training clips)" if copies else "   (no copies found)"
    return "\n".join([*lines, unseen + note])


@app.command("import-weights", cls=Train)
def import_published(
    weights: Annotated[Path, typer.Argument(help="A .pt, .pth or .safetensors of others.")],
    backbone: Annotated[str, typer.Option(help="stgcn, aagcn, ctrgcn, tcagcn or hdgcn")],
    benchmark: Annotated[str, typer.Option(help="What it was trained on; its store is needed.")],
    out: Annotated[Path, typer.Option(help="The checkpoint to write: FILE.safetensors.")],
    stream: Annotated[str | None, typer.Option(help="joint, bone, joint_motion, ...")] = None,
    protocol: Annotated[str | None, typer.Option(help="Default: the benchmark's first.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Whose preprocessing; default the benchmark's.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value: data.transform.frames=64"),
    ] = None,
) -> None:
    """Turn published weights into a checkpoint for predict and frviz."""
    given = {"data.stream": stream, "data.protocol": protocol}
    overrides = {key: value for key, value in given.items() if value is not None}

    from frcore.importing import import_weights

    made = import_weights(
        weights,
        out,
        backbone=backbone,
        benchmark=benchmark,
        recipe=recipe,
        changes={**parse_changes(changes or []), **overrides},
    )
    typer.echo(f"{made}\nNext: frcore predict {out}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the two runs live.")] = Path("runs/demo"),
    compared: Annotated[
        bool, typer.Option("--compared", hidden=True, help="What follows compares them.")
    ] = False,
) -> None:
    """Train a small model with and without FR Head on the embedded data and compare them."""
    from frcore import demo as steps

    runs = []
    for recipe in steps.RECIPES:
        run, what = steps.train_or_reuse(recipe, out)
        _stop_if_interrupted(run)
        typer.echo(f"{recipe}: {what}")
        runs.append(run)
    columns = ("on the test clips", "without", "with FR Head", "difference")
    show(table_of(steps.compare(*runs), *columns))
    typer.echo(steps.next_steps(runs, compare=not compared))


app.command("sweep")(command.sweep)
app.command("doctor", cls=Train)(doctor.doctor)
