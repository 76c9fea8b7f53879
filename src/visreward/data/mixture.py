"""Mix several files of preferences: a YAML list of paths and weights.

Example:
    - {path: hpdv3/train.json, weight: 1.0}
    - {path: pickapic/pickapic.json, weight: 0.3}
"""

from __future__ import annotations

import difflib
import itertools
import os
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from visreward.core.errors import DataError


class MixturePart(BaseModel):
    """One file of a mixture.

    Attributes:
        path: The file, or the folder of a data set.
        weight: How often rows are drawn from it, against the weights of the other parts; above 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    weight: float = Field(default=1.0, strict=True, gt=0, allow_inf_nan=False)


_ENTRIES: TypeAdapter[list[MixturePart]] = TypeAdapter(list[MixturePart])


def read_mixture(file: str | os.PathLike[str]) -> tuple[MixturePart, ...]:
    """Read a mixture: a YAML list of mappings with `path` and, if it is not 1, `weight`.

    Args:
        file: The YAML file; paths in it are relative to its folder.

    Raises:
        DataError: if the file cannot be read, is no such list, has an unknown key, a weight that
            is not above 0, a path that is not there, or one path twice; it names the entry.
    """
    file = Path(file)
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"'{file}' cannot be read as YAML: {error}. Write it again.") from error
    if not isinstance(entries, list) or not entries:
        raise DataError(
            f"'{file}' holds {entries!r:.80}, expected a list. Write entries like "
            "'- {path: train.json, weight: 0.3}'."
        )
    try:
        found = _ENTRIES.validate_python(entries)
    except ValidationError as error:
        raise _problem(error.errors()[0], file) from error
    parts = [part.model_copy(update={"path": file.parent / part.path}) for part in found]
    for number, part in enumerate(parts):
        if not part.path.exists():
            raise DataError(
                f"Entry {number} of '{file}' names '{part.path}', which is not there. "
                "Correct the path."
            )
    for one, other in itertools.combinations(parts, 2):
        if one.path == other.path:
            raise DataError(f"'{file}' names '{one.path}' twice. Add the weights up in one entry.")
    return tuple(parts)


def _problem(detail: ErrorDetails, file: Path) -> DataError:
    number, *keys = detail["loc"]
    entry = f"Entry {number} of '{file}'"
    if not keys:
        return DataError(f"{entry} is {detail['input']!r:.80}. Write a mapping: {{path: ...}}.")
    if detail["type"] == "extra_forbidden":
        known = difflib.get_close_matches(str(keys[0]), MixturePart.model_fields, n=1)
        hint = f"Did you mean {known[0]!r}?" if known else "Leave it out."
        return DataError(f"{entry} has the unknown key {keys[0]!r}. {hint}")
    if detail["type"] == "missing":
        return DataError(f"{entry} has no {keys[0]!r}. Add it.")
    what = f"has {detail['input']!r} as {keys[0]!r}: {detail['msg']}"
    return DataError(f"{entry} {what}. Correct it.")
