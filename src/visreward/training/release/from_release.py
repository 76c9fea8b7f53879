"""From a training configuration of the released code to a recipe."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from visreward.core.errors import UsageError
from visreward.training.recipe import parse_config, read_recipe
from visreward.training.release.release_model import (
    Given,
    freeze_section,
    heads_section,
    lora_section,
    parallel_section,
    read_pooling,
)
from visreward.training.release.release_options import IGNORED, ONLY, TRANSLATED

SCHEDULES: Final = {
    "constant_with_warmup": "constant",
    "constant": "constant",
    "linear": "linear",
    "cosine": "cosine",
}
LOSSES: Final[Mapping[str, dict[str, Any]]] = {
    "bt": {"loss": "bradley-terry"},
    "constant_margin": {"loss": "bradley-terry", "margin": 0.57},
    "btt": {"loss": "bradley-terry-ties"},
    "likelihood_displacement": {"loss": "likelihood-displacement"},
    "reg": {"loss": "pointwise", "offset": 4.5},
    "hpsv2": {"loss": "pair-softmax", "fidelity": "released"},
    "uncertainty": {"loss": "uncertainty", "fidelity": "released"},
    "uncertainty_with_margin": {"loss": "uncertainty", "fidelity": "released", "margin": 0.57},
}
"""The branches of the released compute_loss, with the numbers that are fixed there."""


@dataclass(kw_only=True)
class Translation:
    """A recipe that does what a released configuration did.

    Attributes:
        recipe: As in a recipe's YAML.
        notes: What is different here, a sentence each.
    """

    recipe: dict[str, Any] = field(default_factory=dict)  # YAML values
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the recipe as YAML, below its notes."""
        lines = [f"# {note}\n" for note in self.notes]
        return "".join(lines) + yaml.safe_dump(self.recipe, sort_keys=False, width=96)


def translate_release(file: Path, *, num_processes: int = 8) -> Translation:
    """Translate a YAML file of EditReward's or HPSv3's released training code.

    What the file leaves out has the default of the released code. Rating prompts are those of the
    recipes of this package: those of a release belong to it.

    Args:
        file: The YAML file.
        num_processes: How many processes the release was run with; the batch is theirs together.

    Raises:
        UsageError: if the file is no YAML mapping, or has an option that is unknown or that
            nothing here does; the message says what replaces it.
    """
    given = _read(file)
    found = Translation(notes=[f"Translated from {file.name}, for {num_processes} process(es)."])
    name = file.stem.lower()
    folder = given.take("output_dir", None)
    found.recipe = {
        "output": str(Path(folder) / file.stem) if folder else f"runs/{name}",
        "model": _model(given, name, found),
        "data": _data(given, found),
        "objective": _objective(given),
        "freeze": freeze_section(given),
        "optim": _optim(given, num_processes),
        **lora_section(given),
        **parallel_section(given),
        **_run(given, name, found),
    }
    if given.values.get("freeze_vision_tower") and given.take("trainable_visual_layers", -1) < 0:
        found.notes.append(
            "freeze.vision: the release trains the layers all the same, unless "
            "trainable_visual_layers is 0; here they are frozen."
        )
    if found.recipe["objective"]["loss"] == "uncertainty":
        found.notes.append("objective.num_samples: the release draws 1000 a pair; here exact.")
    found.notes += [f"{key}: {IGNORED[key]}." for key in sorted(given.values.keys() & IGNORED)]
    left = sorted(given.values.keys() - given.taken - IGNORED.keys() - ONLY.keys())
    assert not left, f"not translated: {left}"
    parse_config(found.recipe)
    return found


