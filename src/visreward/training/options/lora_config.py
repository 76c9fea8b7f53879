"""The typed configuration of low-rank adapters."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from visreward.core.strict import Strict


class LoRAConfig(Strict):
    """Low-rank adapters on the linear maps of a model's towers, whose own weights are frozen.

    Heads are trained whole, and a tower without adapters as `freeze` says. Source: LoRA, arXiv
    2106.09685; rank-stabilised, arXiv 2312.03732.

    Attributes:
        rank: Of each adapter.
        alpha: An adapter's output is multiplied with alpha / rank.
        dropout: Of an adapter's input.
        rank_stabilised: Whether the factor is alpha / sqrt(rank) instead.
        language: Whether the language model (of CLIP: the text tower) has adapters.
        vision: Whether the vision tower has adapters, its mergers included.
        modules: Last parts of the names of the linear maps that get one, such as `q_proj`; None
            takes all.
        exclude: A linear map with one of these in its name gets none.
        last: Only so many get one, the last in the order of the model; None is all.
        base_weights: What the weights of the adapted maps are kept in. 8 and 4 bits need
            bitsandbytes, and bfloat16 needs the precision bfloat16.
    """

    rank: PositiveInt = 16
    alpha: PositiveFloat = 32.0
    dropout: float = Field(default=0.05, ge=0, lt=1)
    rank_stabilised: bool = False
    language: bool = True
    vision: bool = False
    modules: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    last: PositiveInt | None = None
    base_weights: Literal["float32", "bfloat16", "8-bit", "4-bit"] = "float32"
