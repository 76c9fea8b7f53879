"""The released code's numbers of vision-language models, through the import command."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from visreward.cli.models import app
from visreward.core.types import Sample
from visreward.models.vlm.pixels import pixels_of
from visreward.models.vlm.reward import VLMReward
from visreward.models.weights import load_native

TOLERANCE = 1e-4

LAYOUTS = {"qwen25vl_tiny": "editreward", "qwen2vl_tiny": "hpsv3", "qwen3vl_tiny": "editreward"}
WEIGHTS = {
    "qwen25vl_tiny": "checkpoint/model.safetensors",
    "qwen2vl_tiny": "checkpoint/HPSv3.safetensors",
    "qwen3vl_tiny": "checkpoint/model.safetensors",
}
CASES = [
    *("multi_head_mean_special", "multi_head_min_special", "multi_head_sum_special"),
    *("multi_head_mean_last", "multi_head_mean_meantoken", "multi_head_kwargs"),
    *("share_head_mean_special", "share_head_min_special", "ranknet_dim1_special"),
    *("ranknet_dim2_special", "ranknet_overall_special", "ranknet_overall_detail_special"),
    *("ranknet_last", "ranknet_mean", "default_head_special"),
]
HPSV3_CASES = [
    *("ranknet_special", "ranknet_last", "ranknet_mean", "ranknet_one_output"),
    *("default_special", "ranknet_kwargs"),
]
ALL_CASES = [
    *(("qwen25vl_tiny", name) for name in CASES),
    *(("qwen3vl_tiny", name) for name in CASES),
    *(("qwen2vl_tiny", name) for name in HPSV3_CASES),
]


@dataclass(frozen=True)
class Reference:
    """One folder of reference data."""

    folder: Path
    scores: dict[str, Any]

    @property
    def samples(self) -> list[Sample]:
        images = self.folder / "images"
        if "image" in self.scores["rows"][0]:
            return [
                Sample(prompt=row["prompt"], image=images / row["image"])
                for row in self.scores["rows"]
            ]
        return [
            Sample(
                prompt=row["instruction"],
                image=images / row["edited"],
                source_image=images / row["source"],
            )
            for row in self.scores["rows"]
        ]

    def case(self, name: str) -> dict[str, Any]:
        cases: list[dict[str, Any]] = self.scores["cases"]
        [found] = [case for case in cases if case["name"] == name]
        return found


def read_reference(shared_dir: Path, name: str) -> Reference:
    folder = shared_dir / "parity" / name
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    return Reference(folder=folder, scores=scores)


def import_with_command(
    layout: str, *, checkpoint: Path, backbone: Path, release: Path, output: Path
) -> VLMReward:
    given = ["--checkpoint", checkpoint, "--backbone", backbone, "--release", release]
    result = CliRunner().invoke(app, ["import", layout, *map(str, given), "--output", str(output)])
    assert result.exit_code == 0, result.output
    model = load_native(output)
    assert isinstance(model, VLMReward)
    return model


def import_case(reference: Reference, case: dict[str, Any], root: Path) -> VLMReward:
    """Import a release whose training configuration and heads are those of a case."""
    release = root / "release"
    shutil.copytree(reference.folder / "release", release)
    [config] = release.glob("*/config/*.yaml")
    outputs = min(case["output_dim"], 2)  # the first two of a default head with four
    values = yaml.safe_load(config.read_text()) | {
        "rm_head_type": case["rm_head_type"],
        "rm_head_kwargs": case["rm_head_kwargs"],
        "reward_token": case["reward_token"],
        "output_dim": outputs,
        "pooling_strategy": case.get("pooling_strategy"),
        "reward_dim": case.get("reward_dim") or "overall_detail",
    }
    if reference.folder.name == "qwen2vl_tiny":
        del values["reward_dim"], values["pooling_strategy"]
    config.write_text(yaml.safe_dump(values))
    weights = WEIGHTS[reference.folder.name]
    tensors = {
        name: value
        for name, value in load_file(reference.folder / weights).items()
        if not name.startswith("rm_head")
    }
    heads = load_file(reference.folder / f"head_{case['head_weights']}.safetensors")
    if case["rm_head_type"] == "default":
        heads = {name: value[:outputs].contiguous() for name, value in heads.items()}
    checkpoint = root / "checkpoint"
    checkpoint.mkdir()
    save_file(tensors | heads, checkpoint / Path(weights).name)
    return import_with_command(
        LAYOUTS[reference.folder.name],
        checkpoint=checkpoint,
        backbone=reference.folder / "backbone",
        release=release,
        output=root / "model",
    )


def as_outputs(logits: Any, num_outputs: int) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.array(logits)[..., :num_outputs]
    return found


@pytest.mark.parametrize(("name", "case_name"), ALL_CASES)
def test_case_has_the_released_scores_batched_and_single(
    name: str, case_name: str, shared_dir: Path, tmp_path: Path
) -> None:
    reference = read_reference(shared_dir, name)
    case = reference.case(case_name)
    model = import_case(reference, case, tmp_path)
    num_outputs = model.inputs.settings.head.num_outputs
    for form, size in (("batch", len(reference.samples)), ("single", 1)):
        expected = case.get(f"logits_{form}", case["logits_single"])
        scores = model.score(reference.samples, batch_size=size)
        columns = [[score.value for score in scores]]
        if num_outputs == 2:
            assert all(score.sigma is not None for score in scores)
            columns.append([float(np.log(score.sigma or 0)) for score in scores])
        difference = np.abs(np.stack(columns, axis=-1) - as_outputs(expected, num_outputs))
        assert difference.max() < TOLERANCE
    assert model.facts.fidelity == "released"


@pytest.mark.parametrize("name", ["qwen25vl_tiny", "qwen3vl_tiny"])
def test_each_head_has_the_released_logits(name: str, shared_dir: Path, tmp_path: Path) -> None:
    reference = read_reference(shared_dir, name)
    case = reference.case("multi_head_mean_special")
    model = import_case(reference, case, tmp_path)
    per_head = case.get("per_head_logits_batch", case.get("per_head_logits_single"))
    loaded = [model.load(sample) for sample in reference.samples]
    with torch.inference_mode():
        logits = model.logits(model.preprocess(loaded)).numpy()
    assert np.abs(logits.transpose(1, 0, 2) - np.array(per_head)).max() < TOLERANCE


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("qwen25vl_tiny", "checkpoint_old_names"),  # of before transformers 4.52, pickled
        ("qwen3vl_tiny", "checkpoint_pth"),
    ],
)
def test_other_forms_of_a_checkpoint_give_the_same_model(
    name: str, other: str, shared_dir: Path, tmp_path: Path
) -> None:
    folder = shared_dir / "parity" / name
    models = [
        import_with_command(
            "editreward",
            checkpoint=folder / checkpoint,
            backbone=folder / "backbone",
            release=folder / "release",
            output=tmp_path / checkpoint,
        )
        for checkpoint in ("checkpoint", other)
    ]
    first, second = (model.state_dict() for model in models)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_qwen25_inputs_and_positions_are_the_released_ones(
    shared_dir: Path, tmp_path: Path
) -> None:
    reference = read_reference(shared_dir, "qwen25vl_tiny")
    model = import_case(reference, reference.case("multi_head_mean_last"), tmp_path)
    batch = model.preprocess([model.load(sample) for sample in reference.samples])
    with np.load(reference.folder / "tensors.npz") as stored:
        arrays = dict(stored)
    for number, sequence in enumerate(batch.sequences):
        row, dimension = divmod(number, 2)
        mask = arrays[f"dim{dimension + 1}_attention_mask"][row].astype(bool)
        assert np.array_equal(sequence.ids, arrays[f"dim{dimension + 1}_input_ids"][row][mask])
        if dimension == 1:
            positions = arrays["dim2_effective_position_ids"][row][mask]
            assert np.array_equal(sequence.positions, np.tile(positions, (3, 1)))
    shown = [pixels_of(image) for sample in reference.samples for image in _shown(model, sample)]
    patches = model.inputs.patches.patches(shown)
    assert np.array_equal(patches.grids.numpy(), arrays["dim1_image_grid_thw"])
    expected = arrays["dim1_pixel_values_every_97th_row"]
    assert np.abs(patches.values[::97].numpy() - expected).max() < 1e-6


def _shown(model: VLMReward, sample: Sample) -> list[Any]:
    loaded = model.load(sample)
    return [*loaded.source_images, loaded.image]


def test_qwen3_positions_are_multimodal_and_the_processor_sets_the_size(
    shared_dir: Path, tmp_path: Path
) -> None:
    reference = read_reference(shared_dir, "qwen3vl_tiny")
    model = import_case(reference, reference.case("multi_head_mean_last"), tmp_path)
    with np.load(reference.folder / "tensors.npz") as stored:
        arrays = dict(stored)
    for row, sample in enumerate(reference.samples):
        loaded = model.load(sample)
        batch = model.preprocess([loaded])
        for dimension, sequence in enumerate(batch.sequences, start=1):
            stem = f"row{row}_dim{dimension}"
            assert np.array_equal(sequence.ids, arrays[f"{stem}_input_ids"][0])
            positions = arrays[f"{stem}_effective_position_ids"]
            assert np.array_equal(sequence.positions, positions)
        [source] = loaded.source_images
        patches = model.inputs.patches.patches([pixels_of(source), pixels_of(loaded.image)])
        expected = arrays[f"row{row}_pixel_values_every_17th_row"]
        assert np.abs(patches.values[::17].numpy() - expected).max() < 1e-6
