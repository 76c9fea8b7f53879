from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from visreward.core.errors import (
    ModelNotFoundError,
    UnknownNameError,
    UsageError,
    WeightsError,
)
from visreward.core.types import Sample
from visreward.models import tensors
from visreward.models.clip.backbone import CLIPBackbone, CLIPBackboneConfig
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP, ICTHP
from visreward.models.clip.ict import ICT
from visreward.models.clip.inputs import PixelInputs
from visreward.models.facts import ModelFacts
from visreward.models.native_config import Origin
from visreward.models.tensors import fill, without_weights
from visreward.models.weights import load_native, save_native, write_parts

PROJECTION = "backbone.clip.visual_projection.weight"
LOGIT_SCALE = "backbone.clip.logit_scale"


@pytest.fixture
def folder(ict: ICT, tmp_path: Path) -> Path:
    """Return a saved tiny ICT."""
    save_native(ict, tmp_path / "ict")
    return tmp_path / "ict"


def all_bytes(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def change_config(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def change_weights(folder: Path, change: dict[str, torch.Tensor | None]) -> None:
    path = folder / "model.safetensors"
    weights: dict[str, torch.Tensor | None] = {**load_file(path), **change}
    save_file({name: value for name, value in weights.items() if value is not None}, path)


@pytest.mark.parametrize("kind", ["ict", "hp", "ict_hp"])
def test_save_loaded_and_saved_again_is_bit_equal(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model = request.getfixturevalue(kind)
    model.save(tmp_path / "first")
    load_native(tmp_path / "first").save(tmp_path / "second")
    first = all_bytes(tmp_path / "first")
    assert first == all_bytes(tmp_path / "second")
    assert "config.json" in first


def test_load_saved_model_scores_the_same_bits(
    ict_hp: ICTHP, samples: list[Sample], tmp_path: Path
) -> None:
    ict_hp.save(tmp_path / "model")
    loaded = load_native(tmp_path / "model")
    expected, got = ict_hp.score(samples), loaded.score(samples)
    assert [score.value for score in got] == [score.value for score in expected]
    assert [score.dimensions for score in got] == [score.dimensions for score in expected]
    assert len({score.value for score in got}) == len(samples)
    assert not loaded.training


def test_load_saved_model_has_the_same_facts(ict: ICT, folder: Path) -> None:
    loaded = load_native(folder)
    assert type(loaded) is ICT
    loaded.describe(revision="")
    assert loaded.facts == ict.facts


def test_facts_open_score_range_survives_saving(ict: ICT, tmp_path: Path) -> None:
    ict.describe(score_range=(float("-inf"), float("inf")))
    save_native(ict, tmp_path)
    assert load_native(tmp_path).facts.score_range == (float("-inf"), float("inf"))
    assert "Infinity" not in (tmp_path / "config.json").read_text()


def test_load_builds_position_ids_that_no_file_holds(folder: Path) -> None:
    model = load_native(folder)
    buffers = {name: value for name, value in model.named_buffers() if "position_ids" in name}
    assert len(buffers) == 2
    for ids in buffers.values():
        assert torch.equal(ids, torch.arange(ids.shape[1])[None])


def test_revision_is_the_digest_of_the_weights_file(folder: Path) -> None:
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert load_native(folder).facts.revision == digest[:12]


def test_revision_of_parts_is_joined(ict_hp: ICTHP, tmp_path: Path) -> None:
    ict_hp.save(tmp_path)
    parts = [load_native(tmp_path / name).facts.revision for name in ("ict", "hp")]
    assert load_native(tmp_path).facts.revision == "+".join(parts)


def test_revision_of_a_download_is_its_commit_until_saved_again(ict: ICT, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    save_native(ict, tmp_path / "a", origin=Origin(repo="o/n", revision="main", commit=commit))
    model = load_native(tmp_path / "a")
    assert model.facts.revision == commit[:12]
    model.save(tmp_path / "b")
    digest = hashlib.sha256((tmp_path / "b/model.safetensors").read_bytes()).hexdigest()
    assert load_native(tmp_path / "b").facts.revision == digest[:12]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_save_in_half_loads_as_float32_with_rounded_weights(
    dtype: torch.dtype, ict: ICT, tmp_path: Path
) -> None:
    save_native(ict, tmp_path, dtype=dtype)
    model = load_native(tmp_path)
    weight, loaded = ict.state_dict()[PROJECTION], model.state_dict()[PROJECTION]
    assert load_file(tmp_path / "model.safetensors")[PROJECTION].dtype == dtype
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, weight.to(dtype).float())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_load_in_half_casts_all_but_the_temperature(dtype: torch.dtype, folder: Path) -> None:
    state = load_native(folder, dtype=dtype).state_dict()
    assert {name for name, value in state.items() if value.dtype != dtype} == {LOGIT_SCALE}
    assert state[LOGIT_SCALE] == torch.tensor(4.6052)


def test_load_in_bfloat16_scores_close_to_float32(folder: Path, samples: list[Sample]) -> None:
    exact = [score.value for score in load_native(folder).score(samples)]
    rounded = load_native(folder, dtype=torch.bfloat16).score(samples)
    assert [score.value for score in rounded] == pytest.approx(exact, abs=0.05)


def test_load_batch_invariant_reaches_the_parts(ict_hp: ICTHP, tmp_path: Path) -> None:
    ict_hp.save(tmp_path)
    model = load_native(tmp_path, batch_invariant=True)
    assert [part.batch_invariant for part in model.parts().values()] == [True, True]
    plain = load_native(tmp_path)
    assert [part.batch_invariant for part in plain.parts().values()] == [False, False]


def test_load_convolutional_stem_keeps_running_statistics(tmp_path: Path) -> None:
    config = CLIPBackboneConfig(
        vision={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
        },
        projection_dim=8,
        stem=(4, 6),
    )
    pixel_inputs = PixelInputs(
        CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    )
    model = HP(ModelFacts(name="stem"), CLIPBackbone(config), pixel_inputs=pixel_inputs)
    pixels = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    model.train().features(pixels)
    model.eval().save(tmp_path)
    loaded = load_native(tmp_path)
    assert isinstance(loaded, HP)
    assert torch.equal(loaded.features(pixels), model.features(pixels))


def test_load_keeps_its_weights_when_the_file_is_overwritten(folder: Path) -> None:
    model = load_native(folder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    path = folder / "model.safetensors"
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        stream.write(bytes(path.stat().st_size // 2))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_build_without_weights_leaves_large_weights_on_meta(ict: ICT) -> None:
    with without_weights():
        backbone = CLIPBackbone(ict.backbone.backbone_config)
    devices = {name: value.device.type for name, value in backbone.named_parameters()}
    real = {name for name, device in devices.items() if device != "meta"}
    assert real == {"clip.logit_scale", "clip.vision_model.embeddings.class_embedding"}
    assert {value.device.type for value in backbone.buffers()} == {"cpu"}


def test_load_wrong_tensors_are_all_listed_with_shapes(folder: Path) -> None:
    change_weights(
        folder,
        {
            PROJECTION: torch.zeros(3, 5),
            "backbone.clip.text_projection.weight": None,
            "backbone.clip.surplus": torch.zeros(7),
        },
    )
    with pytest.raises(WeightsError) as error:
        load_native(folder)
    text = str(error.value)
    assert "3 tensor(s)" in text
    assert "missing: backbone.clip.text_projection.weight (24, 24)" in text
    assert "unexpected: backbone.clip.surplus (7,)" in text
    assert f"misshapen: {PROJECTION} (3, 5), expected (24, 24)" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_load_weights_not_finite_are_refused_by_name(value: float, folder: Path) -> None:
    weight = load_file(folder / "model.safetensors")[PROJECTION].clone()
    weight[1, 2] = value
    change_weights(folder, {PROJECTION: weight})
    with pytest.raises(WeightsError, match=re.escape(f"tensor '{PROJECTION}' holds NaN or inf")):
        load_native(folder)


def test_load_weights_beyond_float16_are_refused(folder: Path) -> None:
    change_weights(folder, {PROJECTION: torch.full((24, 24), 1e6)})
    load_native(folder)
    with pytest.raises(WeightsError, match=r"in torch\.float16"):
        load_native(folder, dtype=torch.float16)


def test_load_whole_numbers_as_weights_are_refused(folder: Path) -> None:
    change_weights(folder, {PROJECTION: torch.zeros(24, 24, dtype=torch.int64)})
    with pytest.raises(WeightsError, match=r"holds torch\.int64, expected torch\.float32"):
        load_native(folder)


def test_load_truncated_weights_file_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="is damaged"):
        load_native(folder)


def test_load_without_weights_file_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="is missing"):
        load_native(folder)


def test_load_without_enough_memory_stops_before_reading(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "free_memory", lambda device: 1000)
    (folder / "model.safetensors").write_bytes(b"not read")
    with pytest.raises(UsageError, match=r"GB in float32, but 0\.0 GB are free on cpu"):
        load_native(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format_version 99"),
        ({"colour": "red"}, r"unknown keys \['colour'\]"),
        ({"facts": {"name": "x"}}, "lacks the keys"),
        ({"parts": {"ict": "ict"}}, "one of 'config' and 'parts'"),
        ({"origin": {"repo": "a/b"}}, "lacks the keys"),
        ({"config": {}}, "does not describe a 'ict' model"),
    ],
)
def test_load_config_that_does_not_fit_is_refused(
    change: dict[str, Any], message: str, folder: Path
) -> None:
    change_config(folder, change)
    with pytest.raises(WeightsError, match=message):
        load_native(folder)


def test_load_unknown_key_of_the_model_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())["config"]
    change_config(folder, {"config": config | {"temperature": 2}})
    with pytest.raises(WeightsError, match=r"unknown keys \['temperature'\]"):
        load_native(folder)


def test_load_unknown_key_of_the_backbone_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())["config"]
    config["backbone"]["vision"]["hidden_sise"] = 3
    change_config(folder, {"config": config})
    with pytest.raises(WeightsError, match=r"backbone.vision has the unknown key\(s\) hidden_sise"):
        load_native(folder)


def test_load_unknown_kind_names_the_nearest(folder: Path) -> None:
    change_config(folder, {"model": "itc"})
    with pytest.raises(UnknownNameError, match="Did you mean 'ict'"):
        load_native(folder)


def test_load_config_that_is_not_json_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="is not JSON"):
        load_native(folder)


