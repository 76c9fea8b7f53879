"""visreward annotate: people compare and score images; export and agreement of their answers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visreward.cli import options
from visreward.core.errors import UsageError
from visreward.demo.annotate.export import Layout
from visreward.demo.annotate.records import Kind, Order

if TYPE_CHECKING:
    from visreward.demo.annotate.quality import AnnotatorReport, StudyReport

app = typer.Typer(invoke_without_command=True)

StoreFile = Annotated[Path, typer.Option("--store", metavar="FILE", help="The study's store.")]


@app.callback()
def annotate(  # noqa: PLR0913 - one parameter for each option
    context: typer.Context,
    *,
    store: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="SQLite file of the study; made from --input at first."),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help='Lines of {"prompt": ..., "candidates": [{"image": ...}, ...]}; source_image, id '
            "and generator where wanted. Paths start at the file's folder.",
        ),
    ] = None,
    kind: Annotated[Kind, typer.Option(help="What is asked about the candidates.")] = Kind.PAIR,
    annotator: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who answers; by default the page asks.")
    ] = None,
    gold: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Groups with known answers, to be mixed in."),
    ] = None,
    gold_share: Annotated[
        float, typer.Option(metavar="SHARE", help="Of gold questions among all, 0 to 0.5.")
    ] = 0.1,
    order: Annotated[Order, typer.Option(help="Which question comes next.")] = Order.SHUFFLED,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="With --order disagreement: two or more, whose disagreement is asked about first.",
        ),
    ] = None,
    answers_each: Annotated[
        int, typer.Option(metavar="N", help="Annotators who answer each question.")
    ] = 1,
    seed: Annotated[int, typer.Option(metavar="S", help="Of all shuffling.")] = 0,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="0.0.0.0 lets others on the network in.")
    ] = "127.0.0.1",
    port: options.Port = 7861,
    device: options.Device = "auto",
) -> None:
    """Let people compare, rank or score images on a page, and keep every answer.

    The first run makes the store from --input; later ones need --store alone. Settings of a study
    stay as they were when its store was made.
    """
    if context.invoked_subcommand is not None:
        return
    if store is None:
        raise UsageError(
            "No --store was given. Give the SQLite file of the study, and --input at first: "
            "visreward annotate --input GROUPS.jsonl --store FILE.sqlite"
        )
    from visreward.core.extras import require_extra

    require_extra("demo", "gradio")
    from visreward.cli.annotate_study import make_study, require_same
    from visreward.demo.annotate.records import StudySettings

    settings = StudySettings(
        kind=kind,
        order=order,
        answers_each=answers_each,
        gold_share=gold_share if gold is not None else 0.0,
        seed=seed,
        models=tuple(model or ()),
    )
    if groups is not None:
        if store.exists() and store.stat().st_size:
            require_same(store, groups, settings, gold=gold)
        else:
            make_study(store, groups, settings, gold=gold, device=device)
    _serve(store, annotator=annotator, host=host, port=port)


def _serve(store: Path, *, annotator: str | None, host: str, port: int) -> None:
    from visreward.cli.console import notes_console
    from visreward.demo.annotate.desk import Desk
    from visreward.demo.annotate.page import annotate_css, build_page
    from visreward.demo.annotate.store import Store
    from visreward.demo.launching import launch

    console = notes_console()
    with Store(store) as study:
        launch(
            lambda: build_page(Desk(study), annotator=annotator),
            host=host,
            port=port,
            say=lambda line: console.print(line, markup=False),
            css=annotate_css(),
        )


@app.command()
def export(
    *,
    store: StoreFile,
    layout: Annotated[Layout, typer.Option("--format", help="hpdv3, or editreward for edits.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Such as DIR/train.json.")
    ],
    copy_images: Annotated[
        bool,
        typer.Option("--copy-images", help="Copy images from outside the output's folder."),
    ] = False,
) -> None:
    """Write the answers as preference data that `visreward train` reads; no gold questions."""
    from visreward.cli.console import notes_console
    from visreward.demo.annotate.export import export as export_answers
    from visreward.demo.annotate.store import Store

    with Store(store) as study:
        written = export_answers(
            study.settings.kind,
            study.answers(),
            layout=layout,
            output=output,
            copy_images=copy_images,
        )
    console = notes_console()
    console.print(f"Wrote {output}: {written.num_rows} pairs, {written.num_ties} of them ties.")
    if written.num_left_out:
        console.print(f"{written.num_left_out} ties are left out: {layout} has no word for them.")


@app.command()
def agreement(
    *,
    store: StoreFile,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Say how far annotators agree, and how right each is on gold questions."""
    from visreward.demo.annotate.quality import study_report
    from visreward.demo.annotate.store import Store

    with Store(store) as study:
        report = study_report(study.settings.kind, study.answers())
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2, ensure_ascii=False))
        return
    _print_report(report)


def _print_report(report: StudyReport) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    people = Table("annotator", "answered", "skipped", "taken back", "gold", "first image", "time")
    for each in report.annotators:
        people.add_row(*(Text(cell) for cell in _cells(each)))
    console.print(people)
    if report.agreement:
        lines = Table("about", "agreement", "value", "95 % interval", "units")
        for line in report.agreement:
            found = line.estimate
            value = "" if found.value is None else f"{found.value:.3f}"
            has_interval = found.low is not None and found.high is not None
            interval = f"{found.low:.3f} to {found.high:.3f}" if has_interval else ""
            lines.add_row(line.about, line.measure, value, interval, str(found.num or ""))
        console.print(lines)
        for note in dict.fromkeys(line.estimate.note for line in report.agreement):
            if note:
                console.print(Text(note))
    else:
        console.print("Agreement needs answers of two annotators or more.")
    for problem in report.problems:
        console.print(Text(f"could not be shown: {problem}"))


def _cells(each: AnnotatorReport) -> tuple[str, ...]:
    gold = "" if each.gold is None else f"{each.gold:.2f} of {each.num_gold}"
    first = "" if each.first_share is None else f"{each.first_share:.2f}"
    time = "" if each.seconds is None else f"{each.seconds:.1f} s"
    counts = (each.num_answered, each.num_skipped, each.num_undone)
    return (each.name, *map(str, counts), gold, first, time)
