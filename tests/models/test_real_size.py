"""ViT-H/14 with random weights: imports, scores, saves, and reloads bit-equal."""

from __future__ import annotations

import filecmp
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from visreward.core.types import Sample
from visreward.models.key_maps import CLIP, OPEN_CLIP, to_ours, to_released
from visreward.models.released import ReleasedSource, import_released
from visreward.models.tensors import free_memory
from visreward.models.weights import load_native

if TYPE_CHECKING:
    from tests.models.conftest import TinyRelease

NEEDED_MEMORY = 12e9
NEEDED_DISK = 14e9

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def vit_h_config() -> CLIPConfig:
    shared = {"hidden_act": "gelu", "num_attention_heads": 16}
    return CLIPConfig(
        text_config={
            **shared,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "vocab_size": 49408,
        },
        vision_config={
            **shared,
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "patch_size": 14,
            "image_size": 224,
        },
        projection_dim=1024,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder that is emptied as soon as the tests are over, where there is room."""
    memory = free_memory(torch.device("cpu"))
    root = tmp_path_factory.mktemp("vit-h")
    if memory is None or memory < NEEDED_MEMORY:
        pytest.skip(f"needs {NEEDED_MEMORY / 1e9:.0f} GB of free memory, found {memory}")
    if shutil.disk_usage(root).free < NEEDED_DISK:
        pytest.skip(f"needs {NEEDED_DISK / 1e9:.0f} GB of disk")
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Fill ViT-H/14 with repetitions of one random block, in bfloat16 to spare time."""
    with torch.device("meta"):
        shapes = {
            name: value.shape for name, value in CLIPModel(vit_h_config()).state_dict().items()
        }
    block = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)).mul_(0.02).bfloat16()
    tensors = {}
    for number, (name, shape) in enumerate(shapes.items()):
        start, count = number * 997, shape.numel()
        copies = -(-(start + count) // block.numel())
        tensor = block.repeat(copies)[start : start + count].view(shape).clone()
        is_norm = "norm" in name and name.endswith("weight")
        tensors[name] = tensor + 1 if is_norm else tensor
    tensors["logit_scale"] = torch.tensor(4.6052)
    return tensors


@pytest.fixture(scope="module")
def backbone(folder: Path, release: TinyRelease) -> Path:
    """Write ViT-H/14's configuration with the tiny tokenizer, whose ids it has room for."""
    place = folder / "backbone"
    shutil.copytree(release.backbone, place)
    (place / "model.safetensors").unlink()
    tiny = json.loads((release.backbone / "config.json").read_text())["text_config"]
    vit_h_config().save_pretrained(place)
    values = json.loads((place / "config.json").read_text())
    values["text_config"]["eos_token_id"] = tiny["eos_token_id"]
    (place / "config.json").write_text(json.dumps(values))
    CLIPImageProcessorPil().save_pretrained(place)
    return place


def check_import_score_save_reload(layout: str, checkpoint: Path, backbone: Path) -> None:
    root = checkpoint.parent
    imported, saved = root / f"{layout}-imported", root / f"{layout}-saved"
    import_released(
        layout, ReleasedSource(checkpoint=checkpoint, backbone=backbone), output=imported
    )
    shutil.rmtree(checkpoint)
    model = load_native(imported, dtype=torch.bfloat16)
    sample = Sample(prompt="a red cube", image=Image.linear_gradient("L").convert("RGB"))
    [score] = model.score([sample])
    assert -1 <= score.value <= 1
    assert score.value != 0
    model.save(saved)
    names = [path.name for path in imported.iterdir()]
    assert filecmp.cmpfiles(imported, saved, names, shallow=False) == (names, [], [])
    shutil.rmtree(imported)
    again = load_native(saved, dtype=torch.bfloat16)
    assert again.facts == model.facts
    state = again.state_dict()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    shutil.rmtree(saved)


def test_vit_h_released_as_clip_imports_scores_saves_and_reloads_bit_equal(
    folder: Path, weights: dict[str, torch.Tensor], backbone: Path
) -> None:
    checkpoint = folder / "ict"
    (checkpoint / "ICT").mkdir(parents=True)
    torch.save(weights, checkpoint / "ICT/pytorch_model.bin")
    check_import_score_save_reload("ict", checkpoint, backbone)


def test_vit_h_released_as_open_clip_imports_scores_saves_and_reloads_bit_equal(
    folder: Path, weights: dict[str, torch.Tensor], backbone: Path
) -> None:
    checkpoint = folder / "hpsv2"
    checkpoint.mkdir()
    released = to_released(to_ours(weights, CLIP).tensors, OPEN_CLIP)
    torch.save({"state_dict": released}, checkpoint / "HPS_v2_compressed.pt")
    check_import_score_save_reload("hpsv2", checkpoint, backbone)
