"""What a run records of its rows and of the code, and that other rows are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from visreward.core.errors import UsageError
from visreward.core.source_commit import git_commit
from visreward.models.clip.family import CLIPRewardModel
from visreward.training.checkpoints.fingerprint import (
    rows_fingerprint,
    weights_fingerprints,
)
from visreward.training.config import TrainConfig
from visreward.training.data.batches import Row, name_below
from visreward.training.run import train

MakeRecipe = Callable[..., TrainConfig]
MakeData = Callable[..., Path]

ROW = Row(
    images=(Path("data/a.png"), Path("data/b.png")),
    prompts=("a red ball",),
    sources=(Path("data/s.png"),),
    labels=(0.1, 0.2, 0.3, 0.4),
    dimensions=((1.0, 2.0), (3.0, 4.0)),
    overall=(1.5, 3.5),
)


@pytest.mark.parametrize(
    "changed",
    [
        [ROW],
        [ROW, ROW, ROW],
        [ROW, replace(ROW, images=ROW.images[::-1])],
        [ROW, replace(ROW, prompts=("a blue ball",))],
        [ROW, replace(ROW, sources=())],
        [ROW, replace(ROW, labels=None)],
        [ROW, replace(ROW, dimensions=((1.0, 2.0), (3.0, 4.5)))],
        [ROW, replace(ROW, overall=(3.5, 1.5))],
        [replace(ROW, prompts=("first",)), ROW],
    ],
)
def test_rows_fingerprint_differs_where_anything_known_does(changed: list[Row]) -> None:
    known = rows_fingerprint([ROW, ROW], Path("data"))
    assert known["rows"] == 2
    assert known == rows_fingerprint([ROW, ROW], Path("data"))
    assert rows_fingerprint(changed, Path("data")) != known


def test_rows_fingerprint_is_the_same_where_the_data_set_is_moved() -> None:
    names = [name_below(image, Path("data")) for image in ROW.images]
    moved = replace(
        ROW,
        images=tuple(Path("/elsewhere") / name for name in names),
        sources=(Path("/elsewhere/s.png"),),
    )
    assert rows_fingerprint([moved], Path("/elsewhere")) == rows_fingerprint([ROW], Path("data"))


def test_run_on_changed_rows_is_refused_by_split(
    recipe: MakeRecipe, own_pick_high: MakeData, quiet: Console
) -> None:
    folder = own_pick_high()
    data = {"path": folder}
    config = recipe("hp", data=data, optim={"steps": 2})
    train(config, console=quiet)
    versions = json.loads((config.output / "versions.json").read_text())
    assert {split: known["rows"] for split, known in versions["data"].items()} == {
        "train": 12,
        "val": 4,
    }
    assert versions["git_commit"] == git_commit()
    place = folder / "Pick-High" / "train.pkl"
    table = pd.read_pickle(place)
    table.loc[3, "easy_prompt"] = "another prompt"
    table.to_pickle(place)
    message = (
        f"The rows of {folder} have changed since the run in {config.output} began, in the split "
        f"'train' (12 rows {versions['data']['train']['sha256'][:12]}, now 12 rows "
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        train(recipe("hp", data=data, optim={"steps": 3}), console=quiet)
    train(recipe("hp", run="another", data=data, optim={"steps": 1}), console=quiet)


def test_run_with_adapters_over_changed_weights_is_refused(
    edit_recipe: MakeRecipe, quiet: Console
) -> None:
    pytest.importorskip("peft")
    base = edit_recipe(run="base", optim={"steps": 1})
    train(base, console=quiet)
    sections = {"model": {"init": str(base.output / "model")}, "lora": {"rank": 2}}
    config = edit_recipe(**sections, optim={"steps": 2})
    train(config, console=quiet)
    known = json.loads((config.output / "versions.json").read_text())["weights"]
    train(edit_recipe(**sections, optim={"steps": 3}), console=quiet)
    assert json.loads((config.output / "versions.json").read_text())["weights"] == known
    train(edit_recipe(run="base", optim={"steps": 2}), console=quiet)
    message = (
        rf"frozen weights of model\.init \({known['model.init'][:12]}, now \w{{12}}\) have changed "
        rf"since the run in {re.escape(str(config.output))} began"
    )
    with pytest.raises(UsageError, match=message):
        train(edit_recipe(**sections, optim={"steps": 4}), console=quiet)
    train(edit_recipe(run="another", **sections, optim={"steps": 1}), console=quiet)


def test_run_without_adapters_depends_on_the_models_it_asks_alone(
    tiny_model: Callable[..., CLIPRewardModel],
) -> None:
    model = tiny_model("hp")
    model.requires_grad_(requires_grad=False)
    one, other = tiny_model("ict", seed=5), tiny_model("ict", seed=6)
    assert weights_fingerprints(model, {"objective.ict": []}) == {}
    found = [weights_fingerprints(model, {"objective.ict": [each]}) for each in (one, other, one)]
    assert [*found[0]] == ["objective.ict"]
    assert found[0] == found[2] != found[1]
