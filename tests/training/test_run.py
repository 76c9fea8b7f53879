"""Whole runs on tiny data: what they leave behind, and that resuming changes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)
from torch.nn import functional

from visreward.core.errors import (
    DataError,
    ModelNotFoundError,
    NonFiniteError,
    UsageError,
)
from visreward.core.types import Sample
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.devices import is_native
from visreward.models.loading import load_model
from visreward.scoring.table import number_text
from visreward.training.checkpoints.checkpoint import find_checkpoints
from visreward.training.config import TrainConfig
from visreward.training.data.batches import readable
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.reading import read_rows
from visreward.training.modeling.build import build_model
from visreward.training.optim import rate_factor
from visreward.training.recipe import parse_config
from visreward.training.reporting.validation_page import NUM_SHOWN
from visreward.training.run import train

MakeRecipe = Callable[..., TrainConfig]
TrainUntil = Callable[[TrainConfig, int], None]
MakeModel = Callable[..., CLIPRewardModel]
MakeData = Callable[..., Path]
COMPARISONS = {
    "winning_over_losing": (1, 0),
    "refined_over_winning": (2, 1),
    "refined_over_losing": (2, 0),
}
HALF_FROZEN = {"vision_rate": 0.5, "vision_embeddings": True}


@pytest.fixture(scope="module")
def ict_folder(tiny_model: MakeModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the native folder of a random ICT model, for HP runs."""
    folder = tmp_path_factory.mktemp("ict")
    tiny_model("ict", seed=5).save(folder)
    return folder


@pytest.fixture
def hp_recipe(recipe: MakeRecipe, ict_folder: Path) -> MakeRecipe:
    """Return a function that makes HP recipes with ICT x HP and a cached lower half."""

    def make(**sections: Any) -> TrainConfig:
        objective = {"ict": str(ict_folder), **sections.pop("objective", {})}
        return recipe("hp", objective=objective, freeze=HALF_FROZEN, **sections)

    return make


