"""The training stage of HP: margin ranking on triplets, with and without the ICT model.

Shape letters: B rows.
"""

from __future__ import annotations

from torch import Tensor

from visreward.core.errors import UsageError
from visreward.losses.gather import gather_with_grad
from visreward.losses.margin import hp_loss, ict_hp_loss, ict_hp_scores
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.training.data.batches import Batch
from visreward.training.data.frozen import HIDDEN, ICT_SCORES, features_from_hidden, ict_scores
from visreward.training.objectives.base import StepOutput
from visreward.training.objectives.triplets import (
    TripletObjective,
    average,
    mean_margin,
    step_output,
    triplet_indicators,
)
from visreward.training.options.objective_config import HPConfig


class HPObjective(TripletObjective):
    """Margin ranking on HP alone, and on ICT x HP with the frozen ICT model."""

    def __init__(
        self,
        model: HP,
        config: HPConfig,
        *,
        ict: CLIPRewardModel | None = None,
        frozen_layers: int = 0,
    ) -> None:
        super().__init__(model)
        if ict is not None and ict.pixel_inputs.size != model.pixel_inputs.size:
            raise UsageError(
                f"ICT sees {ict.pixel_inputs.size} px and HP {model.pixel_inputs.size} px. "
                "Set objective.cache_frozen=true, which computes each at its own size."
            )
        self.config = config
        self.frozen_layers = frozen_layers
        # Kept out of the module tree: it is not trained, saved or wrapped.
        self._ict = (ict,)

    @property
    def hp(self) -> HP:
        """Return the model; a second attribute would store its weights twice."""
        assert isinstance(self.model, HP)
        return self.model

    def scores_of_ict(self, batch: Batch) -> Tensor | None:
        """Return (B, 3) ICT scores under the basic prompt, or None where ICT takes no part."""
        if ICT_SCORES in batch.extra:
            return batch.extra[ICT_SCORES]
        ict = self._ict[0]
        if ict is None:
            return None
        return ict_scores(ict, batch.stacked(), [row[0] for row in batch.prompts])

    def hp_logits(self, batch: Batch) -> Tensor:
        """Return (B, 3) float32 logits of the three images."""
        if HIDDEN in batch.extra:
            hidden = batch.extra[HIDDEN]
            features = features_from_hidden(
                self.hp.backbone, hidden.flatten(0, 1), num_layers=self.frozen_layers
            )
            logits: Tensor = self.hp.head(features).float()
            return logits.view(hidden.shape[:2])
        pixels = batch.stacked()
        return self.hp.logits(pixels.flatten(0, 1)).view(pixels.shape[:2])

    def forward(self, batch: Batch) -> StepOutput:
        """Return the weighted loss, and accuracy and margin of HP alone."""
        logits = self.hp_logits(batch)
        gathered = gather_with_grad(logits)
        loss = self.config.hp_weight * hp_loss(gathered, margin=self.config.margin)
        containment = self.scores_of_ict(batch)
        if containment is not None and self.config.ict_hp_weight > 0:
            is_released = self.config.fidelity == "released"
            rounded = containment.bfloat16() if is_released else containment
            loss = loss + self.config.ict_hp_weight * ict_hp_loss(
                ict_scores=gather_with_grad(rounded),
                hp_logits=gathered,
                fidelity=self.config.fidelity,
                margin=self.config.margin,
            )
        return step_output(loss, logits.detach())

    def scores(self, batch: Batch) -> Tensor:
        """Return (B, 3) scores: ICT x sigmoid(HP), or the logits of HP where ICT takes no part."""
        return self._scores(batch, self.hp_logits(batch))

    def _scores(self, batch: Batch, logits: Tensor) -> Tensor:
        containment = self.scores_of_ict(batch)
        if containment is None:
            return logits
        return ict_hp_scores(ict_scores=containment, hp_logits=logits, fidelity="paper")

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return the three accuracies of HP, of ICT x sigmoid(HP), and their means.

        And the mean difference of the scores, `margin`.
        """
        logits = self.hp_logits(batch)
        scores = self._scores(batch, logits)
        hp = triplet_indicators(logits, "hp_")
        margin = mean_margin(scores)
        if scores is logits:
            return {**hp, "average": average(hp), "margin": margin}
        product = triplet_indicators(scores)
        means = {"hp_average": average(hp), "average": average(product)}
        return {**hp, **product, **means, "margin": margin}
