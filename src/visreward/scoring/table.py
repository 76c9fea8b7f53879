"""Rankings as a table for the terminal, readable in 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.bar import Bar
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from visreward.scoring.ranking import PromptRanking, RankedItem
from visreward.scoring.records import printable, short_name

if TYPE_CHECKING:
    from visreward.models.facts import ModelFacts

_MAX_DIMENSIONS = 4
_MIN_NAME_WIDTH = 16


def ranking_tables(
    rankings: Sequence[PromptRanking], facts: ModelFacts, *, width: int
) -> RenderableType:
    """Return one table for each prompt, and a line about the model below.

    Bars start at 0 and share one scale within a prompt, so that their lengths compare.

    Args:
        rankings: What to show.
        facts: Of the model that scored.
        width: Columns of the terminal; long names are shortened to fit.
    """
    parts: list[RenderableType] = []
    for ranking in rankings:
        parts += [_heading(ranking), _table(ranking, facts, width)]
        parts += [Text(f"  note: {printable(note)}", style="yellow") for note in ranking.notes]
        parts.append(Text())
    parts.append(Text(model_line(facts), style="dim"))
    return Group(*parts)


def model_line(facts: ModelFacts) -> str:
    """Return what a reader must know about the model, in one line."""
    revision = f" ({facts.revision})" if facts.revision else ""
    parts = [f"{facts.name}{revision}", "higher is better", facts.note]
    return printable(" · ".join(part for part in parts if part))


def number_text(value: float) -> str:
    """Return a score with four decimals or, from 10 on, two."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def bar_span(value: float, scale: Sequence[float]) -> tuple[float, float]:
    """Return where a bar begins and ends, both in [0, 1], on a scale that includes 0.

    Args:
        value: The number that the bar shows, one of `scale`.
        scale: All numbers that share the scale.
    """
    low, high = min(0.0, *scale), max(0.0, *scale)
    size = (high - low) or 1.0
    return (min(0.0, value) - low) / size, (max(0.0, value) - low) / size


def _heading(ranking: PromptRanking) -> RenderableType:
    text = Text(printable(ranking.prompt) if ranking.prompt else "all images", style="bold")
    if ranking.source_image:
        text.append(f"  edit of {printable(ranking.source_image)}", style="not bold dim")
    return Padding(text, (0, 0, 0, 1))


def _table(ranking: PromptRanking, facts: ModelFacts, width: int) -> Table:
    has_sigma = any(place.score.sigma is not None for place in ranking.places)
    dimensions = facts.dimensions[:_MAX_DIMENSIONS]
    values = [place.score.value for place in ranking.places]
    # A name of several words stands on as many lines.
    numbers = ["score", *(["±"] if has_sigma else []), *(d.replace("_", "\n") for d in dimensions)]
    widths = [max(7, *map(len, name.split("\n"))) for name in numbers]
    rank_width = max(2, len(str(len(values))))
    # One column of padding on each side of every cell.
    room = width - (rank_width + sum(widths) + 2 * (len(widths) + 3))
    longest = max(cell_len(short_name(place.item)) for place in ranking.places)
    wanted = max(_MIN_NAME_WIDTH, min(longest, 2 * _MIN_NAME_WIDTH))
    bar_width = 20 if room - 20 >= wanted else 10
    table = Table(box=None, header_style="dim")
    table.add_column("#", justify="right", width=rank_width)
    name_width = max(_MIN_NAME_WIDTH, min(longest, room - bar_width))
    table.add_column("image", overflow="ellipsis", no_wrap=True, width=name_width)
    for name, number_width in zip(numbers, widths, strict=True):
        table.add_column(name, justify="right", no_wrap=True, width=number_width)
    table.add_column("", width=bar_width)
    for place in ranking.places:
        table.add_row(*_cells(place, dimensions, values, has_sigma=has_sigma))
    return table


def _cells(
    place: RankedItem, dimensions: Sequence[str], values: Sequence[float], *, has_sigma: bool
) -> list[RenderableType]:
    score = place.score
    style = "bold green" if place.rank == 1 else ""
    cells: list[RenderableType] = [
        Text(str(place.rank), style=style),
        Text(short_name(place.item), style=style),
        Text(number_text(score.value), style=style),
    ]
    if has_sigma:
        cells.append(Text("" if score.sigma is None else number_text(score.sigma)))
    cells += [Text(number_text(score.dimensions[name].mu), style="cyan") for name in dimensions]
    begin, end = bar_span(score.value, values)
    cells.append(Bar(1.0, begin, end, color="green" if place.rank == 1 else "blue"))
    return cells
