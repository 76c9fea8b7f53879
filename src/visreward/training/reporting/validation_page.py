"""A page of validation rows as the model sees them: source, images in people's order, scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from visreward.core.errors import DataError
from visreward.evaluation.reports.page import measure, page_head, picture, sources, text, thumbnail
from visreward.scoring.table import bar_span, number_text
from visreward.training.data.batches import ImageFile, Row, readable
from visreward.training.objectives.base import ShownScore

PAGE: Final = "validation.html"
NUM_SHOWN: Final = 6
"""How many of the worst rows, and how many of all, a page shows."""

_THUMBNAIL_SIDE: Final = 256
_STYLE: Final = """
.wrong { border-color: var(--fault); }
.wrong .bar.total i { background: var(--fault); }
.wrong .rank { background: var(--fault); }
.cards { grid-template-columns: repeat(auto-fill, minmax(min(12rem, 100%), 1fr)); }
.measures { grid-template-columns: auto minmax(1.5rem, 1fr) auto; }
h2.part { margin-top: 3.5rem; font-size: 1.4rem; }
section { margin-top: 2rem; }
section h3 { margin: 0 0 0.2rem; font-size: 1.05rem; }
"""


@dataclass(frozen=True, kw_only=True)
class ShownRow:
    """A row and what the model says of it.

    Attributes:
        row: The row.
        scores: Of each of its images.
    """

    row: Row
    scores: tuple[ShownScore, ...]


def choose_rows(margins: Mapping[int, float]) -> tuple[list[int], list[int]]:
    """Return the rows with the lowest margins, lowest first, and some of all, always the same.

    Args:
        margins: Mean score difference of chosen and rejected images by row; NaN where none are
            compared, which is no row to show.
    """
    known = [row for row, margin in margins.items() if not np.isnan(margin)]
    worst = sorted(known, key=lambda row: (margins[row], row))[:NUM_SHOWN]
    picked = np.random.default_rng(0).permutation(len(known))[:NUM_SHOWN]
    return worst, sorted(known[place] for place in picked)


def validation_page(
    parts: Mapping[str, Sequence[ShownRow]], *, title: str, figures: Mapping[str, float]
) -> str:
    """Return one HTML page that needs no other file and asks nothing of the network.

    Args:
        parts: Rows by heading.
        title: Such as the model's name and the step.
        figures: The metrics of all validation rows.
    """
    shown = " · ".join(f"{_words(name)} <b>{value:.4g}</b>" for name, value in figures.items())
    body = "".join(
        f'<h2 class="part">{heading}</h2>\n' + "".join(_section(each) for each in rows)
        for heading, rows in parts.items()
    )
    title = f"Validation: {title}"
    head = page_head(title, heading=title, line=shown, style=_STYLE)
    return f"""{head}{body}</main>
<footer>Images stand in the order of the people who compared them, best first. Red: the model puts
an image below one that people find worse. Bars start at 0 and share one scale within a row.
</footer>
</body>
</html>
"""


def _section(shown: ShownRow) -> str:
    row, scores = shown.row, shown.scores
    known = row.comparisons()[0].overall
    order = sorted(range(len(known)), key=lambda place: -known[place])
    pairs = [(one, other) for one in order for other in order if known[one] > known[other]]
    right = sum(scores[one].mu > scores[other].mu for one, other in pairs)
    gap = np.mean([scores[one].mu - scores[other].mu for one, other in pairs])
    of_pairs = f"{right} of {len(pairs)} pairs right, " if len(pairs) > 1 else ""
    scale = [score.mu for score in scores]
    cards = "".join(
        _card(shown, place, _label(known, place), scale=scale, known=known) for place in order
    )
    before = sources([_picture(file, "before the edit") for file in row.sources])
    where = f" · {text(row.id)}" if row.id else ""
    return (
        f"<section>\n<h3>“{text(row.prompts[0])}”</h3>\n"
        f'<p class="count">{of_pairs}margin {gap:+.3f}{where}</p>\n{before}'
        f'<ol class="cards">\n{cards}</ol>\n</section>\n'
    )


def _label(known: Sequence[float], place: int) -> str:
    """Return what people say of an image: chosen or rejected of two, its rank among more."""
    rank = 1 + sum(value > known[place] for value in known)
    if len(known) == 2 and known[0] != known[1]:
        return "chosen" if rank == 1 else "rejected"
    return str(rank)


def _card(
    shown: ShownRow, place: int, label: str, *, scale: Sequence[float], known: Sequence[float]
) -> str:
    score = shown.scores[place]
    is_wrong = any(
        value < known[place] and other.mu >= score.mu
        for value, other in zip(known, shown.scores, strict=True)
    )
    spread = "" if score.sigma is None else f" <small>± {score.sigma:.2g}</small>"
    number = f"{number_text(score.mu)}{spread}"
    line = measure("score", number, bar_span(score.mu, scale), is_total=True)
    return f"""<li class="card{" wrong" if is_wrong else ""}">
<figure>{_picture(shown.row.images[place], label)}<span class="rank">{label}</span></figure>
<div class="facts"><dl class="measures">
{line}</dl></div>
</li>
"""


def _picture(file: ImageFile, name: str) -> str:
    try:
        source = readable(file)
    except DataError:
        return picture("", name)
    return picture(thumbnail(source, max_side=_THUMBNAIL_SIDE), name)


def _words(name: str) -> str:
    return text(name.replace("_", " "))
