"""CLIPScore, PickScore and HPSv2: scaled cosine between image and prompt, on the same towers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from visreward.models.clip.backbone import CLIPBackbone, CLIPBackboneConfig
from visreward.models.clip.family import CLIPBatch, CLIPRewardModel
from visreward.models.clip.inputs import ImageFit, load_pixel_inputs, load_text_inputs
from visreward.models.facts import ModelFacts
from visreward.models.output import RewardOutput

if TYPE_CHECKING:
    from pathlib import Path


class CLIPSimilarity(CLIPRewardModel):
    """Score = scale * cosine(image, prompt); subclasses say which scale."""

    kind = "clip-similarity"
    image_fit: ClassVar[ImageFit] = "crop"

    def scale(self) -> Tensor | float:
        """Return the factor on the cosine."""
        return 1.0

    def forward(self, batch: CLIPBatch) -> RewardOutput:
        """Score one batch; differentiable, keeps the samples' order."""
        cosines, notes = self.cosines(batch)
        return RewardOutput(mu=self.scale() * cosines, notes=notes)

    def config(self) -> dict[str, Any]:  # JSON values
        """Return what is needed, beside the weights, to build the model again."""
        assert self.text_inputs is not None
        return {
            "backbone": self.backbone.backbone_config.to_dict(),
            "context": self.text_inputs.context,
            "text_cleaning": self.text_inputs.cleaning,
        }

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],  # JSON values
        facts: ModelFacts,
        folder: Path,
    ) -> CLIPSimilarity:
        """Build the model without weights; `folder` holds the processor files."""
        return cls(
            facts,
            CLIPBackbone(CLIPBackboneConfig.from_dict(config["backbone"])),
            pixel_inputs=load_pixel_inputs(folder, fit=cls.image_fit),
            text_inputs=load_text_inputs(
                folder, context=config["context"], cleaning=config["text_cleaning"]
            ),
        )


class CLIPScore(CLIPSimilarity):
    """100 * max(cosine, 0).

    Paper: CLIPScore (EMNLP 2021), Eq. 1, has the factor 2.5 and puts "A photo depicts" before a
    caption; text-to-image work reports 100 and the bare prompt, which is what this class does.
    """

    kind = "clipscore"

    def forward(self, batch: CLIPBatch) -> RewardOutput:
        """Score one batch; the gradient is zero where the cosine is negative."""
        cosines, notes = self.cosines(batch)
        return RewardOutput(mu=100.0 * cosines.clamp(min=0), notes=notes)


class PickScore(CLIPSimilarity):
    """exp(logit_scale) * cosine.

    Paper: Pick-a-Pic (NeurIPS 2023), section 4; the released code is the same before its softmax.
    """

    kind = "pickscore"

    def scale(self) -> Tensor:
        """Return the learnt temperature, about 100: a scalar float32 tensor, differentiable."""
        return self.backbone.clip.logit_scale.float().exp()  # type: ignore[no-any-return]


class HPSv2(CLIPSimilarity):
    """The plain cosine, as `hpsv2.score` returns it; tables in papers show it times 100.

    Paper: Human Preference Score v2 (arXiv 2306.09341), section 4. The released code pads to a
    square with black; it resizes float pixels, ours are rounded to 8 bits as everywhere here.
    """

    kind = "hpsv2"
    image_fit = "pad"
