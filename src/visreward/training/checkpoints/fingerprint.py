"""What a run was made from: which rows, and which weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from visreward.core.errors import UsageError
from visreward.training.data.batches import Row, name_below
from visreward.training.data.frozen import tensors_digest
from visreward.training.data.row_sources import JoinedRows, RowSource, TableRows
from visreward.training.data.rows import Rows
from visreward.training.modeling.lora import kept_names

ROWS_PER_CHUNK = 65_536


def rows_fingerprint(rows: Sequence[Row], root: Path) -> dict[str, Any]:  # JSON values
    """Return how many rows there are, and a digest of all that is known of them, in their order.

    It holds the images' names below `root`, prompts, labels and ratings, but not the images
    themselves: reading them all would take as long as a first epoch.
    """
    chosen = Rows.made(rows)
    digest = hashlib.sha256()
    for part in _known(chosen.source, chosen.numbers, root):
        digest.update(part)
    return {"rows": len(chosen), "sha256": digest.hexdigest()}


def _known(source: RowSource, numbers: NDArray[np.int64], root: Path) -> Iterator[bytes]:
    """Yield what is known of some rows of a source; of tables without making each row."""
    if isinstance(source, JoinedRows):
        part_of = np.searchsorted(source.starts, numbers, side="right") - 1
        yield part_of.tobytes()
        for place, part in enumerate(source.parts):
            yield from _known(part, numbers[part_of == place] - source.starts[place], root)
    elif isinstance(source, TableRows):
        for start in range(0, len(numbers), ROWS_PER_CHUNK):
            chunk = source.table.rows.take(numbers[start : start + ROWS_PER_CHUNK])
            for batch in chunk.combine_chunks().to_batches():
                yield batch.serialize()
    else:
        for number in numbers.tolist():
            row = source[number]
            files = [name_below(file, root) for file in row.files]
            known = (files, row.prompts, row.labels, row.dimensions, row.overall)
            yield f"{known!r}\n".encode()


def require_same_rows(
    known: Mapping[str, Any],  # JSON values
    now: Mapping[str, Any],  # JSON values
    *,
    data: Path,
    run: Path,
) -> None:
    """Stop where a run would go on with other rows than it began with.

    Args:
        known: Fingerprint of each split when the run began.
        now: Fingerprint of each split today.
        data: The data set, for the message.
        run: The run's folder, for the message.

    Raises:
        UsageError: naming the splits that differ.
    """
    changed = [
        f"'{split}' ({known[split]['rows']} rows {known[split]['sha256'][:12]}, now "
        f"{now[split]['rows']} rows {now[split]['sha256'][:12]})"
        for split in now
        if split in known and known[split] != now[split]
    ]
    if changed:
        raise UsageError(
            f"The rows of {data} have changed since the run in {run} began, in the split "
            f"{' and '.join(changed)}. Bring the data back, or give another output=FOLDER."
        )


def weights_fingerprints(
    model: nn.Module, asked: Mapping[str, Sequence[nn.Module]]
) -> dict[str, str]:
    """Return digests of the weights that a run depends on and its checkpoints do not hold.

    Args:
        model: What is trained. With adapters, the frozen weights are read from elsewhere at
            every start.
        asked: Models that a run asks and does not change, by the setting that names them.
    """
    kept = kept_names(model)
    rest = [value for name, value in model.state_dict().items() if name not in kept]
    found = {"model.init": tensors_digest(rest)} if rest else {}
    for name, models in asked.items():
        if models:
            found[name] = tensors_digest(v for each in models for v in each.state_dict().values())
    return found


def require_same_weights(known: Mapping[str, str], now: Mapping[str, str], *, run: Path) -> None:
    """Stop where a run would go on with other frozen weights than it began with.

    Args:
        known: Fingerprints when the run began.
        now: Fingerprints today.
        run: The run's folder, for the message.

    Raises:
        UsageError: naming the settings whose weights differ.
    """
    changed = [
        f"{name} ({known[name][:12]}, now {now[name][:12]})"
        for name in now
        if name in known and known[name] != now[name]
    ]
    if changed:
        raise UsageError(
            f"The frozen weights of {' and '.join(changed)} have changed since the run in {run} "
            "began, and its checkpoints do not hold them. Bring these weights back, or give "
            "another output=FOLDER."
        )
