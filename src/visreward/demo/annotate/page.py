"""The page that annotators use, on Gradio."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from visreward.core.errors import UsageError
from visreward.demo.annotate.desk import Desk, View
from visreward.demo.annotate.markup import help_html
from visreward.demo.annotate.records import Kind, annotator_name

if TYPE_CHECKING:
    from collections.abc import Callable

    import gradio

_FOLDER: Final = Path(__file__).parent
_AT_ONCE: Final = 16
"""So many annotators are answered at the same time."""

_OPTIONS: Final[dict[str, Any]] = {  # keyword arguments of every event
    "show_progress": "hidden",
    "concurrency_limit": _AT_ONCE,
    "api_visibility": "private",
}
_PAIR_BUTTONS: Final = {
    "va-first": ("A is better [1]", "[[1], [2]]"),
    "va-tie": ("Equally good [0]", "[[1], [1]]"),
    "va-second": ("B is better [2]", "[[2], [1]]"),
}


def annotate_css() -> str:
    """Return the rules of this page."""
    return (_FOLDER / "annotate.css").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Area:
    """What an annotator sees after the start.

    Attributes:
        column: All of it.
        shown: What a view changes, in the order of `_updates`.
        answers: Buttons that answer, and what each sends.
        skip: The button that skips.
        undo: The button that takes back.
    """

    column: gradio.Column
    shown: list[gradio.components.Component]
    answers: list[tuple[gradio.Button, str]]
    skip: gradio.Button
    undo: gradio.Button


def build_page(desk: Desk, *, annotator: str | None = None) -> gradio.Blocks:
    """Return the page.

    Args:
        desk: Of the study.
        annotator: Who sits at it, or None to ask.

    Raises:
        UsageError: if the name cannot be used.
    """
    import gradio

    given = "" if annotator is None else annotator_name(annotator)
    page: gradio.Blocks
    with gradio.Blocks(title="visreward: annotate", analytics_enabled=False) as page:
        who = gradio.State(given)
        gradio.HTML("<h1>Annotate</h1>")
        with gradio.Column(visible=not given, elem_id="va-start") as start:
            name = gradio.Textbox(
                label="Your name",
                info="Your answers are kept under it. Give the same name to go on later.",
                max_lines=1,
                elem_id="va-name",
            )
            begin = gradio.Button("Start", variant="primary", elem_id="va-begin")
        area = _area(desk.kind, is_shown=bool(given))
        _on_answers(desk, area, who)

        def started(text: str) -> list[Any]:  # a value or an update for each output
            try:
                known = annotator_name(text)
            except UsageError as error:
                raise gradio.Error(str(error), print_exception=False) from None
            columns = [gradio.Column(visible=False), gradio.Column(visible=True)]
            return [known, *columns, *_updates(desk.view(known), len(area.answers))]

        outputs = [who, start, area.column, *area.shown]
        gradio.on([begin.click, name.submit], started, name, outputs, **_OPTIONS)
        page.load(js=(_FOLDER / "keys.js").read_text(encoding="utf-8"))
        if given:
            page.load(
                lambda: _updates(desk.view(given), len(area.answers)), None, area.shown, **_OPTIONS
            )
    return page


def _area(kind: Kind, *, is_shown: bool) -> _Area:
    import gradio

    with gradio.Column(visible=is_shown, elem_id="va-area") as column:
        progress = gradio.HTML()
        message = gradio.HTML(elem_id="va-message")
        question = gradio.HTML()
        with gradio.Row(elem_id="va-answers"):
            answers = _answer_buttons(kind)
        with gradio.Row(elem_id="va-others"):
            skip = gradio.Button("Skip [S]", elem_id="va-skip")
            undo = gradio.Button("Undo [U]", elem_id="va-undo")
        gradio.HTML(help_html(kind))
    buttons = [*(button for button, _ in answers), skip, undo]
    shown = [question, progress, message, *buttons]
    return _Area(column=column, shown=shown, answers=answers, skip=skip, undo=undo)


def _on_answers(desk: Desk, area: _Area, who: gradio.State) -> None:
    """Let the buttons answer; what they send is put together in the browser."""
    import gradio

    sent = gradio.Textbox(visible=False)

    def on(act: Callable[[str, str], View]) -> Callable[[str, str], list[Any]]:
        return lambda who, sent: _updates(act(who, sent), len(area.answers))

    acts: list[tuple[gradio.Button, Callable[[str, str], View], str]] = [
        *((button, desk.answer, rows) for button, rows in area.answers),
        (area.skip, desk.skip, "[]"),
        (area.undo, lambda who, _: desk.undo(who), "[]"),
    ]
    for button, act, rows in acts:
        button.click(on(act), [who, sent], area.shown, js=_sending(rows), **_OPTIONS)


def _answer_buttons(kind: Kind) -> list[tuple[gradio.Button, str]]:
    """Return the buttons that answer, and what each sends; `null` sends the fields."""
    import gradio

    if kind is not Kind.PAIR:
        return [(gradio.Button("Send [Enter]", variant="primary", elem_id="va-send"), "null")]
    return [
        (
            gradio.Button(
                text, elem_id=name, variant="primary" if name != "va-tie" else "secondary"
            ),
            rows,
        )
        for name, (text, rows) in _PAIR_BUTTONS.items()
    ]


def _sending(rows: str) -> str:
    return f"(who, sent) => [who, window.visrewardSent({rows})]"


def _spoken(prompt: str) -> str:
    """Return what a screen reader says after the message: the question stands elsewhere."""
    return f'<p class="va-hidden">Next: {escape(prompt)}</p>' if prompt else ""


def _updates(view: View, num_answers: int) -> list[Any]:  # a value or an update for each output
    """Return what a view changes: question, progress, message, and which buttons can be used."""
    import gradio

    usable = [view.can_answer] * num_answers + [view.can_skip, view.can_undo]
    return [
        view.question,
        view.progress,
        f'<p class="va-message">{escape(view.message)}</p>{_spoken(view.prompt)}',
        *(gradio.Button(interactive=each) for each in usable),
    ]
