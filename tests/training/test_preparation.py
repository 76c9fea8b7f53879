"""Feeds get what is computed once, and lose the rows for which it could not be computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from visreward.core.errors import DataError
from visreward.models.clip.family import CLIPRewardModel
from visreward.training.config import TrainConfig
from visreward.training.data import preparation as module
from visreward.training.data.feeds import Feed
from visreward.training.data.frozen import ICT_SCORES
from visreward.training.data.preparation import Preparation
from visreward.training.data.reading import read_rows
from visreward.training.distributed.processes import make_accelerator

MakeRecipe = Callable[..., TrainConfig]
MakeModel = Callable[..., CLIPRewardModel]


@pytest.fixture
def prepared(recipe: MakeRecipe, tiny_model: MakeModel, quiet: Console) -> tuple[Preparation, Feed]:
    """Return a preparation and its training feed, in which one row of 24 may be missing."""
    config = recipe("hp", data={"max_skip_fraction": 0.05})
    preparation = Preparation(config=config, accelerator=make_accelerator(config), console=quiet)
    rows = read_rows(config.data, "train", None)
    return preparation, preparation.feed(rows, tiny_model("hp"), split="train")


def unreadable(monkeypatch: pytest.MonkeyPatch, *rows: int) -> None:
    """Let the ICT model have no scores for some rows, whatever HP sees of them."""
    scores = torch.rand(24, 3)
    scores[list(rows)] = float("nan")
    monkeypatch.setattr(module, "frozen_ict_scores", lambda *_, **__: scores)


def test_preparation_rows_without_ict_scores_are_left_out(
    prepared: tuple[Preparation, Feed], tiny_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    preparation, feed = prepared
    unreadable(monkeypatch, 7)
    preparation.add_ict_scores(feed, tiny_model("ict"))
    assert feed.usable == [row for row in range(24) if row != 7]
    batch = feed[0]
    assert batch.extra[ICT_SCORES].shape == (6, 3)
    assert all(feed[step].extra[ICT_SCORES].isfinite().all() for step in range(9))


def test_preparation_too_many_rows_without_ict_scores_stop_the_run(
    prepared: tuple[Preparation, Feed], tiny_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    preparation, feed = prepared
    unreadable(monkeypatch, 7, 8)
    with pytest.raises(DataError, match="2 of 24 rows"):
        preparation.add_ict_scores(feed, tiny_model("ict"))


def test_preparation_feeds_shuffle_training_and_keep_validation_whole(
    prepared: tuple[Preparation, Feed], tiny_model: MakeModel, pick_high: Path
) -> None:
    preparation, feed = prepared
    assert (feed.batch_size, feed.shuffle) == (6, True)
    rows = read_rows(preparation.config.data, "val", None)
    validation = preparation.feed(rows, tiny_model("hp"), split="val")
    assert not validation.shuffle
    assert [batch.row_ids.tolist() for batch in validation.steps(0, len(validation))] == [
        list(range(8))
    ]
