"""Which sequences go through the backbone together: trees up to a number of tokens.

Shape letters: S sequences.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from visreward.models.vlm.sequences import TokenSequence
from visreward.models.vlm.tree import TokenTree, plant


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Sequences that go through the backbone at once.

    Attributes:
        members: Which sequences, by number.
        tree: Their tokens, shared beginnings once.
    """

    members: tuple[int, ...]
    tree: TokenTree

    def halves(self, sequences: Sequence[TokenSequence]) -> list[Pack]:
        """Return two packs of half the sequences each."""
        middle = len(self.members) // 2
        return [_pack(part, sequences) for part in (self.members[:middle], self.members[middle:])]


def _pack(members: Sequence[int], sequences: Sequence[TokenSequence]) -> Pack:
    return Pack(members=tuple(members), tree=plant([sequences[member].keys for member in members]))


def pack_sequences(
    sequences: Sequence[TokenSequence], *, max_tokens: int, per_pack: int | None = None
) -> list[Pack]:
    """Split sequences into packs; those that begin with the same image stand together.

    Args:
        sequences: S sequences.
        max_tokens: Most tokens of a pack, shared beginnings counted once; a single longer
            sequence is a pack of its own.
        per_pack: Exactly so many sequences per pack, in their order; None fills each pack.
    """
    numbers = range(len(sequences))
    if per_pack is not None:
        return [
            _pack(numbers[start : start + per_pack], sequences)
            for start in range(0, len(sequences), per_pack)
        ]
    by_image: dict[int, list[int]] = defaultdict(list)
    for number in numbers:
        shown = sequences[number].image
        first = shown[shown >= 0]
        by_image[int(first[0]) if len(first) else -1].append(number)
    packs: list[Pack] = []
    waiting: list[int] = []
    num_tokens = 0
    for group in by_image.values():
        for part in _fitting(_pack(group, sequences), sequences, max_tokens):
            if waiting and num_tokens + part.tree.num_tokens > max_tokens:
                packs.append(_pack(waiting, sequences))
                waiting, num_tokens = [], 0
            waiting += part.members
            num_tokens += part.tree.num_tokens
    if waiting:
        packs.append(_pack(waiting, sequences))
    return packs


def _fitting(pack: Pack, sequences: Sequence[TokenSequence], max_tokens: int) -> list[Pack]:
    if pack.tree.num_tokens <= max_tokens or len(pack.members) == 1:
        return [pack]
    return [
        part for half in pack.halves(sequences) for part in _fitting(half, sequences, max_tokens)
    ]
