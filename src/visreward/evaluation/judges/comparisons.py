"""Judges that compare: two candidates at a time, or all candidates of a group at once."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from visreward.core.errors import InputError
from visreward.data.preferences import ImageBytes, PreferenceRow
from visreward.evaluation.benchmarks.records import BenchGroup, Outcome, PairVerdict
from visreward.evaluation.judges.answers import (
    AnswerForm,
    GenAIBenchForm,
    PairForm,
    RankingForm,
    Side,
)
from visreward.evaluation.judges.client import Failure, Session
from visreward.evaluation.judges.config import PairsConfig, RankingConfig
from visreward.evaluation.judges.endpoint_judge import EndpointJudge
from visreward.evaluation.judges.in_order import in_order
from visreward.evaluation.judges.rating_prompts import Kind, Part, Picture, criteria
from visreward.evaluation.judges.verdicts import has_ties, outcome_of_ranks, pairs_of

_TEMPLATE: Final = "all"
_FIRST_AS_A: Final[dict[Side, Outcome]] = {"A": "first", "B": "second", "tie": "tie"}
_FIRST_AS_B: Final[dict[Side, Outcome]] = {"A": "second", "B": "first", "tie": "tie"}


class ComparingJudge(EndpointJudge, abc.ABC):
    """A judge whose verdicts are on pairs; a `PairJudge`."""

    def __init__(self, config: PairsConfig | RankingConfig, *, folder: Path) -> None:
        """Prepare a judge; see `EndpointJudge`."""
        kind: Kind = config.kind
        templates = {} if config.template is None else {_TEMPLATE: config.template}
        super().__init__(config, kind=kind, templates=templates, folder=folder)
        self._comparing = config
        self._criteria = {
            is_edit: criteria((config.dimension,), is_edit=is_edit)
            for is_edit in (False, True)
            if "criteria" in self._rating_prompt(_TEMPLATE, is_edit=is_edit).placeholders
        }

    def compare(self, groups: Iterable[BenchGroup]) -> Iterator[tuple[PairVerdict, ...]]:
        """Return the verdicts on all pairs of each group, in order.

        A group of one has none. An outcome is None, with the reason among the errors, where the
        endpoint failed or its answer was not of the form asked for.

        Raises:
            JudgeError: if the endpoint cannot be used, or the cap is reached.
        """
        yield from in_order(groups, self._verdicts, open_session=self._session, window=self._window)

    @abc.abstractmethod
    async def _verdicts(self, session: Session, group: BenchGroup) -> tuple[PairVerdict, ...]:
        """Ask about one group."""

    def _parts(
        self, row: PreferenceRow, form: AnswerForm[object], images: dict[str, Sequence[Picture]]
    ) -> tuple[Part, ...]:
        sources = [_picture(image) for image in row.sources]
        is_edit = bool(sources)
        texts = {
            "prompt": row.prompt,
            "criteria": self._criteria.get(is_edit, ""),
            "answer_form": form.request,
        }
        rating_prompt = self._rating_prompt(_TEMPLATE, is_edit=is_edit)
        return rating_prompt.fill(texts, {**images, "source_image": sources})


class PairwiseJudge(ComparingJudge):
    """A judge that is shown two candidates at a time."""

    def __init__(self, config: PairsConfig, *, folder: Path) -> None:
        """Prepare a judge; see `EndpointJudge`."""
        super().__init__(config, folder=folder)
        self._pairs = config

    async def _verdicts(self, session: Session, group: BenchGroup) -> tuple[PairVerdict, ...]:
        found = await asyncio.gather(
            *(
                self._verdict(session, group.row, first, second)
                for first, second in pairs_of(len(group.row.images))
            )
        )
        return tuple(found)

    async def _verdict(
        self, session: Session, row: PreferenceRow, first: int, second: int
    ) -> PairVerdict:
        orders = [((first, second), _FIRST_AS_A)]
        if self._pairs.orders == "both":
            orders.append(((second, first), _FIRST_AS_B))
        sides = await asyncio.gather(
            *(self._side(session, row, left, right) for (left, right), _ in orders)
        )
        failures = tuple(side.reason for side in sides if isinstance(side, Failure))
        outcomes = tuple(
            None if isinstance(side, Failure) else names[side]
            for side, (_, names) in zip(sides, orders, strict=True)
        )
        return PairVerdict(first=first, second=second, outcomes=outcomes, errors=failures)

    async def _side(
        self, session: Session, row: PreferenceRow, left: int, right: int
    ) -> Side | Failure:
        form = self._form(len(row.images))
        pictures = [_picture(row.images[place].image) for place in (left, right)]
        try:
            parts = self._parts(
                row, form, {"left_image": pictures[:1], "right_image": pictures[1:]}
            )
        except InputError as error:
            return Failure(str(error))
        return await self._read(session, parts, form)

    def _form(self, num_candidates: int) -> PairForm | GenAIBenchForm:
        ties = has_ties(self._pairs.ties, num_candidates=num_candidates)
        if self._pairs.answer == "genai-bench":
            return GenAIBenchForm(has_ties=ties)
        return PairForm(has_ties=ties)


class RankingJudge(ComparingJudge):
    """A judge that is shown all candidates at once and puts them in order."""

    def __init__(self, config: RankingConfig, *, folder: Path) -> None:
        """Prepare a judge; see `EndpointJudge`."""
        super().__init__(config, folder=folder)
        self._ranking = config

    async def _verdicts(self, session: Session, group: BenchGroup) -> tuple[PairVerdict, ...]:
        places = tuple(range(len(group.row.images)))
        if len(places) < 2:
            return ()
        orders = [places] if self._ranking.orders == "given" else [places, places[::-1]]
        rankings = await asyncio.gather(
            *(self._ranks(session, group.row, order) for order in orders)
        )
        failures = tuple(ranks.reason for ranks in rankings if isinstance(ranks, Failure))
        return tuple(
            PairVerdict(
                first=first,
                second=second,
                outcomes=tuple(
                    None
                    if isinstance(ranks, Failure)
                    else outcome_of_ranks(ranks, first=first, second=second)
                    for ranks in rankings
                ),
                errors=failures,
            )
            for first, second in pairs_of(len(places))
        )

    async def _ranks(
        self, session: Session, row: PreferenceRow, order: tuple[int, ...]
    ) -> tuple[int, ...] | Failure:
        """Return one rank per candidate, in the order of the group whatever the order shown."""
        ties = has_ties(self._ranking.ties, num_candidates=len(order))
        form = RankingForm(num_images=len(order), has_ties=ties)
        try:
            parts = self._parts(
                row, form, {"images": [_picture(row.images[place].image) for place in order]}
            )
        except InputError as error:
            return Failure(str(error))
        ranks = await self._read(session, parts, form)
        if isinstance(ranks, Failure):
            return ranks
        by_place = dict(zip(order, ranks, strict=True))
        return tuple(by_place[place] for place in range(len(order)))


def _picture(image: Path | ImageBytes) -> Picture:
    if isinstance(image, ImageBytes):
        return Picture(source=image.data, name=image.name)
    return Picture(source=image)
