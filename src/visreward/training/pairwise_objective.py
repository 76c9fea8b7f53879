"""The training stage of vision-language reward models: pairs of images, by dimension and overall.

Shape letters: B rows, K dimensions, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.bradley_terry_ties import bradley_terry_ties_loss
from visreward.losses.plackett_luce import plackett_luce_loss
from visreward.losses.uncertainty import uncertainty_loss
from visreward.models.vlm.inputs import VLMBatch
from visreward.models.vlm.reward import VLMReward
from visreward.models.vlm.sequences import PlacedImage, TokenSequence
from visreward.training.batches import Batch
from visreward.training.objective_config import PairwiseConfig
from visreward.training.objectives import StepOutput, VLMObjective
from visreward.training.pairs import ordered_pairs, ranked_groups, tied_pairs
from visreward.training.questions import (
    Question,
    num_dimensions,
    other_prompts,
    questions_of,
    rival_prompts,
)
from visreward.training.step_shares import count_comparisons


class PairwiseObjective(VLMObjective):
    """A loss for every two images of a row that differ, on each dimension and on the fused score.

    All images, prompts and rating prompts of a row go through the backbone as one tree.
    """

    primary = "accuracy"

    def __init__(self, model: VLMReward, config: PairwiseConfig) -> None:
        super().__init__(model)
        self.config = config

    def forward(self, batch: Batch) -> StepOutput:
        """Return the weighted loss, and how often the fused score orders a pair rightly."""
        questions = questions_of(batch.rows)
        num_images = questions[-1].stop
        others = other_prompts(questions) if self.config.other_prompt_weight > 0 else []
        has_blank = self.config.blank_weight > 0
        lined_up = _lined_up(self.model, batch, questions, others, has_blank=has_blank)
        num_templates = len(self.model.inputs.dimensions)
        said = [num_templates * question.best for question in questions]
        reading = self.model.read(lined_up, keep=said if self.config.language_weight > 0 else [])
        logits = reading.logits[:num_images]
        fused = self.model.fuse(logits)
        overall = [question.known.overall for question in questions]
        loss = self.config.overall_weight * batch.share("overall") * self._loss(fused, overall)
        for number in range(num_dimensions(questions)):
            ratings = [question.ratings(number) for question in questions]
            weight = self.config.dimension_weight * batch.share(f"dimension {number}")
            loss = loss + weight * self._loss(logits[:, number], ratings)
        if self.config.other_prompt_weight > 0:
            pairs = torch.tensor(
                [(image, num_images + number) for number, (image, _) in enumerate(others)]
                + rival_prompts(questions),
                dtype=torch.int64,
            ).view(-1, 2)
            prompted = self._pair_loss(reading.logits[:, 0], pairs)
            weight = self.config.other_prompt_weight * batch.share("other prompt")
            loss = loss + weight * prompted
        if has_blank:
            loss = loss + self.config.blank_weight * self._blank_loss(reading.logits, questions[0])
        for number, states in reading.states.items():
            spoken = self._language_loss(states, lined_up.sequences[number])
            weight = self.config.language_weight * batch.share("language")
            loss = loss + weight / len(said) * spoken
        accuracy = _accuracy(fused[:, 0].detach(), ordered_pairs(overall))
        return StepOutput(loss=loss, accuracy=accuracy * batch.share("accuracy"))

    def counts(self, batch: Batch) -> dict[str, int]:
        """Return over how many comparisons each term of the loss is a mean."""
        return count_comparisons(questions_of(batch.rows), self.config)

    def _loss(self, logits: Tensor, ratings: Sequence[Sequence[float]]) -> Tensor:
        """Return the loss of the images of all rows by the ratings of each row."""
        if self.config.loss == "listwise":
            places, ranks = (each.to(logits.device) for each in ranked_groups(ratings))
            return plackett_luce_loss(logits[places, 0], ranks=ranks, ties=self.config.ties)
        ordered, tied = ordered_pairs(ratings), tied_pairs(ratings)
        if self.config.loss == "bradley-terry-ties":
            return self._pair_loss(logits, torch.cat([ordered, tied]), num_ties=len(tied))
        if self.config.ties == "both-directions":
            ordered = torch.cat([ordered, tied, tied.flip(1)])
        return self._pair_loss(logits, ordered)

    def _pair_loss(self, logits: Tensor, pairs: Tensor, *, num_ties: int = 0) -> Tensor:
        """Return the mean loss of (P, 2) pairs (chosen, rejected); 0 where there are none.

        The last `num_ties` pairs are ties.
        """
        if len(pairs) == 0:
            return logits.sum() * 0
        chosen, rejected = (logits[places] for places in pairs.to(logits.device).unbind(dim=1))
        if self.config.loss == "bradley-terry-ties":
            is_tie = torch.arange(len(pairs), device=logits.device) >= len(pairs) - num_ties
            return bradley_terry_ties_loss(
                score_chosen=chosen[:, 0], score_rejected=rejected[:, 0], is_tie=is_tie
            )
        if self.config.loss != "uncertainty":  # listwise too: a pair is a group of two
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

    def _blank_loss(self, logits: Tensor, question: Question) -> Tensor:
        """Return the loss of the images of a comparison against a blank one, the last of all.

        It is the mean over the dimensions and the fused score.
        """
        last = len(logits) - 1
        pairs = torch.tensor(
            [(image, last) for image in range(question.start, question.stop)], dtype=torch.int64
        )
        parts = [self._pair_loss(each, pairs) for each in logits.unbind(dim=1)]
        return torch.stack([*parts, self._pair_loss(self.model.fuse(logits), pairs)]).mean()

    def _language_loss(self, states: Tensor, sequence: TokenSequence) -> Tensor:
        """Return the mean cross-entropy of the tokens behind the last image of a sequence."""
        last = int(np.flatnonzero(sequence.image >= 0)[-1])
        wanted = torch.from_numpy(sequence.ids[last + 1 :]).to(states.device)
        embeddings = self.model.backbone.model.language_model.embed_tokens.weight
        return functional.cross_entropy(
            (states[last:-1] @ embeddings.to(states.dtype).T).float(), wanted
        )

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return each row's share of pairs in the right order: overall, and by dimension."""
        questions = questions_of(batch.rows)
        logits = self.model.logits(_lined_up(self.model, batch, questions, []))
        fused = self.model.fuse(logits)[:, 0]
        found: dict[str, list[Tensor]] = {}
        for row in range(len(batch.rows)):
            own = [question for question in questions if question.row == row]
            part = slice(own[0].start, own[-1].stop)
            pairs = ordered_pairs([question.known.overall for question in own])
            found.setdefault("accuracy", []).append(_accuracy(fused[part], pairs))
            for number in range(num_dimensions(own)):
                pairs = ordered_pairs([question.ratings(number) for question in own])
                name = f"{self.model.inputs.dimensions[number]}_accuracy"
                found.setdefault(name, []).append(_accuracy(logits[part, number, 0], pairs))
        return {name: torch.stack(values) for name, values in found.items()}


