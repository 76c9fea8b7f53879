"""Import of vision-language releases: sharded weights, and what does not fit together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from visreward.core.errors import ModelNotFoundError, UsageError, WeightsError
from visreward.models.released import ImportReport, ReleasedSource, import_released


@pytest.fixture
def tiny(shared_dir: Path) -> Path:
    return shared_dir / "parity/qwen25vl_tiny"


def run(tiny: Path, output: Path, **changes: Path | str | None) -> ImportReport:
    given: dict[str, Path | str | None] = {
        "checkpoint": tiny / "checkpoint",
        "backbone": tiny / "backbone",
        "release": tiny / "release",
    }
    source = ReleasedSource(**given | changes)  # type: ignore[arg-type]  # a path or a name each
    return import_released("editreward", source, output=output)


def copied(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def test_report_names_every_file_and_what_was_left_out(tiny: Path, tmp_path: Path) -> None:
    report = run(tiny, tmp_path / "model")
    assert report.left_out == ("lm_head.weight",)
    assert [path.relative_to(tiny).as_posix() for path in report.read] == [
        "checkpoint/model.safetensors",
        *("backbone/config.json", "backbone/preprocessor_config.json"),
        *("backbone/tokenizer.json", "release/EditReward/config/EditReward-Tiny.yaml"),
        "release/EditReward/dataset/prompts.py",
        "release/EditReward/dataset/data_collator_qwen_edit.py",
    ]
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert len(config["config"]["rating_prompts"]["sha256"]) == 64
    assert config["facts"]["dimensions"] == ["instruction_following", "visual_quality"]


def test_sharded_weights_are_the_same_model(tiny: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny / "checkpoint/model.safetensors")
    names = sorted(tensors)
    sharded = tmp_path / "sharded"
    sharded.mkdir()
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, sharded / file)
        weight_map |= dict.fromkeys(part, file)
    index = sharded / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    whole = run(tiny, tmp_path / "whole")
    assert run(tiny, tmp_path / "parts", checkpoint=sharded).revision == whole.revision
    (sharded / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"model-00002-of-00002\.safetensors.*not beside"):
        run(tiny, tmp_path / "torn", checkpoint=sharded)


def test_index_that_leads_elsewhere_is_refused(tiny: Path, tmp_path: Path) -> None:
    sharded = tmp_path / "sharded"
    sharded.mkdir()
    (tmp_path / "other.safetensors").write_bytes(b"")
    index = {"weight_map": {"lm_head.weight": "../other.safetensors"}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelNotFoundError, match="not beside"):
        run(tiny, tmp_path / "model", checkpoint=sharded)


def test_missing_unexpected_and_misshapen_tensors_are_each_listed(
    tiny: Path, tmp_path: Path
) -> None:
    tensors = load_file(tiny / "checkpoint/model.safetensors")
    del tensors["model.visual.merger.ln_q.weight"]
    tensors["model.visual.extra.weight"] = torch.ones(2)
    tensors["rm_heads.head_0.5.weight"] = torch.ones(3, 16)
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    save_file(tensors, checkpoint / "model.safetensors")
    with pytest.raises(WeightsError) as error:
        run(tiny, tmp_path / "model", checkpoint=checkpoint)
    assert "does not fit the model, 3 tensor(s)" in str(error.value)
    assert "missing: backbone.model.visual.merger.ln_q.weight (32,)" in str(error.value)
    assert "unexpected: backbone.model.visual.extra.weight (2,)" in str(error.value)
    assert "misshapen: heads.0.5.weight (3, 16), expected (2, 16)" in str(error.value)
    assert not (tmp_path / "model").exists()


def test_backbone_of_another_model_is_refused(tiny: Path, shared_dir: Path, tmp_path: Path) -> None:
    other = shared_dir / "parity/qwen2vl_tiny/backbone"
    with pytest.raises(UsageError, match="EditReward was not released on 'qwen2_vl'"):
        run(tiny, tmp_path / "model", backbone=other)
    qwen3 = shared_dir / "parity/qwen3vl_tiny"
    with pytest.raises(WeightsError, match="does not fit the model"):
        run(tiny, tmp_path / "model", backbone=qwen3 / "backbone", release=qwen3 / "release")
    with pytest.raises(WeightsError, match=r"describes a 'clip' model, expected one of qwen2_vl"):
        run(tiny, tmp_path / "model", backbone=shared_dir / "parity/clip_tiny")


def test_release_is_asked_for_before_the_weights_are_read(tiny: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(UsageError, match=r"belong to its release.*--release"):
        run(tiny, tmp_path / "model", checkpoint=torn, release=None)
    with pytest.raises(ModelNotFoundError, match="There is no release at"):
        run(tiny, tmp_path / "model", checkpoint=torn, release=tmp_path / "absent")
    with pytest.raises(WeightsError, match="is damaged"):
        run(tiny, tmp_path / "model", checkpoint=torn)


def test_weights_without_a_row_for_the_reward_token_are_refused(tiny: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny / "checkpoint/model.safetensors")
    name = "model.language_model.embed_tokens.weight"
    tensors[name] = tensors[name][:470].contiguous()
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    save_file(tensors, checkpoint / "model.safetensors")
    with pytest.raises(WeightsError, match=r"know 470 tokens, but <\|Reward\|> is number 477"):
        run(tiny, tmp_path / "model", checkpoint=checkpoint)


def test_backbone_without_a_chat_template_is_refused(tiny: Path, tmp_path: Path) -> None:
    backbone = copied(tiny / "backbone", tmp_path / "backbone")
    (backbone / "chat_template.jinja").unlink()
    tokenizer = json.loads((backbone / "tokenizer_config.json").read_text())
    tokenizer.pop("chat_template", None)
    (backbone / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UsageError, match="tokenizer has no chat template"):
        run(tiny, tmp_path / "model", backbone=backbone)


def test_chat_template_beside_the_tokenizer_is_found(tiny: Path, tmp_path: Path) -> None:
    backbone = copied(tiny / "backbone", tmp_path / "backbone")
    template = (backbone / "chat_template.jinja").read_text()
    (backbone / "chat_template.jinja").unlink()
    tokenizer = json.loads((backbone / "tokenizer_config.json").read_text())
    tokenizer.pop("chat_template", None)
    (backbone / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (backbone / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    first = run(tiny, tmp_path / "one")
    assert run(tiny, tmp_path / "two", backbone=backbone).revision == first.revision
    stored = (tmp_path / "two/chat_template.jinja").read_text()
    assert stored == (tmp_path / "one/chat_template.jinja").read_text()
