"""What a reward model's forward pass returns, and the scores that are made of it.

Shape letters: B samples, K dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from visreward.core.errors import NonFiniteError
from visreward.core.types import DimensionScore, Score

if TYPE_CHECKING:
    from visreward.models.facts import ModelFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardOutput:
    """What `forward` returns, all float32 on the model's device.

    Attributes:
        mu: (B,) scores.
        log_sigma: (B,) log standard deviations, or None where the model has no uncertainty.
        dimensions: (B, K) parts of the score in the order of `ModelFacts.dimensions`, or None.
        dimension_log_sigmas: (B, K) log standard deviations of the parts, or None.
        notes: B tuples of remarks for the reader of each score; empty where there are none.
    """

    mu: Tensor
    log_sigma: Tensor | None = None
    dimensions: Tensor | None = None
    dimension_log_sigmas: Tensor | None = None
    notes: tuple[tuple[str, ...], ...] = ()

    def scores(self, facts: ModelFacts) -> list[Score]:
        """Return the B scores of a model with these facts.

        Raises:
            NonFiniteError: if a score or its sigma is NaN or infinite; names the positions.
        """
        finite = torch.isfinite(self.mu)
        if self.log_sigma is not None:
            finite = finite & torch.isfinite(self.log_sigma.exp())
        bad = torch.nonzero(~finite).flatten().tolist()
        if bad:
            raise NonFiniteError(
                f"'{facts.name}' gave a score that is not finite for item(s) {bad} of the "
                "batch. Check the weights, or use dtype float32."
            )
        sigmas = None if self.log_sigma is None else self.log_sigma.exp().tolist()
        parts = self._dimension_scores()
        return [
            Score(
                value=value,
                sigma=None if sigmas is None else sigmas[row],
                dimensions=dict(zip(facts.dimensions, parts[row], strict=True)),
                model=facts.name,
                revision=facts.revision,
                notes=self.notes[row] if self.notes else (),
            )
            for row, value in enumerate(self.mu.tolist())
        ]

    def _dimension_scores(self) -> list[list[DimensionScore]]:
        """Return the parts of each sample's score."""
        if self.dimensions is None:
            return [[] for _ in range(len(self.mu))]
        means = self.dimensions.tolist()
        if self.dimension_log_sigmas is None:
            return [[DimensionScore(mu=mu) for mu in row] for row in means]
        deviations = self.dimension_log_sigmas.exp().tolist()
        return [
            [DimensionScore(mu=mu, sigma=sigma) for mu, sigma in zip(*rows, strict=True)]
            for rows in zip(means, deviations, strict=True)
        ]
