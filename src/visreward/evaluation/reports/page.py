"""What the HTML pages share: a frame that needs no other file, pictures, and rows of measures."""

from __future__ import annotations

import html
from importlib.resources import files

from visreward.core.errors import ImageError
from visreward.core.images import read_image, thumbnail_data_uri
from visreward.core.types import ImageSource
from visreward.scoring.records import printable

# Nothing is loaded from anywhere, whatever a prompt or a file name holds.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def text(value: str) -> str:
    """Return a text for HTML, with signs that cannot be seen made visible."""
    return html.escape(printable(value))


def page_head(title: str, *, heading: str, line: str, note: str = "", style: str = "") -> str:
    """Return the beginning of a page, up to its main part.

    Args:
        title: Plain text.
        heading: Plain text.
        line: HTML below the heading.
        note: HTML below that, or nothing.
        style: Rules of this page, beside those of all.
    """
    folder = files("visreward.evaluation.reports")
    common = folder.joinpath("report.css").read_text(encoding="utf-8") + cards_css()
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{text(title)}</title>
<style>
{common}{style}</style>
</head>
<body>
<header>
<h1>{text(heading)}</h1>
<p class="model">{line}</p>
{note}
</header>
<main>
"""


def cards_css() -> str:
    """Return the rules of notes, source images, cards and faults."""
    folder = files("visreward.evaluation.reports")
    return folder.joinpath("cards.css").read_text(encoding="utf-8")


def thumbnail(source: ImageSource, *, max_side: int) -> str:
    """Return an image's small copy as a data URI, empty where the image can no longer be read."""
    try:
        return thumbnail_data_uri(read_image(source), max_side=max_side)
    except ImageError:
        return ""


def picture(uri: str, name: str) -> str:
    """Return an image's element, or words where there is no copy of it."""
    return f'<img src="{uri}" alt="{text(name)}">' if uri else "no picture"


def sources(tags: list[str]) -> str:
    """Return the images before an edit, or nothing where there are none."""
    if not tags:
        return ""
    return f'<div class="source">{"".join(tags)}<span>before the edit</span></div>\n'


def measure(name: str, number: str, span: tuple[float, float], *, is_total: bool) -> str:
    """Return a line of a card: a name, a bar and a number.

    Args:
        name: Plain text; underscores become spaces.
        number: HTML.
        span: Where the bar begins and ends, as shares of its length.
        is_total: Whether it is the score as a whole.
    """
    begin, end = span
    total = " total" if is_total else ""
    place = f"left:{100 * begin:.2f}%;width:{100 * (end - begin):.2f}%"
    return (
        f"<dt>{text(name.replace('_', ' '))}</dt>"
        f'<dd class="bar{total}" aria-hidden="true"><i style="{place}"></i></dd>'
        f'<dd class="value{total}">{number}</dd>\n'
    )
