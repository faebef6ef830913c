"""What the commands `frcore` and `frviz` share: a user's mistake is one message, no traceback."""

import logging
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from frcore.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

MISTAKE, INTERRUPTED = 2, 130  # exit codes; 143 (SIGTERM) is raised by frcore.train itself


class Commands(TyperGroup):
    """Shows a user's mistake as one message, without a traceback; `--debug` shows it whole."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            if ctx.params.get("debug"):
                raise
            if not _said_by_another(str(error)):
                typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(MISTAKE) from None
        except KeyboardInterrupt:
            typer.echo("Interrupted. The same command starts it again.", err=True)
            raise typer.Exit(INTERRUPTED) from None


def _said_by_another(mistake: str) -> bool:
    """Whether, of several processes that make up a run, the first one says this."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return False
    from frcore.ranks import first_says_so

    return first_says_so(mistake)


def make_app(name: str, help: str) -> typer.Typer:
    """A command line with `--debug` and `--version`, to which commands are added."""
    app = typer.Typer(
        cls=Commands,
        no_args_is_help=True,
        pretty_exceptions_enable=False,  # a defect keeps its plain traceback
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def show_version(asked: bool) -> None:
        if asked:
            from frcore import __version__

            typer.echo(f"{name} {__version__}")
            raise typer.Exit

    @app.callback(help=help)
    def root(
        debug: Annotated[
            bool, typer.Option("--debug", help="Show tracebacks of mistakes.")
        ] = False,
        version: Annotated[
            bool,
            typer.Option(
                "--version", callback=show_version, is_eager=True, help="Show the version."
            ),
        ] = False,
    ) -> None:
        logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)

    return app


def table_of(rows: list[tuple[str, ...]], *columns: str) -> "Table":
    """A table for the terminal; names are never read as markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def show(table: "Table") -> None:
    """Prints a table."""
    from rich.console import Console

    Console().print(table)


def parse_changes(changes: list[str]) -> dict[str, Any]:
    """`["optim.lr=0.05", "head.levels=[8, 10]"]` as a mapping; values are YAML."""
    import yaml

    parsed: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {change}: expected KEY=VALUE, such as optim.lr=0.05.")
        if key.strip() in parsed:
            raise UserError(f"--set {key.strip()}: given more than once.")
        try:
            parsed[key.strip()] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, LookupError, RecursionError) as error:
            problem = getattr(error, "problem", None) or "unreadable"
            raise UserError(f"--set {change}: the value is not plain YAML ({problem}).") from None
    return parsed
