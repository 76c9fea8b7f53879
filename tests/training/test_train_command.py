"""`visreward train`: a recipe and overrides in, a model folder and one JSON document out."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from visreward.cli.main import app
from visreward.core import extras
from visreward.models.loading import load_model
from visreward.training.config import TrainConfig
from visreward.training.recipe import recipe_names

MakeRecipe = Callable[..., TrainConfig]


@pytest.fixture
def recipe_file(recipe: MakeRecipe, tmp_path: Path) -> Path:
    path = tmp_path / "squares.yaml"
    path.write_text(yaml.safe_dump(recipe("hp").model_dump(mode="json")))
    return path


def test_train_command_runs_a_recipe_file_with_overrides(recipe_file: Path) -> None:
    output = recipe_file.parent / "elsewhere"
    result = CliRunner().invoke(
        app, ["train", str(recipe_file), "optim.steps=2", f"output={output}"]
    )
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["output"] == str(output)
    assert document["metrics"] == json.loads((output / "metrics.json").read_text())
    assert load_model(str(output / "model")).facts.name == "tiny-hp"
    assert "Recipe: `squares`" in (output / "model" / "README.md").read_text()
    assert "2 steps of 6 rows" in result.stderr.replace("\n", " ")


def test_train_command_run_again_goes_on_where_it_stopped(recipe_file: Path) -> None:
    for steps in (2, 4):
        arguments = ["train", str(recipe_file), f"optim.steps={steps}"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.stderr
    assert "resumed at step 2" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (["optim.stepz=2"], "Did you mean 'steps'?"),
        (["optim.steps"], "is not key=value"),
        (["model.note=[unclosed"], "is not YAML after '='"),
        (["data.path=nowhere"], "nowhere"),
        (["--processes", "2"], "Train with: torchrun --nproc_per_node 2 -m visreward train"),
        (["--processes", "5", "--dry-run"], "is not a multiple of 5 process(es)"),
    ],
)
def test_train_command_wrong_setting_is_one_sentence_and_status_2(
    recipe_file: Path, arguments: list[str], phrase: str
) -> None:
    result = CliRunner().invoke(app, ["train", str(recipe_file), *arguments])
    assert result.exit_code == 2
    assert phrase in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_train_command_unknown_recipe_lists_the_known_ones() -> None:
    result = CliRunner().invoke(app, ["train", "ict-maxi"])
    assert result.exit_code == 2
    assert ", ".join(recipe_names()) in " ".join(result.stderr.split())


def test_train_command_without_the_extra_says_how_to_install_it(
    recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        extras, "find_spec", lambda name: None if name == "tensorboard" else find(name)
    )
    result = CliRunner().invoke(app, ["train", str(recipe_file)])
    assert result.exit_code == 2
    assert "'tensorboard', which is not installed" in " ".join(result.stderr.split())
    assert "pip install 'visreward[train]'" in " ".join(result.stderr.split())
