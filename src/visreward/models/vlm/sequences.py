"""Conversations about images as sequences of tokens with positions.

Shape letters: L tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visreward.models.vlm.backbone import Positions
from visreward.models.vlm.rating_prompts import TokenPieces

_IMAGE_STRIDE: Final = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedImage:
    """One image in a sequence.

    Attributes:
        number: Which distinct image of the batch.
        grid: (down, across) tokens.
    """

    number: int
    grid: tuple[int, int]

    @property
    def num_tokens(self) -> int:
        """Return how many tokens stand for it."""
        return self.grid[0] * self.grid[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSequence:
    """One sequence.

    Attributes:
        ids: (L,) token ids, that of the image token wherever an image stands.
        image: (L,) number of the image, -1 in text.
        offset: (L,) which token of the image, 0 in text.
        positions: (3, L) in time, down and across.
        reward_at: Where the reward token stands, or None.
    """

    ids: NDArray[np.int64]
    image: NDArray[np.int64]
    offset: NDArray[np.int64]
    positions: NDArray[np.int64]
    reward_at: int | None

    @property
    def keys(self) -> NDArray[np.int64]:
        """Return (L,) numbers that are equal where tokens are."""
        return np.where(self.image < 0, self.ids, -1 - self.image * _IMAGE_STRIDE - self.offset)

    def up_to(self, stop: int) -> TokenSequence:
        """Return the first `stop` tokens."""
        return TokenSequence(
            ids=self.ids[:stop],
            image=self.image[:stop],
            offset=self.offset[:stop],
            positions=self.positions[:, :stop],
            reward_at=self.reward_at,
        )


def line_up(
    pieces: TokenPieces, images: Sequence[PlacedImage], *, image_id: int, positions: Positions
) -> TokenSequence:
    """Return the sequence of a conversation.

    Args:
        pieces: Its tokens around the images.
        images: What stands between the pieces.
        image_id: The token that stands for a part of an image.
        positions: `1d` counts tokens; `multimodal` gives the tokens of an image their place in
            it, and goes on behind its longer side (Qwen2-VL, arXiv 2409.12191, section 2.1).
    """
    ids: list[NDArray[np.int64]] = []
    owner: list[NDArray[np.int64]] = []
    offset: list[NDArray[np.int64]] = []
    places: list[NDArray[np.int64]] = []
    start = 0
    for number, piece in enumerate(pieces.pieces):
        ids.append(np.array(piece, dtype=np.int64))
        owner.append(np.full(len(piece), -1))
        offset.append(np.zeros(len(piece), dtype=np.int64))
        places.append(np.tile(start + np.arange(len(piece)), (3, 1)))
        start += len(piece)
        if number == len(images):
            break
        image = images[number]
        ids.append(np.full(image.num_tokens, image_id))
        owner.append(np.full(image.num_tokens, image.number))
        offset.append(np.arange(image.num_tokens))
        down, across = image.grid
        rows, columns = np.divmod(np.arange(image.num_tokens), across)
        if positions == "multimodal":
            places.append(start + np.stack([np.zeros_like(rows), rows, columns]))
            start += max(down, across)
        else:
            places.append(np.tile(start + np.arange(image.num_tokens), (3, 1)))
            start += image.num_tokens
    reward_at = None
    if pieces.reward_at is not None:
        reward_at = sum(len(each) for each in ids[:-1]) + pieces.reward_at
    return TokenSequence(
        ids=np.concatenate(ids),
        image=np.concatenate(owner),
        offset=np.concatenate(offset),
        positions=np.concatenate(places, axis=1),
        reward_at=reward_at,
    )
