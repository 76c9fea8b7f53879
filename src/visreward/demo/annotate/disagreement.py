"""How far reward models disagree about the candidates of each question.

With d the difference of a model's scores of two candidates, and s the root mean square of all its
differences in the study, P = sigmoid(d / s) is what the model says of the pair. Two models disagree
by |P_a - P_b|, more of them by the largest such gap; a question with more than two candidates has
the mean over its pairs. In [0, 1], comparable across models because of s.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visreward.core.errors import UsageError
from visreward.core.types import Sample
from visreward.demo.annotate.records import Question

if TYPE_CHECKING:
    from visreward.scoring.engine import ScoringEngine

Floats = NDArray[np.float64]


def disagreements(
    questions: Sequence[Question],
    engines: Sequence[ScoringEngine],
    *,
    progress: Callable[[int], None] | None = None,
) -> list[float | None]:
    """Return how far models disagree on each question, None where one of them has no score.

    Each model scores each distinct candidate of a prompt once. Deterministic.

    Args:
        questions: What is asked, each with two candidates or more.
        engines: Two models or more.
        progress: Called with the number of candidates that were scored just now, or None.

    Raises:
        UsageError: if a model has no score for any question.
    """
    chances = [_chances(questions, engine, progress=progress) for engine in engines]
    found: list[float | None] = []
    for number in range(len(questions)):
        said = np.stack([each[number] for each in chances])
        gaps = said.max(axis=0) - said.min(axis=0)
        found.append(float(gaps.mean()) if np.isfinite(gaps).all() else None)
    return found


def _chances(
    questions: Sequence[Question],
    engine: ScoringEngine,
    *,
    progress: Callable[[int], None] | None,
) -> list[Floats]:
    """Return what a model says of each question's pairs; NaN where a score is missing."""
    samples = (
        Sample(prompt=question.prompt, image=each.image, source_image=question.sources or None)
        for question in questions
        for each in question.candidates
    )
    scores: list[float] = []
    reason = None
    for item in engine.run(samples):
        scores.append(float("nan") if item.score is None else item.score.value)
        reason = reason or item.error
        if progress is not None:
            progress(1)
    values = iter(scores)
    gaps = []
    for question in questions:
        own = [next(values) for _ in question.candidates]
        gaps.append(np.array([one - other for one, other in itertools.combinations(own, 2)]))
    known = np.concatenate(gaps) if gaps else np.empty(0)
    known = known[np.isfinite(known)]
    if not len(known):
        raise UsageError(
            f"'{engine.model.facts.name}' has no score for any question: {reason}. "
            "Choose a model that reads this kind of data."
        )
    scale = float(np.sqrt(np.mean(known**2))) or 1.0
    return [0.5 * (1 + np.tanh(each / (2 * scale))) for each in gaps]
