"""Sort scored items, prompt by prompt, best first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from visreward.core.types import Sample, Score
from visreward.models.ranked import order
from visreward.scoring.records import ScoredItem, path_of, source_paths


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedItem:
    """One place of a ranking.

    Attributes:
        rank: 1 is best; equal scores share a rank.
        item: What stands there.
        sample: The item's sample.
        score: The item's score.
    """

    rank: int
    item: ScoredItem
    sample: Sample
    score: Score


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRanking:
    """All scored images of one prompt and one source image, best first.

    Attributes:
        prompt: The text asked for, or "" for models that take none.
        source_image: Path of the image before the edit, several joined by " + ", or None.
        places: At least one place.
    """

    prompt: str
    source_image: str | None
    places: tuple[RankedItem, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a reader of these scores must know, each remark once."""
        return tuple(dict.fromkeys(note for place in self.places for note in place.score.notes))


def rank_by_prompt(items: Iterable[ScoredItem]) -> list[PromptRanking]:
    """Return one ranking for each prompt and source image, in the order of their first item.

    Failed items are left out: they have no score to rank by.
    """
    groups: dict[tuple[str, object], list[tuple[ScoredItem, Sample, Score]]] = {}
    for item in items:
        if item.sample is None or item.score is None:
            continue
        sources = tuple(path_of(source) or id(source) for source in item.sample.sources)
        key = (item.sample.prompt, sources)
        groups.setdefault(key, []).append((item, item.sample, item.score))
    return [
        PromptRanking(
            prompt=prompt,
            source_image=_shown(source_paths(members[0][1])),
            places=tuple(
                RankedItem(
                    rank=ranked.rank,
                    item=members[ranked.index][0],
                    sample=members[ranked.index][1],
                    score=ranked.score,
                )
                for ranked in order([score for _, _, score in members])
            ),
        )
        for (prompt, _), members in groups.items()
    ]


def _shown(paths: str | list[str] | None) -> str | None:
    return " + ".join(paths) if isinstance(paths, list) else paths
