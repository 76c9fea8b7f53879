"""A model under examination: its scores, what they are measured in, and pictures of cases.

Shape letters: M samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visreward.core.errors import UsageError
from visreward.core.images import read_image
from visreward.core.types import ImageSource, Sample
from visreward.evaluation.audit.equals import Equals, equal_pictures
from visreward.evaluation.audit.items import AuditItem, AuditSet
from visreward.evaluation.audit.records import Case, CasePicture, ItemFailure
from visreward.evaluation.reports.page import thumbnail
from visreward.models.base import RewardModel
from visreward.scoring.engine import ScoringEngine
from visreward.scoring.records import RowError

Array = NDArray[np.float64]

OVERALL: Final = ""
"""The name of the score itself, beside those of its dimensions."""

NUM_CASES: Final = 3
_THUMBNAIL_SIDE: Final = 256

Reload = Callable[[str], RewardModel]
"""Loads the examined model once more, computed in another dtype."""


class NoSpreadError(UsageError):
    """All pictures have the same score, so that no change can be compared with their spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A picture of a case to be.

    Attributes:
        label: What it is.
        image: The picture.
        score: Its score, or None.
    """

    label: str
    image: ImageSource
    score: float | None = None


class Examination:
    """Scores of one model on one set of pictures, shared by all probes.

    Attributes:
        model: The reward model.
        audited: What it is examined on.
        seed: Of everything that is drawn.
        reload: Loads the model in another dtype, or None where that cannot be done.
        failures: Why pictures have no score, by name.
    """

    def __init__(
        self,
        model: RewardModel,
        audited: AuditSet,
        *,
        seed: int = 0,
        batch_size: int = 16,
        reload: Reload | None = None,
    ) -> None:
        self.model = model
        self.audited = audited
        self.seed = seed
        self.reload = reload
        self.failures: dict[str, ItemFailure] = {
            failure.name: failure for failure in audited.failures
        }
        self._engine = ScoringEngine(model, batch_size=batch_size)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the name of the score and those of the dimensions."""
        # A single dimension says nothing that the score does not say.
        dimensions = self.model.facts.dimensions
        return (OVERALL, *(dimensions if len(dimensions) > 1 else ()))

    @property
    def items(self) -> tuple[AuditItem, ...]:
        """Return the pictures under their own prompts."""
        return self.audited.items

    @property
    def right_items(self) -> tuple[AuditItem, ...]:
        """Return the pictures that show what was asked for."""
        return tuple(item for item in self.items if item.is_right)

    def score(self, samples: Iterable[Sample | RowError]) -> dict[str, Array]:
        """Return (M,) scores by name, `OVERALL` and dimensions; NaN where there is none.

        Each sample without a score is kept in `failures` with its reason.
        """
        columns: dict[str, list[float]] = {name: [] for name in self.names}
        for item in self._engine.run(samples):
            if item.error is not None:
                self.failures.setdefault(item.name, ItemFailure(name=item.name, reason=item.error))
            for name, column in columns.items():
                if item.score is None:
                    column.append(float("nan"))
                else:
                    value = item.score.value
                    column.append(value if name == OVERALL else item.score.dimensions[name].mu)
        return {name: np.array(column, dtype=np.float64) for name, column in columns.items()}

    @cached_property
    def base(self) -> dict[str, Array]:
        """Return the scores of all items under their own prompts, by name."""
        return self.score(item.sample for item in self.items)

    def base_of(self, items: Sequence[AuditItem]) -> dict[str, Array]:
        """Return the base scores of some of the items."""
        places = {id(item): place for place, item in enumerate(self.items)}
        chosen = [places[id(item)] for item in items]
        return {name: values[chosen] for name, values in self.base.items()}

    def scored_items(self, *, at_most: int) -> tuple[AuditItem, ...]:
        """Return items that have a score, evenly taken from all, for what is slow."""
        scored = [
            item
            for item, score in zip(self.items, self.base[OVERALL], strict=True)
            if np.isfinite(score)
        ]
        return tuple(scored[:: max(1, -(-len(scored) // at_most))])

    @cached_property
    def spread(self) -> Mapping[str, float]:
        """Return the standard deviation of the base scores, by name; 0 where they are equal."""
        return {
            name: float(np.nanstd(values)) if np.isfinite(values).any() else 0.0
            for name, values in self.base.items()
        }

    @cached_property
    def equals(self) -> Equals:
        """Return pictures that compete for their prompts with equal right."""
        return equal_pictures(self.audited, self.model.facts, seed=self.seed)

    @cached_property
    def equal_scores(self) -> dict[str, Array]:
        """Return the scores of the equal pictures, by name."""
        return self.score(item.sample for item in self.equals.items)

    def in_sd(self, changes: Array, name: str = OVERALL) -> Array:
        """Return changes of a score in standard deviations between different pictures.

        Raises:
            NoSpreadError: if all pictures have the same score.
        """
        spread = self.spread[name]
        if spread == 0:
            raise NoSpreadError(
                f"All pictures have the same {name or 'score'}, so that nothing compares with its "
                "spread. Give a model that tells pictures apart."
            )
        return changes / spread

    @cached_property
    def pairs(self) -> NDArray[np.int64]:
        """Return (P, 2) places of items that are compared with each other.

        All pairs within a prompt; where every prompt has one picture, neighbours.
        """
        groups = [item.group for item in self.items]
        found = [
            (first, second)
            for second in range(len(groups))
            for first in range(second - 1, -1, -1)
            if groups[first] == groups[second]
        ]
        if not found:
            found = [(place, place + 1) for place in range(len(groups) - 1)]
        return np.array(found, dtype=np.int64).reshape(-1, 2)

    def read(self, source: ImageSource) -> Image.Image:
        """Return a picture as the model reads it.

        Raises:
            ImageError: if it cannot be read.
        """
        return read_image(source, rule=self.model.facts.reading)

    def case(self, item: AuditItem, text: str, pictures: Sequence[Shown]) -> Case:
        """Return a case with small copies of its pictures, the source images first.

        Args:
            item: What it is a case of.
            text: What is wrong.
            pictures: Before, after and the like.
        """
        sources = [Shown(label="before the edit", image=each) for each in item.sample.sources]
        return Case(
            name=item.sample.id or "",
            prompt=item.sample.prompt,
            text=text,
            pictures=tuple(
                CasePicture(
                    label=shown.label,
                    score=shown.score,
                    uri=thumbnail(shown.image, max_side=_THUMBNAIL_SIDE),
                )
                for shown in (*sources, *pictures)
            ),
        )


def worst(badness: Array, groups: Sequence[int] | None = None, *, least: float = 0.0) -> list[int]:
    """Return the places of the worst cases, worst first: those above `least`, a few of them.

    Args:
        badness: (M,) floats; NaN is never worst.
        groups: (M,) such as prompts, of each of which the worst one is taken; None takes all.
        least: What is no case yet.
    """
    chosen: list[int] = []
    seen: set[int] = set()
    for place in np.argsort(-np.nan_to_num(badness, nan=-np.inf), kind="stable").tolist():
        group = place if groups is None else groups[place]
        if len(chosen) == NUM_CASES or not badness[place] > least:
            break
        if group not in seen:
            seen.add(group)
            chosen.append(place)
    return chosen