def _read(file: Path) -> Given:
    """Read a released configuration and check that all of its options are known."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"'{file}' cannot be read as YAML: {error}. Give another file.") from error
    if not isinstance(values, dict):
        raise UsageError(f"'{file}' holds {values!r:.80}, expected options and values.")
    known = {**TRANSLATED, **IGNORED, **ONLY}
    for key in values:
        if key not in known:
            nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0)
            raise UsageError(
                f"'{file}' has the option '{key}', which is unknown. The nearest known one is "
                f"'{nearest[0]}'. Correct the name, or leave it out."
            )
    for key, (allowed, instead) in ONLY.items():
        if key in values and values[key] not in allowed:
            raise UsageError(
                f"'{file}' has {key}: {values[key]!r}, which nothing here does. Its replacement "
                f"is {instead}. Set {key} to {allowed[0]!r} in the file."
            )
    return Given(values=values)


def _is_edit(given: Given) -> bool:
    """Return whether a configuration is EditReward's; HPSv3 has no such options."""
    return "reward_dim" in given.values or "pooling_strategy" in given.values


def _model(given: Given, name: str, found: Translation) -> dict[str, Any]:  # YAML values
    is_edit = _is_edit(given)
    prompts = read_recipe("editreward-qwen2.5" if is_edit else "hpsv3")["model"]["vlm"]
    asked = dict(prompts["rating_prompts"])
    pooling = read_pooling(given)
    if pooling != "special":
        asked["suffix"] = asked["suffix"].replace("<|Reward|>", "")
    init = given.take("model_name_or_path", None)
    if init is None or not Path(init).is_dir():
        found.notes.append(
            f"model.init: download {init or 'the base model'} and give its folder here."
        )
    given.take("reward_dim", None)
    is_qwen3 = "qwen3" in str(init).lower()
    fusion = given.take("pooling_strategy", "min")
    return {
        "kind": "editreward" if is_edit else "hpsv3",
        "name": name,
        "init": init or "FOLDER",
        "fidelity": "released",
        "vlm": {
            "min_pixels": given.take("min_pixels", 256 * 28 * 28),
            "max_pixels": given.take("max_pixels", 256 * 28 * 28),
            "heads": heads_section(given, is_edit=is_edit),
            "pooling": pooling,
            "fusion": fusion if is_edit else "none",
            # Qwen2-VL and Qwen2.5-VL were trained on positions counted like text.
            "positions": "multimodal" if is_qwen3 else "1d",
            "rating_prompts": asked,
        },
    }


def _files(entries: object) -> list[str]:
    """Return the file names among entries that may be lists themselves."""
    if isinstance(entries, str):
        return [entries] if entries else []
    if isinstance(entries, list):
        return [name for entry in entries for name in _files(entry)]
    return []


def _data(given: Given, found: Translation) -> dict[str, Any]:  # YAML values
    train = _files(given.take("train_json_list", []))
    if len(train) > 1:
        listed = ", ".join(train)
        found.notes.append(
            f"data.path: write a YAML list of {{path: ..., weight: ...}} with {listed} and the "
            "numbers of their rows as weights."
        )
    data: dict[str, Any] = {
        "format": "editreward" if _is_edit(given) else "hpdv3",
        "path": train[0] if len(train) == 1 else "mixture.yaml" if train else "train.json",
        "cache_pixels": False,
        "num_workers": given.take("dataloader_num_workers", 0),
    }
    # Each entry is a name and the files that go by it.
    sets = [
        _files(each[1:] if isinstance(each, list) else each)
        for each in given.take("test_json_list", [])
    ]
    test = [name for names in sets for name in names]
    data["validation"] = {"path": test[0]} if test else {"held_out": 0.01}
    if len(test) > 1:
        found.notes.append(f"data.validation.path: one file of {', '.join(test)}.")
    confidence = given.take("confidence_threshold", None)
    if confidence is not None:
        data["min_confidence"] = confidence
    return data


