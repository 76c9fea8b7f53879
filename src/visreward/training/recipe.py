"""From a recipe's YAML and `key=value` overrides to a checked configuration.

Unknown keys are refused with the nearest known name.
"""

from __future__ import annotations

import copy
import difflib
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from visreward.core.errors import UnknownNameError, UsageError
from visreward.core.strict import Strict, section_keys
from visreward.training.config import TrainConfig
from visreward.training.options.objective_config import (
    ContrastiveConfig,
    DistillationConfig,
    HPConfig,
    ICTConfig,
    PairwiseConfig,
)


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with the package."""
    folder = resources.files("visreward.training") / "recipes"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def read_recipe(recipe: str) -> dict[str, Any]:  # YAML values
    """Read a recipe file, or a recipe of the package by name.

    Raises:
        UnknownNameError: if there is neither such a file nor such a recipe.
        UsageError: if the file is not a YAML mapping.
    """
    path = Path(recipe)
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif recipe.removesuffix(".yaml") in recipe_names():
        name = f"{recipe.removesuffix('.yaml')}.yaml"
        entry = resources.files("visreward.training") / "recipes" / name
        text = entry.read_text(encoding="utf-8")
    else:
        raise UnknownNameError(
            f"No recipe file '{recipe}', and no recipe of that name. "
            f"Give a YAML file or one of: {', '.join(recipe_names())}."
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"Recipe '{recipe}' is not valid YAML: {error}. Correct it.") from error
    if not isinstance(values, dict):
        raise UsageError(
            f"Recipe '{recipe}' holds a {type(values).__name__}, expected keys and values."
        )
    return values


def with_overrides(
    values: dict[str, Any],  # YAML values
    overrides: list[str],
) -> dict[str, Any]:
    """Return the recipe with `section.key=value` entries put in; values are read as YAML.

    Raises:
        UsageError: if an entry has no '=' or goes through something that is not a section.
    """
    merged = copy.deepcopy(values)
    for override in overrides:
        name, separator, text = override.partition("=")
        if not separator or not name:
            raise UsageError(f"Override '{override}' is not key=value, such as optim.steps=100.")
        *sections, key = name.split(".")
        place = merged
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise UsageError(f"Override '{override}': '{section}' holds a value, no keys.")
        try:
            place[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"Override '{override}' is not YAML after '=': {error}.") from error
    return merged


def parse_config(values: dict[str, Any]) -> TrainConfig:  # YAML values
    """Check a recipe and return it typed.

    Raises:
        UsageError: if a key is unknown (the nearest name is given), missing, or has a value of
            the wrong kind; all problems are listed.
    """
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        lines = [_problem(detail, values) for detail in error.errors()]
        raise UsageError("The recipe cannot be used:\n" + "\n".join(lines)) from error


def load_config(recipe: str, overrides: list[str]) -> TrainConfig:
    """Read a recipe, put the overrides in, and check it."""
    return parse_config(with_overrides(read_recipe(recipe), overrides))


def _problem(detail: ErrorDetails, values: dict[str, Any]) -> str:  # YAML values
    """Say one validation problem in words."""
    location = [str(part) for part in detail["loc"]]
    # The discriminated section carries its own name in the location: objective.hp.margin.
    if len(location) > 1 and location[0] == "objective":
        location = [location[0], *location[2:]]
    name = ".".join(location)
    if detail["type"] == "extra_forbidden":
        known = _known_keys(location[:-1], values)
        nearest = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.4)
        hint = f"Did you mean '{nearest[0]}'?" if nearest else f"Known: {', '.join(known)}."
        return f"  unknown key '{name}'. {hint}"
    if detail["type"] == "missing":
        return f"  '{name}' is missing. Give it in the recipe or as {name}=VALUE."
    if isinstance(detail["input"], dict):
        return f"  '{name}': {detail['msg'].removeprefix('Value error, ')}."
    return f"  '{name}' is {detail['input']!r}: {detail['msg']}."


def _known_keys(sections: list[str], values: dict[str, Any]) -> list[str]:
    """Return the keys that a section knows."""
    if sections == ["objective"]:
        chosen = values.get("objective", {}).get("name")
        models: dict[str, type[Strict]] = {
            "contrastive": ContrastiveConfig,
            "ict": ICTConfig,
            "hp": HPConfig,
            "pairwise": PairwiseConfig,
            "distillation": DistillationConfig,
        }
        return sorted(models[chosen].model_fields)
    return section_keys(TrainConfig, sections)
