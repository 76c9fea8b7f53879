"""The command line: its groups, each imported when it is asked for, and its exit statuses."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

import visreward


class Command(NamedTuple):
    """A command or a group of commands.

    Attributes:
        target: `module:attribute`, a function or a `typer.Typer`.
        summary: One line for the list of commands.
    """

    target: str
    summary: str


COMMANDS = {
    "score": Command("visreward.cli.score:score", "Score images for prompts."),
    "rank": Command("visreward.cli.rank:rank", "Rank images for one prompt, best first."),
    "audit": Command("visreward.cli.audit:audit", "Try the soundness of a reward model."),
    "models": Command("visreward.cli.models:app", "List, show, pull and import reward models."),
    "data": Command("visreward.cli.data:app", "Check, convert, label and make datasets."),
    "bench": Command("visreward.cli.bench:bench", "Measure models on a benchmark."),
    "report": Command("visreward.cli.report:report", "Show results of benchmarks on one page."),
    "train": Command("visreward.cli.train:train", "Train a reward model from a recipe."),
    "annotate": Command("visreward.cli.annotate:app", "Let people compare and score images."),
    "serve": Command("visreward.cli.serve:serve", "Serve reward models over HTTP."),
    "demo": Command("visreward.cli.demo:demo", "Show a page that scores and compares images."),
}
CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}


class LazyGroup(TyperGroup):
    """Import a command's module only when the command runs; turn our errors into a sentence."""

    # Any stands for click's types: newer versions of typer carry a click of their own.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Return the command that was asked for, in place of its line in the list."""
        name, _, rest = super().resolve_command(ctx, args)
        assert name is not None
        return name, load_command(name), rest

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run a command; an error that stops it becomes one sentence and its exit status."""
        from visreward.core.errors import VisrewardError

        try:
            return super().invoke(ctx)
        except VisrewardError as error:
            show_error(str(error))
            raise typer.Exit(error.exit_status) from None
        except OSError as error:
            # Without a file name it is no file's fault, such as a closed pipe.
            if error.filename is None:
                raise
            show_error(f"'{error.filename}' cannot be used: {error.strerror}. Check the path.")
        raise typer.Exit(2)


def load_command(name: str) -> Any:  # noqa: ANN401
    """Import one command of `COMMANDS` and return it as a click command."""
    module, attribute = COMMANDS[name].target.split(":")
    target = getattr(import_module(module), attribute)
    parent = typer.Typer(add_completion=False, context_settings=CONTEXT_SETTINGS)
    parent.callback()(_listed_only)
    if isinstance(target, typer.Typer):
        parent.add_typer(target, name=name)
    else:
        parent.command(name)(target)
    return typer.main.get_group(parent).commands[name]


def show_error(message: str) -> None:
    """Print why a run stops, on standard error, in red where colours are shown."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=sys.stderr, soft_wrap=True)
    console.print(Text.assemble(("Error: ", "bold red"), (message, "red")))


app = typer.Typer(
    cls=LazyGroup,
    name="visreward",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT_SETTINGS,
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"visreward {visreward.__version__}")
        raise typer.Exit


@app.callback()
def visreward_command(
    _version: Annotated[
        bool | None,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = None,
) -> None:
    """Score generated and edited images with reward models."""


def _listed_only() -> None:
    """Stand in the list of commands; `LazyGroup` runs the real one."""


for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.summary)(_listed_only)


def run() -> None:
    """Run the command line and exit.

    0 done, 1 some items failed, 2 the run could not go on, 130 or 143 a training stopped at SIGINT
    or SIGTERM with its state saved.
    """
    app()
