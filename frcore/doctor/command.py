"""`frcore doctor`."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frcore.commands import parse_changes, show, table_of
from frcore.display import plain
from frcore.errors import UserError

if TYPE_CHECKING:
    from frcore.config import RunConfig
    from frcore.doctor.findings import Finding


def doctor(
    recipe: Annotated[
        str | None, typer.Argument(help="Also what this recipe (or YAML file) would take.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of it. Repeats."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = None,
    measured: Annotated[
        bool,
        typer.Option(
            "--measure", help="Time a few training steps by threads and precision: a minute."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Say what training would use here and why, and what would be faster."""
    if recipe is None and (changes or measured):
        option = "--set" if changes else "--measure"
        raise UserError(f"{option} needs a recipe: frcore doctor synthetic_tiny {option} ...")
    overrides = parse_changes(changes or [])
    overrides |= {} if device is None else {"train.device": device}

    from frcore.config import load_recipe

    # Without a recipe: the defaults of training.
    named = recipe or {"name": "none", "benchmark": "synthetic"}
    config = load_recipe(named, overrides)
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:
        raise UserError(
            f"torch cannot be imported: {error}. Install it again, in a fresh environment."
        ) from error

    sections, missing, advice = _diagnose(config, with_recipe=recipe is not None, measured=measured)
    if as_json:
        record: dict[str, Any] = {
            title: {finding.name: {"value": finding.value, "why": finding.why} for finding in found}
            for title, found in sections.items()
        }
        typer.echo(json.dumps(record | {"missing": missing, "faster": advice}, indent=2))
        return
    for title, found in sections.items():
        cells = [tuple(map(plain, (one.name, one.shown, one.why))) for one in found]
        show(table_of(cells, title, "", "why"))
    if missing:
        typer.echo(f"{missing}\nWithout its clips, their place and the steps are not known.")
    if advice:
        lines = "\n".join(f"- {text}" for text in advice)
        typer.echo(f"What would be faster, or go wrong:\n{lines}")
    elif not missing:
        typer.echo("Nothing was found that would be faster.")


def _diagnose(
    config: "RunConfig", *, with_recipe: bool, measured: bool
) -> tuple[dict[str, "list[Finding]"], str, list[str]]:
    """Findings by section, what is not there and how to make it, and what would be faster."""
    from frcore.doctor import machine, recipe

    here = machine.look_at_machine(config.train)
    sections = {
        "machine": [
            *machine.machine_findings(here),
            *machine.place_findings(),
            *machine.version_findings(),
        ]
    }
    missing, advice = "", machine.card_advice(here) + machine.compile_advice(here)
    if measured:
        from frcore.doctor import measure

        rates = measure.measure(config, here)
        sections["measured"] = measure.measured_findings(rates)
        advice += measure.measured_advice(rates)
    else:
        advice += machine.settings_advice(here)
    if with_recipe:
        needs = recipe.look_at_recipe(config, here.device, here.dtype)
        sections["recipe"] = recipe.recipe_findings(needs)
        missing, advice = needs.absent, recipe.recipe_advice(needs) + advice
    return sections, missing, advice
