"""Every intermediate of the released code on small models: all heads, poolings and fusions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from visreward.core.types import Sample
from visreward.models.facts import ModelFacts
from visreward.models.heads import Fusion, HeadConfig, Pooling, fuse
from visreward.models.key_maps import VLM, to_ours
from visreward.models.vlm.attention import plan_attention
from visreward.models.vlm.backbone import VLMBackbone
from visreward.models.vlm.editreward import EditReward
from visreward.models.vlm.hpsv3 import HPSv3
from visreward.models.vlm.inputs import VLMInputs
from visreward.models.vlm.pixels import (
    PatchInputs,
    PixelBudget,
    load_processor,
    pixels_of,
    processor_budget,
)
from visreward.models.vlm.rating_prompts import ChatInputs, RatingPrompts, load_tokenizer
from visreward.models.vlm.reward import VLMReward
from visreward.models.vlm.settings import VLMSettings
from visreward.models.vlm.tree import plant

TOLERANCE = 1e-4

EDIT_CONFIGS = [
    *("default_plain_out2", "ranknet_plain_out2", "ranknet_kw_out1"),
    *("ranknet_share_head_plain_out2", "ranknet_multi_head_plain_out2"),
    "ranknet_multi_head_kw_out2",
]
CONFIGS = [
    *(("qwen25vl_steps", name) for name in EDIT_CONFIGS),
    *(("qwen2vl_steps", name) for name in ("ranknet_plain_out2", "default_plain_out2")),
]
POOLINGS: tuple[Pooling, ...] = ("special", "last", "mean")
FUSIONS: tuple[Fusion, ...] = ("mean", "min", "sum")


def read(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    with np.load(folder / "outputs.npz") as stored:
        return json.loads((folder / "outputs.json").read_text(encoding="utf-8")), dict(stored)


def build(folder: Path, config: str, pooling: Pooling) -> VLMReward:
    """Return the model of one configuration, its weights under our names."""
    values, _ = read(folder)
    head = json.loads((folder / config / "head_config.json").read_text(encoding="utf-8"))
    is_edit = folder.name.startswith("qwen25")
    texts = values["templates"]
    kind = head["rm_head_type"]
    if not is_edit:
        templates = {"overall": texts["instruction"]}
    elif kind in ("ranknet_share_head", "ranknet_multi_head"):
        templates = {"instruction_following": texts["dim1"], "visual_quality": texts["dim2"]}
    else:
        templates = {"overall": texts["overall_detail"]}
    options = dict(head["rm_head_kwargs"] or {})
    options.setdefault("num_heads", 2 if kind == "ranknet_multi_head" else 1)
    described = json.loads((folder / "base/config.json").read_text(encoding="utf-8"))
    tokens = {"vocab_size": values["embedding_rows_after_resize"]}
    described |= (
        {"text_config": described["text_config"] | tokens} if "text_config" in described else tokens
    )
    processor = load_processor(folder / "base")
    processor.size = type(processor.size)(
        shortest_edge=values["processor_min_pixels"], longest_edge=values["processor_max_pixels"]
    )
    budget = PixelBudget(min_pixels=values["min_pixels"], max_pixels=values["max_pixels"])
    model = (EditReward if is_edit else HPSv3)(
        ModelFacts(name=config, needs_source=is_edit, dimensions=tuple(templates)),
        VLMBackbone(described),
        inputs=VLMInputs(
            patches=PatchInputs(processor, budgets=[budget, processor_budget(processor)]),
            chat=ChatInputs(
                load_tokenizer(folder / "base"),
                RatingPrompts(templates=templates, suffix=texts["suffix"]),
            ),
            settings=VLMSettings(
                head=HeadConfig(
                    kind="linear" if kind == "default" else "mlp",
                    num_outputs=head["output_dim"],
                    **options,
                ),
                pooling=pooling,
                positions="1d",
            ),
        ),
    )
    weights = to_ours(load_file(folder / config / "model.safetensors"), VLM)
    assert weights.left_out == ("lm_head.weight",)
    model.load_state_dict(dict(weights.tensors), strict=True)
    return model.eval()


def samples(folder: Path) -> list[Sample]:
    values, _ = read(folder)
    images = folder / "images"
    return [
        Sample(prompt=row["caption"], image=images / row["image"])
        if "caption" in row
        else Sample(
            prompt=row["instruction"],
            image=images / row["edited"],
            source_image=images / row["source"],
        )
        for row in values["examples"]
    ]


@torch.inference_mode()
def logits(model: VLMReward, given: list[Sample]) -> Tensor:
    return model.logits(model.preprocess([model.load(sample) for sample in given]))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_logits_of_every_head_pooling_and_fusion(
    name: str, config: str, pooling: Pooling, shared_dir: Path
) -> None:
    folder = shared_dir / "parity" / name
    _, arrays = read(folder)
    model = build(folder, config, pooling)
    given = samples(folder)
    together = logits(model, given)
    alone = torch.cat([logits(model, [sample]) for sample in given])
    stem = f"{config}|{pooling}"
    for found, form in ((together, ""), (alone, "_single")):
        if together.shape[1] == 1:
            expected = arrays[f"{stem}|logits{form}"]
            assert np.abs(found[:, 0].numpy() - expected).max() < TOLERANCE
            continue
        per_head = arrays[f"{stem}|per_head{form}"]
        assert np.abs(found.numpy().transpose(1, 0, 2) - per_head).max() < TOLERANCE
        for fusion in FUSIONS:
            # The shared head of the release has no branch for "sum" and averages.
            is_mean = fusion == "sum" and "share_head" in config
            fused = fuse(found, "mean" if is_mean else fusion, "released").numpy()
            assert np.abs(fused - arrays[f"{stem}|{fusion}{form}"]).max() < TOLERANCE


@pytest.mark.parametrize(
    ("name", "config", "stem"),
    [
        ("qwen25vl_steps", "ranknet_plain_out2", "overall_detail_"),
        ("qwen25vl_steps", "ranknet_multi_head_plain_out2", "dim1_"),
        ("qwen25vl_steps", "ranknet_multi_head_plain_out2", "dim2_"),
        ("qwen2vl_steps", "ranknet_plain_out2", ""),
    ],
)
def test_tokens_pixels_and_hidden_states(
    name: str, config: str, stem: str, shared_dir: Path
) -> None:
    folder = shared_dir / "parity" / name
    _, arrays = read(folder)
    model = build(folder, config, "last")
    batch = model.preprocess([model.load(sample) for sample in samples(folder)])
    of_dimension = 1 if stem == "dim2_" else 0
    step = len(model.inputs.dimensions)
    wanted = list(batch.sequences)[of_dimension::step]
    rows = [
        arrays[f"{stem}input_ids"][row][mask.astype(bool)]
        for row, mask in enumerate(arrays[f"{stem}attention_mask"])
    ]
    assert all(np.array_equal(each.ids, row) for each, row in zip(wanted, rows, strict=True))

    ordered = [
        pixels_of(image)
        for sample in map(model.load, samples(folder))
        for image in (*sample.source_images, sample.image)
    ]
    patches = model.inputs.patches.patches(ordered)
    assert np.array_equal(patches.grids.numpy(), arrays["image_grid_thw"])
    assert np.abs(patches.values.numpy() - arrays["pixel_values"]).max() < 1e-6

    with torch.inference_mode():
        features = model._features(batch)
        for row, sequence in enumerate(wanted):
            places = torch.from_numpy(np.flatnonzero(sequence.image >= 0))
            states = model.backbone.hidden_states(
                ids=torch.from_numpy(sequence.ids),
                positions=torch.from_numpy(sequence.positions),
                image_places=places,
                images=[features[number] for number in dict.fromkeys(sequence.image[places])],
                plan=plan_attention(
                    plant([sequence.keys]), backend="sdpa", device=torch.device("cpu")
                ),
            )
            key = f"last_hidden_state{'_' + stem.rstrip('_') if stem else ''}"
            expected = arrays[key][row][: len(sequence.ids)]
            assert np.abs(states.numpy() - expected).max() < TOLERANCE
