"""HP, LAION's aesthetic predictor, and ICT x HP.

HP judges the image alone: a CLIP image tower of its own, its projected feature, a head.

Shape letters: B samples, M distinct images, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from visreward.core.errors import UsageError
from visreward.models.base import RewardModel
from visreward.models.clip.backbone import CLIPBackbone, CLIPBackboneConfig
from visreward.models.clip.family import CLIPBatch, CLIPRewardModel
from visreward.models.clip.ict import ICT
from visreward.models.clip.inputs import PixelInputs, load_pixel_inputs
from visreward.models.facts import ModelFacts
from visreward.models.heads import LinearStack
from visreward.models.loaded import LoadedSample
from visreward.models.output import RewardOutput

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image


class HP(CLIPRewardModel):
    """sigmoid(head(image feature)), image-only, in (0, 1).

    Paper: Enhancing Reward Models for High-quality Image Generation (ICCV 2025, arXiv
    2507.19002), section 3. The feature is projected but not normalised, as in the release.
    """

    kind = "hp"

    def __init__(
        self, facts: ModelFacts, backbone: CLIPBackbone, *, pixel_inputs: PixelInputs
    ) -> None:
        super().__init__(facts, backbone, pixel_inputs=pixel_inputs)
        self.head = LinearStack(backbone.backbone_config.projection_dim)

    def features(self, pixels: Tensor) -> Tensor:
        """Return (M, D) float32 features that the head takes, of (M, 3, H, W) uint8 pixels."""
        return self.encode_images(pixels)

    def logits(self, pixels: Tensor) -> Tensor:
        """Return (M,) float32 head outputs, unbounded, before the sigmoid."""
        features = self.features(pixels).to(next(self.head.parameters()).dtype)
        if self.batch_invariant:
            return torch.cat([self.head(feature) for feature in features.split(1)]).float()
        return self.head(features).float()  # type: ignore[no-any-return]

    def forward(self, batch: CLIPBatch) -> RewardOutput:
        """Score one batch; differentiable, keeps the samples' order."""
        scores = self.logits(batch.pixels).sigmoid()
        return RewardOutput(mu=scores[batch.image_index.to(scores.device)])

    def config(self) -> dict[str, Any]:  # JSON values
        """Return what is needed, beside the weights, to build the model again."""
        return {"backbone": self.backbone.backbone_config.to_dict()}

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],  # JSON values
        facts: ModelFacts,
        folder: Path,
    ) -> HP:
        """Build the model without weights; `folder` holds the processor files."""
        return cls(
            facts,
            CLIPBackbone(CLIPBackboneConfig.from_dict(config["backbone"])),
            pixel_inputs=load_pixel_inputs(folder),
        )


class LAIONAesthetic(HP):
    """head(normalised image feature), about 1 to 10, no sigmoid.

    Source: LAION's improved aesthetic predictor, the linear MSE head on CLIP ViT-L/14.
    """

    kind = "laion-aesthetic"

    def features(self, pixels: Tensor) -> Tensor:
        """Return (M, D) float32 features of length 1."""
        return functional.normalize(super().features(pixels), dim=-1)

    def forward(self, batch: CLIPBatch) -> RewardOutput:
        """Score one batch; differentiable, keeps the samples' order."""
        return RewardOutput(mu=self.logits(batch.pixels)[batch.image_index.to(self.device)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ICTHPBatch:
    """The batches of both parts; they share the pixels where both make the same."""

    ict: CLIPBatch
    hp: CLIPBatch


class ICTHP(RewardModel):
    """ICT x HP, with both parts in `dimensions`.

    Paper: Enhancing Reward Models for High-quality Image Generation (ICCV 2025, arXiv
    2507.19002): Reward(v, t) = ICT(v, t) * HP(v). The released eval.py prints both parts and
    leaves the product to the reader; its validation multiplies ICT by a softmax of HP over three
    images, which a single image does not have.
    """

    kind = "ict-hp"
    part_kinds: ClassVar[Mapping[str, str]] = {"ict": "ict", "hp": "hp"}

    def __init__(self, facts: ModelFacts, ict: ICT, hp: HP) -> None:
        super().__init__(facts)
        if facts.dimensions != ("ict", "hp"):
            raise UsageError(
                f"ICTHP got the dimensions {facts.dimensions}. They are ('ict', 'hp')."
            )
        self.ict = ict
        self.hp = hp

    @property
    def batch_invariant(self) -> bool:
        """Return whether each item goes through both parts alone."""
        return self.ict.batch_invariant and self.hp.batch_invariant

    @batch_invariant.setter
    def batch_invariant(self, wanted: bool) -> None:
        self.ict.batch_invariant = wanted
        self.hp.batch_invariant = wanted

    @property
    def shares_pixels(self) -> bool:
        """Return whether both parts see the same pixels of an image."""
        return self.ict.pixel_inputs.same_as(self.hp.pixel_inputs)

    def prepare(self, image: Image.Image) -> Image.Image:
        """Resize the picture where both parts see the same square of it."""
        return self.ict.prepare(image) if self.shares_pixels else image

    def preprocess(self, samples: Sequence[LoadedSample]) -> ICTHPBatch:
        """Collect the distinct images and prompts of some samples."""
        ict = self.ict.preprocess(samples)
        return ICTHPBatch(ict=ict, hp=ict if self.shares_pixels else self.hp.preprocess(samples))

    def tensor_batch(
        self, images: Tensor, prompts: Sequence[str], source_images: Tensor | None
    ) -> ICTHPBatch:
        """Turn checked image tensors into the batches of both parts."""
        ict = self.ict.tensor_batch(images, prompts, source_images)
        if self.shares_pixels:
            return ICTHPBatch(ict=ict, hp=ict)
        return ICTHPBatch(ict=ict, hp=self.hp.tensor_batch(images, prompts, source_images))

    def forward(self, batch: ICTHPBatch) -> RewardOutput:
        """Score one batch; differentiable, keeps the samples' order."""
        ict = self.ict(batch.ict)
        hp = self.hp(batch.hp)
        return RewardOutput(
            mu=ict.mu * hp.mu, dimensions=torch.stack([ict.mu, hp.mu], dim=-1), notes=ict.notes
        )

    def parts(self) -> dict[str, RewardModel]:
        """Return both parts; a native folder holds one folder for each."""
        return {"ict": self.ict, "hp": self.hp}

    def config(self) -> dict[str, Any]:  # JSON values
        """Return nothing: the parts carry their own configuration."""
        return {}

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],  # noqa: ARG003  the interface
        facts: ModelFacts,  # noqa: ARG003  the interface
        folder: Path,
    ) -> ICTHP:
        """Refuse: this model is built from its parts."""
        raise UsageError(f"ICTHP has no weights of its own in {folder}. Build it from ICT and HP.")

    def save_processors(self, folder: Path) -> None:
        """Write nothing: the parts write their own processor files."""
