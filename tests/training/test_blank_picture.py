"""A blank picture in the pairwise objective: it must do worst on every dimension."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from visreward.core.types import Sample, Score
from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.data.batches import readable
from visreward.training.data.feeds import Feed
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.reading import read_rows
from visreward.training.modeling.build import build_model
from visreward.training.objectives.pairwise import PairwiseObjective
from visreward.training.options.objective_config import PairwiseConfig

MakeRecipe = Callable[..., TrainConfig]
NAMES = ("instruction_following", "visual_quality")
WEIGHT = 0.7


def values(score: Score) -> list[float]:
    return [*(score.dimensions[name].mu for name in NAMES), score.value]


def drawn_colour(seed: int) -> tuple[int, ...]:
    """Return the colour of the objective's blank picture after a seed."""
    torch.manual_seed(seed)
    colour = torch.randint(256, (3, 1, 1)) * torch.randint(2, (1,))
    return tuple(colour.flatten().tolist())


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_blank_picture_loses_to_every_image_of_the_first_row(
    edit_recipe: MakeRecipe, tmp_path: Path, seed: int
) -> None:
    recipe = edit_recipe()
    rows = read_rows(recipe.data, "train", None)
    model = build_model(recipe.model, (row.prompts[0] for row in rows), seed=0)
    assert isinstance(model, VLMReward)
    model.eval()
    batch = Feed(rows, pixel_reader(model), config=recipe.data, batch_size=3, seed=1)[0]
    losses = []
    for weight in (WEIGHT, 0.0):
        config = PairwiseConfig(name="pairwise", loss="bradley-terry", blank_weight=weight)
        torch.manual_seed(seed)
        losses.append(PairwiseObjective(model, config)(batch).loss.item())
    row = batch.rows[0]
    blank = tmp_path / "blank.png"
    source, *edited = (readable(image) for image in row.files)
    assert isinstance(source, Path)
    with Image.open(source) as image:
        Image.new("RGB", image.size, drawn_colour(seed)).save(blank)
    samples = [
        Sample(prompt=row.prompts[0], image=image, source_image=source)
        for image in (*edited, blank)
    ]
    *others, worst = map(values, model.score(samples))
    chosen = torch.tensor(others).flatten()
    rejected = torch.tensor(worst).repeat(len(others))
    expected = bradley_terry_loss(score_chosen=chosen, score_rejected=rejected).item()
    assert losses[0] - losses[1] == pytest.approx(WEIGHT * expected, abs=1e-5)


def test_blank_pictures_are_black_or_of_one_colour() -> None:
    colours = [drawn_colour(seed) for seed in range(4)]
    assert (0, 0, 0) in colours
    assert any(max(colour) > 0 for colour in colours)