def _accuracy(scores: Tensor, pairs: Tensor) -> Tensor:
    """Return the share of pairs in the right order; ties count as wrong, no pairs as right."""
    if len(pairs) == 0:
        return torch.ones((), device=scores.device)
    better, worse = (scores[places] for places in pairs.to(scores.device).unbind(dim=1))
    return (better > worse).float().mean()


def _blank_like(image: Tensor) -> Tensor:
    """Return a picture in one random colour, black half of the time, shaped as a (3, H, W) one."""
    colour = torch.randint(256, (3, 1, 1)) * torch.randint(2, (1,))
    return colour.to(image).expand_as(image)


def _lined_up(
    model: VLMReward,
    batch: Batch,
    questions: Sequence[Question],
    others: Sequence[tuple[int, str]],
    *,
    has_blank: bool = False,
) -> VLMBatch:
    """Return the sequences of all images under their prompts, and what is compared with them.

    That is some images under other prompts, and a blank one in the first comparison.
    """
    assert batch.pixels is not None, "a vision-language model is trained on pixels"
    inputs = model.inputs
    images = [image for row in batch.pixels for image in row]
    placed = iter([inputs.placed(n, image.shape[1:]) for n, image in enumerate(images)])
    by_row = [[next(placed) for _ in row] for row in batch.pixels]
    sequences: list[TokenSequence] = []
    shown: list[list[PlacedImage]] = []
    for question in questions:
        num_sources = len(batch.rows[question.row].sources)
        sources, edited = by_row[question.row][:num_sources], by_row[question.row][num_sources:]
        for image in edited:
            shown.append([*sources, image])
            sequences += inputs.sequences(question.known.prompt, shown[-1])
    for number, prompt in others:
        sequences += inputs.sequences(prompt, shown[number])
    if has_blank:
        *around, shown_last = shown[0]
        pattern = images[shown_last.number]
        blank = inputs.placed(len(images), pattern.shape[1:])
        images.append(_blank_like(pattern))
        sequences += inputs.sequences(questions[0].known.prompt, [*around, blank])
    features = [each for row in batch.features or () for each in row]
    return VLMBatch(
        sequences=tuple(sequences),
        images=tuple(images),
        keys=("",) * len(images),
        features=dict(enumerate(features)),
    )
