"""The config.json of a native folder: what a model is, beside its weights and processor files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from visreward.core.errors import ModelNotFoundError, WeightsError
from visreward.models.facts import ModelFacts

if TYPE_CHECKING:
    from pathlib import Path

FORMAT_VERSION: Final = 1
CONFIG_NAME: Final = "config.json"

_KEYS: Final = ("format_version", "model", "facts", "config", "parts", "origin")
_NEEDED: Final = ("format_version", "model", "facts")
# The revision is found when the folder is loaded, so that it can never be out of date.
_FACTS: Final = tuple(entry.name for entry in fields(ModelFacts) if entry.name != "revision")
_ORIGIN: Final = ("repo", "revision", "commit", "release")
_PART_FOLDER: Final = re.compile(r"(\.\./)?[A-Za-z0-9][A-Za-z0-9._@-]*")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the weights were downloaded from.

    Attributes:
        repo: Name on the hub, `owner/name`.
        revision: What was asked for: a branch, a tag or a commit.
        commit: Which commit that was.
        release: Address of the archive that the rating prompts were read from, or None.
    """

    repo: str
    revision: str
    commit: str
    release: str | None = None

    def to_dict(self) -> dict[str, str]:
        """Return what is known, by name."""
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class NativeConfig:
    """What config.json says.

    Attributes:
        kind: The registry name of the model's class.
        facts: Facts without a revision.
        config: What the class needs to build the model; empty for a model made of parts.
        parts: Folder of each part, relative to the model's folder; empty for a model of its own.
        origin: Where the weights were downloaded from, or None.
    """

    kind: str
    facts: ModelFacts
    config: dict[str, Any] = field(default_factory=dict)  # JSON values
    parts: Mapping[str, str] = field(default_factory=dict)
    origin: Origin | None = None

    @property
    def prompts_sha256(self) -> str | None:
        """Return the digest of the rating prompts, or None where there are none."""
        digest = self.config.get("rating_prompts", {}).get("sha256")
        return None if digest is None else str(digest)


def is_native_folder(folder: Path) -> bool:
    """Return whether a folder has the config.json of a native folder."""
    try:
        values = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and "format_version" in values


def write_config(config: NativeConfig, folder: Path) -> None:
    """Write config.json in one step; the same config gives the same bytes."""
    values: dict[str, Any] = {  # JSON values
        "format_version": FORMAT_VERSION,
        "model": config.kind,
        "facts": _facts_to_json(config.facts),
    }
    if config.parts:
        values["parts"] = dict(config.parts)
    else:
        values["config"] = config.config
    if config.origin is not None:
        values["origin"] = config.origin.to_dict()
    building = folder / f".{CONFIG_NAME}.building"
    building.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    building.replace(folder / CONFIG_NAME)


def read_config(folder: Path) -> NativeConfig:
    """Read and check config.json.

    Raises:
        ModelNotFoundError: if there is no config.json of a native folder.
        WeightsError: if its format or one of its keys is unknown or missing, or a part lies
            elsewhere than inside the folder or beside it.
    """
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise ModelNotFoundError(
            f"{folder} is no native folder: it has no {CONFIG_NAME}. "
            "Give a folder that visreward wrote, or make one with: visreward models import"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(
            f"{path} is not JSON: {error}. Save or import the model again."
        ) from error
    if not isinstance(values, dict) or "format_version" not in values:
        raise ModelNotFoundError(
            f"{folder} is no native folder: its {CONFIG_NAME} has no format_version. Make one of "
            "it with: visreward models import LAYOUT --checkpoint DIR --backbone DIR --output DIR"
        )
    if values["format_version"] != FORMAT_VERSION:
        raise WeightsError(
            f"{path} has the format_version {values['format_version']!r}. "
            f"This version reads {FORMAT_VERSION}: upgrade visreward, or import the model again."
        )
    return _from_json(values, path)


def _from_json(values: dict[str, Any], path: Path) -> NativeConfig:  # JSON values
    _check_keys(values, path=path, known=_KEYS, needed=_NEEDED)
    if ("parts" in values) == ("config" in values):
        raise WeightsError(f"{path} must have one of 'config' and 'parts'. Save the model again.")
    for name, part in values.get("parts", {}).items():
        if not isinstance(part, str) or not _PART_FOLDER.fullmatch(part):
            raise WeightsError(
                f"{path}: part '{name}' is in {part!r}. "
                "Give the name of a folder inside this one, or of a sibling after '../'."
            )
    origin = values.get("origin")
    if origin is not None:
        _check_keys(origin, path=path, known=_ORIGIN, needed=_ORIGIN[:3])
    return NativeConfig(
        kind=values["model"],
        facts=_facts_from_json(values["facts"], path),
        config=values.get("config", {}),
        parts=values.get("parts", {}),
        origin=None if origin is None else Origin(**origin),
    )


def _check_keys(
    values: object, *, path: Path, known: Iterable[str], needed: Iterable[str] | None = None
) -> None:
    if not isinstance(values, dict):
        raise WeightsError(
            f"{path} has a {type(values).__name__} where keys are expected. Save the model again."
        )
    needed = known if needed is None else needed
    unknown = sorted(set(values) - set(known))
    missing = sorted(set(needed) - set(values))
    if unknown or missing:
        raise WeightsError(
            f"{path} has unknown keys {unknown} and lacks the keys {missing}. "
            "Save or import the model again with this version."
        )


def _facts_to_json(facts: ModelFacts) -> dict[str, Any]:  # JSON values
    values = {name: getattr(facts, name) for name in _FACTS}
    values["dimensions"] = list(facts.dimensions)
    # JSON has no infinities: null stands for an open end.
    values["score_range"] = [end if math.isfinite(end) else None for end in facts.score_range]
    return values


def _facts_from_json(values: dict[str, Any], path: Path) -> ModelFacts:  # JSON values
    _check_keys(values, path=path, known=_FACTS)
    low, high = values["score_range"]
    return ModelFacts(
        **{
            **values,
            "dimensions": tuple(values["dimensions"]),
            "score_range": (
                -math.inf if low is None else float(low),
                math.inf if high is None else float(high),
            ),
        }
    )
