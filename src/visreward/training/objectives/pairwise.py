"""The training stage of vision-language reward models: pairs of images, by dimension and overall.

Shape letters: B rows, K dimensions, P pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from visreward.models.vlm.inputs import VLMBatch
from visreward.models.vlm.reward import VLMReward
from visreward.models.vlm.sequences import PlacedImage, TokenSequence
from visreward.training.data.batches import Batch
from visreward.training.data.pairs import ordered_pairs
from visreward.training.data.questions import (
    Question,
    num_dimensions,
    other_prompts,
    questions_of,
    rival_prompts,
)
from visreward.training.objectives.base import ShownScore, StepOutput, VLMObjective
from visreward.training.objectives.pairwise_loss import PairwiseLoss
from visreward.training.objectives.step_shares import count_comparisons
from visreward.training.options.objective_config import PairwiseConfig


class PairwiseObjective(VLMObjective):
    """A loss for every two images of a row that differ, on each dimension and on the fused score.

    All images, prompts and rating prompts of a row go through the backbone as one tree.
    """

    primary = "accuracy"

    def __init__(self, model: VLMReward, config: PairwiseConfig) -> None:
        super().__init__(model)
        self.config = config
        self.pairwise_loss = PairwiseLoss(config)

    def forward(self, batch: Batch) -> StepOutput:
        """Return the weighted loss, and how often the fused score orders a pair rightly."""
        questions = questions_of(batch.rows)
        num_images = questions[-1].stop
        others = other_prompts(questions) if self.config.other_prompt_weight > 0 else []
        has_blank = self.config.blank_weight > 0
        lined_up = row_sequences(self.model, batch, questions, others, has_blank=has_blank)
        num_templates = len(self.model.inputs.dimensions)
        said = [num_templates * question.best for question in questions]
        reading = self.model.read(lined_up, keep=said if self.config.language_weight > 0 else [])
        logits = reading.logits[:num_images]
        fused = self.model.fuse(logits)
        overall = [question.known.overall for question in questions]
        votes = [question.known.votes for question in questions]
        of_ratings = self.pairwise_loss.of_ratings
        weight = self.config.overall_weight * batch.share("overall")
        loss = weight * of_ratings(fused, overall, votes=votes)
        for number in range(num_dimensions(questions)):
            ratings = [question.ratings(number) for question in questions]
            rated = of_ratings(logits[:, number], ratings, votes=[()] * len(questions))
            weight = self.config.dimension_weight * batch.share(f"dimension {number}")
            loss = loss + weight * rated
        if self.config.other_prompt_weight > 0:
            pairs = torch.tensor(
                [(image, num_images + number) for number, (image, _) in enumerate(others)]
                + rival_prompts(questions),
                dtype=torch.int64,
            ).view(-1, 2)
            prompted = self.pairwise_loss.of_pairs(reading.logits[:, 0], pairs)
            weight = self.config.other_prompt_weight * batch.share("other prompt")
            loss = loss + weight * prompted
        if has_blank:
            loss = loss + self.config.blank_weight * self._blank_loss(reading.logits, questions[0])
        for number, states in reading.states.items():
            spoken = self._language_loss(states, lined_up.sequences[number])
            weight = self.config.language_weight * batch.share("language")
            loss = loss + weight / len(said) * spoken
        gaps = _gaps(fused[:, 0].detach(), ordered_pairs(overall))
        share = batch.share("accuracy")
        return StepOutput(
            loss=loss,
            accuracy=_share_right(gaps).nan_to_num(nan=1.0) * share,
            margin=gaps.mean().nan_to_num(nan=0.0) * share,
            num_pairs=len(gaps),
        )

    def counts(self, batch: Batch) -> dict[str, int]:
        """Return over how many comparisons each term of the loss is a mean."""
        return count_comparisons(questions_of(batch.rows), self.config)

    def _blank_loss(self, logits: Tensor, question: Question) -> Tensor:
        """Return the loss of the images of a comparison against a blank one, the last of all.

        It is the mean over the dimensions and the fused score.
        """
        last = len(logits) - 1
        pairs = torch.tensor(
            [(image, last) for image in range(question.start, question.stop)], dtype=torch.int64
        )
        parts = [self.pairwise_loss.of_pairs(each, pairs) for each in logits.unbind(dim=1)]
        return torch.stack(
            [*parts, self.pairwise_loss.of_pairs(self.model.fuse(logits), pairs)]
        ).mean()

    def _language_loss(self, states: Tensor, sequence: TokenSequence) -> Tensor:
        """Return the mean cross-entropy of the tokens behind the last image of a sequence."""
        last = int(np.flatnonzero(sequence.image >= 0)[-1])
        wanted = torch.from_numpy(sequence.ids[last + 1 :]).to(states.device)
        embeddings = self.model.backbone.model.language_model.embed_tokens.weight
        return functional.cross_entropy(
            (states[last:-1] @ embeddings.to(states.dtype).T).float(), wanted
        )

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Return each row's share of pairs in the right order, overall and by dimension.

        And the mean difference of their scores, `margin`. NaN where a row has no such pair.
        """
        questions = questions_of(batch.rows)
        logits = self.model.logits(row_sequences(self.model, batch, questions, []))
        fused = self.model.fuse(logits)[:, 0]
        found: dict[str, list[Tensor]] = {}
        for row in range(len(batch.rows)):
            own = [question for question in questions if question.row == row]
            part = slice(own[0].start, own[-1].stop)
            gaps = _gaps(fused[part], ordered_pairs([each.known.overall for each in own]))
            found.setdefault("accuracy", []).append(_share_right(gaps))
            found.setdefault("margin", []).append(gaps.mean())
            for number in range(num_dimensions(questions)):
                pairs = ordered_pairs([question.ratings(number) for question in own])
                gaps = _gaps(logits[part, number, 0], pairs)
                name = f"{self.model.inputs.dimensions[number]}_accuracy"
                found.setdefault(name, []).append(_share_right(gaps))
        return {name: torch.stack(values) for name, values in found.items()}

    @torch.no_grad()
    def shown_scores(self, batch: Batch) -> list[list[ShownScore]]:
        """Return the fused score of each image of each row, under the row's first prompt."""
        questions = questions_of(batch.rows)
        logits = self.model.logits(row_sequences(self.model, batch, questions, []))
        fused = self.model.fuse(logits).float()
        first = {question.row: question for question in reversed(questions)}
        return [
            [
                ShownScore(mu=values[0], sigma=math.exp(values[1]) if len(values) > 1 else None)
                for values in fused[first[row].start : first[row].stop].tolist()
            ]
            for row in range(len(batch.rows))
        ]


def _gaps(scores: Tensor, pairs: Tensor) -> Tensor:
    """Return (P,) by how much the better image of each pair scores higher."""
    better, worse = (scores[places] for places in pairs.to(scores.device).unbind(dim=1))
    return better - worse


def _blank_like(image: Tensor) -> Tensor:
    """Return a picture in one random colour, black half of the time, shaped as a (3, H, W) one."""
    colour = torch.randint(256, (3, 1, 1)) * torch.randint(2, (1,))
    return colour.to(image).expand_as(image)


def _share_right(gaps: Tensor) -> Tensor:
    """Return the share of gaps above 0, NaN where there is none; a gap of 0 counts as wrong."""
    return (gaps > 0).float().mean()


def row_sequences(
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
