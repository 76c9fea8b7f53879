"""Sequences that share beginnings, laid out as one tree of tokens.

Each distinct beginning is computed once: the tokens of a source image for all its edited images,
those of an edited image for all rating prompts about it. A token sees its own sequence only.

Shape letters: S sequences, L tokens of a sequence, P tokens of the tree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Keys = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A run of tokens that belongs to the same sequences from its first token to its last.

    Attributes:
        path: Places in the tree of the tokens before it and of its own, first to last.
        num_tokens: How many of them are its own.
    """

    path: NDArray[np.int64]
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentGroup:
    """Segments of equal sizes, which attention takes as one batch.

    Attributes:
        queries: (G, q) int64, places of the segments' own tokens.
        keys: (G, k) int64, places of all tokens that they see; the last q are their own.
    """

    queries: Tensor
    keys: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTree:
    """Sequences as one tree.

    Attributes:
        sequence: (P,) which sequence each token is taken from; its beginning may serve others.
        offset: (P,) which token of that sequence.
        paths: For each sequence, (L,) places of its tokens in the tree.
        groups: All segments, by size.
    """

    sequence: NDArray[np.int64]
    offset: NDArray[np.int64]
    paths: tuple[NDArray[np.int64], ...]
    groups: tuple[SegmentGroup, ...]

    @property
    def num_tokens(self) -> int:
        """Return P."""
        return len(self.sequence)


class _Planter:
    """Grow a tree from sequences of keys."""

    def __init__(self, keys: Sequence[Keys]) -> None:
        self.keys = keys
        self.sequence: list[NDArray[np.int64]] = []
        self.offset: list[NDArray[np.int64]] = []
        self.segments: list[Segment] = []
        self.paths: dict[int, NDArray[np.int64]] = {}
        self.num_tokens = 0

    def grow(self, members: list[int], start: int, path: NDArray[np.int64]) -> None:
        """Add what follows token `start` of sequences that are equal up to there."""
        for branch in self._branches(members, start):
            first = self.keys[branch[0]]
            length = min(_common(first, self.keys[member], start) for member in branch)
            places = np.arange(self.num_tokens, self.num_tokens + length)
            self.num_tokens += length
            self.sequence.append(np.full(length, branch[0]))
            self.offset.append(np.arange(start, start + length))
            whole = np.concatenate([path, places])
            self.segments.append(Segment(path=whole, num_tokens=length))
            self.grow(branch, start + length, whole)
        for member in members:
            if len(self.keys[member]) == start:
                self.paths[member] = path

    def _branches(self, members: list[int], start: int) -> list[list[int]]:
        by_next: dict[int, list[int]] = defaultdict(list)
        for member in members:
            if len(self.keys[member]) > start:
                by_next[int(self.keys[member][start])].append(member)
        return list(by_next.values())


def _common(one: Keys, other: Keys, start: int) -> int:
    """Return how many keys from `start` on are equal."""
    length = min(len(one), len(other)) - start
    differs = np.flatnonzero(one[start : start + length] != other[start : start + length])
    return int(differs[0]) if len(differs) else length


def plant(keys: Sequence[Keys]) -> TokenTree:
    """Lay sequences out as a tree that holds each distinct beginning once.

    Args:
        keys: S sequences, (L,) int64; tokens with equal keys after equal beginnings are one.
    """
    planter = _Planter(keys)
    planter.grow(list(range(len(keys))), 0, np.empty(0, dtype=np.int64))
    by_size: dict[tuple[int, int], list[Segment]] = defaultdict(list)
    for segment in planter.segments:
        by_size[segment.num_tokens, len(segment.path)].append(segment)
    groups = tuple(
        SegmentGroup(
            queries=torch.from_numpy(np.stack([each.path[-own:] for each in segments])),
            keys=torch.from_numpy(np.stack([each.path for each in segments])),
        )
        for (own, _), segments in by_size.items()
    )
    return TokenTree(
        sequence=np.concatenate(planter.sequence),
        offset=np.concatenate(planter.offset),
        paths=tuple(planter.paths[member] for member in range(len(keys))),
        groups=groups,
    )
