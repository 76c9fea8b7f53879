"""In which order rows come: a function of seed and epoch, so that a resumed run repeats it.

Shape letters: T rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from visreward.core.errors import UsageError

Numbers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Which part of a mixture each row belongs to, and how often rows of a part come.

    Attributes:
        part_of: (T,) number of the part.
        weights: Of each part, above 0; they need not add up to 1.
    """

    part_of: Numbers
    weights: tuple[float, ...]


def epoch_order(
    usable: Numbers,
    *,
    seed: int,
    epoch: int,
    mixture: Mixture | None = None,
    blocks: Numbers | None = None,
) -> Numbers:
    """Return the rows of an epoch in their order. Deterministic.

    Without a mixture each usable row comes once. With one, an epoch is as long, and each part has
    its share of it by weight, the same in every epoch; a part goes on in the next epoch where it
    stopped in this one, and none of its rows comes again before all others of it did.

    Args:
        usable: The rows that take part, ascending.
        seed: Of the run.
        epoch: From 0.
        mixture: Parts of all T rows, or None.
        blocks: (T,) which rows are read together, or None. Rows of one block follow each other,
            except that parts of a mixture alternate.

    Raises:
        UsageError: if a part has no usable row, or too small a weight for a single row.
    """
    if mixture is None:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        shuffled = usable[torch.randperm(len(usable), generator=generator).numpy()]
        return _by_block(shuffled, blocks, np.random.default_rng(_stream(seed, epoch)))
    part_of = mixture.part_of[usable]
    rows = [usable[part_of == part] for part in range(len(mixture.weights))]
    counts = part_counts([len(each) for each in rows], mixture.weights)
    found = np.empty(len(usable), np.int64)
    turns = np.repeat(np.arange(len(rows)), counts)
    np.random.default_rng(_stream(seed, epoch, len(rows))).shuffle(turns)
    for part, (own, count) in enumerate(zip(rows, counts, strict=True)):
        drawn: list[Numbers] = []
        for number in range(epoch * count // len(own), (epoch * count + count - 1) // len(own) + 1):
            rng = np.random.default_rng(_stream(seed, number, part))
            drawn.append(_by_block(rng.permutation(own), blocks, rng))
        start = epoch * count % len(own)
        found[turns == part] = np.concatenate(drawn)[start : start + count]
    return found


def part_counts(sizes: Sequence[int], weights: Sequence[float]) -> list[int]:
    """Return how many rows of an epoch each part gives: by weight, adding up to all rows.

    Raises:
        UsageError: if a part has no row, or its weight gives it none.
    """
    exact = np.asarray(weights) / np.sum(weights) * np.sum(sizes)
    counts = np.floor(exact).astype(np.int64)
    rest = np.sum(sizes) - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:rest]] += 1
    if min(sizes) == 0 or counts.min() == 0:
        raise UsageError(
            f"The parts of the mixture have {list(sizes)} usable rows and the weights "
            f"{list(weights)}: one gives no row to an epoch. Raise its weight, or leave it out."
        )
    return [int(count) for count in counts]


def _by_block(rows: Numbers, blocks: Numbers | None, rng: np.random.Generator) -> Numbers:
    """Return the rows with those of a block together, and the blocks in a shuffled order."""
    if blocks is None:
        return rows
    places = rng.permutation(int(blocks.max()) + 1)
    return rows[np.argsort(places[blocks[rows]], kind="stable")]


def _stream(seed: int, *numbers: int) -> list[int]:
    """Return a seed of its own for some numbers; seeds below 0 are as good as others."""
    return [seed % 2**63, *numbers]
