"""The typed configuration of each objective."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator

from visreward.core.strict import Strict
from visreward.core.types import Fidelity
from visreward.losses.plackett_luce import Ties

_WITH_MARGIN: Final = ("uncertainty", "bradley-terry")
"""Losses of pairs that take a margin, or votes."""


class ContrastiveConfig(Strict):
    """Symmetric InfoNCE over all pairs of the batch."""

    name: Literal["contrastive"]
    max_logit_scale: PositiveFloat = 100.0


class ICTConfig(Strict):
    """The ICT loss; `beta` None takes the fidelity's own."""

    name: Literal["ict"]
    fidelity: Fidelity = "released"
    negative_weight: float = Field(default=0.5, ge=0)
    alpha: float = 20.0
    beta: float | None = None


class FrozenPartsConfig(Strict):
    """What is done about parts that never change.

    Attributes:
        cache_frozen: Compute what is frozen once and keep it on disk: the scores of a frozen ICT
            model, the hidden states below the first trained layer of an HP model where nothing
            below it is trained, the features of a vision-language model's frozen vision tower.
        max_cache_gb: States and features that would need more disk than this are not kept.
    """

    cache_frozen: bool = True
    max_cache_gb: float = Field(default=20.0, ge=0)


class HPConfig(FrozenPartsConfig):
    """Margin ranking on HP, and on ICT x HP with a frozen ICT model.

    Attributes:
        ict: Native folder, built-in or catalog name of the frozen ICT model; None drops the
            ICT x HP loss.
    """

    name: Literal["hp"]
    fidelity: Fidelity = "released"
    ict: str | None = None
    hp_weight: float = Field(default=1.0, ge=0)
    ict_hp_weight: float = Field(default=1.0, ge=0)
    margin: float = 0.3


class PairwiseConfig(FrozenPartsConfig):
    """Every two images of a row that differ in what annotators say, on each dimension and overall.

    Attributes:
        loss: `uncertainty` on Gaussians; on mu alone `bradley-terry`, `bradley-terry-ties` (equal
            ratings are a third outcome, k = 5), `likelihood-displacement`, `pair-softmax` (of
            HPSv2), `listwise` (Plackett-Luce of whole rows), or `pointwise` (regression on
            ratings).
        labels: `ranks`: one of two is better. `votes`: by the share of the votes, where there are
            counts (soft labels); of `uncertainty` and `bradley-terry`.
        ties: What becomes of images with equal ratings: `drop` does not compare them,
            `both-directions` lets each beat the other (EditReward's tie disentanglement).
            `bradley-terry-ties` does neither.
        fidelity: Which form of `uncertainty` and `pair-softmax`.
        num_samples: Of z for each pair of `uncertainty` by ranks, as the release has it (1,000);
            None takes no samples: its expectation is integrated, without noise.
        margin: Gap in score units, of `uncertainty` and `bradley-terry` by ranks.
        tau: How much the rejected image counts in `likelihood-displacement`.
        offset: The rating that becomes a score of 0 in `pointwise`; 4.5 in EditReward's release.
        dimension_weight: Weight of the losses on each dimension.
        overall_weight: Weight of the loss on the fused score.
        other_prompt_weight: Weight of one more loss on the first dimension: the image that is
            best there must do better under its own prompt than under the others of its row that
            it fits less, and under that of another row of the batch. The latter costs the tokens
            of one prompt, as the images are the same.
        language_weight: Weight of the loss of saying the prompt of that image, token by token,
            with the token embeddings as output layer: words stay tied to what is seen (as in
            arXiv 2406.10216, there for text). It costs no forward pass.
        blank_weight: Weight of the loss of a blank picture, black or of one colour, against all
            images of the first comparison of each batch: it must do worst on every dimension.
            Data sets have no such pictures, and a generator that fails makes them.
    """

    name: Literal["pairwise"]
    loss: Literal[
        "uncertainty",
        "bradley-terry",
        "bradley-terry-ties",
        "likelihood-displacement",
        "pair-softmax",
        "listwise",
        "pointwise",
    ] = "uncertainty"
    labels: Literal["ranks", "votes"] = "ranks"
    ties: Ties = "drop"
    fidelity: Fidelity = "paper"
    num_samples: PositiveInt | None = None
    margin: float = 0.0
    tau: PositiveFloat = 0.5
    offset: float = 0.0
    dimension_weight: float = Field(default=1.0, ge=0)
    overall_weight: float = Field(default=1.0, ge=0)
    other_prompt_weight: float = Field(default=0.0, ge=0)
    language_weight: float = Field(default=0.0, ge=0)
    blank_weight: float = Field(default=0.0, ge=0)

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, labels: str, info: ValidationInfo) -> str:
        """Stop where votes would do nothing."""
        loss = info.data.get("loss")
        if labels == "votes" and loss not in _WITH_MARGIN:
            raise ValueError(f"loss={loss} takes no votes. Use {' or '.join(_WITH_MARGIN)}")
        return labels

    @field_validator("ties")
    @classmethod
    def _check_ties(cls, ties: Ties, info: ValidationInfo) -> Ties:
        """Stop where ties would be counted twice."""
        if ties == "both-directions" and info.data.get("loss") == "bradley-terry-ties":
            raise ValueError(
                "loss=bradley-terry-ties has an outcome for ties already. Leave it out"
            )
        if ties == "both-directions" and info.data.get("loss") == "pointwise":
            raise ValueError("loss=pointwise compares no images. Leave it out")
        return ties

    @field_validator("num_samples")
    @classmethod
    def _check_samples(cls, num_samples: int | None, info: ValidationInfo) -> int | None:
        """Stop where nothing would be sampled."""
        loss, labels = info.data.get("loss"), info.data.get("labels")
        if num_samples is not None and (loss != "uncertainty" or labels == "votes"):
            raise ValueError("only loss=uncertainty with labels=ranks is sampled. Leave it out")
        return num_samples

    @field_validator("margin")
    @classmethod
    def _check_margin(cls, margin: float, info: ValidationInfo) -> float:
        """Stop where a margin would do nothing."""
        loss = info.data.get("loss")
        if margin != 0 and loss not in _WITH_MARGIN:
            raise ValueError(f"loss={loss} has no margin. Leave it out")
        if margin != 0 and info.data.get("labels") == "votes":
            raise ValueError("labels=votes has no margin. Leave it out")
        return margin


class DistillationConfig(Strict):
    """A vision tower learns what those of other models see.

    Attributes:
        teachers: Native folders, built-in or catalog names of CLIP models.
    """

    name: Literal["distillation"]
    teachers: list[str] = Field(min_length=1)


ObjectiveConfig = ContrastiveConfig | ICTConfig | HPConfig | PairwiseConfig | DistillationConfig