@pytest.mark.parametrize("content", [None, '{"model_type": "clip"}'])
def test_load_foreign_folder_says_how_to_import(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelNotFoundError, match=r"no native folder.*visreward models import"):
        load_native(tmp_path)


@pytest.mark.parametrize("place", ["/somewhere/ict", "../../ict", "..", "a/b", "../a/../b", ""])
def test_load_parts_elsewhere_are_refused(place: str, ict_hp: ICTHP, tmp_path: Path) -> None:
    ict_hp.save(tmp_path)
    change_config(tmp_path, {"parts": {"ict": place, "hp": "hp"}})
    with pytest.raises(WeightsError, match=re.escape(f"part 'ict' is in {place!r}")):
        load_native(tmp_path)


def test_load_parts_beside_the_folder_are_found(
    ict_hp: ICTHP, samples: list[Sample], tmp_path: Path
) -> None:
    ict_hp.ict.save(tmp_path / "ict-mini")
    ict_hp.hp.save(tmp_path / "hp-mini")
    (tmp_path / "both").mkdir()
    parts = {"ict": "../ict-mini", "hp": "../hp-mini"}
    write_parts(ict_hp.facts, tmp_path / "both", kind="ict-hp", parts=parts)
    got = load_native(tmp_path / "both").score(samples)
    assert [score.value for score in got] == [score.value for score in ict_hp.score(samples)]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"ict": "hp", "hp": "hp"}, "part 'ict' is a 'hp', expected a 'ict'"),
        ({"ict": "ict", "hp": "../model"}, "part 'hp' is a 'ict-hp', expected a 'hp'"),
        ({"ict": "ict"}, r"has the parts \['ict'\]"),
        ({"ict": "ict", "hp": "hp", "third": "hp"}, "has the parts"),
    ],
)
def test_load_parts_of_the_wrong_kind_are_refused(
    parts: dict[str, str], message: str, ict_hp: ICTHP, tmp_path: Path
) -> None:
    ict_hp.save(tmp_path / "model")
    change_config(tmp_path / "model", {"parts": parts})
    with pytest.raises(WeightsError, match=message):
        load_native(tmp_path / "model")


