"""The HTML of a question: prompt, pictures, and fields for ranks or scores."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from visreward.demo.annotate.pictures import Picture
from visreward.demo.annotate.records import MAX_SCORE, Kind, OpenQuestion, Progress

LETTERS: Final = "ABCDEFGHI"
_LEGENDS: Final = {
    "rank": "Rank",
    "instruction_following": "Instruction following",
    "visual_quality": "Visual quality",
}
_SCORE_WORDS: Final = ("poor", "fair", "good", "very good")


def question_html(
    kind: Kind, opened: OpenQuestion, sources: Sequence[Picture], candidates: Sequence[Picture]
) -> str:
    """Return a question as HTML; nothing in it says what made an image.

    Args:
        kind: What is asked.
        opened: The question.
        sources: The pictures before the edit.
        candidates: The pictures in the order of the page.
    """
    asked = "Instruction" if sources else "Prompt"
    figures = [_figure(picture, "") for picture in sources]
    for picture in candidates:
        fields = "" if kind is Kind.PAIR else _fields(kind, picture.name, len(candidates))
        figures.append(_figure(picture, fields, is_candidate=True))
    return (
        f'<article id="va-question" class="va-{kind.value}" data-ticket="{opened.ticket}" '
        f'data-kind="{kind.value}">'
        f'<h2 class="va-prompt"><span>{asked}</span> {escape(opened.question.prompt)}</h2>'
        f'<div class="va-figures">{"".join(figures)}</div></article>'
    )


def _figure(picture: Picture, fields: str, *, is_candidate: bool = False) -> str:
    name = escape(f"Image {picture.name}" if is_candidate else picture.name)
    if picture.address is None:
        shown = (
            f'<p class="va-broken" role="alert"><strong>{name} cannot be shown.</strong> '
            f"{escape(picture.reason or '')} Skip this question; the reason is kept.</p>"
        )
    else:
        shown = (
            f'<button type="button" class="va-enlarge" aria-label="Enlarge: {name}">'
            f'<img src="{picture.address}" alt="{name}" draggable="false"></button>'
        )
    kind = "va-candidate" if is_candidate else "va-source"
    return (
        f'<figure class="{kind}"><figcaption>{escape(picture.name)}</figcaption>'
        f"{shown}{fields}</figure>"
    )


def _fields(kind: Kind, letter: str, num_candidates: int) -> str:
    top = MAX_SCORE if kind is Kind.SCORES else num_candidates
    return "".join(_field(column, letter, top) for column in kind.columns)


def _field(column: str, letter: str, top: int) -> str:
    name = f"va-{letter}-{column}"
    options = "".join(
        f'<label><input type="radio" name="{name}" value="{number}">'
        f"<span>{number}{_hidden(column, number)}</span></label>"
        for number in range(1, top + 1)
    )
    best = 1 if column == "rank" else top
    what = f"{_LEGENDS[column]} ({best} is best)"
    legend = f'{what}<span class="va-hidden"> of image {letter}</span>'
    return f'<fieldset class="va-field"><legend>{legend}</legend>{options}</fieldset>'


def _hidden(column: str, number: int) -> str:
    words = ("best" if number == 1 else "") if column == "rank" else _SCORE_WORDS[number - 1]
    return f'<span class="va-hidden"> {words}</span>' if words else ""


def progress_html(annotator: str, progress: Progress) -> str:
    """Return how far an annotator is as HTML."""
    done = progress.num_answered + progress.num_skipped
    total = done + progress.num_left
    skipped = f", {progress.num_skipped} skipped" if progress.num_skipped else ""
    return (
        f'<div class="va-progress"><label for="va-bar">{escape(annotator)}: '
        f"{progress.num_answered} of {total} answered{skipped}</label>"
        f'<progress id="va-bar" max="{max(total, 1)}" value="{done}"></progress></div>'
    )


def finished_html(progress: Progress) -> str:
    """Return what stands in place of a question when none is left."""
    num = progress.num_answered
    return (
        '<article id="va-question" data-kind="none"><h2>Nothing is left to answer. Thank you.</h2>'
        f"<p>{num} answers of yours are kept. You can close this page, or undo the last "
        "answer.</p></article>"
    )


def help_html(kind: Kind) -> str:
    """Return the keys and what they do, with a switch that turns them off."""
    rows = {
        Kind.PAIR: (
            (("1", "←"), "A is better"),
            (("2", "→"), "B is better"),
            (("0",), "equally good"),
        ),
        Kind.RANK: (
            (("1", "9"), "rank of the marked image, 1 is best; equal ranks are a tie"),
            (("Backspace",), "clear the last rank"),
            (("Enter",), "send the ranks"),
        ),
        Kind.SCORES: (
            (("1", "4"), "score in the marked field: 1 poor, 2 fair, 3 good, 4 very good"),
            (("Backspace",), "clear the last score"),
            (("Enter",), "send the scores"),
        ),
    }[kind]
    common = ((("S",), "skip this question"), (("U",), "undo: take the last answer back"))
    joiner = " or " if kind is Kind.PAIR else " to "
    lines = "".join(
        f"<dt>{joiner.join(f'<kbd>{key}</kbd>' for key in keys)}</dt><dd>{escape(what)}</dd>"
        for keys, what in (*rows, *common)
    )
    return (
        '<details class="va-help"><summary>Keys and what to look at</summary>'
        f"<dl>{lines}</dl>"
        '<label class="va-switch"><input type="checkbox" id="va-keys" checked> '
        "Keyboard shortcuts are on</label>"
        f"<p>{escape(_GUIDANCE[kind])}</p></details>"
    )


_GUIDANCE: Final = {
    Kind.PAIR: "Which image does what the text asks for, and looks better? Content comes first, "
    "then flaws such as blur, broken shapes or odd colours. Call it equal only if you would not "
    "mind which one you get. A click on an image enlarges it.",
    Kind.RANK: "Put the images in order by how well they do what the text asks for, and by how "
    "they look. Give two images the same rank only if you would not mind which one you get. A "
    "click on an image enlarges it.",
    Kind.SCORES: "Instruction following: is all there that the text asks for, and, with a source "
    "image, is the rest as it was? Visual quality: is it free of blur, broken shapes, odd colours "
    "and seams, whatever the text says? Judge each on its own. A click on an image enlarges it.",
}
