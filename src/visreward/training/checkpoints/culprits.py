"""Which samples make a loss or gradient that is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from visreward.training.data.batches import Batch, Row, name_below

NUM_NAMED = 8


@torch.no_grad()
def name_culprits(
    wrapped: nn.Module, parts: Sequence[Batch], losses: Sequence[Tensor], root: Path
) -> str:
    """Return number and files of the rows, of all processes, whose own loss is not finite.

    Where no row has such a loss on its own, those of the parts that do, or of the whole step.
    Every process has to call this, with as many rows as the others.

    Args:
        wrapped: The objective, as training calls it.
        parts: What the step was made of.
        losses: The scalar loss of each part.
        root: Folder of the data set; names of files are given below it.
    """
    wrapped.eval()
    alone: list[str] = []
    in_parts: list[str] = []
    everything: list[str] = []
    for part, loss in zip(parts, losses, strict=True):
        names = [
            _name(number, row, root)
            for number, row in zip(part.row_ids.tolist(), part.rows, strict=True)
        ]
        is_bad = [
            not torch.isfinite(wrapped(part.part(slice(place, place + 1))).loss)
            for place in range(len(names))
        ]
        alone += [name for name, bad in zip(names, is_bad, strict=True) if bad]
        in_parts += [] if torch.isfinite(loss) else names
        everything += names
    found = gather_object([(alone, in_parts, everything)])
    kinds = ([name for names in kind for name in names] for kind in zip(*found, strict=True))
    return _listed(next(names for names in kinds if names))


def _name(number: int, row: Row, root: Path) -> str:
    return f"{number} ({', '.join(name_below(file, root) for file in row.files)})"


def _listed(names: Sequence[str]) -> str:
    """Return `row 1 (a.png)` or `rows 1 (a.png), 2 (b.png)`, of many the first ones."""
    rest = len(names) - NUM_NAMED
    shown = ", ".join(names[:NUM_NAMED]) + (f" and {rest} more" if rest > 0 else "")
    return f"{'row' if len(names) == 1 else 'rows'} {shown}"
