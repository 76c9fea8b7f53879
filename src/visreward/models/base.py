"""What every reward model is: preprocess -> forward -> score and rank, and facts about it.

Shape letters: B samples, K dimensions.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from visreward.core.errors import NonFiniteError, UsageError
from visreward.core.images import AS_RELEASED, UPRIGHT, ReadingRule, content_key
from visreward.core.types import Fidelity, ImageSource, Sample, Score
from visreward.models.loaded import LoadedSample, group_by_image, load_sample

if TYPE_CHECKING:
    from pathlib import Path


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardOutput:
    """What `forward` returns, all float32 on the model's device.

    Attributes:
        mu: (B,) scores.
        log_sigma: (B,) log standard deviations, or None where the model has no uncertainty.
        dimensions: (B, K) parts of the score in the order of `ModelFacts.dimensions`, or None.
        notes: B tuples of remarks for the reader of each score; empty where there are none.
    """

    mu: Tensor
    log_sigma: Tensor | None = None
    dimensions: Tensor | None = None
    notes: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One place of a ranking.

    Attributes:
        rank: 1 is best; equal scores share a rank.
        index: Which of the given images.
        score: Its score.
    """

    rank: int
    index: int
    score: Score


class RewardModel(nn.Module, abc.ABC):
    """Map (prompt, image[, source image]) to a score; higher is always better."""

    kind: ClassVar[str]
    """The registry name of the class, stored as `model` in a native folder's config.json."""

    part_kinds: ClassVar[Mapping[str, str]] = {}
    """The kind of each part, by name; empty for a model of its own."""

    facts: ModelFacts

    batch_invariant: bool = False
    """Whether each item goes through the model alone, for scores with equal bits in any batch."""

    def __init__(self, facts: ModelFacts) -> None:
        super().__init__()
        self.facts = facts

    def prepare(self, sample: LoadedSample) -> LoadedSample:
        """Do to one sample's pictures what `preprocess` would do to each alone; threads call it.

        The prepared sample gives the same score, bit for bit, and holds smaller pictures.
        """
        return sample

    def load(self, sample: Sample) -> LoadedSample:
        """Decode and prepare one sample; errors as in `load_sample`."""
        return self.prepare(load_sample(sample, self.facts))

    @abc.abstractmethod
    def preprocess(self, samples: Sequence[LoadedSample]) -> Any:  # noqa: ANN401  a family's own batch
        """Turn decoded samples into the tensors that `forward` takes."""

    @abc.abstractmethod
    def forward(self, batch: Any) -> RewardOutput:  # noqa: ANN401  a family's own batch
        """Score one batch; differentiable, keeps the samples' order."""

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:  # JSON values
        """Return what is needed, beside the weights, to build the model again."""

    @classmethod
    @abc.abstractmethod
    def from_config(cls, config: dict[str, Any], facts: ModelFacts, folder: Path) -> RewardModel:
        """Build the model without weights; `folder` holds the processor files."""

    @abc.abstractmethod
    def save_processors(self, folder: Path) -> None:
        """Write tokenizer and image processor files into a native folder."""

    def parts(self) -> dict[str, RewardModel]:
        """Return the models that this one is made of, by name; empty for a model of its own."""
        return {}

    def save(self, folder: Path) -> None:
        """Write the model as a native folder, which `load_model` reads."""
        from visreward.models.weights import save_native  # weights import this file

        save_native(self, folder)

    @property
    def device(self) -> torch.device:
        """Return where the weights are."""
        return next(self.parameters()).device

    def describe(self, **changes: Any) -> None:  # noqa: ANN401  any field of ModelFacts
        """Replace some of the model's facts."""
        self.facts = replace(self.facts, **changes)

    @torch.inference_mode()
    def score_batch(self, samples: Sequence[LoadedSample]) -> list[Score]:
        """Score decoded samples as one batch, in their order.

        Raises:
            NonFiniteError: if a score is NaN or infinite; names the positions.
        """
        output = self.forward(self.preprocess(samples))
        bad = torch.nonzero(~torch.isfinite(output.mu)).flatten().tolist()
        if bad:
            raise NonFiniteError(
                f"'{self.facts.name}' gave a score that is not finite for item(s) {bad} of the "
                "batch. Check the weights, or use dtype float32."
            )
        sigmas = None if output.log_sigma is None else output.log_sigma.exp().tolist()
        none = output.mu.new_empty(len(output.mu), 0)
        parts = (none if output.dimensions is None else output.dimensions).tolist()
        return [
            Score(
                value=value,
                sigma=None if sigmas is None else sigmas[row],
                dimensions=dict(zip(self.facts.dimensions, parts[row], strict=True)),
                model=self.facts.name,
                revision=self.facts.revision,
                notes=output.notes[row] if output.notes else (),
            )
            for row, value in enumerate(output.mu.tolist())
        ]

    def score(self, samples: Iterable[Sample], *, batch_size: int = 16) -> list[Score]:
        """Score samples; each distinct image and each distinct prompt is encoded once.

        Args:
            samples: What to score.
            batch_size: How many distinct images go through the model at once.

        Returns:
            One score per sample, in order. Deterministic on one device and one dtype.

        Raises:
            InputError: if any sample cannot be scored. To score the others all the same, use
                `visreward.scoring.ScoringEngine`.
            UsageError: if `batch_size` is below 1.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}. Give 1 or more.")
        wanted = list(samples)
        scores: dict[int, Score] = {}
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            keys = list(pool.map(content_key, [sample.image for sample in wanted]))
            for indices in group_by_image(keys, batch_size):
                first = {keys[index]: wanted[index] for index in reversed(indices)}
                pictures = dict(zip(first, pool.map(self.load, first.values()), strict=True))
                loaded = [
                    load_sample(wanted[index], self.facts, shared=pictures[keys[index]])
                    for index in indices
                ]
                scores.update(zip(indices, self.score_batch(loaded), strict=True))
        return [scores[index] for index in range(len(wanted))]

    def rank(
        self,
        *,
        prompt: str,
        images: Sequence[ImageSource],
        source_image: ImageSource | None = None,
        batch_size: int = 16,
    ) -> list[Ranked]:
        """Rank images for one prompt, best first; equal scores share a rank and keep their order.

        Raises:
            InputError: if any image cannot be scored.
        """
        samples = [
            Sample(prompt=prompt, image=image, source_image=source_image) for image in images
        ]
        return order(self.score(samples, batch_size=batch_size))


def order(scores: Sequence[Score]) -> list[Ranked]:
    """Sort scores, best first; equal values share the better rank."""
    indices = sorted(range(len(scores)), key=lambda index: -scores[index].value)
    ranked: list[Ranked] = []
    for place, index in enumerate(indices, start=1):
        tied = ranked and ranked[-1].score.value == scores[index].value
        rank = ranked[-1].rank if tied else place
        ranked.append(Ranked(rank=rank, index=index, score=scores[index]))
    return ranked