def log_of(config: TrainConfig) -> list[dict[str, Any]]:
    """Return the log without what depends on the machine."""
    lines = (config.output / "log.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    of_machine = ("images_per_s", "pairs_per_s", "memory_gb")
    return [{k: v for k, v in entry.items() if k not in of_machine} for entry in entries]


def weights_of(config: TrainConfig, folder: str = "model") -> bytes:
    return (config.output / folder / "model.safetensors").read_bytes()


def triplet_scores(folder: Path, config: TrainConfig) -> list[list[float]]:
    """Return the public scores of the validation triplets, one image at a time."""
    model = load_model(str(folder))
    return [
        [
            model.score([Sample(prompt=row.prompts[0], image=readable(image))])[0].value
            for image in row.images
        ]
        for row in read_rows(config.data, "val", None)
    ]


def accuracies(scores: list[list[float]], prefix: str = "") -> dict[str, float]:
    return {
        f"{prefix}{name}": sum(row[better] > row[worse] for row in scores) / len(scores)
        for name, (better, worse) in COMPARISONS.items()
    }


def assert_metrics(found: dict[str, float], expected: dict[str, float]) -> None:
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def assert_page_shows(config: TrainConfig, scores: list[list[float]]) -> None:
    page = (config.output / "validation.html").read_text(encoding="utf-8")
    shown = re.findall(r'value total">([^<]+)</dd>', page)
    assert len(shown) == 2 * 3 * NUM_SHOWN  # triplets of the lowest margins, and some of all
    assert set(shown) <= {number_text(score) for row in scores for score in row}


def test_contrastive_run_finishes_with_a_model_that_scores(
    recipe: MakeRecipe, quiet: Console
) -> None:
    config = recipe("clipscore")
    metrics = train(config, console=quiet)
    model = load_model(str(config.output / "model"))
    assert (model.facts.name, model.facts.note) == ("tiny-clipscore", "knows coloured squares only")
    assert isinstance(model, CLIPRewardModel)
    reader = pixel_reader(model)
    wins = []
    for row in read_rows(config.data, "val", None):
        images = torch.stack([reader.read(image) for image in row.images])
        with torch.no_grad():
            texts = functional.normalize(model.encode_prompts(row.prompts)[0], dim=-1)
            cosines = texts @ functional.normalize(model.encode_images(images), dim=-1).T
        own = cosines.diagonal().unsqueeze(1)
        wins += [(own > cosines).sum().item() / 12]
    assert metrics["family_accuracy"] == pytest.approx(sum(wins) / len(wins), abs=1e-6)
    assert json.loads((config.output / "metrics.json").read_text()) == metrics


def test_ict_run_finishes_and_its_metrics_equal_counting_public_scores(
    recipe: MakeRecipe, quiet: Console
) -> None:
    config = recipe("ict")
    metrics = train(config, console=quiet)
    scores = triplet_scores(config.output / "model", config)
    expected = accuracies(scores)
    assert_metrics(metrics, {**expected, "average": sum(expected.values()) / 3})
    assert_page_shows(config, scores)


def test_hp_run_finishes_and_its_metrics_equal_counting_public_scores(
    hp_recipe: MakeRecipe, ict_folder: Path, quiet: Console
) -> None:
    config = hp_recipe()
    metrics = train(config, console=quiet)
    quality = triplet_scores(config.output / "model", config)
    containment = triplet_scores(ict_folder, config)
    product = [
        [one * other for one, other in zip(*rows, strict=True)]
        for rows in zip(quality, containment, strict=True)
    ]
    hp, both = accuracies(quality, "hp_"), accuracies(product)
    means = {"hp_average": sum(hp.values()) / 3, "average": sum(both.values()) / 3}
    assert_metrics(metrics, {**hp, **both, **means})
    assert_page_shows(config, product)


def test_run_leaves_its_recipe_versions_log_and_tensorboard(
    recipe: MakeRecipe, quiet: Console
) -> None:
    config = recipe("ict")
    train(config, console=quiet)
    known = yaml.safe_load((config.output / "recipe.yaml").read_text())
    assert parse_config(known) == config
    versions = json.loads((config.output / "versions.json").read_text())
    assert versions["torch"] == torch.__version__
    entries = log_of(config)
    steps = [entry["step"] for entry in entries if entry["kind"] == "train"]
    assert steps == [1, 2, 3, 4, 5, 6]
    for entry in entries:
        if entry["kind"] == "train":
            expected = 1e-2 * rate_factor(entry["step"] - 1, config.optim)
            assert entry["learning_rate"] == pytest.approx(expected)
    board = EventAccumulator(str(config.output / "tensorboard")).Reload()
    scalars = board.Scalars("train/loss")
    assert [scalar.step for scalar in scalars] == steps
    losses = [entry["loss"] for entry in entries if entry["kind"] == "train"]
    assert [scalar.value for scalar in scalars] == pytest.approx(losses)
    assert [scalar.step for scalar in board.Scalars("validation/average")] == [3, 6]


def test_run_keeps_the_best_model_by_its_primary_metric(recipe: MakeRecipe, quiet: Console) -> None:
    config = recipe("ict", validate_every=1, optim={"steps": 8})
    train(config, console=quiet)
    history = [entry["average"] for entry in log_of(config) if entry["kind"] == "validation"]
    assert len(set(history)) > 1
    expected = accuracies(triplet_scores(config.output / "best", config))
    assert sum(expected.values()) / 3 == pytest.approx(max(history), abs=1e-6)


@pytest.mark.parametrize("kind", ["clipscore", "ict", "hp"])
def test_run_stopped_and_resumed_equals_an_uninterrupted_one_bit_for_bit(
    recipe: MakeRecipe,
    hp_recipe: MakeRecipe,
    quiet: Console,
    train_until: TrainUntil,
    kind: str,
) -> None:
    def make(run: str) -> TrainConfig:
        return hp_recipe(run=run) if kind == "hp" else recipe(kind, run=run)

    whole, parts = make("whole"), make("parts")
    expected = train(whole, console=quiet)
    train_until(parts, 5)
    assert [entry["step"] for entry in log_of(parts)][-1] == 5
    assert [each.name for each in find_checkpoints(parts.output)] == [
        "step-00000004",
        "step-00000002",
    ]
    assert train(parts, console=quiet) == expected
    for folder in ("model", "best", "checkpoints/step-00000006"):
        assert weights_of(parts, folder) == weights_of(whole, folder)
    assert log_of(parts) == log_of(whole)
    # File by file: within one second and one process TensorBoard cannot tell which came first.
    boards = [
        EventAccumulator(str(file)).Reload() for file in (parts.output / "tensorboard").iterdir()
    ]
    shown = sorted([scalar.step for scalar in board.Scalars("train/loss")] for board in boards)
    assert shown == [[1, 2, 3, 4, 5], [5, 6]]


def test_run_with_steps_raised_equals_one_that_had_them_from_the_start(
    recipe: MakeRecipe, quiet: Console
) -> None:
    constant = {"schedule": "constant"}
    whole = recipe("hp", run="whole", optim={**constant, "steps": 7})
    train(whole, console=quiet)
    train(recipe("hp", run="parts", optim={**constant, "steps": 3}), console=quiet)
    raised = recipe("hp", run="parts", optim={**constant, "steps": 7})
    train(raised, console=quiet)
    assert weights_of(raised) == weights_of(whole)


def test_run_with_steps_raised_follows_the_longer_schedule(
    recipe: MakeRecipe, quiet: Console
) -> None:
    train(recipe("hp", optim={"steps": 3}), console=quiet)
    config = recipe("hp", optim={"steps": 9})
    train(config, console=quiet)
    rates = {e["step"]: e["learning_rate"] for e in log_of(config) if e["kind"] == "train"}
    assert rates[3] == pytest.approx(1e-2 * (1 - 2 / 3))
    assert [rates[step] for step in range(4, 10)] == pytest.approx(
        [1e-2 * (1 - done / 9) for done in range(3, 9)]
    )


def test_run_finished_before_changes_nothing(recipe: MakeRecipe, quiet: Console) -> None:
    config = recipe("hp")
    first = train(config, console=quiet)
    before = (weights_of(config), log_of(config))
    assert train(config, console=quiet) == first
    assert (weights_of(config), log_of(config)) == before
    with pytest.raises(UsageError, match=r"is at step 6, past optim\.steps 4"):
        train(recipe("hp", optim={"steps": 4}), console=quiet)


def test_run_with_another_recipe_in_the_folder_is_refused_by_setting(
    recipe: MakeRecipe, quiet: Console
) -> None:
    config = recipe("hp", optim={"steps": 2})
    train(config, console=quiet)
    other = recipe("hp", seed=1, optim={"steps": 2, "learning_rate": 0.5}, objective={"margin": 1})
    with pytest.raises(UsageError, match=r"in: objective\.margin, optim\.learning_rate, seed\. "):
        train(other, console=quiet)
    assert yaml.safe_load((config.output / "recipe.yaml").read_text())["seed"] == config.seed
    train(recipe("hp", optim={"steps": 3}, save_every=1, validate_every=9), console=quiet)


def test_run_recorded_before_a_setting_existed_had_its_default(
    recipe: MakeRecipe, quiet: Console
) -> None:
    config = recipe("hp", optim={"steps": 2})
    train(config, console=quiet)
    place = config.output / "recipe.yaml"
    recorded = yaml.safe_load(place.read_text())
    del recorded["objective"]["margin"]
    place.write_text(yaml.safe_dump(recorded))
    with pytest.raises(UsageError, match=r"in: objective\.margin\. "):
        train(recipe("hp", optim={"steps": 3}, objective={"margin": 1}), console=quiet)
    train(recipe("hp", optim={"steps": 3}), console=quiet)


def test_run_that_never_took_a_step_does_not_hold_the_folder(
    recipe: MakeRecipe, quiet: Console, train_until: TrainUntil
) -> None:
    train_until(recipe("hp"), 0)
    config = recipe("hp", seed=1, optim={"steps": 1})
    train(config, console=quiet)
    assert yaml.safe_load((config.output / "recipe.yaml").read_text())["seed"] == 1


def test_run_with_a_loss_that_is_not_finite_stops_before_the_step(
    recipe: MakeRecipe, quiet: Console
) -> None:
    config = recipe("hp", optim={"learning_rate": 1e30}, save_every=1)
    with pytest.raises(NonFiniteError, match=r"is nan at step 2, rows \d+ \(pick.*\)\. No step"):
        train(config, console=quiet)
    saved = load_file(find_checkpoints(config.output)[0] / "model.safetensors")
    assert all(value.isfinite().all() for value in saved.values())
    assert json.loads((find_checkpoints(config.output)[0] / "state.json").read_text())["step"] == 1
    assert [entry["step"] for entry in log_of(config)] == [1]


def test_run_on_triplets_without_labels_stops_before_images_are_read(
    recipe: MakeRecipe, own_pick_high: MakeData, quiet: Console
) -> None:
    folder = own_pick_high(labelled=False)
    with pytest.raises(DataError, match=r"12 of 12 triplets .* no labels .*visreward data label"):
        train(recipe("ict", data={"path": folder}), console=quiet)
    assert not (folder / ".cache").exists()


def test_run_without_the_ict_model_stops_before_images_are_read(
    recipe: MakeRecipe, own_pick_high: MakeData, tmp_path: Path, quiet: Console
) -> None:
    folder = own_pick_high()
    objective = {"ict": str(tmp_path / "nowhere" / "model")}
    with pytest.raises((ModelNotFoundError, UsageError), match="nowhere"):
        train(recipe("hp", data={"path": folder}, objective=objective), console=quiet)
    assert not (folder / ".cache").exists()


def test_run_whose_parts_do_not_belong_together_is_refused(
    recipe: MakeRecipe, captions: Path, quiet: Console
) -> None:
    wrong_objective = recipe("clipscore", objective={"name": "hp"})
    with pytest.raises(UsageError, match=r"kind 'clipscore' .* 'contrastive' .* not with 'hp'"):
        train(wrong_objective, console=quiet)
    wrong_data = recipe("ict", data={"format": "captions", "path": captions})
    with pytest.raises(UsageError, match="format 'pick-high', not with 'ict' on 'captions'"):
        train(wrong_data, console=quiet)
    assert not wrong_data.output.exists()


@pytest.mark.parametrize("kind", ["clipscore", "ict", "hp"])
def test_run_in_bfloat16_on_the_cpu_keeps_float32_weights_and_ships_float16(
    recipe: MakeRecipe, hp_recipe: MakeRecipe, quiet: Console, kind: str
) -> None:
    sections: dict[str, Any] = {"precision": "bfloat16", "weights_dtype": "float16"}
    sections["optim"] = {"steps": 2}
    config = hp_recipe(**sections) if kind == "hp" else recipe(kind, **sections)
    train(config, console=quiet)
    last = load_file(find_checkpoints(config.output)[0] / "model.safetensors")
    shipped = load_file(config.output / "model" / "model.safetensors")
    name = "backbone.clip.vision_model.post_layernorm.weight"
    assert last[f"model.{name}"].dtype == torch.float32
    assert shipped[name].dtype == torch.float16
    rounded = last[f"model.{name}"].half()
    assert torch.equal(shipped[name], rounded)
    loaded = load_model(str(config.output / "model")).state_dict()
    assert torch.equal(loaded[name], rounded.float())


def test_run_with_precision_auto_records_what_was_taken(recipe: MakeRecipe, quiet: Console) -> None:
    config = recipe("clipscore", precision="auto", optim={"steps": 1})
    train(config, console=quiet)
    recorded = yaml.safe_load((config.output / "recipe.yaml").read_text(encoding="utf-8"))
    fast = is_native(torch.bfloat16, torch.device("cpu"))
    assert recorded["precision"] == ("bfloat16" if fast else "float32")


@pytest.mark.parametrize("cache_pixels", [True, False])
def test_run_skips_and_reports_rows_with_unreadable_images(
    recipe: MakeRecipe, own_pick_high: MakeData, quiet: Console, cache_pixels: bool
) -> None:
    folder = own_pick_high()
    (folder / "pick_refine_img" / "train" / "3.png").unlink()
    (folder / "pick_easy_img" / "val" / "1_0.png").write_bytes(b"no image")
    data = {"path": folder, "cache_pixels": cache_pixels, "max_skip_fraction": 0.25}
    config = recipe("hp", data=data, optim={"batch_size": 4, "steps": 6})
    metrics = train(config, console=quiet)
    skipped = json.loads((config.output / "skipped.json").read_text())
    assert {split: list(rows) for split, rows in skipped.items()} == {"train": ["3"], "val": ["1"]}
    assert "3.png" in skipped["train"]["3"]
    assert metrics["average"] * 9 == pytest.approx(round(metrics["average"] * 9), abs=1e-5)
    with pytest.raises(DataError, match="1 of 12 rows have an unreadable image"):
        train(recipe("hp", run="strict", data={**data, "max_skip_fraction": 0.05}), console=quiet)


def test_hp_run_leaves_frozen_weights_and_batch_statistics_alone(
    hp_recipe: MakeRecipe, quiet: Console
) -> None:
    config = hp_recipe(optim={"steps": 3})
    train(config, console=quiet)
    before = build_model(config.model, [], seed=config.seed).state_dict()
    after = load_file(config.output / "model" / "model.safetensors")
    frozen = ("embeddings", "pre_layrnorm", "layers.0.", "layers.1.")
    for name, value in after.items():
        is_frozen = "vision_model" in name and any(part in name for part in frozen)
        if is_frozen:
            assert torch.equal(value, before[name]), name
    assert not torch.equal(after["head.layers.0.weight"], before["head.layers.0.weight"])


def test_hp_run_with_the_frozen_part_cached_follows_the_one_without(
    hp_recipe: MakeRecipe, quiet: Console
) -> None:
    losses = []
    for cache_frozen in (True, False):
        objective = {"cache_frozen": cache_frozen}
        config = hp_recipe(run=f"cached-{cache_frozen}", objective=objective)
        train(config, console=quiet)
        losses.append([e["loss"] for e in log_of(config) if e["kind"] == "train"])
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)
    assert losses[0] != losses[1]


def test_hp_run_without_room_for_hidden_states_computes_them(
    hp_recipe: MakeRecipe, own_pick_high: MakeData, quiet: Console
) -> None:
    folder = own_pick_high()
    sections = {"data": {"path": folder}, "optim": {"steps": 1}}
    train(hp_recipe(objective={"max_cache_gb": 1e-9}, **sections), console=quiet)
    assert "more than objective.max_cache_gb 1e-09" in quiet.file.getvalue().replace("\n", " ")  # type: ignore[attr-defined]
    assert not list((folder / ".cache").glob("hidden-*"))
    assert len(list((folder / ".cache").glob("ict_scores-*.npy"))) == 2


def test_run_seed_decides_weights_and_order(recipe: MakeRecipe, quiet: Console) -> None:
    weights = []
    for run, seed in (("one", 1), ("two", 2), ("again", 1)):
        config = recipe("hp", run=run, seed=seed, optim={"steps": 1})
        train(config, console=quiet)
        weights.append(weights_of(config))
    assert weights[0] == weights[2] != weights[1]
