"""A reward model that starts from a base model, as transformers saves one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from rich.console import Console
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from visreward.core.errors import ModelNotFoundError, UsageError
from visreward.models.loading import load_model
from visreward.models.vlm.base_model import is_base_folder, load_base
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.modeling.build import build_model
from visreward.training.modeling.chat_tokenizer import (
    IMAGE,
    VIDEO,
    VISION_END,
    VISION_START,
    train_chat_tokenizer,
)
from visreward.training.run import train

MakeRecipe = Callable[..., TrainConfig]

LANGUAGE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "rms_norm_eps": 1e-6,
}
ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
VISION: dict[str, dict[str, Any]] = {
    "qwen2_vl": {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2},
    "qwen2_5_vl": {
        "hidden_size": 16,
        "intermediate_size": 24,
        "out_hidden_size": 32,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    },
    "qwen3_vl": {
        "hidden_size": 16,
        "intermediate_size": 24,
        "out_hidden_size": 32,
        "deepstack_visual_indexes": [0],
        "num_position_embeddings": 64,
    },
}
CLASSES = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}


def save_base(folder: Path, kind: str, *, extra_rows: int, shards: str = "50GB") -> Any:
    """Save a random base model with a language-model head by transformers alone; return it."""
    tokenizer = train_chat_tokenizer(["make the ball red"], vocab_size=300)
    known = tokenizer.get_vocab()
    is_3 = kind == "qwen3_vl"
    config = getattr(transformers, f"{CLASSES[kind]}Config")(
        text_config={
            **LANGUAGE,
            **({"head_dim": 8} if is_3 else {}),
            "vocab_size": len(tokenizer) + extra_rows,
            "rope_parameters": {**ROPE, **({"mrope_interleaved": True} if is_3 else {})},
        },
        vision_config={"depth": 2, "num_heads": 2, "patch_size": 14, **VISION[kind]},
        image_token_id=known[IMAGE],
        video_token_id=known[VIDEO],
        vision_start_token_id=known[VISION_START],
        vision_end_token_id=known[VISION_END],
    )
    torch.manual_seed(7)
    model = getattr(transformers, f"{CLASSES[kind]}ForConditionalGeneration")(config)
    model.save_pretrained(folder, max_shard_size=shards)
    Qwen2VLImageProcessorPil(patch_size=14).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.model


@pytest.mark.parametrize("extra_rows", [-1, 0, 5])
@pytest.mark.parametrize("kind", sorted(CLASSES))
def test_load_base_has_the_weights_of_transformers(
    tmp_path: Path, kind: str, extra_rows: int
) -> None:
    saved = save_base(tmp_path, kind, extra_rows=extra_rows, shards="40KB")
    assert is_base_folder(tmp_path)
    base = load_base(tmp_path)
    found, expected = base.backbone.model.state_dict(), saved.state_dict()
    assert found.keys() == expected.keys()
    name = "language_model.embed_tokens.weight"
    known, rows = expected.pop(name), found.pop(name)
    for each, value in expected.items():
        assert torch.equal(found[each], value), each
    num_tokens = len(base.tokenizer)
    shared = min(num_tokens, len(known))
    assert len(rows) == num_tokens
    assert torch.equal(rows[:shared], known[:shared])
    if extra_rows < 0:
        torch.testing.assert_close(rows[shared:], known.mean(dim=0, keepdim=True))
    assert all(each.dtype == torch.float32 for each in found.values())


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl"])
def test_load_base_reads_the_flat_configuration_of_published_models(
    tmp_path: Path, kind: str
) -> None:
    save_base(tmp_path, kind, extra_rows=0)
    nested = load_base(tmp_path).backbone
    place = tmp_path / "config.json"
    values = json.loads(place.read_text())
    text = values.pop("text_config")
    rope = text.pop("rope_parameters")
    # Qwen2-VL and Qwen2.5-VL were published before transformers had parts in a configuration.
    flat = {
        **{name: value for name, value in text.items() if name not in ("model_type", "dtype")},
        **values,
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
        "vocab_size": 9999,
    }
    place.write_text(json.dumps(flat))
    found = load_base(tmp_path).backbone
    one, other = (each.model.config.text_config for each in (nested, found))
    assert one.hidden_size == other.hidden_size
    assert one.vocab_size == other.vocab_size
    for name in ("rope_theta", "mrope_section"):
        assert one.rope_parameters[name] == other.rope_parameters[name]
    ids = torch.arange(6)[None]
    with torch.no_grad():
        first, second = (each.model.language_model.embed_tokens(ids) for each in (nested, found))
    assert torch.equal(first, second)


def with_base(config: TrainConfig, folder: Path) -> TrainConfig:
    changes = {"init": str(folder), "backbone": None, "tokenizer": None}
    return config.model_copy(update={"model": config.model.model_copy(update=changes)})


def test_train_from_a_base_model_leaves_a_reward_model(
    edit_recipe: MakeRecipe, quiet: Console, tmp_path: Path
) -> None:
    save_base(tmp_path / "base", "qwen2_5_vl", extra_rows=3)
    config = with_base(
        edit_recipe(freeze={"vision": True, "language": True, "embeddings": "reward-token"}),
        tmp_path / "base",
    )
    train(config, console=quiet)
    model = load_model(str(config.output / "model"))
    base = load_base(tmp_path / "base")
    assert isinstance(model, VLMReward)
    assert model.facts.licence == ""
    reward_id = model.inputs.chat.reward_id
    for name, value in base.backbone.state_dict().items():
        now = model.backbone.state_dict()[name]
        differs = (now != value).reshape(len(value), -1).any(dim=1).nonzero().flatten().tolist()
        assert differs == ([reward_id] if "embed_tokens" in name else []), name


def test_rating_prompts_left_out_are_those_of_the_model_to_start_from(
    edit_recipe: MakeRecipe, quiet: Console, tmp_path: Path
) -> None:
    first = edit_recipe(run="first")
    train(first, console=quiet)
    assert first.model.vlm is not None
    silent = first.model.vlm.model_copy(update={"rating_prompts": None})
    config = with_base(first, first.output / "model").model
    model = build_model(config.model_copy(update={"vlm": silent}), [], seed=0)
    assert isinstance(model, VLMReward)
    known = first.model.vlm.rating_prompts
    assert known is not None
    assert model.inputs.chat.prompts.templates == known.templates
    save_base(tmp_path / "base", "qwen2_5_vl", extra_rows=0)
    bare = config.model_copy(update={"vlm": silent, "init": str(tmp_path / "base")})
    with pytest.raises(UsageError, match=r"no rating prompts to take over. Give model.vlm.rating"):
        build_model(bare, [], seed=0)


@pytest.mark.parametrize("shared", [False, True])
def test_heads_can_be_shared_by_all_dimensions(edit_recipe: MakeRecipe, shared: bool) -> None:
    config = edit_recipe().model
    assert config.vlm is not None
    heads = config.vlm.heads.model_copy(update={"shared": shared, "bias": False})
    vlm = config.vlm.model_copy(update={"heads": heads})
    model = build_model(config.model_copy(update={"vlm": vlm}), ["a"], seed=0)
    assert isinstance(model, VLMReward)
    assert len(model.heads) == (1 if shared else 2)
    assert {name for name, _ in model.heads[0].named_parameters()} == {
        "0.weight",
        "0.bias",
        "3.weight",
    }


@pytest.mark.parametrize("fidelity", ["paper", "released"])
def test_fidelity_of_the_recipe_is_that_of_the_model(
    edit_recipe: MakeRecipe, fidelity: str
) -> None:
    model = build_model(edit_recipe(model={"fidelity": fidelity}).model, ["a"], seed=0)
    assert model.facts.fidelity == fidelity
    assert model.facts.reading.apply_orientation == (fidelity == "paper")


@pytest.mark.parametrize("missing", ["preprocessor_config.json", "tokenizer.json"])
def test_load_base_names_the_missing_file(tmp_path: Path, missing: str) -> None:
    save_base(tmp_path, "qwen2_vl", extra_rows=0)
    (tmp_path / missing).unlink()
    with pytest.raises(ModelNotFoundError, match=f"has no {missing}. Download all files"):
        load_base(tmp_path)


def test_is_base_folder_knows_other_folders(tmp_path: Path) -> None:
    assert not is_base_folder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    assert not is_base_folder(tmp_path)
