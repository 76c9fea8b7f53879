"""visreward serve: the reward server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from visreward.cli import options


def serve(  # noqa: PLR0913 - one parameter for each option
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A model's name or folder; may be given several times. The first answers "
            "requests that name none; by default ict-hp-mini.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Beyond this machine only with an API key.")
    ] = "127.0.0.1",
    port: options.Port = 8000,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Holds the key that requests must show; VISREWARD_API_KEY does the same.",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.FLOAT32,
    batch_invariant: options.BatchInvariant = False,
    attention: options.Attention = "sdpa",
    max_batch_tokens: Annotated[
        int, typer.Option(metavar="N", help="Tokens at once in a model.")
    ] = 16_384,
    decoders: Annotated[int, typer.Option(metavar="N", help="Processes that decode images.")] = 2,
    max_body_bytes: Annotated[int, typer.Option(metavar="N", help="Of one request.")] = 32 << 20,
    max_images: Annotated[int, typer.Option(metavar="N", help="Of one request.")] = 64,
    max_image_pixels: Annotated[
        int, typer.Option(metavar="N", help="Width x height of one image.")
    ] = 40_000_000,
    max_prompt_chars: Annotated[int, typer.Option(metavar="N", help="Of one prompt.")] = 4096,
    max_queue_items: Annotated[
        int, typer.Option(metavar="N", help="Candidates waiting or scored; then 429.")
    ] = 1024,
    max_held_bytes: Annotated[
        int, typer.Option(metavar="N", help="Of all bodies, and again of all decoded images.")
    ] = 1 << 30,
    timeout_s: Annotated[
        float, typer.Option(metavar="S", help="Longest time of one request.")
    ] = 60.0,
    allow_urls: Annotated[
        bool, typer.Option("--allow-urls", help="Fetch images from http and https URLs.")
    ] = False,
    url_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="Fetch from this host only, as HOST or HOST:PORT; may be given several times.",
            show_default=False,
        ),
    ] = None,
    flow_grpo: Annotated[
        bool,
        typer.Option(
            "--flow-grpo", help="Take flow_grpo's pickles, of plain data only, at POST /."
        ),
    ] = False,
    hang_s: Annotated[
        float,
        typer.Option(
            metavar="S",
            help="Without an answer, a model's process is replaced; more if it is busy.",
        ),
    ] = 30.0,
    cache_mib: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="MiB for features of recent images, of each vision-language model.",
        ),
    ] = 1024,
    drain_s: Annotated[
        float, typer.Option(metavar="S", help="What requests in flight get at SIGTERM.")
    ] = 30.0,
) -> None:
    """Serve reward models over HTTP until SIGTERM; logs go to standard error as JSON lines.

    Exit status: 0 stopped as asked, 2 the server could not start.
    """
    from visreward.core.extras import require_extra

    require_extra("serve", "fastapi", "uvicorn", "msgpack", "prometheus_client", "python_multipart")
    from visreward.serving.run import serve as run_server
    from visreward.serving.settings import Limits, ModelSetup, ServerSettings
    from visreward.serving.url_rules import URLRules

    limits = Limits(
        body_bytes=max_body_bytes,
        images=max_images,
        image_pixels=max_image_pixels,
        prompt_chars=max_prompt_chars,
        queue_items=max_queue_items,
        held_bytes=max_held_bytes,
        timeout_s=timeout_s,
    )
    models = tuple(
        ModelSetup(
            name=name,
            device=device,
            dtype=dtype.value,
            batch_invariant=batch_invariant,
            attention=attention,
            max_batch_tokens=max_batch_tokens,
            hang_s=hang_s,
            cache_mib=cache_mib,
        )
        for name in model or ["ict-hp-mini"]
    )
    run_server(
        ServerSettings(
            models=models,
            host=host,
            port=port,
            api_key=_api_key(api_key_file),
            limits=limits,
            num_decoders=decoders,
            drain_s=drain_s,
            urls=URLRules(is_allowed=allow_urls, hosts=tuple(url_host or ())),
            has_flow_grpo=flow_grpo,
        )
    )


def _api_key(path: Path | None) -> str | None:
    if path is not None:
        return path.read_text(encoding="utf-8").strip()
    return os.environ.get("VISREWARD_API_KEY") or None
