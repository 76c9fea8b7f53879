"""Feeds: an order that repeats, shards that partition, rows that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from visreward.core.errors import DataError, UsageError
from visreward.models.clip.family import CLIPRewardModel
from visreward.training.config import DataConfig
from visreward.training.data.batches import Batch, prompt_ids
from visreward.training.data.feeds import Feed
from visreward.training.data.reading import read_rows

MakeModel = Callable[..., CLIPRewardModel]
MakeFeed = Callable[..., Feed]
MakeData = Callable[..., Path]


@pytest.fixture(scope="module")
def model(tiny_model: MakeModel) -> CLIPRewardModel:
    return tiny_model("ict")


def epoch(feed: Feed, number: int) -> list[int]:
    first = number * feed.batches_per_epoch
    return [row for step in range(first, first + len(feed)) for row in feed.row_ids(step)]


def assert_same_batches(left: Iterable[Batch], right: Iterable[Batch]) -> None:
    for one, other in zip(left, right, strict=True):
        assert one.row_ids.tolist() == other.row_ids.tolist()
        assert one.prompts == other.prompts
        assert torch.equal(one.stacked(), other.stacked())


def test_feed_order_repeats_for_a_seed_and_differs_for_another(
    model: CLIPRewardModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    orders = [epoch(make_feed(model, pick_high, seed=seed), 0) for seed in (1, 1, 2)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_feed_epoch_holds_every_row_once_in_an_order_of_its_own(
    model: CLIPRewardModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    feed = make_feed(model, pick_high)
    assert feed.batches_per_epoch == 4
    assert sorted(epoch(feed, 0)) == sorted(epoch(feed, 1)) == list(range(24))
    assert epoch(feed, 0) != epoch(feed, 1)
    assert epoch(feed, 0) == epoch(make_feed(model, pick_high), 0)


def test_feed_rest_of_an_epoch_that_fills_no_batch_is_left_out(
    model: CLIPRewardModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    feed = make_feed(model, pick_high, batch_size=7)
    assert feed.batches_per_epoch == 3
    assert len(set(epoch(feed, 0))) == 21


def test_feed_in_order_goes_once_through_all_rows(
    model: CLIPRewardModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    ordered = make_feed(model, pick_high).in_order(7)
    batches = list(ordered.steps(0, ordered.batches_per_epoch))
    assert [len(batch.row_ids) for batch in batches] == [7, 7, 7, 3]
    assert torch.cat([batch.row_ids for batch in batches]).tolist() == list(range(24))


@pytest.mark.parametrize("num_processes", [2, 3])
def test_feed_shards_partition_the_batch(
    model: CLIPRewardModel, pick_high: Path, make_feed: MakeFeed, num_processes: int
) -> None:
    whole = make_feed(model, pick_high)
    shards = [
        make_feed(model, pick_high, shard=(rank, num_processes)) for rank in range(num_processes)
    ]
    for step in range(6):
        parts = [shard.row_ids(step) for shard in shards]
        assert {len(part) for part in parts} == {6 // num_processes}
        assert sorted(row for part in parts for row in part) == sorted(whole.row_ids(step))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_feed_resumed_at_a_step_gives_the_same_batches(
    model: CLIPRewardModel, pick_high: Path, make_feed: MakeFeed, num_workers: int
) -> None:
    options: dict[str, Any] = {"cache_pixels": num_workers == 0, "num_workers": num_workers}
    whole = list(make_feed(model, pick_high, **options).steps(0, 7))
    resumed = list(make_feed(model, pick_high, **options).steps(4, 7))
    assert_same_batches(whole[4:], resumed)


def test_feed_without_cache_gives_the_same_batches(
    model: CLIPRewardModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    cached = make_feed(model, pick_high).steps(0, 3)
    direct = make_feed(model, pick_high, cache_pixels=False).steps(0, 3)
    assert_same_batches(cached, direct)


def test_feed_labels_come_from_their_own_columns(
    model: CLIPRewardModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    batch = make_feed(model, pick_high)[0]
    assert batch.targets is not None
    expected = 0.8 + batch.row_ids.double() / 1000
    torch.testing.assert_close(batch.targets.e2.double(), expected, rtol=0, atol=1e-6)
    for column, value in ((batch.targets.e1, 0.1), (batch.targets.r1, 0.05)):
        torch.testing.assert_close(column, torch.full((6,), value))
    torch.testing.assert_close(batch.targets.r2, torch.full((6,), 0.6))


def test_feed_captions_keep_images_and_captions_together(
    tiny_model: MakeModel, captions: Path, make_feed: MakeFeed
) -> None:
    feed = make_feed(tiny_model("clipscore"), captions)
    batch = feed[0]
    pixels = batch.stacked()
    assert pixels.shape == (6, 4, 3, 16, 16)
    assert batch.targets is None
    means = pixels.double().mean(dim=(-1, -2))
    for row, prompts in enumerate(batch.prompts):
        for place, prompt in enumerate(prompts):
            if prompt == "a red square":
                assert means[row, place].argmax() == 0
            if prompt == "a blue square":
                assert means[row, place].argmax() == 2


def test_read_rows_families_of_unequal_size_are_refused(captions: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(captions / "captions" / "train.parquet")
    (tmp_path / "captions").mkdir()
    table.iloc[:-1].to_parquet(tmp_path / "captions" / "train.parquet")
    with pytest.raises(DataError, match=r"have \[3, 4\] images"):
        read_rows(DataConfig(format="captions", path=tmp_path), "train", None)


def test_read_rows_limit_takes_the_first_rows(pick_high: Path) -> None:
    config = DataConfig(format="pick-high", path=pick_high)
    assert list(read_rows(config, "train", 5)) == list(read_rows(config, "train", None))[:5]


def test_prompt_ids_are_equal_for_equal_prompts_only() -> None:
    ids = prompt_ids(["a", "b", "a", "a "])
    assert ids.dtype == torch.int64
    assert (ids[0] == ids[2]).item()
    assert len(set(ids.tolist())) == 3


@pytest.mark.parametrize(
    ("num_parts", "expected"), [(1, [5]), (2, [3, 2]), (4, [2, 1, 1, 1]), (8, [1, 1, 1, 1, 1])]
)
def test_batch_split_keeps_order_and_all_rows(
    model: CLIPRewardModel,
    pick_high: Path,
    make_feed: MakeFeed,
    num_parts: int,
    expected: list[int],
) -> None:
    batch = make_feed(model, pick_high, batch_size=5)[0]
    parts = batch.split(num_parts)
    assert [len(part.prompts) for part in parts] == expected
    assert torch.cat([part.row_ids for part in parts]).tolist() == batch.row_ids.tolist()
    assert sum((part.prompts for part in parts), ()) == batch.prompts
    assert batch.targets is not None
    e2 = torch.cat([part.targets.e2 for part in parts if part.targets is not None])
    assert torch.equal(e2, batch.targets.e2)


def damage(folder: Path, *rows: int) -> None:
    for row in rows:
        (folder / "pick_easy_img" / "train" / f"{row}_1.png").write_bytes(b"no image")


def test_feed_cached_unreadable_rows_are_left_out_of_every_epoch(
    model: CLIPRewardModel, own_pick_high: MakeData, make_feed: MakeFeed
) -> None:
    folder = own_pick_high()
    damage(folder, 2, 7)
    feed = make_feed(model, folder, batch_size=5, max_skip_fraction=0.2)
    assert sorted(feed.skipped) == [2, 7]
    assert "2_1.png" in feed.skipped[2]
    assert sorted(epoch(feed, 0)) == [row for row in range(12) if row not in (2, 7)]


@pytest.mark.parametrize("cache_pixels", [True, False])
def test_feed_more_unreadable_rows_than_allowed_stop_the_run(
    model: CLIPRewardModel, own_pick_high: MakeData, make_feed: MakeFeed, cache_pixels: bool
) -> None:
    folder = own_pick_high()
    damage(folder, 2, 7)
    with pytest.raises(DataError, match=r"2 of 12 rows have an unreadable image.*0\.16"):  # noqa: PT012
        feed = make_feed(model, folder, cache_pixels=cache_pixels, max_skip_fraction=0.16)
        for batch in feed.steps(0, 2):
            feed.count_skipped(batch.skipped)


def test_feed_uncached_unreadable_rows_make_their_batch_smaller(
    model: CLIPRewardModel, own_pick_high: MakeData, make_feed: MakeFeed
) -> None:
    folder = own_pick_high()
    sound = make_feed(model, folder, cache_pixels=False)
    expected = [sound.row_ids(step) for step in range(4)]
    damage(folder, 2, 7)
    feed = make_feed(model, folder, cache_pixels=False, max_skip_fraction=0.2)
    for step, batch in enumerate(feed.steps(0, 4)):
        assert batch.row_ids.tolist() == [row for row in expected[step] if row not in (2, 7)]
        assert sorted(batch.skipped) == [row for row in (2, 7) if row in expected[step]]
        assert batch.pixels is not None
        assert len(batch.pixels) == len(batch.prompts) == len(batch.row_ids)


def test_feed_batch_without_any_readable_row_is_empty(
    model: CLIPRewardModel, own_pick_high: MakeData, make_feed: MakeFeed
) -> None:
    folder = own_pick_high(num_train=2)
    damage(folder, 0, 1)
    batch = make_feed(model, folder, cache_pixels=False, batch_size=2, max_skip_fraction=1)[0]
    assert (batch.pixels, batch.rows, batch.targets) == ((), (), None)
    assert sorted(batch.skipped) == [0, 1]


def test_feed_smaller_than_a_batch_is_refused(
    model: CLIPRewardModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    with pytest.raises(UsageError, match="batch size is 25, but there are 24 usable rows"):
        make_feed(model, pick_high, batch_size=25)


def test_feed_leave_out_keeps_rows_from_training(
    model: CLIPRewardModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    feed = make_feed(model, pick_high, max_skip_fraction=0.1)
    assert 5 in epoch(feed, 0)
    feed.leave_out({5: "no reason", 6: "none"})
    assert feed.usable == [row for row in range(24) if row not in (5, 6)]
    seen = {row for number in range(9) for row in epoch(feed, number)}
    assert seen == set(feed.usable)
    with pytest.raises(DataError, match="3 of 24 rows"):
        feed.leave_out({7: "one too many"})
