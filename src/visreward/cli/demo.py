"""visreward demo: a page in the browser that shows what reward models say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from visreward.cli import options

if TYPE_CHECKING:
    from gradio import Blocks


def demo(
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A model's name or folder; may be given several times. By default the built-in "
            "models.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Beyond this machine there is no password.")
    ] = "127.0.0.1",
    port: options.Port = 7860,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.FLOAT32,
) -> None:
    """Show a page on this machine that scores, compares and explains, until Ctrl-C.

    Exit status: 0 stopped as asked, 2 the page could not start.
    """
    from visreward.core.extras import require_extra

    require_extra("demo", "gradio")
    from visreward.cli.console import notes_console
    from visreward.demo.launching import launch
    from visreward.demo.loaded_models import DEFAULT_MODELS, load_models

    names = model or DEFAULT_MODELS
    with notes_console().status("Loading the models"):
        models = load_models(names, device=device, dtype=dtype.value)

    def build() -> Blocks:
        from visreward.demo.app import build_app

        return build_app(models)

    launch(build, host=host, port=port, say=typer.echo)
