"""What a run writes down about itself, and whether a folder holds another run."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from visreward import __version__
from visreward.core.errors import UsageError
from visreward.core.source_commit import git_commit
from visreward.training.checkpoints.checkpoint import find_checkpoints
from visreward.training.checkpoints.fingerprint import require_same_rows, require_same_weights
from visreward.training.checkpoints.storage import write_text
from visreward.training.config import TrainConfig

RECIPE, VERSIONS = "recipe.yaml", "versions.json"
PACKAGES = ("torch", "transformers", "accelerate", "pillow", "numpy")
OPTIONAL = ("peft", "bitsandbytes", "deepspeed")

MAY_CHANGE = frozenset(
    {
        "output",
        "device",
        "optim.steps",
        "optim.epochs",
        "checkpointing",
        "data.num_workers",
        "keep_checkpoints",
        "log_every",
        "parallel.strategy",
        "parallel.zero_stage",
        "save_every",
        "save_every_epochs",
        "validate_every",
        "validate_every_epochs",
        "wandb_project",
    }
)
"""Settings in which a resumed run may differ from the one that it goes on with."""


def refuse_other_run(config: TrainConfig) -> None:
    """Stop if the output folder holds a checkpoint of a run with other settings.

    A setting that is younger than the run had its default there.

    Raises:
        UsageError: naming the settings that differ.
    """
    place = config.output / RECIPE
    if not find_checkpoints(config.output) or not place.is_file():
        return
    known = _flat(yaml.safe_load(place.read_text(encoding="utf-8")))
    values = _flat(config.model_dump(mode="json"))
    chosen = _flat(config.model_dump(mode="json", exclude_defaults=True))
    names = (known.keys() | chosen.keys()) - MAY_CHANGE
    changed = sorted(name for name in names if known.get(name) != values.get(name))
    if changed:
        raise UsageError(
            f"{config.output} holds a run with other settings in: {', '.join(changed)}. "
            "Give another output=FOLDER, or delete that run."
        )


def refuse_other_rows(config: TrainConfig, fingerprints: Mapping[str, Any]) -> None:  # JSON values
    """Stop if the output folder holds a checkpoint of a run on other rows.

    Raises:
        UsageError: naming the splits that differ.
    """
    known = _recorded(config, "data")
    require_same_rows(known, fingerprints, data=config.data.path, run=config.output)


def refuse_other_weights(config: TrainConfig, fingerprints: Mapping[str, str]) -> None:
    """Stop if the output folder holds a checkpoint of a run on other frozen weights.

    Raises:
        UsageError: naming the settings whose weights differ.
    """
    require_same_weights(_recorded(config, "weights"), fingerprints, run=config.output)


def _recorded(config: TrainConfig, name: str) -> dict[str, Any]:  # JSON values
    """Return what the run in the output folder wrote down; nothing where there is none."""
    place = config.output / VERSIONS
    if not find_checkpoints(config.output) or not place.is_file():
        return {}
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8")).get(name, {})
    return found


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:  # JSON values
    """Return nested settings under dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found.update(_flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def record(
    config: TrainConfig,
    *,
    rows: Mapping[str, Any],  # JSON values
    weights: Mapping[str, str],
) -> None:
    """Write recipe, versions, the commit of the code, fingerprints of rows and frozen weights."""
    config.output.mkdir(parents=True, exist_ok=True)
    values = config.model_dump(mode="json")
    write_text(config.output / RECIPE, yaml.safe_dump(values, sort_keys=False))
    known = {**versions(), "git_commit": git_commit(), "data": dict(rows)}
    write_json(config.output / VERSIONS, {**known, "weights": dict(weights)})


def versions() -> dict[str, str]:
    """Return the versions of what takes part in a training."""
    found = {name: version(name) for name in PACKAGES}
    for name in OPTIONAL:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return {**found, "visreward": __version__, "python": platform.python_version()}


def write_json(path: Path, values: object) -> None:
    """Write a JSON file in one step."""
    write_text(path, json.dumps(values, indent=2) + "\n")
