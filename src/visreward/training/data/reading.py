"""From a data set on disk to the rows that an objective can learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visreward.core.errors import DataError, UsageError
from visreward.data.captions import Captions
from visreward.data.formats import PREFERENCE_FORMATS
from visreward.data.mixture import read_mixture
from visreward.data.pick_high import PickHigh, Triplet
from visreward.data.preference_files import PreferenceData
from visreward.data.preference_table import PreferenceTable
from visreward.data.rated_edits import RatedEdit, RatedEdits
from visreward.training.config import DataConfig, ValidationConfig
from visreward.training.data.batches import Row
from visreward.training.data.row_sources import JoinedRows, MadeRows, TableRows, Wanted
from visreward.training.data.rows import Rows

TRIPLET_OVERALL: Final = (1.0, 2.0, 3.0)
"""How good losing, winning and refined image of a triplet are, as a whole."""

_REASONS: Final[Mapping[Wanted, str]] = {
    "any": "are malformed",
    "labels": "have no label",
    "order": "have no label, or call all images equal",
    "ratings": "have no ratings",
}
_VALIDATION_SPLITS: Final = ("val", "validation")
_BYTES: Final = 8


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The rows of a run."""

    train: Rows
    validation: Rows


def read_splits(config: DataConfig, *, wanted: Wanted) -> Splits:
    """Read the rows that a run is trained and measured on. Deterministic; no image is decoded.

    Args:
        config: Which.
        wanted: Of the training rows; those of validation need an order, unless it is `any`.

    Raises:
        DataError: if a file cannot be read, too many rows are malformed, or none are left.
        UsageError: if there is no such split, or none for validation.
    """
    chosen = config.validation
    to_measure: Wanted = "any" if wanted == "any" else "order"
    if chosen.held_out is None:
        validation = config.model_copy(
            update={
                "path": chosen.path or config.path,
                "format": chosen.format or config.format,
                "split": chosen.split or _validation_split(config, chosen),
            }
        )
        return Splits(
            train=read_rows(config, config.split, config.num_train, wanted=wanted),
            validation=read_rows(
                validation, validation.split, config.num_validation, wanted=to_measure
            ),
        )
    rows = _all_rows(config, config.split)
    is_held_out = _held_out(rows, chosen.held_out)
    num_held_out = int(is_held_out.sum())
    if len(rows) and num_held_out in (0, len(rows)):
        raise DataError(
            f"data.validation.held_out is {chosen.held_out}, which holds out {num_held_out} of the "
            f"{len(rows)} rows of {config.path}: rows of one prompt or source image go together, "
            "and there are few such groups. Choose another share, or add rows."
        )
    train = replace(rows, numbers=rows.numbers[~is_held_out])
    held_out = replace(rows, numbers=rows.numbers[is_held_out], weights=(), left_out=())
    return Splits(
        train=_chosen(train, config, config.split, config.num_train, wanted),
        validation=_chosen(held_out, config, "held out", config.num_validation, to_measure),
    )


def read_rows(config: DataConfig, split: str, limit: int | None, *, wanted: Wanted = "any") -> Rows:
    """Read the rows of one split of `data.path`.

    Raises:
        DataError: if a file cannot be read, too many rows are malformed, none are left, or
            families differ in their number of images.
        UnknownNameError: if there is no such split.
    """
    return _chosen(_all_rows(config, split), config, split, limit, wanted)


def _chosen(rows: Rows, config: DataConfig, split: str, limit: int | None, wanted: Wanted) -> Rows:
    """Return the rows of which is known what is wanted, up to a limit."""
    is_known = rows.known(wanted)
    missing = len(rows) - int(is_known.sum())
    notes = (f"{missing} row(s) {_REASONS[wanted]}",) if missing else ()
    found = replace(rows, numbers=rows.numbers[is_known][:limit], left_out=(*rows.left_out, *notes))
    if not len(found):
        reasons = "".join(f" Left out: {note}." for note in found.left_out)
        raise DataError(
            f"Split '{split}' of {config.path} has 0 rows to use.{reasons} Give a data set with "
            "rows."
        )
    return found


def _all_rows(config: DataConfig, split: str) -> Rows:
    """Return all rows of a split that are not malformed."""
    if config.path.suffix not in (".yaml", ".yml"):
        return _READERS.get(config.format, _preference_rows)(config, split)
    mixture = read_mixture(config.path)
    parts = [_all_rows(config.model_copy(update={"path": part.path}), split) for part in mixture]
    source = JoinedRows([part.source for part in parts])
    return Rows(
        source=source,
        numbers=np.concatenate(
            [start + part.numbers for start, part in zip(source.starts, parts, strict=False)]
        ),
        left_out=tuple(
            f"{note} ({each.path})"
            for each, part in zip(mixture, parts, strict=True)
            for note in part.left_out
        ),
        weights=tuple(part.weight for part in mixture),
    )


