"""The model card says what a reader of the scores must know, and no path of a machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from visreward.models.facts import ModelFacts
from visreward.training.config import TrainConfig
from visreward.training.reporting.card import RunResult, write_card

MakeRecipe = Callable[..., TrainConfig]
RESULT = RunResult(
    recipe="hp-mini",
    metrics={"average": 0.93456, "hp_average": 0.5},
    num_rows={"train": 23, "val": 8},
    versions={"torch": "1.2.3", "visreward": "9.9.9"},
)


def card(config: TrainConfig, folder: Path, *, licence: str = "MIT", prompt: bool = False) -> str:
    facts = ModelFacts(
        name="tiny-hp", needs_prompt=prompt, licence=licence, note="knows coloured squares only"
    )
    write_card(folder, config, facts=facts, result=RESULT)
    return (folder / "README.md").read_text()


def test_card_names_recipe_data_rows_steps_metrics_and_versions(
    recipe: MakeRecipe, tmp_path: Path, pick_high: Path
) -> None:
    text = card(recipe("hp"), tmp_path)
    for phrase in (
        "# tiny-hp",
        "It knows coloured squares only.",
        "Recipe: `hp-mini`, from nothing, 6 steps of 6 rows.",
        f"Data: `{pick_high.name}` in the format pick-high: 23 rows of train, 8 rows of val.",
        "Versions: torch 1.2.3, visreward 9.9.9.",
        "| average | 0.9346 |",
        "| hp_average | 0.5000 |",
        "learning_rate: 0.01",
        "vr.load_model(",
        "## Licence\n\nMIT\n",
    ):
        assert phrase in text


def test_card_front_matter_is_yaml_with_the_licence(recipe: MakeRecipe, tmp_path: Path) -> None:
    front = card(recipe("hp"), tmp_path).split("---\n")[1]
    assert yaml.safe_load(front) == {
        "library_name": "visreward",
        "license": "mit",
        "tags": ["reward-model"],
    }
    unknown = card(recipe("hp"), tmp_path, licence="")
    assert "license:" not in unknown
    assert "Not stated by the model that training started from." in unknown


def test_card_shows_no_path_of_the_machine(recipe: MakeRecipe, tmp_path: Path) -> None:
    ict = "/home/someone/projects/runs/ict/model"
    config = recipe("hp", objective={"ict": ict}, model={"init": "/home/someone/a/b/clip"})
    text = card(config, tmp_path)
    assert "someone" not in text
    assert str(tmp_path) not in text
    assert "ict: runs/ict/model" in text
    assert "from `a/b/clip`" in text


@pytest.mark.parametrize(("prompt", "shown"), [(True, 'prompt="a red ball"'), (False, 'prompt=""')])
def test_card_example_has_a_prompt_where_the_model_reads_one(
    recipe: MakeRecipe, tmp_path: Path, prompt: bool, shown: str
) -> None:
    assert shown in card(recipe("hp"), tmp_path, prompt=prompt)
