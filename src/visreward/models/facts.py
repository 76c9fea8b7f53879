"""What a user must know about a model before reading its scores."""

from __future__ import annotations

from dataclasses import dataclass

from visreward.core.images import AS_RELEASED, UPRIGHT, ReadingRule
from visreward.core.types import Fidelity


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a user must know about a model before reading its scores.

    Attributes:
        name: Name to show beside every score.
        revision: Which weights: a hub commit, or a digest of the weights file.
        needs_prompt: Whether the prompt changes the score.
        needs_source: Whether a source image is required.
        dimensions: Names of what the score is made of; empty for one-dimensional models.
        score_range: Lowest and highest possible score; infinities where unbounded.
        fidelity: `released` follows the released code's arithmetic, `paper` the equations.
        licence: SPDX name or link of the weights' licence.
        note: One sentence to print beside the scores, or "".
    """

    name: str
    revision: str = ""
    needs_prompt: bool = True
    needs_source: bool = False
    dimensions: tuple[str, ...] = ()
    score_range: tuple[float, float] = (float("-inf"), float("inf"))
    fidelity: Fidelity = "released"
    licence: str = ""
    note: str = ""

    @property
    def reading(self) -> ReadingRule:
        """Return how image files are read: as the release does, or upright as people see them."""
        return AS_RELEASED if self.fidelity == "released" else UPRIGHT
