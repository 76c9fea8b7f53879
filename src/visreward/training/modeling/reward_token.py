"""The embedding of the reward token, trained while all others keep their bits.

Shape letters: T tokens of the vocabulary, D features.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from visreward.core.errors import UsageError
from visreward.models.vlm.rating_prompts import REWARD_TOKEN
from visreward.models.vlm.reward import VLMReward

_FROZEN, _ROW = "frozen.weight", "row"


class RewardTokenEmbedding(nn.Module):
    """Token embeddings of which one row is a parameter of its own.

    The release trains the whole matrix and puts the other rows back after each step. Here they
    take part in no gradient, so the optimizer keeps moments for one row, weight decay reaches no
    other, and what clips the gradient sees that row alone.

    Attributes:
        frozen: The embeddings, without gradients.
        row: (D,) that of the reward token.
        row_id: Its number.
    """

    def __init__(self, embedding: nn.Embedding, *, row_id: int) -> None:
        super().__init__()
        self.frozen = embedding.requires_grad_(requires_grad=False)
        self.row = nn.Parameter(embedding.weight.detach()[row_id].clone())
        self.row_id = row_id

    @property
    def weight(self) -> Tensor:
        """Return (T, D), the embeddings of all tokens; differentiable in the row."""
        return with_row(self.frozen.weight, self.row, row_id=self.row_id)

    def forward(self, ids: Tensor) -> Tensor:
        """Return (..., D) embeddings of (...) token ids."""
        is_row = (ids == self.row_id).unsqueeze(-1)
        return torch.where(is_row, self.row, self.frozen(ids))


def with_row(embeddings: Tensor, row: Tensor, *, row_id: int) -> Tensor:
    """Return (T, D) embeddings with (D,) a row put in, as a copy."""
    place = torch.tensor([row_id], device=embeddings.device)
    return embeddings.index_copy(0, place, row.unsqueeze(0).to(embeddings.dtype))


def train_reward_token_alone(model: VLMReward) -> None:
    """Freeze a model's token embeddings but for that of the reward token.

    Raises:
        UsageError: if the model's rating prompts have no reward token.
    """
    reward_id = model.inputs.chat.reward_id
    if reward_id is None:
        raise UsageError(
            f"freeze.embeddings is reward-token, but the rating prompts have no {REWARD_TOKEN}. "
            "Put it into model.vlm.rating_prompts.suffix, or take freeze.embeddings=none."
        )
    language = model.backbone.model.language_model
    language.embed_tokens = RewardTokenEmbedding(language.embed_tokens, row_id=reward_id)


def joined_rows(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's weights with its single rows back in their embeddings.

    Args:
        model: Some of whose parts may be a `RewardTokenEmbedding`.
        weights: Its state dict.
    """
    found = dict(weights)
    for name, part in model.named_modules():
        if isinstance(part, RewardTokenEmbedding):
            row = found.pop(f"{name}.{_ROW}")
            embeddings = found.pop(f"{name}.{_FROZEN}")
            found[f"{name}.weight"] = with_row(embeddings, row, row_id=part.row_id)
    return found