def test_load_missing_part_names_its_folder(ict_hp: ICTHP, tmp_path: Path) -> None:
    ict_hp.save(tmp_path)
    shutil.rmtree(tmp_path / "hp")
    with pytest.raises(ModelNotFoundError, match="hp is no native folder"):
        load_native(tmp_path)


def test_save_takes_a_folder_as_text(ict: ICT, tmp_path: Path) -> None:
    ict.save(str(tmp_path / "as-text"))
    ict.save(tmp_path / "as-path")
    first, second = (tmp_path / name / "model.safetensors" for name in ("as-text", "as-path"))
    assert first.read_bytes() == second.read_bytes()


def test_save_to_a_file_is_refused(ict: ICT, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        save_native(ict, tmp_path / "file")


def test_save_leaves_no_working_files_and_ordinary_permissions(folder: Path) -> None:
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    modes = {path.stat().st_mode for path in folder.iterdir()}
    assert len(modes) == 1


def test_save_over_an_earlier_model_replaces_it(hp: HP, ict: ICT, tmp_path: Path) -> None:
    save_native(ict, tmp_path)
    with torch.no_grad():
        ict.backbone.clip.visual_projection.weight.mul_(2)
    save_native(ict, tmp_path)
    loaded = load_native(tmp_path)
    assert isinstance(loaded, CLIPRewardModel)
    assert torch.equal(loaded.state_dict()[PROJECTION], ict.state_dict()[PROJECTION])


def test_fill_without_dtype_keeps_the_numbers_and_their_dtype() -> None:
    model = nn.Linear(2, 3)
    weights = {"weight": torch.ones(3, 2).bfloat16(), "bias": torch.arange(3.0)}
    fill(
        model,
        shapes={name: tuple(value.shape) for name, value in weights.items()},
        read=weights.__getitem__,
        source="test",
    )
    assert model.weight.dtype == torch.bfloat16
    assert torch.equal(model.bias, torch.arange(3.0))
