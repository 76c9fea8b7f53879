"""One HTML page that shows scored images, needs no other file and asks nothing of the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import visreward
from visreward.core.types import ImageSource
from visreward.evaluation.reports.cards import card, faults, model_line, scales_of
from visreward.evaluation.reports.page import page_head, picture, sources, text, thumbnail
from visreward.scoring.ranking import PromptRanking, rank_by_prompt
from visreward.scoring.records import ScoredItem, path_of, short_name
from visreward.scoring.text_output import text_output

if TYPE_CHECKING:
    from visreward.models.facts import ModelFacts

MAX_CARDS = 1000
"""How many images a page shows; a page of that many is about 20 MB."""

_THUMBNAIL_SIDE = 384


def write_report(items: Sequence[ScoredItem], facts: ModelFacts, path: Path) -> None:
    """Write one self-contained HTML page: every prompt's images, best first.

    Images are shown as people see them: upright, transparency on white. Bars start at 0 and
    share one scale within a prompt. Prompts beyond `MAX_CARDS` images are left out, and the page
    says so. The same items make the same bytes.

    Args:
        items: What was scored; failed items are listed with their reasons.
        facts: Of the model that scored.
        path: The file, replaced where it exists.

    Raises:
        OSError: if the file cannot be written.
    """
    rankings = rank_by_prompt(items)
    failed = [item for item in items if item.error is not None]
    with text_output(path) as page:
        page.write(_head(items, failed, facts))
        thumbnails = _Thumbnails()
        num_shown = 0
        for ranking in rankings:
            if num_shown >= MAX_CARDS:
                break
            section, num_cards = _section(ranking, facts, thumbnails, MAX_CARDS - num_shown)
            page.write(section)
            num_shown += num_cards
        reasons = faults(failed)
        page.write(f"<section>\n<h2>Not scored</h2>\n{reasons}</section>\n" if reasons else "")
        num_hidden = len(items) - len(failed) - num_shown
        page.write(_foot(num_hidden))


class _Thumbnails:
    """Make each image's small copy once, however many prompts it is scored for."""

    def __init__(self) -> None:
        self._made: dict[str, str] = {}

    def tag(self, source: ImageSource, name: str) -> str:
        """Return the image's element, or a word where it can no longer be read."""
        key = path_of(source) or str(id(source))
        if key not in self._made:
            self._made[key] = thumbnail(source, max_side=_THUMBNAIL_SIDE)
        return picture(self._made[key], name)


def _head(items: Sequence[ScoredItem], failed: Sequence[ScoredItem], facts: ModelFacts) -> str:
    counts = f"{len(items) - len(failed)} scored"
    if failed:
        counts += f", {len(failed)} failed"
    note = ""
    if facts.note:
        note = f'<p class="note"><b>{text(facts.name)}</b>: {text(facts.note)}</p>'
    return page_head(
        f"Image scores: {facts.name}",
        heading="Image scores",
        line=f"{model_line(facts)} · {counts}",
        note=note,
    )


def _section(
    ranking: PromptRanking, facts: ModelFacts, thumbnails: _Thumbnails, max_cards: int
) -> tuple[str, int]:
    """Return one prompt's part of the page, and how many images it shows."""
    shown = ranking.places[:max_cards]
    scales = scales_of(ranking, facts)
    cards = "".join(
        card(place, facts, scales, thumbnails.tag(place.sample.image, short_name(place.item)))
        for place in shown
    )
    num_all = len(ranking.places)
    count = f"{num_all} image{'s' if num_all > 1 else ''}, best first"
    if len(shown) < num_all:
        count += f"; the best {len(shown)} are shown"
    tags = [thumbnails.tag(each, "before the edit") for each in ranking.places[0].sample.sources]
    title = f"“{text(ranking.prompt)}”" if ranking.prompt else "All images"
    return (
        f'<section>\n<h2>{title}</h2>\n<p class="count">{count}</p>\n{sources(tags)}'
        f'<ol class="cards">\n{cards}</ol>\n</section>\n',
        len(shown),
    )


def _foot(num_hidden: int) -> str:
    hidden = f"{num_hidden} more images are scored but not shown here. " if num_hidden else ""
    return f"""</main>
<footer>{hidden}Bars start at 0 and share one scale within a prompt. Scores compare within one
model and one revision only. Made by visreward {visreward.__version__}.</footer>
</body>
</html>
"""
