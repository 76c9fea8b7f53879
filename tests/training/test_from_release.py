"""Released training configurations as recipes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from visreward.cli.main import app
from visreward.core.errors import UsageError
from visreward.training.recipe import load_config, parse_config, read_recipe
from visreward.training.release.from_release import (
    LOSSES,
    SCHEDULES,
    Translation,
    translate_release,
)
from visreward.training.release.release_options import IGNORED, ONLY, TRANSLATED

Translate = Callable[..., Translation]

EDIT: dict[str, Any] = {
    "rm_head_type": "ranknet_multi_head",
    "pooling_strategy": "mean",
    "reward_dim": "overall_detail",
    "model_name_or_path": "Qwen2.5-VL-7B-Instruct",
    "use_special_tokens": True,
    "reward_token": "special",
    "output_dim": 2,
    "loss_type": "uncertainty",
    "tune_merger": True,
    "min_pixels": 200704,
    "max_pixels": 200704,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "num_train_epochs": 10,
    "learning_rate": 2e-6,
    "warmup_ratio": 0.05,
    "lr_scheduler_type": "constant_with_warmup",
    "bf16": True,
    "gradient_checkpointing": True,
    "dataloader_num_workers": 8,
    "eval_epochs": 0.1,
    "save_epochs": 0.1,
}
"""What the released EditReward was trained with, at HPSv3's intervals."""

IMAGES = {name: value for name, value in EDIT.items() if name not in ("pooling_strategy",)} | {
    "rm_head_type": "ranknet",
    "model_name_or_path": "Qwen2-VL-7B-Instruct",
    "confidence_threshold": 0.95,
}
del IMAGES["reward_dim"]


@pytest.fixture
def translate(tmp_path: Path) -> Translate:
    """Return a function that translates options, some of them changed."""

    def run(values: dict[str, Any] = EDIT, **changes: Any) -> Translation:
        file = tmp_path / "Released.yaml"
        file.write_text(yaml.safe_dump({**values, **changes}))
        return translate_release(file)

    return run


@pytest.mark.parametrize(
    ("values", "recipe"),
    [(EDIT, "editreward-qwen2.5"), (IMAGES, "hpsv3")],
)
def test_translation_of_the_published_options_is_the_recipe_of_the_package(
    translate: Translate, values: dict[str, Any], recipe: str
) -> None:
    found = parse_config(translate(values).recipe)
    expected = load_config(recipe, [])
    assert found.model.vlm == expected.model.vlm
    assert found.model.kind == expected.model.kind
    assert found.model.fidelity == expected.model.fidelity == "released"
    assert found.model.init == expected.model.init
    assert found.objective == expected.objective
    assert found.optim == expected.optim
    # The merger is named because the release would freeze it where nothing is said.
    assert found.freeze.model_copy(update={"merger": None}) == expected.freeze
    # The recipe needs no DeepSpeed, which the release shares out less with.
    assert (found.parallel.strategy, expected.parallel.strategy) == ("ddp", "fsdp2")
    rest = {"output", "model", "data", "freeze", "parallel"}
    assert found.model_dump(exclude=rest) == expected.model_dump(exclude=rest)
    # The releases read their rows from JSON files of one's own.
    places = {"path", "format", "validation"}
    assert found.data.model_dump(exclude=places) == expected.data.model_dump(exclude=places)


