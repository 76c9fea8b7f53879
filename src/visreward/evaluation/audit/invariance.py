"""Does a score depend on how it is computed: on the batch, the order, the number type?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from visreward.core.errors import NonFiniteError
from visreward.evaluation.audit.changes import turned_pairs
from visreward.evaluation.audit.effects import mean_measure
from visreward.evaluation.audit.examination import Array, Examination, Shown, worst
from visreward.evaluation.audit.items import AuditItem
from visreward.evaluation.audit.probe import Probe
from visreward.evaluation.audit.records import Finding, Limit, Measure
from visreward.models.base import RewardModel
from visreward.models.loaded import LoadedSample

FAMILY: Final = "computation"
NUM_ITEMS: Final = 96
NUM_TOGETHER: Final = 16
"""Items of one batch, which has pictures of several prompts in it."""

_ROUNDING: Final = Limit(
    side="at most",
    value=0.01,
    reason="A hundredth of a standard deviation turns 0.3 % of all comparisons; rounding in "
    "float32 is far below it.",
)
_NUMBER_TYPE: Final = Limit(
    side="at most",
    value=0.1,
    reason="A tenth of a standard deviation turns 3 % of all comparisons, about as many as two "
    "people who rate the same pairs twice.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """Items with a score, and their pictures, decoded."""

    items: tuple[AuditItem, ...]
    samples: tuple[LoadedSample, ...]


def _load(examination: Examination) -> _Loaded:
    items = examination.scored_items(at_most=NUM_ITEMS)
    reader = examination.model.reader()
    return _Loaded(
        items=items, samples=tuple(examination.model.load(item.sample, reader) for item in items)
    )


def _scored(model: RewardModel, samples: Sequence[LoadedSample], *, size: int) -> Array:
    """Return the scores of samples that go through the model `size` at a time."""
    found: list[float] = []
    for start in range(0, len(samples), size):
        scores = model.score_batch(samples[start : start + size])
        found += [score.value for score in scores]
    return np.array(found)


def _finding(
    examination: Examination,
    loaded: _Loaded,
    *,
    name: str,
    before: Array,
    after: Array,
    labels: tuple[str, str],
) -> Finding:
    distance = np.abs(examination.in_sd(after - before))
    groups = [item.group for item in loaded.items]
    # Places far apart are other pictures of other prompts as well: all that must not matter.
    places = np.arange(len(loaded.items))
    pairs = np.stack([np.repeat(places, len(places)), np.tile(places, len(places))], axis=1)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    details: list[Measure] = []
    if len(pairs):
        turned = turned_pairs(before, after, pairs)
        clusters = [groups[place] for place in pairs[:, 0]]
        details.append(mean_measure("comparisons that turn", turned, clusters, unit="share"))
    largest = float(distance.max())
    details.append(
        Measure(name="largest change", value=largest, low=largest, high=largest, unit="sd", num=1)
    )
    cases = [
        examination.case(
            loaded.items[place],
            f"{distance[place]:.3g} SD apart",
            (
                Shown(label=labels[0], image=loaded.items[place].sample.image, score=before[place]),
                Shown(label=labels[1], image=loaded.items[place].sample.image, score=after[place]),
            ),
        )
        for place in worst(distance, groups, least=_ROUNDING.value)
    ]
    return Finding(
        effect=mean_measure(name, distance, groups, unit="sd", seed=examination.seed),
        details=tuple(details),
        cases=tuple(cases),
    )


def measure_batch(examination: Examination) -> Finding:
    """Return how far scores move between an item alone and among others."""
    loaded = _load(examination)
    alone = _scored(examination.model, loaded.samples, size=1)
    together = _scored(examination.model, loaded.samples, size=NUM_TOGETHER)
    return _finding(
        examination,
        loaded,
        name="alone or in a batch of 16",
        before=alone,
        after=together,
        labels=("alone", "in a batch"),
    )


def measure_order(examination: Examination) -> Finding:
    """Return how far scores move when the items of each batch change places."""
    loaded = _load(examination)
    together = _scored(examination.model, loaded.samples, size=NUM_TOGETHER)
    rng = np.random.default_rng([examination.seed, 1])
    mixed = np.concatenate(
        [
            start + rng.permutation(min(NUM_TOGETHER, len(loaded.samples) - start))
            for start in range(0, len(loaded.samples), NUM_TOGETHER)
        ]
    )
    shuffled = np.empty_like(together)
    shuffled[mixed] = _scored(
        examination.model, [loaded.samples[place] for place in mixed], size=NUM_TOGETHER
    )
    return _finding(
        examination,
        loaded,
        name="the same batch in another order",
        before=together,
        after=shuffled,
        labels=("in order", "in another order"),
    )


def measure_dtype(examination: Examination) -> Finding:
    """Return how far scores move between float32 and bfloat16."""
    assert examination.reload is not None
    other = _other_dtype(examination)
    loaded = _load(examination)
    model = examination.reload(other)
    before = _scored(examination.model, loaded.samples, size=NUM_TOGETHER)
    try:
        after = _scored(model, loaded.samples, size=NUM_TOGETHER)
    except NonFiniteError as error:
        raise NonFiniteError(f"In {other}: {error}") from error
    return _finding(
        examination,
        loaded,
        name=f"computed in {other}",
        before=before,
        after=after,
        labels=("as it is", other),
    )


def _other_dtype(examination: Examination) -> str:
    numbers = next(examination.model.parameters()).dtype
    return "bfloat16" if str(numbers) == "torch.float32" else "float32"


def _cannot_reload(examination: Examination) -> str:
    if examination.reload is not None:
        return ""
    return "The model was given as an object, and only a model with a name is loaded once more."


PROBES: Final = (
    Probe(
        name="batch",
        family=FAMILY,
        question="Does a score depend on what else is in the batch?",
        limit=_ROUNDING,
        measure=measure_batch,
    ),
    Probe(
        name="order",
        family=FAMILY,
        question="Does a score depend on its place in the batch?",
        limit=_ROUNDING,
        measure=measure_order,
    ),
    Probe(
        name="dtype",
        family=FAMILY,
        question="Does a score depend on the number type, float32 or bfloat16?",
        limit=_NUMBER_TYPE,
        measure=measure_dtype,
        obstacle=_cannot_reload,
    ),
)
