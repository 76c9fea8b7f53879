"""Tokens, money and counts of one judge, and the cap on what it spends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visreward.core.errors import BudgetError

if TYPE_CHECKING:
    from visreward.evaluation.judges.completions import Answer
    from visreward.evaluation.judges.config import EndpointConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCounts:
    """What a judge has done since it was loaded.

    Attributes:
        num_answers: Answers that the endpoint gave.
        num_cached: Answers that were known.
        num_unparsed: Answers, known or new, that were not of the form asked for; refusals and cut
            answers are among them.
        num_refused: Of these, those marked as refusals.
        num_failed: Questions that the endpoint did not answer.
        num_retries: Requests beyond the first of each question.
        prompt_tokens: Of new answers.
        completion_tokens: Of new answers.
        num_without_usage: New answers whose tokens the endpoint did not tell.
        cost: Of new answers, in the currency of the prices; None without prices. Answers without
            usage count as the dearest one if there is a cap, and else as nothing.
    """

    num_answers: int = 0
    num_cached: int = 0
    num_unparsed: int = 0
    num_refused: int = 0
    num_failed: int = 0
    num_retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    num_without_usage: int = 0
    cost: float | None = None


class Ledger:
    """What is spent, and who may still spend.

    Under a cap a request is sent only if what is spent, plus the dearest course of all open
    requests and this one, is within it. The dearest course is the longest question so far with the
    longest answer allowed. Until one question has been answered, they are asked one at a time.
    """

    def __init__(self, endpoint: EndpointConfig, *, spent: float) -> None:
        self.spent = spent
        self._prices = endpoint.prices
        self._cap = endpoint.max_cost
        self._max_completion_tokens = endpoint.max_completion_tokens or 0
        self._longest_prompt: int | None = None
        self._num_open = 0
        self._changed = asyncio.Condition()

    async def open(self) -> None:
        """Wait until a request may be sent.

        Raises:
            BudgetError: if it never may.
        """
        if self._cap is None:
            return
        async with self._changed:
            while not self._may_open(self._cap):
                await self._changed.wait()
            self._num_open += 1

    async def close(self, answer: Answer | None) -> float:
        """Take a request off, and return what its answer cost.

        Args:
            answer: What came of it, or None for nothing.

        Raises:
            BudgetError: if there is a cap and the cost cannot be known.
        """
        if self._cap is None:
            return 0.0 if answer is None else self._charge(answer)
        async with self._changed:
            self._num_open -= 1
            self._changed.notify_all()
            return 0.0 if answer is None else self._charge(answer)

    def _may_open(self, cap: float) -> bool:
        if self._longest_prompt is None:
            return self._num_open == 0
        if self.spent + (self._num_open + 1) * self._dearest <= cap:
            return True
        if self._num_open == 0:
            raise BudgetError(
                f"The judge has spent {self.spent:.4f}, and the next answer may cost "
                f"{self._dearest:.4f}, which is more than max_cost = {cap:g} leaves. "
                "Raise max_cost to go on; answers in the cache are not asked again."
            )
        return False

    @property
    def _dearest(self) -> float:
        return self._cost(self._longest_prompt or 0, self._max_completion_tokens)

    def _cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        if self._prices is None:
            return 0.0
        return (
            prompt_tokens * self._prices.input_per_million
            + completion_tokens * self._prices.output_per_million
        ) / 1e6

    def _charge(self, answer: Answer) -> float:
        if answer.prompt_tokens is not None and answer.completion_tokens is not None:
            self._longest_prompt = max(self._longest_prompt or 0, answer.prompt_tokens)
            cost = self._cost(answer.prompt_tokens, answer.completion_tokens)
        elif self._cap is None:
            cost = 0.0
        elif self._longest_prompt is None:
            raise BudgetError(
                "The endpoint's first answer does not tell what it cost: usage is missing or "
                "wrong. A cap cannot be kept. Leave out max_cost, or use another endpoint."
            )
        else:
            cost = self._dearest
        self.spent += cost
        return cost