SAMPLES: dict[str, Any] = {
    "adam_beta1": 0.8,
    "adam_beta2": 0.95,
    "bf16": False,
    "confidence_threshold": 0.8,
    "dataloader_num_workers": 3,
    "deepspeed": "configs/zero3.json",
    "disable_dropout": True,
    "eval_epochs": 0.3,
    "eval_steps": 70,
    "freeze_llm": True,
    "freeze_vision_tower": True,
    "gradient_accumulation_steps": 2,
    "save_total_limit": 7,
    "gradient_checkpointing": False,
    "learning_rate": 1e-3,
    "load_in_4bit": True,
    "load_in_8bit": True,
    "logging_steps": 7,
    "lora_alpha": 5,
    "lora_dropout": 0.3,
    "lora_enable": True,
    "lora_namespan_exclude": ["lm_head", "mlp"],
    "lora_r": 3,
    "lora_rank": 3,
    "loss_type": "bt",
    "lr_scheduler_type": "cosine",
    "max_grad_norm": 0.5,
    "max_pixels": 300000,
    "max_steps": 77,
    "merger_lr": 1e-5,
    "min_pixels": 3000,
    "model_name_or_path": "elsewhere",
    "num_lora_modules": 4,
    "num_train_epochs": 2,
    "output_dim": 1,
    "output_dir": "there",
    "per_device_train_batch_size": 4,
    "pooling_strategy": "sum",
    "report_to": ["tensorboard", "wandb"],
    "reward_token": "last",
    "rm_head_kwargs": {"num_layers": 3, "hidden_size": 64, "bias": False, "num_heads": 2},
    "rm_head_lr": 1e-4,
    "rm_head_type": "ranknet_share_head",
    "save_epochs": 0.7,
    "save_steps": 70,
    "seed": 3,
    "special_token_lr": 1e-4,
    "test_json_list": [["Set", ["held-out.json"]], ["Empty", [""]]],
    "torch_dtype": "bfloat16",
    "train_json_list": ["mine.json"],
    "trainable_visual_layers": 5,
    "tune_merger": False,
    "use_rslora": True,
    "vision_lora": True,
    "vision_lr": 1e-5,
    "warmup_ratio": 0.2,
    "warmup_steps": 9,
    "weight_decay": 0.1,
}
BESIDE: dict[str, dict[str, Any]] = {
    "eval_steps": {"eval_epochs": None},
    "save_steps": {"save_epochs": None},
    "torch_dtype": {"bf16": False},
    "warmup_steps": {"warmup_ratio": None},
    "output_dim": {"loss_type": "bt"},
}
LORA = {"lora_enable": True, "vision_lora": False}


def at(recipe: dict[str, Any], name: str) -> Any:
    """Return what stands under a dotted name, or None."""
    place: Any = recipe
    for part in name.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    return place


@pytest.mark.parametrize("option", sorted(SAMPLES))
def test_translated_option_changes_what_stands_under_its_new_name(
    translate: Translate, option: str
) -> None:
    is_lora = TRANSLATED[option].startswith("lora.")
    around = {**(LORA if is_lora else {}), **BESIDE.get(option, {})}
    before = translate(**around).recipe
    after = translate(**{**around, option: SAMPLES[option]}).recipe
    place = TRANSLATED[option]
    assert at(after, place) != at(before, place)
    sections = place.split(".")[:1]
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert sections[0] in changed
    if option not in ("eval_epochs", "save_epochs", "lora_enable", "vision_lora"):
        assert changed == {*sections}


SPECIAL = {
    "eval_strategy",
    "loss_hyperparameters",
    "reward_dim",
    "use_special_tokens",
}


def test_every_translated_option_is_tried_here() -> None:
    assert SAMPLES.keys() | SPECIAL == TRANSLATED.keys()
    assert not IGNORED.keys() & TRANSLATED.keys()
    assert not ONLY.keys() & (TRANSLATED.keys() | IGNORED.keys())


def test_documentation_lists_every_option_beside_its_new_name() -> None:
    text = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, flags=re.MULTILINE))
    known = {*TRANSLATED, *IGNORED, *ONLY}
    assert known - rows.keys() == set()
    for option, place in TRANSLATED.items():
        assert f"`{place}`" in rows[option], option


