"""The pairwise objective against the public scores of the same model, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from visreward.core.errors import UsageError
from visreward.core.types import Sample
from visreward.data.rated_edits import PairVotes
from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.uncertainty import uncertainty_loss
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.data.batches import Batch, Row, readable
from visreward.training.data.feeds import Feed
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.reading import read_rows
from visreward.training.modeling.build import build_model
from visreward.training.objectives.pairwise import PairwiseObjective
from visreward.training.options.objective_config import PairwiseConfig

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


def public(model: VLMReward, row: Any, image: Any, prompt: str) -> Tensor:
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


def with_ties(batch: Batch) -> Batch:
    """Return the batch with equal ratings in it, and two images fewer in the second row."""
    overall = ((3.0, 1.0, 2.0, 3.0, 1.0, 3.0), (2.0, 2.0, 1.0, 4.0), (1.0,) * 6)
    following = (
        (1.0, 1.0, 2.0, 2.0, 3.0, 4.0),
        (4.0, 3.0, 2.0, 1.0),
        (2.0, 2.0, 1.0, 1.0, 1.0, 1.0),
    )
    assert batch.pixels is not None
    rows, pixels = [], []
    for row, files, whole, part in zip(batch.rows, batch.pixels, overall, following, strict=True):
        images = row.images[: len(whole)]
        dimensions = tuple(zip(part, whole[::-1], strict=True))
        rows.append(replace(row, images=images, overall=whole, dimensions=dimensions))
        pixels.append(files[: len(row.sources) + len(images)])
    return replace(batch, rows=tuple(rows), pixels=tuple(pixels))


def expected_with_ties(
    config: PairwiseConfig, mus: list[float], ratings: list[float]
) -> list[float]:
    """Return the loss of each comparison in a row, from its formula."""
    if config.loss == "listwise":
        total, is_ordered = 0.0, False
        for number, (mu, rating) in enumerate(zip(mus, ratings, strict=True)):
            losing = [
                other_mu
                for place, (other_mu, other) in enumerate(zip(mus, ratings, strict=True))
                if other < rating
                or (other == rating and place != number and config.ties == "both-directions")
            ]
            is_ordered = is_ordered or bool(losing)
            total += math.log(sum(math.exp(other - mu) for other in [mu, *losing]))
        return [total] if is_ordered else []
    found = []
    for one, other in permutations(range(len(mus)), 2):
        gap, is_tie = mus[one] - mus[other], ratings[one] == ratings[other]
        if config.loss == "bradley-terry-ties":
            wins, loses = (1 / (1 + 5 * math.exp(-each)) for each in (gap, -gap))
            if is_tie and one < other:
                found.append(-math.log(24 * wins * loses))
            elif ratings[one] > ratings[other]:
                found.append(-math.log(wins))
        elif ratings[one] > ratings[other] or (is_tie and config.ties == "both-directions"):
            found.append(math.log(1 + math.exp(-gap)))
    return found


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "bradley-terry"},
        {"loss": "bradley-terry", "ties": "both-directions"},
        {"loss": "bradley-terry-ties", "other_prompt_weight": 0.4},
        {"loss": "listwise", "overall_weight": 0.5, "other_prompt_weight": 0.4},
        {"loss": "listwise", "ties": "both-directions", "dimension_weight": 0.2},
    ],
)
def test_pairwise_loss_of_ties_equals_its_formula_on_public_scores(
    edit_recipe: MakeRecipe, options: dict[str, Any]
) -> None:
    recipe = edit_recipe()
    model = build(recipe)
    batch = with_ties(first_batch(recipe, model))
    config = PairwiseConfig(name="pairwise", **options)
    found = PairwiseObjective(model, config)(batch)
    by_part: list[list[float]] = [[], [], []]
    others = []
    for number, row in enumerate(batch.rows):
        scores = [public(model, row, image, row.prompts[0])[:, 0].tolist() for image in row.images]
        rated = [(*dims, whole) for dims, whole in zip(row.dimensions, row.overall, strict=True)]
        for part in range(3):
            mus, ratings = ([each[part] for each in side] for side in (scores, rated))
            by_part[part] += expected_with_ties(config, mus, ratings)
        following = [each[0] for each in rated]
        best = following.index(max(following))
        prompt = batch.rows[(number + 1) % len(batch.rows)].prompts[0]
        gap = scores[best][0] - public(model, row, row.images[best], prompt)[0, 0].item()
        odds = 5 if config.loss == "bradley-terry-ties" else 1
        others.append(math.log(1 + odds * math.exp(-gap)))
    weights = (config.dimension_weight, config.dimension_weight, config.overall_weight)
    parts = [sum(each) / len(each) for each in by_part]
    expected = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    expected += config.other_prompt_weight * sum(others) / len(others)
    assert found.loss.item() == pytest.approx(expected, abs=2e-5)


def expected_of_pair(options: dict[str, Any], chosen: float, rejected: float) -> float:
    """Return the loss of a pair by its formula; votes are 3 : 1."""
    gap = chosen - rejected

    def cost(value: float) -> float:
        return math.log(1 + math.exp(-value))

    if options["loss"] == "likelihood-displacement":
        return cost(chosen - options["tau"] * rejected)
    if options["loss"] == "pair-softmax":
        return cost(gap) if options["fidelity"] == "paper" else cost(math.tanh(gap / 2))
    if options["loss"] == "bradley-terry":
        return 0.75 * cost(gap) + 0.25 * cost(-gap)
    return ((chosen - (4 - 2.5)) ** 2 + (rejected - (1 - 2.5)) ** 2) / 2


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "likelihood-displacement", "tau": 0.3},
        {"loss": "pair-softmax", "fidelity": "paper"},
        {"loss": "pair-softmax", "fidelity": "released"},
        {"loss": "bradley-terry", "labels": "votes"},
        {"loss": "pointwise", "offset": 2.5},
    ],
)
def test_pairwise_loss_of_single_pairs_equals_its_formula(
    edit_recipe: MakeRecipe, options: dict[str, Any]
) -> None:
    recipe = edit_recipe()
    model = build(recipe)
    batch = first_batch(recipe, model, batch_size=1)
    row = batch.rows[0]
    assert batch.pixels is not None
    votes = (PairVotes(one=1, other=0, for_one=1, for_other=3),)
    row = replace(
        row, images=row.images[:2], overall=(4.0, 1.0), dimensions=(), is_rated=True, votes=votes
    )
    pair = replace(batch, rows=(row,), pixels=(batch.pixels[0][: len(row.files)],))
    config = PairwiseConfig(name="pairwise", **options)
    chosen, rejected = (
        public(model, row, each, row.prompts[0])[2, 0].item() for each in row.images
    )
    found = PairwiseObjective(model, config)(pair)
    assert found.loss.item() == pytest.approx(expected_of_pair(options, chosen, rejected), abs=2e-5)
    assert found.margin is not None
    assert found.margin.item() == pytest.approx(chosen - rejected, abs=1e-5)
    assert found.num_pairs == 1


def test_pairwise_rows_without_dimensions_leave_those_of_others_in_the_loss(
    edit_recipe: MakeRecipe,
) -> None:
    recipe = edit_recipe()
    model = build(recipe)
    batch = first_batch(recipe, model, batch_size=2)
    rated, other = batch.rows
    mixed = replace(batch, rows=(rated, replace(other, dimensions=())))
    for loss in ("bradley-terry", "listwise", "pointwise"):
        config = PairwiseConfig.model_validate(
            {"name": "pairwise", "loss": loss, "overall_weight": 0.0}
        )
        objective = PairwiseObjective(model, config)
        found, alone = objective(mixed).loss, objective(batch.part(slice(0, 1))).loss
        assert alone.item() != 0
        assert found.item() == pytest.approx(alone.item(), abs=1e-5)


def test_pairwise_shown_scores_are_the_public_ones(edit_recipe: MakeRecipe) -> None:
    recipe = edit_recipe()
    model = build(recipe)
    batch = first_batch(recipe, model, batch_size=2)
    objective = PairwiseObjective(model, PairwiseConfig(name="pairwise"))
    for row, scores in zip(batch.rows, objective.shown_scores(batch), strict=True):
        for image, score in zip(row.images, scores, strict=True):
            mu, log_sigma = public(model, row, image, row.prompts[0])[2].tolist()
            assert score.mu == pytest.approx(mu, abs=1e-5)
            assert score.sigma == pytest.approx(math.exp(log_sigma), rel=1e-4)


@pytest.mark.parametrize(
    "loss",
    [
        "bradley-terry",
        "bradley-terry-ties",
        "likelihood-displacement",
        "pair-softmax",
        "listwise",
        "pointwise",
    ],
)
def test_pairwise_loss_on_mu_alone_takes_heads_with_one_output(
    edit_recipe: MakeRecipe, loss: Any
) -> None:
    settings = edit_recipe().model.vlm
    assert settings is not None
    vlm = settings.model_dump() | {"heads": {"num_outputs": 1}}
    recipe = edit_recipe(model={"vlm": vlm}, objective={"loss": loss})
    model = build(recipe)
    objective = PairwiseObjective(model, PairwiseConfig(name="pairwise", loss=loss))
    output = objective(first_batch(recipe, model))
    assert output.loss.isfinite()


def test_uncertainty_with_heads_of_one_output_is_refused(edit_recipe: MakeRecipe) -> None:
    settings = edit_recipe().model.vlm
    assert settings is not None
    vlm = settings.model_dump() | {"heads": {"num_outputs": 1}}
    with pytest.raises(UsageError, match=r"needs mu and log sigma, but .*num_outputs is 1. Take"):
        edit_recipe(model={"vlm": vlm})


def test_pairwise_uncertainty_of_a_tie_is_that_of_both_directions(
    edit_recipe: MakeRecipe,
) -> None:
    recipe = edit_recipe()
    model = build(recipe)
    batch = first_batch(recipe, model, batch_size=1)
    row = batch.rows[0]
    tied = replace(batch, rows=(replace(row, overall=(1.0,) * 6, dimensions=()),))
    config = PairwiseConfig(name="pairwise", ties="both-directions")
    scores = [public(model, row, image, row.prompts[0])[2] for image in row.images]
    expected = expected_loss(config, [*permutations(scores, 2)])
    assert PairwiseObjective(model, config)(tied).loss.item() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "bradley-terry-ties", "ties": "both-directions"}, "has an outcome for ties"),
        ({"loss": "bradley-terry-ties", "margin": 0.3}, "has no margin"),
        ({"loss": "listwise", "margin": 0.3}, "has no margin"),
        ({"loss": "likelihood-displacement", "margin": 0.3}, "has no margin"),
        ({"loss": "listwise", "labels": "votes"}, "takes no votes. Use uncertainty or bradley-te"),
        ({"labels": "votes", "margin": 0.3}, "labels=votes has no margin"),
        ({"loss": "pointwise", "ties": "both-directions"}, "compares no images"),
        ({"ties": "average"}, "drop"),
        ({"loss": "bradley-terry", "num_samples": 9}, "only loss=uncertainty with labels=ranks"),
        ({"labels": "votes", "num_samples": 9}, "only loss=uncertainty with labels=ranks"),
        ({"num_samples": 0}, "greater than 0"),
    ],
)
def test_pairwise_config_that_contradicts_itself_is_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        PairwiseConfig(name="pairwise", **options)


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


@pytest.mark.parametrize("fidelity", ["paper", "released"])
def test_pairwise_uncertainty_from_samples_is_near_the_exact_one_and_repeats_by_seed(
    edit_recipe: MakeRecipe, fidelity: str
) -> None:
    recipe = edit_recipe()
    model = build(recipe)
    batch = first_batch(recipe, model)

    def loss(seed: int, **options: Any) -> float:
        torch.manual_seed(seed)
        config = PairwiseConfig.model_validate(
            {"name": "pairwise", "fidelity": fidelity, **options}
        )
        return float(PairwiseObjective(model, config)(batch).loss.detach())

    exact, one, other = loss(1), loss(1, num_samples=1000), loss(2, num_samples=1000)
    assert one == loss(1, num_samples=1000) != other
    assert one != exact == loss(2)
    assert (one, other) == pytest.approx((exact, exact), rel=0.02)
    assert abs(loss(1, num_samples=2) - exact) > abs(one - exact)


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


@pytest.mark.parametrize("loss", ["uncertainty", "listwise"])
def test_pairwise_row_without_a_pair_adds_nothing(edit_recipe: MakeRecipe, loss: Any) -> None:
    recipe = edit_recipe()
    model = build(recipe)
    objective = PairwiseObjective(model, PairwiseConfig(name="pairwise", loss=loss))
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
    assert set(found) == {"accuracy", "margin", *(f"{name}_accuracy" for name in NAMES)}
    for number, row in enumerate(batch.rows):
        scores = [public(model, row, image, row.prompts[0]) for image in row.images]
        gaps = [
            (scores[one][2, 0] - scores[other][2, 0]).item()
            for one, other in permutations(range(6), 2)
            if row.overall[one] > row.overall[other]
        ]
        assert found["margin"][number].item() == pytest.approx(sum(gaps) / len(gaps), abs=1e-5)
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
        sample = Sample(
            prompt=row.prompts[0], image=readable(best), source_image=readable(row.sources[0])
        )
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
        pairs = [
            Sample(prompt=prompt, image=readable(image)) for prompt in prompts for image in images
        ]
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
            shown = model.score(
                [Sample(prompt=elsewhere, image=readable(image)) for image in images]
            )
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
