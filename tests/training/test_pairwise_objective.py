"""The pairwise objective against the public scores of the same model, pair by pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from visreward.core.types import Sample
from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.uncertainty import uncertainty_loss
from visreward.models.vlm.reward import VLMReward
from visreward.training.batches import Batch, Row, read_rows
from visreward.training.build import build_model
from visreward.training.config import PairwiseConfig, TrainConfig
from visreward.training.feeds import Feed
from visreward.training.pairwise_objective import PairwiseObjective
from visreward.training.pixels import pixel_reader

MakeRecipe = Callable[..., TrainConfig]
NAMES = ("instruction_following", "visual_quality")


def build(config: TrainConfig) -> VLMReward:
    rows = read_rows(config.data, "train", None)
    prompts = (prompt for row in rows for prompt in row.prompts)
    model = build_model(config.model, prompts, seed=0)
    assert isinstance(model, VLMReward)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(3)
    return model.eval()


def first_batch(config: TrainConfig, model: VLMReward, *, batch_size: int = 3) -> Batch:
    rows = read_rows(config.data, "train", None)
    feed = Feed(rows, pixel_reader(model), config=config.data, batch_size=batch_size, seed=1)
    return feed[0]


def public(model: VLMReward, row: Any, image: Path, prompt: str) -> Tensor:
    """Return (K + 1, 2): mu and log sigma of each dimension, then of the fused score."""
    score = model.score([Sample(prompt=prompt, image=image, source_image=row.sources[0])])[0]
    parts = [(score.dimensions[name].mu, score.dimensions[name].sigma) for name in NAMES]
    parts.append((score.value, score.sigma))
    return torch.tensor([(mu, torch.tensor(sigma).log()) for mu, sigma in parts])


def expected_loss(config: PairwiseConfig, pairs: list[tuple[Tensor, Tensor]]) -> float:
    chosen, rejected = (torch.stack(side) for side in zip(*pairs, strict=True))
    if config.loss == "bradley-terry":
        return bradley_terry_loss(
            score_chosen=chosen[:, 0], score_rejected=rejected[:, 0], margin=config.margin
        ).item()
    return uncertainty_loss(
        mu_chosen=chosen[:, 0],
        log_sigma_chosen=chosen[:, 1],
        mu_rejected=rejected[:, 0],
        log_sigma_rejected=rejected[:, 1],
        fidelity=config.fidelity,
        margin=config.margin,
    ).item()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": "bradley-terry", "margin": 0.2, "dimension_weight": 0.0},
        {"fidelity": "released", "overall_weight": 0.3, "dimension_weight": 2.0},
        {"other_prompt_weight": 0.7, "overall_weight": 0.0},
    ],
)
def test_pairwise_loss_equals_the_loss_of_public_scores(
    edit_recipe: MakeRecipe, options: dict[str, Any]
) -> None:
    recipe = edit_recipe()
    model = build(recipe)
    batch = first_batch(recipe, model)
    config = PairwiseConfig(name="pairwise", **options)
    found = PairwiseObjective(model, config)(batch)
    scores = [
        [public(model, row, image, row.prompts[0]) for image in row.images] for row in batch.rows
    ]
    by_part: dict[int, list[tuple[Tensor, Tensor]]] = {0: [], 1: [], 2: []}
    others, right, total = [], 0, 0
    for number, (row, parts) in enumerate(zip(batch.rows, scores, strict=True)):
        ratings = [
            (*dims, overall) for dims, overall in zip(row.dimensions, row.overall, strict=True)
        ]
        for one, better in enumerate(ratings):
            for other, worse in enumerate(ratings):
                for part in range(3):
                    if better[part] > worse[part]:
                        by_part[part].append((parts[one][part], parts[other][part]))
                if better[2] > worse[2]:
                    right += bool(parts[one][2, 0] > parts[other][2, 0])
                    total += 1
        neighbour = batch.rows[(number + 1) % len(batch.rows)]
        best = max(range(len(ratings)), key=lambda place: ratings[place][0])
        shown = public(model, row, row.images[best], neighbour.prompts[0])
        others.append((parts[best][0], shown[0]))
    weights = (config.dimension_weight, config.dimension_weight, config.overall_weight)
    expected = sum(
        weight * expected_loss(config, by_part[part]) for part, weight in enumerate(weights)
    )
    expected += config.other_prompt_weight * expected_loss(config, others)
    assert found.loss.item() == pytest.approx(expected, abs=2e-5)
    assert found.accuracy.item() == pytest.approx(right / total)


def test_pairwise_gradient_raises_the_better_image(edit_recipe: MakeRecipe) -> None:
    recipe = edit_recipe()
    model = build(recipe)
    objective = PairwiseObjective(model, PairwiseConfig(name="pairwise"))
    batch = first_batch(recipe, model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = objective(batch).loss
    before.backward()
    optimizer.step()
    assert objective(batch).loss.item() < before.item()


def test_pairwise_row_without_a_pair_adds_nothing(edit_recipe: MakeRecipe) -> None:
    recipe = edit_recipe()
    model = build(recipe)
    objective = PairwiseObjective(model, PairwiseConfig(name="pairwise"))
    batch = first_batch(recipe, model)
    tied = [replace(row, overall=(1.0,) * 6, dimensions=((1.0, 2.0),) * 6) for row in batch.rows]
    output = objective(replace(batch, rows=tuple(tied)))
    assert output.loss.item() == 0
    assert output.accuracy.item() == 1


def test_pairwise_other_prompts_of_equal_neighbours_are_left_out(edit_recipe: MakeRecipe) -> None:
    recipe = edit_recipe()
    model = build(recipe)
    batch = first_batch(recipe, model)
    same = replace(batch, rows=tuple(replace(row, prompts=("make it red",)) for row in batch.rows))
    with_others, without = (
        PairwiseObjective(model, PairwiseConfig(name="pairwise", other_prompt_weight=weight))(same)
        for weight in (1.0, 0.0)
    )
    assert with_others.loss.item() == without.loss.item()


def test_pairwise_validation_gives_each_rows_share_of_right_pairs(
    edit_recipe: MakeRecipe,
) -> None:
    recipe = edit_recipe()
    model = build(recipe)
    batch = first_batch(recipe, model)
    found = PairwiseObjective(model, PairwiseConfig(name="pairwise")).validate(batch)
    assert set(found) == {"accuracy", *(f"{name}_accuracy" for name in NAMES)}
    for number, row in enumerate(batch.rows):
        scores = [public(model, row, image, row.prompts[0]) for image in row.images]
        for part, name in enumerate(("instruction_following_accuracy", "visual_quality_accuracy")):
            pairs = [
                bool(scores[one][part, 0] > scores[other][part, 0])
                for one in range(6)
                for other in range(6)
                if row.dimensions[one][part] > row.dimensions[other][part]
            ]
            assert found[name][number].item() == pytest.approx(sum(pairs) / len(pairs))


def test_pairwise_language_loss_is_the_mean_surprise_at_the_words_behind_the_images(
    edit_recipe: MakeRecipe,
) -> None:
    recipe = edit_recipe()
    model = build(recipe)
    batch = first_batch(recipe, model)
    spoken, silent = (
        PairwiseObjective(model, PairwiseConfig(name="pairwise", language_weight=weight))(batch)
        for weight in (0.5, 0.0)
    )
    embeddings = model.backbone.model.language_model.embed_tokens.weight
    surprises = []
    for row in batch.rows:
        following = [each[0] for each in row.dimensions]
        best = row.images[following.index(max(following))]
        sample = Sample(prompt=row.prompts[0], image=best, source_image=row.sources[0])
        alone = model.preprocess([model.load(sample)])
        states = model.read(alone, keep=[0]).states[0]
        sequence = alone.sequences[0]
        assert len(states) == len(sequence.ids)
        words = [
            place
            for place in range(len(sequence.ids))
            if place > (sequence.image >= 0).nonzero()[0].max()
        ]
        chances = (states @ embeddings.T).softmax(dim=-1)
        surprise = [-chances[place - 1, int(sequence.ids[place])].log().item() for place in words]
        surprises.append(sum(surprise) / len(surprise))
    expected = 0.5 * sum(surprises) / len(surprises)
    assert (spoken.loss - silent.loss).item() == pytest.approx(expected, abs=1e-4)


def test_pairwise_caption_families_compare_images_and_captions_both_ways(
    edit_recipe: MakeRecipe, captions: Path
) -> None:
    recipe = edit_recipe(kind="hpsv3", data={"format": "captions", "path": captions})
    model = build(recipe)
    batch = first_batch(recipe, model, batch_size=2)
    config = PairwiseConfig(name="pairwise", loss="bradley-terry", other_prompt_weight=0.5)
    by_image: list[float] = []
    by_prompt: list[float] = []
    right: list[bool] = []
    for row in batch.rows:
        prompts, images = row.prompts, row.images
        pairs = [Sample(prompt=prompt, image=image) for prompt in prompts for image in images]
        values = [score.value for score in model.score(pairs)]
        score = {(n // 4, n % 4): value for n, value in enumerate(values)}
        assert len(set(prompts)) == 4
        for one in range(4):
            for other in set(range(4)) - {one}:
                by_image.append(score[one, one] - score[one, other])
                by_prompt.append(score[one, one] - score[other, one])
        right += [gap > 0 for gap in by_image[-12:]]
        elsewhere = batch.rows[1 if row is batch.rows[0] else 0].prompts[0]
        if elsewhere not in prompts:
            shown = model.score([Sample(prompt=elsewhere, image=image) for image in images])
            by_prompt += [score[n, n] - each.value for n, each in enumerate(shown)]
    found = PairwiseObjective(model, config)(batch)
    losses = [
        -functional.logsigmoid(torch.tensor(gaps)).mean().item() for gaps in (by_image, by_prompt)
    ]
    assert found.loss.item() == pytest.approx(losses[0] + 0.5 * losses[1], abs=2e-5)
    assert found.accuracy.item() == pytest.approx(sum(right) / len(right))


def test_row_captions_that_are_equal_are_one_comparison() -> None:
    images = tuple(Path(f"{number}.png") for number in range(3))
    row = Row(images=images, prompts=("a cube", "a ball", "a cube"))
    first, second = row.comparisons()
    assert (first.prompt, first.overall, first.best) == ("a cube", (1.0, 0.0, 1.0), 0)
    assert (second.prompt, second.overall, second.best) == ("a ball", (0.0, 1.0, 0.0), 1)