def test_ignored_options_are_named_above_the_recipe(translate: Translate) -> None:
    text = translate(ddp_timeout=9, save_only_model=True).text()
    assert "# ddp_timeout: the launcher has one" in text
    assert "# save_only_model: checkpoints always hold the optimizer too" in text
    parse_config(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"deepspeed": "configs/zero2.json"}, {"strategy": "deepspeed", "zero_stage": 2}),
        ({"deepspeed": "z/zero3_offload.json"}, {"strategy": "deepspeed", "zero_stage": 3}),
        ({"deepspeed": None}, None),
        ({"deepspeed": "zero2.json", "lora_enable": True, "load_in_8bit": True}, None),
    ],
)
def test_zero_of_the_release_is_a_strategy(
    translate: Translate, changes: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    found = translate(**changes).recipe
    assert found.get("parallel") == expected
    parse_config(found)


def test_several_files_ask_for_a_mixture(translate: Translate) -> None:
    found = translate(train_json_list=["a.json", "b.json"])
    assert found.recipe["data"]["path"] == "mixture.yaml"
    assert any("{path: ..., weight: ...} with a.json, b.json" in note for note in found.notes)


@pytest.mark.parametrize(("released", "ours"), sorted(SCHEDULES.items()))
def test_schedules_of_the_release(translate: Translate, released: str, ours: str) -> None:
    optim = translate(lr_scheduler_type=released).recipe["optim"]
    assert optim["schedule"] == ours
    assert optim.get("warmup_ratio", 0) == (0 if released == "constant" else 0.05)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_losses_of_the_release(translate: Translate, loss: str) -> None:
    numbers = {"tau": 0.7} if loss == "likelihood_displacement" else {}
    found = parse_config(translate(loss_type=loss, loss_hyperparameters=numbers).recipe)
    values = found.objective.model_dump()
    assert {name: values[name] for name in {**LOSSES[loss], **numbers}} == {
        **LOSSES[loss],
        **numbers,
    }


def test_adapters_of_the_release_freeze_and_train_as_it_does(translate: Translate) -> None:
    both = translate(lora_enable=True, vision_lora=True).recipe
    assert both["freeze"] == {"embeddings": "reward-token"}
    assert both["lora"]["vision"] is True
    one = translate(lora_enable=True, freeze_vision_tower=True, trainable_visual_layers=0).recipe
    assert one["freeze"] == {"vision": True, "merger": False, "embeddings": "reward-token"}
    without = translate(lora_r=512, lora_alpha=1024).recipe
    assert "lora" not in without


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora_rang": 3}, "option 'lora_rang'.*nearest known one is 'lora_ran?k?g?'"),
        ({"soft_label": True}, "soft_label: True, which nothing here does.*objective.labels=votes"),
        ({"fp16": True}, "Its replacement is precision: bfloat16 or float32"),
        ({"load_from_pretrained": "x"}, "model.init, after: visreward models import"),
        ({"loss_type": "margin"}, "loss_type is 'margin', which the released code does not comp"),
        ({"loss_hyperparameters": {"tau": 1}}, r"has \['tau'\], but the released 'uncertainty'"),
        ({"lr_scheduler_type": "polynomial"}, "optim.schedule replaces it, which knows constant"),
        ({"eval_strategy": "epoch"}, "validate_every_epochs replaces it"),
        ({"rm_head_type": "ranknets"}, "The nearest known one is 'ranknet'"),
        ({"rm_head_type": "ranknet"}, "edits have two dimensions. Take ranknet_share_head or"),
        ({"rm_head_kwargs": {"width": 3}}, "unknown key 'width'. Known are num_layers"),
        ({"rm_head_kwargs": {"num_heads": 3}}, "num_heads: 3. There is one head for each"),
        ({"use_special_tokens": False}, "there is no reward token to read"),
        ({"lora_enable": True, "freeze_llm": True}, "the released code refuses too"),
        ({"load_in_4bit": True}, "Base weights of 4-bit are frozen.*lora.base_weights"),
    ],
)
def test_options_that_cannot_be_translated_name_their_replacement(
    translate: Translate, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=re.compile(message, re.DOTALL)):
        translate(**changes)


def test_released_files_as_published_are_translated(shared_dir: Path) -> None:
    for name in ("qwen25vl_tiny", "qwen3vl_tiny", "qwen2vl_tiny"):
        (file,) = (shared_dir / "parity" / name / "release").rglob("config/*.yaml")
        config = parse_config(translate_release(file, num_processes=1).recipe)
        assert config.model.vlm is not None
        assert config.model.vlm.max_pixels == 200704
        assert config.optim.batch_size == 8


def test_train_command_prints_the_recipe_of_a_released_file(tmp_path: Path) -> None:
    file = tmp_path / "Released.yaml"
    file.write_text(yaml.safe_dump(EDIT))
    arguments = ["train", "--from-release", str(file), "--processes", "2"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    recipe = yaml.safe_load(result.stdout)
    assert recipe["optim"]["batch_size"] == 16
    assert "for 2 process(es)" in result.stdout
    printed = tmp_path / "recipe.yaml"
    printed.write_text(result.stdout)
    assert read_recipe(str(printed)) == recipe


@pytest.mark.parametrize("arguments", [[], ["hp", "--from-release", "x.yaml"]])
def test_train_command_wants_a_recipe_or_a_released_file(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["train", *arguments])
    assert result.exit_code == 2
    assert "Give a recipe, or a released YAML with --from-release" in " ".join(
        result.stderr.split()
    )
