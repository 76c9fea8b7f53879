"""What every reward model is: preprocess -> forward -> score and rank, and facts about it.

Shape letters: B samples, K dimensions.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from visreward.core.errors import ShapeError, UsageError
from visreward.core.images import content_key
from visreward.core.preference import Calibration, Method, preference
from visreward.core.types import ImageSource, Sample, Score, SourceImages
from visreward.models.facts import ModelFacts
from visreward.models.image_tensors import check_image_tensor, check_prompts
from visreward.models.loaded import (
    LoadedSample,
    PictureReader,
    check_given,
    group_by_image,
    load_sample,
)
from visreward.models.output import RewardOutput
from visreward.models.ranked import Ranked, order

if TYPE_CHECKING:
    from PIL import Image


class RewardModel(nn.Module, abc.ABC):
    """Map (prompt, image[, source image]) to a score; higher is always better."""

    kind: ClassVar[str]
    """The registry name of the class, stored as `model` in a native folder's config.json."""

    part_kinds: ClassVar[Mapping[str, str]] = {}
    """The kind of each part, by name; empty for a model of its own."""

    float32_parts: ClassVar[tuple[str, ...]] = ()
    """Beginnings of names of weights that stay float32 whatever the dtype."""

    facts: ModelFacts

    batch_invariant: bool = False
    """Whether each item goes through the model alone, for scores with equal bits in any batch."""

    def __init__(self, facts: ModelFacts) -> None:
        super().__init__()
        self.facts = facts

    def set_attention(self, backend: str) -> None:
        """Choose the attention back-end: `sdpa`, torch's own, which every model has.

        Raises:
            UsageError: if the model does not have it.
            MissingExtraError: if its package is not installed.
        """
        if backend != "sdpa":
            raise UsageError(
                f"'{self.facts.name}' computes its attention with sdpa, but {backend!r} was asked "
                "for. Leave it out."
            )

    def prepare(self, image: Image.Image) -> Image.Image:
        """Do to one picture what `preprocess` would do to it, such as resizing; threads call it.

        The prepared picture gives the same score, bit for bit, and is smaller.
        """
        return image

    def reader(self) -> PictureReader:
        """Return a reader for `load`, which decodes and prepares each source image once."""
        return PictureReader(self.facts.reading, self.prepare)

    def load(self, sample: Sample, reader: PictureReader | None = None) -> LoadedSample:
        """Decode and prepare one sample; errors as in `load_sample`."""
        return load_sample(sample, self.facts, reader=reader or self.reader())

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

    def tensor_batch(
        self,
        images: Tensor,  # noqa: ARG002  the interface
        prompts: Sequence[str],  # noqa: ARG002  the interface
        source_images: Tensor | None,  # noqa: ARG002  the interface
    ) -> Any:  # noqa: ANN401  a family's own batch
        """Turn checked image tensors into what `forward` takes, with gradients to the pixels."""
        raise UsageError(f"'{self.facts.name}' scores image files only. Take another model.")

    def score_tensor(
        self, images: Tensor, prompts: Sequence[str], source_images: Tensor | None = None
    ) -> Tensor:
        """Score images that are tensors; differentiable, preprocessing included.

        Equal to the score of the same image in a file; what is resized is rounded to 8 bits as
        Pillow does, and the gradient passes the rounding unchanged.

        Args:
            images: (B, 3, H, W) float in [0, 1], sRGB.
            prompts: B texts.
            source_images: (B, 3, H, W) likewise, (1, 3, H, W) for one source of all, or None.

        Returns:
            (B,) float32 on the model's device, as `Score.value`.

        Raises:
            ShapeError: if shapes, dtypes or numbers do not fit; UsageError outside [0, 1].
            InputError: if a prompt or a source is missing, not wanted, or too long.
        """
        check_image_tensor(images)
        check_prompts(prompts, images)
        for prompt in prompts:
            check_given(self.facts, prompt, has_source=source_images is not None)
        if source_images is not None:
            check_image_tensor(source_images, what="source_images")
            if len(source_images) not in (1, len(images)):
                raise ShapeError(
                    f"There are {len(images)} images and {len(source_images)} source images. Give "
                    "one source for each image, or one for all."
                )
        output: RewardOutput = self(self.tensor_batch(images, prompts, source_images))
        return output.mu

    def prefer(
        self,
        a: Score,
        b: Score,
        *,
        method: Method = "quadrature",
        calibration: Calibration | None = None,
    ) -> float:
        """Return the probability that `a` beats `b`, both scores of this model; in (0, 1).

        E[sigmoid(s_a - s_b)] over both Gaussians: `visreward.core.preference` says more.

        Args:
            a: A score of this model.
            b: Another one.
            method: `quadrature` is exact, `probit` a closed form within 0.02 of it.
            calibration: Fitted on held-out pairs, or None to take the scores as they are.

        Raises:
            UsageError: if the scores are of another model or revision.
        """
        for score in (a, b):
            if (score.model, score.revision) != (self.facts.name, self.facts.revision):
                raise UsageError(
                    f"The score is of '{score.model}' {score.revision}, this model is "
                    f"'{self.facts.name}' {self.facts.revision}. Compare scores of one model."
                )
        return preference(a, b, method=method, calibration=calibration)

    def parts(self) -> dict[str, RewardModel]:
        """Return the models that this one is made of, by name; empty for a model of its own."""
        return {}

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model as a native folder, which `load_model` reads."""
        from visreward.models.weights import save_native  # weights import this file

        save_native(self, Path(folder))

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
        output: RewardOutput = self.forward(self.preprocess(samples))
        return output.scores(self.facts)

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
        reader = self.reader()
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            keys = list(pool.map(content_key, [sample.image for sample in wanted]))
            for indices in group_by_image(keys, batch_size):
                first = {keys[index]: wanted[index] for index in reversed(indices)}
                read = partial(self.load, reader=reader)
                pictures = dict(zip(first, pool.map(read, first.values()), strict=True))
                loaded = [
                    load_sample(
                        wanted[index], self.facts, shared=pictures[keys[index]], reader=reader
                    )
                    for index in indices
                ]
                scores.update(zip(indices, self.score_batch(loaded), strict=True))
        return [scores[index] for index in range(len(wanted))]

    def rank(
        self,
        *,
        prompt: str,
        images: Sequence[ImageSource],
        source_image: SourceImages | None = None,
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