def _caption_rows(config: DataConfig, split: str) -> Rows:
    rows = [
        Row(
            images=tuple(member.image for member in family.members),
            prompts=tuple(member.caption for member in family.members),
            id=family.id,
        )
        for family in Captions(config.path).split(split)
    ]
    sizes = {len(row.images) for row in rows}
    if len(sizes) > 1:
        raise DataError(
            f"Families of split '{split}' of {config.path} have {sorted(sizes)} images. "
            "Give every family the same number."
        )
    return Rows.made(rows)


def _triplet_rows(config: DataConfig, split: str) -> Rows:
    return Rows.of(MadeRows(PickHigh(config.path).split(split), _triplet_row))


def _triplet_row(triplet: Triplet) -> Row:
    labels = triplet.labels
    return Row(
        images=(triplet.losing_image, triplet.winning_image, triplet.refined_image),
        prompts=(triplet.basic_prompt, triplet.refined_prompt),
        labels=None if labels is None else (labels.e1, labels.e2, labels.r1, labels.r2),
        overall=TRIPLET_OVERALL,
    )


def _edit_rows(config: DataConfig, split: str) -> Rows:
    table, is_kept, notes = _table(config, split)
    edits = RatedEdits(table, is_kept)
    known: dict[Wanted, NDArray[np.bool_]] = {
        "order": ~edits.is_tied,
        "ratings": edits.is_rated,
    }
    return replace(Rows.of(MadeRows(edits, _edit_row, known)), left_out=notes)


def _edit_row(edit: RatedEdit) -> Row:
    dimensions = tuple(each.dimensions for each in edit.images if each.dimensions)
    return Row(
        images=tuple(each.image for each in edit.images),
        prompts=(edit.instruction,),
        sources=edit.sources,
        dimensions=dimensions,
        overall=tuple(each.overall for each in edit.images),
        is_rated=bool(dimensions),
        votes=edit.votes,
        id=edit.id,
    )


def _preference_rows(config: DataConfig, split: str) -> Rows:
    table, is_kept, notes = _table(config, split)
    rows = Rows.of(TableRows(table))
    return replace(rows, numbers=rows.numbers[rows.known("any") & is_kept], left_out=notes)


_READERS: Final[Mapping[str, Callable[[DataConfig, str], Rows]]] = {
    "captions": _caption_rows,
    "pick-high": _triplet_rows,
    "editreward": _edit_rows,
}


def _table(
    config: DataConfig, split: str
) -> tuple[PreferenceTable, NDArray[np.bool_], tuple[str, ...]]:
    """Return the table of a split, which rows are confident, and why rows are left out.

    Raises:
        DataError: if more rows than `max_skip_fraction` allows are malformed.
    """
    data = PreferenceData(PREFERENCE_FORMATS[config.format], config.path)
    table = data.split(data.splits[0] if config.path.is_file() else split)
    notes = []
    if table.bad_rows:
        first = table.bad_rows[min(table.bad_rows)]
        if len(table.bad_rows) > config.max_skip_fraction * len(table):
            raise DataError(
                f"{len(table.bad_rows)} of {len(table)} rows are malformed, more than "
                f"data.max_skip_fraction {config.max_skip_fraction}. The first: {first}"
            )
        notes.append(f"{len(table.bad_rows)} row(s) are malformed, such as: {first}")
    if config.min_confidence is None:
        return table, np.ones(len(table), dtype=bool), tuple(notes)
    is_kept = table.is_confident(config.min_confidence, unknown=config.unknown_confidence)
    num_left_out = len(table) - int(is_kept.sum())
    if num_left_out:
        or_none = ", or none" if config.unknown_confidence == "drop" else ""
        notes.append(
            f"{num_left_out} row(s) have a confidence below {config.min_confidence}{or_none}"
        )
    return table, is_kept, tuple(notes)


def _validation_split(config: DataConfig, chosen: ValidationConfig) -> str:
    """Return the split that a model is measured on where none is named.

    Raises:
        UsageError: if there is none.
    """
    path, layout = chosen.path or config.path, chosen.format or config.format
    if path.is_file() and chosen.path is not None:
        return path.stem
    names: Sequence[str]
    if layout == "captions":
        names = Captions(path).splits
    elif layout == "pick-high":
        names = PickHigh(path).splits
    elif path.is_file():
        names = ()
    else:
        names = PreferenceData(PREFERENCE_FORMATS[layout], path).splits
    found = [name for name in _VALIDATION_SPLITS if name in names]
    if not found:
        raise UsageError(
            f"'{path}' has no split for validation (its splits: {', '.join(names) or 'one file'}). "
            "Give data.validation.path or data.validation.split, or keep a share of the training "
            "rows with data.validation.held_out=0.02."
        )
    return found[0]


def _held_out(rows: Rows, share: float) -> NDArray[np.bool_]:
    """Return (T,) whether a digest of each row's group puts it on the side of validation."""
    limit = int(share * 2 ** (8 * _BYTES))
    digests = (
        hashlib.blake2b(group.encode(), digest_size=_BYTES).digest()
        for group in rows.source.groups()
    )
    chosen = np.fromiter(
        (int.from_bytes(digest, "big") < limit for digest in digests), bool, len(rows.source)
    )
    return chosen[rows.numbers]
