"""The training stage of vision-language reward models: pairs of images, by dimension and overall.

Shape letters: B rows, K dimensions, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from visreward.training.batches import Batch, Comparison, Row
from visreward.training.config import PairwiseConfig
from visreward.training.objectives import Objective, StepOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """One comparison of a batch.

    Attributes:
        row: Which row it belongs to.
        start: Number of its first image; images are counted through all comparisons.
        known: What is known.
    """

    row: int
    start: int
    known: Comparison

    @property
    def best(self) -> int:
        """Return the number of its best image."""
        return self.start + self.known.best


class PairwiseObjective(Objective):
    """A loss for every two images of a row that differ, on each dimension and on the fused score.

    All images, prompts and rating prompts of a row go through the backbone as one tree.
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
        questions = _questions(batch.rows)
        num_images = questions[-1].start + len(questions[-1].known.overall)
        others = _other_prompts(questions) if self.config.other_prompt_weight > 0 else []
        lined_up = _lined_up(self.vlm, batch, questions, others)
        num_templates = len(self.vlm.inputs.dimensions)
        said = [num_templates * question.best for question in questions]
        reading = self.vlm.read(lined_up, keep=said if self.config.language_weight > 0 else [])
        logits = reading.logits[:num_images]
        fused = fuse(logits, self.vlm.inputs.settings.fusion)
        overall = _overall_pairs(questions)
        loss = self.config.overall_weight * self._loss(fused, overall)
        for number in range(_num_dimensions(questions)):
            pairs = _dimension_pairs(questions, number)
            loss = loss + self.config.dimension_weight * self._loss(logits[:, number], pairs)
        if self.config.other_prompt_weight > 0:
            pairs = torch.tensor(
                [(image, num_images + number) for number, (image, _) in enumerate(others)]
                + _rival_prompts(questions),
                dtype=torch.int64,
            ).view(-1, 2)
            spoken = self._loss(reading.logits[:, 0], pairs)
            loss = loss + self.config.other_prompt_weight * spoken
        for number, states in reading.states.items():
            spoken = self._language_loss(states, lined_up.sequences[number])
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
        questions = _questions(batch.rows)
        logits = self.vlm.logits(_lined_up(self.vlm, batch, questions, []))
        fused = fuse(logits, self.vlm.inputs.settings.fusion)[:, 0]
        found: dict[str, list[Tensor]] = {}
        for row in range(len(batch.rows)):
            own = [question for question in questions if question.row == row]
            found.setdefault("accuracy", []).append(_accuracy(fused, _overall_pairs(own)))
            for number in range(_num_dimensions(own)):
                name = f"{self.vlm.inputs.dimensions[number]}_accuracy"
                share = _accuracy(logits[:, number, 0], _dimension_pairs(own, number))
                found.setdefault(name, []).append(share)
        return {name: torch.stack(values) for name, values in found.items()}


def _questions(rows: Sequence[Row]) -> list[_Question]:
    """Return the comparisons of all rows, in order."""
    found: list[_Question] = []
    start = 0
    for number, row in enumerate(rows):
        for known in row.comparisons():
            found.append(_Question(row=number, start=start, known=known))
            start += len(known.overall)
    return found


def _num_dimensions(questions: Sequence[_Question]) -> int:
    """Return K, or 0 where images are rated as a whole only."""
    rated = [question.known.dimensions for question in questions]
    return min(len(each[0]) if each else 0 for each in rated)


def _overall_pairs(questions: Sequence[_Question]) -> Tensor:
    return _pairs([(question.start, question.known.overall) for question in questions])


def _dimension_pairs(questions: Sequence[_Question], number: int) -> Tensor:
    return _pairs(
        [
            (question.start, [each[number] for each in question.known.dimensions])
            for question in questions
        ]
    )


def _pairs(ratings: Sequence[tuple[int, Sequence[float]]]) -> Tensor:
    """Return (P, 2) int64: of every two images that differ, the better and the worse.

    Args:
        ratings: For each comparison the number of its first image, and its ratings.
    """
    found = [
        (start + better, start + worse)
        for start, values in ratings
        for better, worse in permutations(range(len(values)), 2)
        if values[better] > values[worse]
    ]
    return torch.tensor(found, dtype=torch.int64).view(-1, 2)


def _accuracy(scores: Tensor, pairs: Tensor) -> Tensor:
    """Return the share of pairs in the right order; ties count as wrong, no pairs as right."""
    if len(pairs) == 0:
        return torch.ones((), device=scores.device)
    better, worse = (scores[places] for places in pairs.to(scores.device).unbind(dim=1))
    return (better > worse).float().mean()


def _rival_prompts(questions: Sequence[_Question]) -> list[tuple[int, int]]:
    """Return pairs of one image under two prompts of its row: its own, and one it fits less."""
    return [
        (question.best, rival.start + question.known.best)
        for question, rival in permutations(questions, 2)
        if question.row == rival.row
        and question.known.overall[question.known.best] > rival.known.overall[question.known.best]
    ]


def _other_prompts(questions: Sequence[_Question]) -> list[tuple[int, str]]:
    """Return the best image of each comparison, and the first prompt of the next row.

    Left out where the row has that prompt itself.
    """
    prompts: dict[int, list[str]] = {}
    for question in questions:
        prompts.setdefault(question.row, []).append(question.known.prompt)
    others = {row: prompts[(row + 1) % len(prompts)][0] for row in prompts}
    return [
        (question.best, others[question.row])
        for question in questions
        if others[question.row] not in prompts[question.row]
    ]


def _lined_up(
    model: VLMReward,
    batch: Batch,
    questions: Sequence[_Question],
    others: Sequence[tuple[int, str]],
) -> VLMBatch:
    """Return the sequences of all images under their prompts, then of some under other ones."""
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
    return VLMBatch(sequences=tuple(sequences), images=tuple(images), keys=("",) * len(images))
