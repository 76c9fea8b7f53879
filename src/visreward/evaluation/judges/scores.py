"""A judge as a reward model: it scores each image alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from visreward.core.errors import InputError
from visreward.core.types import DimensionScore, Sample, Score
from visreward.evaluation.judges.answers import ScoresForm
from visreward.evaluation.judges.client import Failure, Session
from visreward.evaluation.judges.config import ScoresConfig
from visreward.evaluation.judges.endpoint_judge import EndpointJudge
from visreward.evaluation.judges.in_order import in_order
from visreward.evaluation.judges.rating_prompts import Picture, criteria
from visreward.scoring.records import RowError, ScoredItem, sample_name

_ALL: Final = "all"


class ScoreJudge(EndpointJudge):
    """A judge that scores images alone, each dimension on a scale; a `Scorer`."""

    def __init__(self, config: ScoresConfig, *, folder: Path) -> None:
        """Prepare a judge; see `EndpointJudge`."""
        template = config.template
        if isinstance(template, Path):
            template = dict.fromkeys((_ALL, *config.dimensions), template)
        super().__init__(config, kind="scores", templates=template or {}, folder=folder)
        self._scores = config
        self._criteria = {
            (names, is_edit): criteria(names, is_edit=is_edit)
            for names in self._asked_together()
            for is_edit in (False, True)
            if "criteria" in self._rating_prompt(_name_of(names), is_edit=is_edit).placeholders
        }

    def run(self, samples: Iterable[Sample | RowError]) -> Iterator[ScoredItem]:
        """Score samples as they come: one item each, in order, a score or a reason.

        Several are asked about at once. A reason that begins with `unparsed:` comes from an answer
        that was not of the form asked for.

        Raises:
            JudgeError: if the endpoint cannot be used, or the cap is reached.
        """
        yield from in_order(
            enumerate(samples), self._item, open_session=self._session, window=self._window
        )

    def _asked_together(self) -> tuple[tuple[str, ...], ...]:
        """Return the dimensions of each request."""
        names = self._scores.dimensions
        return (names,) if self._scores.ask == "together" else tuple((name,) for name in names)

    async def _item(self, session: Session, entry: tuple[int, Sample | RowError]) -> ScoredItem:
        index, sample = entry
        if isinstance(sample, RowError):
            return ScoredItem(index=index, sample=None, name=sample.name, error=sample.reason)
        name = sample_name(sample, index)
        found = await asyncio.gather(
            *(self._asked(session, sample, names) for names in self._asked_together())
        )
        values: dict[str, float] = {}
        for part in found:
            if isinstance(part, Failure):
                return ScoredItem(index=index, sample=sample, name=name, error=part.reason)
            values |= part
        return ScoredItem(index=index, sample=sample, name=name, score=self._score(values))

    async def _asked(
        self, session: Session, sample: Sample, names: tuple[str, ...]
    ) -> dict[str, float] | Failure:
        scale = self._scores.scale
        form = ScoresForm(dimensions=names, low=scale.low, high=scale.high, step=scale.step)
        sources = tuple(Picture(source=source) for source in sample.sources)
        is_edit = bool(sources)
        try:
            parts = self._rating_prompt(_name_of(names), is_edit=is_edit).fill(
                {
                    "prompt": sample.prompt,
                    "criteria": self._criteria.get((names, is_edit), ""),
                    "answer_form": form.request,
                },
                {"image": [Picture(source=sample.image)], "source_image": sources},
            )
        except InputError as error:
            return Failure(str(error))
        return await self._read(session, parts, form)

    def _score(self, values: dict[str, float]) -> Score:
        fused = {
            "mean": sum(values.values()) / len(values),
            "min": min(values.values()),
            "sum": sum(values.values()),
        }
        return Score(
            value=fused[self._scores.fusion],
            dimensions={name: DimensionScore(mu=value) for name, value in values.items()},
            model=self.name,
            revision=self.revision,
        )


def _name_of(names: tuple[str, ...]) -> str:
    """Return the name of the template that asks for these dimensions."""
    return names[0] if len(names) == 1 else _ALL