def _objective(given: Given) -> dict[str, Any]:  # YAML values
    kind = given.take("loss_type", None)
    if kind not in LOSSES:
        raise UsageError(
            f"loss_type is {kind!r}, which the released code does not compute. Known are "
            f"{', '.join(LOSSES)}; here objective.loss chooses."
        )
    numbers = given.take("loss_hyperparameters", None) or {}
    wanted = {"tau"} if kind == "likelihood_displacement" else set()
    if set(numbers) != wanted:
        raise UsageError(
            f"loss_hyperparameters has {sorted(numbers)}, but the released {kind!r} reads "
            f"{sorted(wanted) or 'none'}. Here the numbers are keys of objective."
        )
    is_tied = _is_edit(given) and kind not in ("btt", "reg")
    return {
        "name": "pairwise",
        **LOSSES[kind],
        **numbers,
        **({"ties": "both-directions"} if is_tied else {}),
        # The release compares fused scores alone.
        "dimension_weight": 0.0,
        "overall_weight": 1.0,
    }


def _optim(given: Given, num_processes: int) -> dict[str, Any]:  # YAML values
    parts = given.take("gradient_accumulation_steps", 1)
    size = given.take("per_device_train_batch_size", 8)
    steps = given.take("max_steps", -1)
    epochs = given.take("num_train_epochs", 3)
    schedule = given.take("lr_scheduler_type", "linear")
    if schedule not in SCHEDULES:
        raise UsageError(
            f"lr_scheduler_type is {schedule!r}. optim.schedule replaces it, which knows "
            "constant, linear and cosine, from constant_with_warmup, constant, linear and cosine."
        )
    warmup_steps, ratio = given.take("warmup_steps", 0), given.take("warmup_ratio", 0.0)
    warmup = {"warmup_steps": warmup_steps} if warmup_steps else {"warmup_ratio": ratio}
    limit = given.take("max_grad_norm", 1.0)
    rates = {
        "vision": given.take("vision_lr", None),
        "merger": given.take("merger_lr", None),
        "heads": given.take("rm_head_lr", None),
        "reward_token": given.take("special_token_lr", None),
    }
    if not given.take("use_special_tokens", False):
        rates["reward_token"] = None
    own = {part: rate for part, rate in rates.items() if rate is not None}
    return {
        **({"steps": steps} if steps > 0 else {"epochs": epochs}),
        "batch_size": size * parts * num_processes,
        "accumulation": parts,
        "learning_rate": given.take("learning_rate", 5e-5),
        **({"learning_rates": own} if own else {}),
        **({} if schedule == "constant" else warmup),
        "schedule": SCHEDULES[schedule],
        "weight_decay": given.take("weight_decay", 0.0),
        "betas": [given.take("adam_beta1", 0.9), given.take("adam_beta2", 0.999)],
        "grad_clip": limit or None,
    }


def _run(given: Given, name: str, found: Translation) -> dict[str, Any]:  # YAML values
    is_half = given.take("bf16", False) or given.take("torch_dtype", None) == "bfloat16"
    given.take("torch_dtype", None)
    if is_half:
        found.notes.append(
            "precision: the release keeps weights in bfloat16 too; here they are float32, and "
            "matrix products are bfloat16."
        )
    run: dict[str, Any] = {
        "precision": "bfloat16" if is_half else "float32",
        "checkpointing": "full" if given.take("gradient_checkpointing", False) else "none",
        "seed": given.take("seed", 42),
    }
    log_every = given.take("logging_steps", None)
    if log_every is not None:
        run["log_every"] = log_every
    strategy = given.take("eval_strategy", "steps")
    if strategy not in ("steps", "no"):
        raise UsageError(
            f"eval_strategy is {strategy!r}. validate_every_epochs replaces it: give eval_epochs "
            "and eval_strategy: steps."
        )
    for ours, theirs in (("validate_every", "eval"), ("save_every", "save")):
        epochs, steps = given.take(f"{theirs}_epochs", None), given.take(f"{theirs}_steps", 500)
        run |= {ours: steps} if epochs is None else {f"{ours}_epochs": epochs}
    limit = given.take("save_total_limit", None)
    if limit is not None:
        run["keep_checkpoints"] = limit
    if "wandb" in _files(given.take("report_to", [])):
        run["wandb_project"] = name
    return run
