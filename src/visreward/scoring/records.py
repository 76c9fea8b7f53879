"""What scoring hands back, item by item, and how one item reads as a row."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from visreward.core.types import DimensionScore, ImageSource, Sample, Score

if TYPE_CHECKING:
    from visreward.models.facts import ModelFacts

RECORD_KEYS = (
    "index",
    "id",
    "image",
    "source_image",
    "prompt",
    "score",
    "sigma",
    "dimensions",
    "model",
    "revision",
    "notes",
    "error",
)
"""The keys of an item's record, in the order in which they are written."""

_BETWEEN_PATHS = "\n"
"""What stands between several source images in a table's cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """An input row that holds no sample.

    Attributes:
        name: Which row, such as `rows.jsonl line 3`.
        reason: Why it cannot be used, in one sentence.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredItem:
    """The outcome of one input: a score, or the reason why there is none.

    Attributes:
        index: Place in the input, from 0.
        sample: What was scored, or None where the input row held no sample.
        name: What to call the item in messages: its id, its file, or its row.
        score: The score, or None for a failed item.
        error: Why the item failed, or None.
    """

    index: int
    sample: Sample | None
    name: str
    score: Score | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        assert (self.score is None) != (self.error is None)


def path_of(source: ImageSource | None) -> str | None:
    """Return an image's path as printable text, or None for bytes, pictures and no image."""
    if not isinstance(source, str | os.PathLike):
        return None
    return os.fsencode(source).decode("utf-8", "replace")


def source_paths(sample: Sample) -> str | list[str] | None:
    """Return the path of a sample's source image, or the paths of several as a list.

    None where there is none, or one is no path.
    """
    paths = [path_of(source) for source in sample.sources]
    found = [path for path in paths if path is not None]
    if not found or len(found) < len(paths):
        return None
    return found if isinstance(sample.source_image, tuple) else found[0]


def printable(text: str) -> str:
    """Return text that is safe to show: white space as spaces, control characters replaced.

    File names and prompts come from strangers, and a terminal obeys control characters.
    """
    return "".join(
        letter if letter.isprintable() else " " if letter.isspace() else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )


def sample_name(sample: Sample, index: int) -> str:
    """Return what to call a sample in messages: its id, its path, or its place."""
    return sample.id or path_of(sample.image) or f"item {index}"


def short_name(item: ScoredItem) -> str:
    """Return a name that fits a table: the id, the file's last part, or the place."""
    path = None
    if item.sample is not None and not item.sample.id:
        path = path_of(item.sample.image)
    return printable((path and PurePath(path).name) or item.name)


def content_fields(entry: Sample | RowError) -> dict[str, str | list[str] | None]:
    """Return what tells one input row from another: id, image, source image and prompt."""
    if isinstance(entry, RowError):
        return {"id": entry.name, "image": None, "source_image": None, "prompt": None}
    return {
        "id": entry.id,
        "image": path_of(entry.image),
        "source_image": source_paths(entry),
        "prompt": entry.prompt.encode("utf-8", "replace").decode("utf-8"),
    }


def item_record(item: ScoredItem, facts: ModelFacts) -> dict[str, Any]:  # JSON values
    """Return an item as JSON values under `RECORD_KEYS`.

    Args:
        item: What to write down.
        facts: Of the model, which is named in the records of failed items as well.
    """
    entry = item.sample or RowError(name=item.name, reason=item.error or "")
    score = item.score
    return {
        "index": item.index,
        **content_fields(entry),
        "score": None if score is None else score.value,
        "sigma": None if score is None else score.sigma,
        "dimensions": {} if score is None else _dimension_values(score),
        "model": facts.name,
        "revision": facts.revision,
        "notes": [] if score is None else list(score.notes),
        "error": item.error,
    }


def _dimension_values(score: Score) -> dict[str, dict[str, float | None]]:
    return {name: {"mu": part.mu, "sigma": part.sigma} for name, part in score.dimensions.items()}


def dimension_columns(facts: ModelFacts) -> list[str]:
    """Return the entries of a flat record that stand for a model's dimensions."""
    return [column for name in facts.dimensions for column in (_column(name), _sigma_column(name))]


def _column(dimension: str) -> str:
    return f"dimensions.{dimension}"


def _sigma_column(dimension: str) -> str:
    return f"dimensions.{dimension}.sigma"


def flat_record(record: Mapping[str, Any]) -> dict[str, Any]:  # JSON values
    """Return a record as tables want it: `dimensions.NAME` holds mu, `dimensions.NAME.sigma`."""
    flat = {key: value for key, value in record.items() if key != "dimensions"}
    if isinstance(flat["source_image"], list):
        flat["source_image"] = _BETWEEN_PATHS.join(flat["source_image"])
    for name, part in record["dimensions"].items():
        flat |= {_column(name): part["mu"], _sigma_column(name): part["sigma"]}
    return flat


def nested_record(flat: Mapping[str, Any], facts: ModelFacts) -> dict[str, Any]:  # JSON values
    """Return the record that `flat_record` was given."""
    dimensions = {
        name: {"mu": flat[_column(name)], "sigma": flat.get(_sigma_column(name))}
        for name in facts.dimensions
        if flat.get(_column(name)) is not None
    }
    source: str | None = flat.get("source_image")
    several = source is not None and _BETWEEN_PATHS in source
    found = {
        "dimensions": dimensions,
        "source_image": source.split(_BETWEEN_PATHS) if source and several else source,
    }
    return {key: found.get(key, flat.get(key)) for key in RECORD_KEYS}


def facts_record(facts: ModelFacts) -> dict[str, Any]:  # JSON values
    """Return a model's facts as JSON values; an unbounded end of the range is None."""
    values = asdict(facts)
    ends = [end if math.isfinite(end) else None for end in facts.score_range]
    return {**values, "dimensions": list(facts.dimensions), "score_range": ends}


def item_from_record(
    record: Mapping[str, Any],  # JSON values
    entry: Sample | RowError,
) -> ScoredItem:
    """Return the item that a record describes, for the input row that it was made from."""
    sample = None if isinstance(entry, RowError) else entry
    index = int(record["index"])
    name = entry.name if isinstance(entry, RowError) else sample_name(entry, index)
    if record["error"] is not None:
        return ScoredItem(index=index, sample=sample, name=name, error=record["error"])
    score = Score(
        value=record["score"],
        sigma=record["sigma"],
        dimensions={
            name: DimensionScore(mu=part["mu"], sigma=part["sigma"])
            for name, part in record["dimensions"].items()
        },
        model=record["model"],
        revision=record["revision"],
        notes=tuple(record["notes"]),
    )
    return ScoredItem(index=index, sample=sample, name=name, score=score)
