"""The training stage of vision-language reward models: pairs of images, by dimension and overall.

Shape letters: B rows, M images of all rows, K dimensions, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.uncertainty import uncertainty_loss
from visreward.models.heads import fuse
from visreward.models.vlm.inputs import VLMBatch
from visreward.models.vlm.reward import VLMReward
from visreward.models.vlm.sequences import PlacedImage, TokenSequence
from visreward.training.batches import Batch, Row
from visreward.training.config import PairwiseConfig
from visreward.training.objectives import Objective, StepOutput


class PairwiseObjective(Objective):
    """A loss for every two images of a row that differ, on each dimension and on the fused score.

    All images and rating prompts of a row go through the backbone as one tree.
    """

    primary = "accuracy"

    def __init__(self, model: VLMReward, config: PairwiseConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config

    @property
    def vlm(self) -> VLMReward:
        """Return the model; a second attribute would store its weights twice."""
        assert isinstance(self.model, VLMReward)
        return self.model

    def forward(self, batch: Batch) -> StepOutput:
        """Return the weighted loss, and how often the fused score orders a pair rightly."""
        best = _best_images(batch.rows)
        has_others = self.config.other_prompt_weight > 0 and len(batch.rows) > 1
        others = _other_prompts(batch.rows, best) if has_others else []
        lined_up = _lined_up(self.vlm, batch, others)
        num_templates = len(self.vlm.inputs.dimensions)
        said = [num_templates * image for image in best] if self.config.language_weight > 0 else []
        reading = self.vlm.read(lined_up, keep=said)
        logits = reading.logits
        num_images = len(logits) - len(others)
        fused = fuse(logits[:num_images], self.vlm.inputs.settings.fusion)
        overall = _pairs([row.overall for row in batch.rows])
        loss = self.config.overall_weight * self._loss(fused, overall)
        for number in range(_num_dimensions(batch.rows)):
            pairs = _pairs([[each[number] for each in row.dimensions] for row in batch.rows])
            loss = loss + self.config.dimension_weight * self._loss(logits[:, number], pairs)
        if others:
            own = [image for image, _ in others]
            pairs = torch.tensor([own, [*range(num_images, len(logits))]]).T
            loss = loss + self.config.other_prompt_weight * self._loss(logits[:, 0], pairs)
        for number in said:
            spoken = self._language_loss(reading.states[number], lined_up.sequences[number])
            loss = loss + self.config.language_weight / len(said) * spoken
        return StepOutput(loss=loss, accuracy=_accuracy(fused[:, 0].detach(), overall))

    def _loss(self, logits: Tensor, pairs: Tensor) -> Tensor:
        """Return the mean loss of (P, 2) pairs (chosen, rejected); 0 where there are none."""
        if len(pairs) == 0:
            return logits.sum() * 0
        chosen, rejected = (logits[places] for places in pairs.to(logits.device).unbind(dim=1))
        if self.config.loss == "bradley-terry":
            return bradley_terry_loss(
                score_chosen=chosen[:, 0], score_rejected=rejected[:, 0], margin=self.config.margin
            )
        return uncertainty_loss(
            mu_chosen=chosen[:, 0],
            log_sigma_chosen=chosen[:, 1],
            mu_rejected=rejected[:, 0],
            log_sigma_rejected=rejected[:, 1],
            fidelity=self.config.fidelity,
            margin=self.config.margin,
        )

    def _language_loss(self, states: Tensor, sequence: TokenSequence) -> Tensor:
        """Return the mean cross-entropy of the tokens behind the last image of a sequence."""
        last = int(np.flatnonzero(sequence.image >= 0)[-1])
        wanted = torch.from_numpy(sequence.ids[last + 1 :]).to(states.device)
        embeddings = self.vlm.backbone.model.language_model.embed_tokens.weight
        return functional.cross_entropy(
            (states[last:-1] @ embeddings.to(states.dtype).T).float(), wanted
        )

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return each row's share of pairs in the right order: overall, and by dimension."""
        logits = self.vlm.logits(_lined_up(self.vlm, batch, []))
        fused = fuse(logits, self.vlm.inputs.settings.fusion)[:, 0]
        found: dict[str, list[Tensor]] = {}
        start = 0
        for row in batch.rows:
            part = slice(start, start + len(row.images))
            start = part.stop
            found.setdefault("accuracy", []).append(_accuracy(fused[part], _pairs([row.overall])))
            for number in range(_num_dimensions([row])):
                pairs = _pairs([[each[number] for each in row.dimensions]])
                name = f"{self.vlm.inputs.dimensions[number]}_accuracy"
                found.setdefault(name, []).append(_accuracy(logits[part, number, 0], pairs))
        return {name: torch.stack(values) for name, values in found.items()}


def _num_dimensions(rows: Sequence[Row]) -> int:
    """Return K, or 0 where a row is rated as a whole only."""
    return min(len(row.dimensions[0]) if row.dimensions else 0 for row in rows)


def _pairs(ratings: Sequence[Sequence[float]]) -> Tensor:
    """Return (P, 2) int64: of every two images of a row that differ, the better and the worse.

    Images are counted through all rows.
    """
    found: list[tuple[int, int]] = []
    start = 0
    for row in ratings:
        found += [
            (start + better, start + worse)
            for better, worse in permutations(range(len(row)), 2)
            if row[better] > row[worse]
        ]
        start += len(row)
    return torch.tensor(found, dtype=torch.int64).view(-1, 2)


def _accuracy(scores: Tensor, pairs: Tensor) -> Tensor:
    """Return the share of pairs in the right order; ties count as wrong, no pairs as right."""
    if len(pairs) == 0:
        return torch.ones((), device=scores.device)
    better, worse = (scores[places] for places in pairs.to(scores.device).unbind(dim=1))
    return (better > worse).float().mean()


def _best_images(rows: Sequence[Row]) -> list[int]:
    """Return the best image of each row on the first dimension, counted through all rows."""
    found: list[int] = []
    start = 0
    for row in rows:
        values = [each[0] for each in row.dimensions] or list(row.overall)
        found.append(start + values.index(max(values)))
        start += len(row.images)
    return found


def _other_prompts(rows: Sequence[Row], best: Sequence[int]) -> list[tuple[int, str]]:
    """Return for each row its best image and the next row's prompt, where that is another one."""
    neighbours = [*rows[1:], rows[0]]
    return [
        (image, neighbour.prompts[0])
        for row, neighbour, image in zip(rows, neighbours, best, strict=True)
        if row.prompts[0] != neighbour.prompts[0]
    ]


def _lined_up(model: VLMReward, batch: Batch, others: Sequence[tuple[int, str]]) -> VLMBatch:
    """Return the sequences of all images under their prompts, then of some under other ones."""
    assert batch.pixels is not None, "a vision-language model is trained on pixels"
    inputs = model.inputs
    images: list[Tensor] = []
    sequences: list[TokenSequence] = []
    shown: list[list[PlacedImage]] = []
    for row, pixels in zip(batch.rows, batch.pixels, strict=True):
        placed = [
            inputs.placed(number, each.shape[1:])
            for number, each in enumerate(pixels, start=len(images))
        ]
        images += pixels
        num_sources = len(row.sources)
        for image in placed[num_sources:]:
            shown.append([*placed[:num_sources], image])
            sequences += inputs.sequences(row.prompts[0], shown[-1])
    for image_number, prompt in others:
        sequences += inputs.sequences(prompt, shown[image_number])
    return VLMBatch(sequences=tuple(sequences), images=tuple(images), keys=("",) * len(images))
