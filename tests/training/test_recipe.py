"""Recipes are typed: unknown keys, missing keys and wrong values are refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from visreward.core.errors import UnknownNameError, UsageError
from visreward.training.options.objective_config import HPConfig, ICTConfig, PairwiseConfig
from visreward.training.recipe import (
    load_config,
    parse_config,
    read_recipe,
    recipe_names,
    with_overrides,
)


@pytest.fixture
def values() -> dict[str, Any]:
    return read_recipe("ict-mini")


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_of_the_package_is_valid(name: str) -> None:
    assert load_config(name, []).model.name == name


def test_full_size_recipes_hold_the_published_settings() -> None:
    ict, hp = load_config("ict", []), load_config("hp", [])
    assert (ict.optim.steps, hp.optim.steps) == (5000, 50000)
    assert ict.optim.learning_rate == hp.optim.learning_rate == 3e-5
    assert ict.optim.batch_size == hp.optim.batch_size == 8 * 32
    assert isinstance(ict.objective, ICTConfig)
    assert ict.objective.negative_weight == 0.5
    assert isinstance(hp.objective, HPConfig)
    assert (hp.objective.margin, hp.freeze.vision_rate) == (0.3, 0.5)
    assert ict.objective.fidelity == hp.objective.fidelity == "released"


@pytest.mark.parametrize(
    "name", ["hpsv3", "editreward-qwen2.5", "editreward-mimo", "editreward-qwen3"]
)
def test_full_size_vision_language_recipes_hold_the_published_settings(name: str) -> None:
    config = load_config(name, [])
    optim = config.optim
    assert (optim.epochs, optim.batch_size, optim.learning_rate) == (10, 8 * 2 * 4, 2e-6)
    assert (optim.warmup_ratio, optim.schedule, optim.weight_decay) == (0.05, "constant", 0.0)
    assert isinstance(config.objective, PairwiseConfig)
    assert (config.objective.loss, config.objective.fidelity) == ("uncertainty", "released")
    assert config.freeze.model_dump(exclude_defaults=True) == {"embeddings": "reward-token"}
    assert config.model.vlm is not None
    assert config.model.vlm.min_pixels == config.model.vlm.max_pixels == 448 * 448
    assert config.model.vlm.positions == ("multimodal" if "qwen3" in name else "1d")


def test_lengths_given_twice_are_said_in_one_sentence(values: dict[str, Any]) -> None:
    values["optim"]["epochs"] = 2
    with pytest.raises(UsageError) as caught:
        parse_config(values)
    assert str(caught.value).splitlines()[1:] == [
        "  'optim': steps or epochs say how long to train. Give one of them."
    ]


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("optim.leraning_rate=1", "learning_rate"),
        ("presision=float32", "precision"),
        ("objective.negativ_weight=1", "negative_weight"),
        ("freeze.vision_rte=0.5", "vision_rate"),
        ("data.num_trian=3", "num_train"),
        ("model.nme=x", "name"),
    ],
)
def test_unknown_key_names_the_nearest_one(override: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"Did you mean '{nearest}'"):
        load_config("ict-mini", [override])


def test_unknown_key_without_a_near_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown key 'optim.zzz'. Known: accumulation, batch"):
        load_config("ict-mini", ["optim.zzz=1"])


def test_missing_key_and_wrong_value_are_both_listed(values: dict[str, Any]) -> None:
    del values["optim"]["batch_size"]
    values["optim"]["learning_rate"] = -1
    with pytest.raises(UsageError) as caught:
        parse_config(values)
    assert "'optim.batch_size' is missing" in str(caught.value)
    assert "'optim.learning_rate' is -1" in str(caught.value)


def test_overrides_are_read_as_yaml_and_leave_the_recipe_alone(values: dict[str, Any]) -> None:
    merged = with_overrides(values, ["optim.steps=7", "data.num_train=null", "precision=float32"])
    assert merged["optim"]["steps"] == 7
    assert merged["data"]["num_train"] is None
    assert merged["precision"] == "float32"
    assert values["optim"]["steps"] != 7


@pytest.mark.parametrize("override", ["optim.steps", "=3", "precision.deeper=3"])
def test_override_that_is_no_setting_is_refused(values: dict[str, Any], override: str) -> None:
    with pytest.raises(UsageError, match="Override"):
        with_overrides(values, [override])


def test_recipe_file_is_read_and_unknown_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(read_recipe("ict-mini")))
    assert load_config(str(path), []).model.kind == "ict"
    with pytest.raises(
        UnknownNameError, match="editreward-qwen3, hp, hp-mini, hpsv3, hpsv3-mini, ict,"
    ):
        load_config("ict-maxi", [])


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "a: [1,", "just words"])
def test_recipe_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"bad\.yaml"):
        load_config(str(path), [])
