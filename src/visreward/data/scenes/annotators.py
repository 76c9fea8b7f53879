"""Simulated annotators: what a picture is worth to them, and how they vote."""

from __future__ import annotations

from math import comb

import numpy as np

from visreward.core.errors import UsageError

CONTENT_UTILITY = {"right": 2.0, "wrong": 0.0, "missing": -0.5}
"""Value of the content by whether it is what the prompt asks for."""
RICHNESS_UTILITY = 1.5
FLAW_UTILITY = (0.0, -0.8, -1.5, -2.3, -3.1, -4.0)
"""Value of a technical flaw by severity, 0 (none) to 5; flaws add up."""


def utility(content: str, *, severities: tuple[int, ...] = (), rich: bool = False) -> float:
    """Return what a picture is worth to the annotators, in logits.

    Args:
        content: right, wrong (one attribute differs from the prompt) or missing (a thing is not
            there).
        severities: Severity of each technical flaw, 1 to 5.
        rich: Whether the picture has scenery, light and shadows.

    Raises:
        UsageError: if content or a severity is unknown.
    """
    if content not in CONTENT_UTILITY or not all(1 <= s <= 5 for s in severities):
        raise UsageError(
            f"Unknown content {content!r} or severities {severities}. Use right, wrong or "
            "missing, and severities from 1 to 5."
        )
    flaws = sum(FLAW_UTILITY[severity] for severity in severities)
    return CONTENT_UTILITY[content] + flaws + RICHNESS_UTILITY * rich


def vote(
    utility_a: float, utility_b: float, num_annotators: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Return how many annotators choose a and how many choose b.

    Each one chooses alone: P(a beats b) = sigmoid(utility_a - utility_b). Deterministic given
    `rng`.

    Args:
        utility_a: Value of a in logits.
        utility_b: Value of b in logits.
        num_annotators: At least 1.
        rng: Source of randomness.

    Raises:
        UsageError: if there is no annotator.
    """
    if num_annotators < 1:
        raise UsageError(f"num_annotators is {num_annotators}. Give at least 1.")
    share = 1 / (1 + np.exp(utility_b - utility_a))
    votes_a = int(rng.binomial(num_annotators, share))
    return votes_a, num_annotators - votes_a


def confidence_of(votes_chosen: int, votes_rejected: int) -> float:
    """Return the probability that the chosen image is the better one, given the votes.

    The share p of annotators who would choose it has a flat prior; P(p > 1/2 | k of n) is the
    upper half of a Beta(k + 1, n - k + 1), which in closed form is
    sum_{j <= k} C(n + 1, j) / 2^(n + 1).
    """
    total = votes_chosen + votes_rejected + 1
    return float(sum(comb(total, j) for j in range(votes_chosen + 1)) / 2**total)
