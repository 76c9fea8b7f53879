"""From a configuration file to a judge."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from visreward.core.errors import UsageError
from visreward.core.extras import require_extra
from visreward.core.registry import closest_name

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    from visreward.evaluation.benchmarks.records import PairJudge, Scorer
    from visreward.evaluation.judges.config import AnyConfig

_SUFFIXES: Final = (".toml", ".yaml", ".yml")
# Where people put keys and passwords by mistake.
_NEVER_SHOWN: Final = ("base_url", "api_key_env")


def load_judge(path: Path) -> Scorer | PairJudge:
    """Return the judge that a configuration file describes; nothing is asked yet.

    Paths in the file are relative to its folder.

    Args:
        path: A YAML or TOML file; its key `kind` says which judge it is.

    Raises:
        MissingExtraError: if pydantic or httpx2 is not installed.
        UsageError: if the file cannot be used; all its problems are listed.
        DataError: if its cache or its annotations cannot be used.
    """
    require_extra("bench", "pydantic")
    from visreward.evaluation.judges import baselines, comparisons, config, scores

    found = parse_judge(read_judge_file(path), name=str(path))
    folder = path.parent
    if isinstance(found, config.RandomConfig):
        return baselines.RandomJudge(name=found.name, seed=found.seed, ties=found.ties)
    if isinstance(found, config.HumansConfig):
        annotations = baselines.read_annotations(folder / found.annotations)
        return baselines.HumanJudge(annotations, annotator=found.annotator, name=found.name)
    if isinstance(found, config.ScoresConfig):
        return scores.ScoreJudge(found, folder=folder)
    if isinstance(found, config.PairsConfig):
        return comparisons.PairwiseJudge(found, folder=folder)
    return comparisons.RankingJudge(found, folder=folder)


def read_judge_file(path: Path) -> dict[str, Any]:  # YAML or TOML values
    """Return what a configuration file holds.

    Raises:
        UsageError: if it cannot be read, or holds no keys and values.
    """
    if path.suffix not in _SUFFIXES:
        raise UsageError(f"The judge '{path}' ends in '{path.suffix}'. Give a YAML or TOML file.")
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"The judge '{path}' cannot be read: {error}. Correct it.") from error
    if not isinstance(values, dict):
        raise UsageError(
            f"The judge '{path}' holds a {type(values).__name__}, expected keys and values."
        )
    return values


def parse_judge(values: Mapping[str, Any], *, name: str) -> AnyConfig:  # YAML or TOML values
    """Check a configuration and return it typed.

    Args:
        values: What the file holds.
        name: What messages call it.

    Raises:
        UsageError: if a key is unknown (the nearest name is given), missing, or has a value of the
            wrong kind; all problems are listed.
    """
    from pydantic import ValidationError

    from visreward.evaluation.judges.config import KINDS

    kind = values.get("kind")
    if kind not in KINDS:
        raise UsageError(f"The judge '{name}' has kind: {kind!r}. Give one of: {', '.join(KINDS)}.")
    try:
        return KINDS[kind].model_validate(values)
    except ValidationError as error:
        lines = [_problem(detail, KINDS[kind]) for detail in error.errors()]
        raise UsageError(f"The judge '{name}' cannot be used:\n" + "\n".join(lines)) from None


def _problem(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """Say one validation problem in words."""
    from visreward.core.strict import section_keys

    location = [str(part) for part in detail["loc"]]
    name = ".".join(location)
    if detail["type"] == "extra_forbidden":
        known = section_keys(model, location[:-1])
        closest = closest_name(location[-1], known)
        hint = f"Did you mean '{closest}'?" if closest else f"Known: {', '.join(known)}."
        return f"  unknown key '{name}'. {hint}"
    if detail["type"] == "missing":
        return f"  '{name}' is missing. Give it."
    message = detail["msg"].removeprefix("Value error, ")
    if isinstance(detail["input"], dict) or location[-1] in _NEVER_SHOWN:
        return f"  '{name}': {message}." if name else f"  {message}."
    return f"  '{name}' is {detail['input']!r}: {message}."
