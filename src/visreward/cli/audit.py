"""visreward audit: is this reward model sound?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visreward.cli import options

if TYPE_CHECKING:
    from rich.console import Console

    from visreward.evaluation.audit.items import AuditSet
    from visreward.evaluation.audit.records import AuditResult
    from visreward.models.facts import ModelFacts

PAGE_NAME = "audit.html"
JSON_NAME = "audit.json"


def _list_probes(is_asked: bool) -> None:
    if not is_asked:
        return
    from visreward.evaluation.audit.probes import PROBES

    for probe in PROBES:
        typer.echo(f"{probe.name:18}{probe.question}")
    raise typer.Exit


def audit(  # noqa: PLR0913 - one parameter for each option
    *,
    model: Annotated[
        str,
        typer.Option("--model", "-m", metavar="NAME", help="A model's name or folder."),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="PATH",
            help="Your own pictures: rows as 'visreward score --input' takes them, or a folder "
            "for a model that needs no prompt. By default the synthetic world.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help=f"Write {PAGE_NAME} and {JSON_NAME} here."
        ),
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option("--probe", metavar="NAME", help="Run this one; may be given several times."),
    ] = None,
    num: Annotated[int, typer.Option("--num", min=2, metavar="N", help="How many prompts.")] = 48,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Of all that is drawn.")] = 2024,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with status 1 where a probe fails.")
    ] = False,
    batch_size: options.BatchSize = 16,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.FLOAT32,
    attention: options.Attention = "sdpa",
    _list: Annotated[
        bool | None,
        typer.Option(
            "--list-probes", callback=_list_probes, is_eager=True, help="List all probes."
        ),
    ] = None,
) -> None:
    """Try a reward model's soundness with probes that look for known faults.

    Exit status: 0 all probes ran, whatever their verdict; 1 a probe could not run, a picture has
    no score (each is named), or --strict and a probe failed; 2 the run could not go on.
    """
    from visreward.cli.console import notes_console, progress_bar
    from visreward.evaluation.audit.probes import find_probes

    probes = find_probes(probe or ())
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    from visreward.cli.scoring_run import ModelChoice, load_engine

    choice = ModelChoice(
        name=model,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        batch_invariant=False,
        attention=attention,
    )
    loaded = load_engine(choice, name=model).model
    from visreward.evaluation.audit.examination import Examination
    from visreward.evaluation.audit.runner import run_audit
    from visreward.models.loading import load_model

    console = notes_console()
    with progress_bar("Auditing", total=len(probes), console=console) as advance:
        examination = Examination(
            loaded,
            _audited(images, loaded.facts, num=num, seed=seed),
            seed=seed,
            batch_size=batch_size,
            reload=lambda other: load_model(
                model, device=str(loaded.device), dtype=other, attention=attention
            ),
        )
        result = run_audit(examination, probes=probes, progress=lambda _: advance(1))
    _show(result)
    if output is not None:
        _write(result, output, console)
    _conclude(result, console, is_strict=strict)


def _audited(images: Path | None, facts: ModelFacts, *, num: int, seed: int) -> AuditSet:
    from visreward.evaluation.audit.items import own_set, scene_set
    from visreward.evaluation.scenes import Drawing

    if images is None:
        return scene_set(facts, Drawing(num=num, seed=seed))
    return own_set(images, facts, num=num, seed=seed)


def _show(result: AuditResult) -> None:
    """Print the verdicts, those that need a look first."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from visreward.evaluation.audit.charts import interval_text
    from visreward.evaluation.audit.records import VERDICTS
    from visreward.evaluation.audit.report import counts_text, limit_text

    colours = {"fail": "bold red", "warn": "yellow", "pass": "green", "not run": "dim"}
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("verdict", "probe", "effect (95 % interval)", "limit"):
        table.add_column(title, no_wrap=title in {"verdict", "probe"})
    for verdict in VERDICTS:
        for probe in result.probes:
            if probe.verdict != verdict:
                continue
            word = Text("error" if probe.is_error else verdict, style=colours[verdict])
            if probe.finding is None:
                table.add_row(word, probe.probe, Text(probe.note, style="dim"), "")
                continue
            effect = probe.finding.effect
            table.add_row(
                word, probe.probe, interval_text(effect), limit_text(probe.limit, effect.unit)
            )
    console = Console()
    console.print(table)
    console.print(Text(f"{result.model}: {counts_text(result)}", style="bold"))


def _write(result: AuditResult, folder: Path, console: Console) -> None:
    from rich.text import Text

    from visreward.evaluation.audit.records import audit_json
    from visreward.evaluation.audit.report import write_audit_page
    from visreward.scoring.text_output import text_output

    with text_output(folder / JSON_NAME) as stream:
        json.dump(audit_json(result), stream, indent=2, ensure_ascii=False, allow_nan=False)
        stream.write("\n")
    write_audit_page(result, folder / PAGE_NAME)
    console.print(Text(f"Report: {folder / PAGE_NAME}"))


def _conclude(result: AuditResult, console: Console, *, is_strict: bool) -> None:
    """Name what went wrong and end with status 1 where something did."""
    from rich.text import Text

    from visreward.scoring.records import printable

    for failure in result.failures:
        reason = printable(failure.reason)
        console.print(
            Text.assemble(("failed: ", "bold red"), f"{printable(failure.name)}: {reason}")
        )
    for probe in result.probes:
        if probe.is_error:
            console.print(Text.assemble(("failed: ", "bold red"), f"{probe.probe}: {probe.note}"))
    if not result.is_complete or (is_strict and result.count("fail")):
        raise typer.Exit(1)
