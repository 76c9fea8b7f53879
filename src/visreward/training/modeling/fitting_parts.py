"""Which models, objectives and data belong together."""

from __future__ import annotations

from typing import Final

from visreward.core.errors import UsageError
from visreward.training.config import TrainConfig
from visreward.training.data.row_sources import Wanted
from visreward.training.modeling.lora import check_adapters
from visreward.training.options.objective_config import ObjectiveConfig, PairwiseConfig

_IMAGES: Final = ("pick-high", "captions", "hpdv3", "pick-a-pic", "imagerewarddb")
_EDITS: Final = ("editreward", "editreward-data")
NEEDS: Final = {
    "clipscore": (("contrastive",), ("captions",)),
    "ict": (("ict",), ("pick-high",)),
    "hp": (("hp",), ("pick-high",)),
    "hpsv3": (("pairwise", "distillation"), _IMAGES),
    "editreward": (("pairwise", "distillation"), _EDITS),
}
"""Objectives and data formats that each kind of model is trained with."""

_MEASURED_ONLY: Final = {"editreward": ("editreward-bench",)}
"""Benchmarks that a kind of model may be measured on, but not trained with."""

RATED: Final = _EDITS
"""Formats whose rows say how good an image is, and not just which is better."""

VOTED: Final = ("hpdv3", "editreward")
"""Formats whose rows may have counts of votes, and a confidence."""


def wanted_rows(objective: ObjectiveConfig) -> Wanted:
    """Return what must be known of a row for an objective to learn from it."""
    if not isinstance(objective, PairwiseConfig):
        return "any"
    if objective.loss == "pointwise":
        return "ratings"
    is_tie_used = objective.loss == "bradley-terry-ties" or objective.ties == "both-directions"
    return "labels" if is_tie_used else "order"


def check_parts(config: TrainConfig) -> None:
    """Stop where objective, model and data do not belong together.

    Raises:
        UsageError: naming what does not.
    """
    check_adapters(config)
    kind, chosen = config.model.kind, config.objective
    objectives, formats = NEEDS[kind]
    if chosen.name not in objectives or config.data.format not in formats:
        known, data = (" or ".join(f"'{name}'" for name in each) for each in (objectives, formats))
        raise UsageError(
            f"A model of kind '{kind}' is trained with the objective {known} on data of format "
            f"{data}, not with '{chosen.name}' on '{config.data.format}'. Change model.kind, "
            "data.format or the objective."
        )
    measured_on = config.data.validation.format
    allowed = (*formats, *_MEASURED_ONLY.get(kind, ()))
    if measured_on is not None and measured_on not in allowed:
        raise UsageError(
            f"data.validation.format is '{measured_on}', but a model of kind '{kind}' is measured "
            f"on {', '.join(allowed)}. Change it."
        )
    if config.data.min_confidence is not None and config.data.format not in VOTED:
        raise UsageError(
            f"data.min_confidence is {config.data.min_confidence}, but data of format "
            f"'{config.data.format}' has no confidence. Leave it out."
        )
    if isinstance(chosen, PairwiseConfig):
        _check_labels(config, chosen)


def _check_labels(config: TrainConfig, chosen: PairwiseConfig) -> None:
    layout = config.data.format
    if chosen.loss == "pointwise" and layout not in RATED:
        raise UsageError(
            f"objective.loss is 'pointwise', but data of format '{layout}' says which image is "
            f"better, not how good it is. Take another loss, or one of: {', '.join(RATED)}."
        )
    if chosen.labels == "votes" and layout not in VOTED:
        raise UsageError(
            f"objective.labels is 'votes', but data of format '{layout}' has no votes. Take "
            f"labels 'ranks', or one of: {', '.join(VOTED)}."
        )
