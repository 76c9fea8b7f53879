"""Rows of every format of preferences, their splits, and what objectives may take of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visreward.core.errors import DataError, UsageError
from visreward.data.base import load_optional
from visreward.data.rated_edits import PairVotes
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import DataConfig, TrainConfig
from visreward.training.data.batches import Row, readable
from visreward.training.data.feeds import Feed
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.reading import read_rows, read_splits
from visreward.training.modeling.build import build_model
from visreward.training.modeling.fitting_parts import check_parts, wanted_rows
from visreward.training.objectives.pairwise import PairwiseObjective
from visreward.training.options.objective_config import PairwiseConfig

pa = load_optional("pyarrow", extra="train")
pq = load_optional("pyarrow.parquet", extra="train")
MakeRecipe = Callable[..., TrainConfig]


def picture(number: int) -> bytes:
    """Return a PNG of one colour, each number its own."""
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), (number % 256, number // 256, 90)).save(stream, "PNG")
    return stream.getvalue()


def hpdv3(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "prompt": f"a picture of thing {number // 2}",
        "path1": f"{number}-better.png",
        "path2": f"{number}-worse.png",
        "choice_dist": [number, 1],
        "confidence": number % 11 / 10,
    }
    return row | changes


def editreward_data(number: int, left: float, right: float, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"instruction": f"edit {number}", "source_img": picture(number % 4)}
    for side, score in (("left", left), ("right", right)):
        row |= {
            f"{side}_output_image": {"bytes": picture(100 + 2 * number + (side == "right"))},
            f"{side}_img_rel": f"{number}/{side}.png",
            f"{side}_model": "m",
            f"{side}_overall_score": score,
            f"{side}_instruction_following_score": score + 1,
            f"{side}_quality_aesthetic_score": 2.0,
        }
    return row | changes


def write_json(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows, and the images that they name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows), encoding="utf-8")
    for number, row in enumerate(rows):
        names = [row[key] for key in ("path_src", "path1", "path2") if key in row]
        for place, name in enumerate([*names, *row.get("generations", [])]):
            (file.parent / name).write_bytes(picture(7 * number + place))


def write_table(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=3)


def write_hpdv3(folder: Path) -> None:
    write_json(folder / "train.json", [hpdv3(number) for number in range(8)])


def write_imagerewarddb(folder: Path) -> None:
    rows = [
        {
            "prompt": f"prompt {number}",
            "generations": [f"{number}-{place}.png" for place in range(3)],
            "ranking": [2, 1, 1],
        }
        for number in range(8)
    ]
    write_json(folder / "train.json", rows)


def write_pick_a_pic(folder: Path) -> None:
    rows = [
        {
            "caption": f"prompt {number}",
            "image_0_uid": f"{number}-0",
            "image_1_uid": f"{number}-1",
            "jpg_0": picture(2 * number),
            "jpg_1": picture(2 * number + 1),
            "label_0": label,
            "label_1": 1 - label,
            "has_label": number != 3,
        }
        for number, label in enumerate([1.0, 0.0, 0.5, 1.0, 1.0, 0.0, 1.0, 1.0])
    ]
    write_table(folder / "data" / "train-00000-of-00002.parquet", rows[:5])
    write_table(folder / "data" / "train-00001-of-00002.parquet", rows[5:])


def write_editreward_data(folder: Path) -> None:
    rows = [editreward_data(number, 3.0, float(number)) for number in range(8)]
    write_table(folder / "train.parquet", rows)


WRITERS: dict[str, Callable[[Path], None]] = {
    "hpdv3": write_hpdv3,
    "imagerewarddb": write_imagerewarddb,
    "pick-a-pic": write_pick_a_pic,
    "editreward-data": write_editreward_data,
}
NUM_ORDERED = {"hpdv3": 8, "imagerewarddb": 8, "pick-a-pic": 6, "editreward-data": 7}


def config_of(folder: Path, layout: str, **values: Any) -> DataConfig:
    return DataConfig.model_validate({"format": layout, "path": folder, **values})


@pytest.mark.parametrize("cache_pixels", [True, False])
@pytest.mark.parametrize("layout", WRITERS)
def test_every_format_trains_its_kind_of_model(
    edit_recipe: MakeRecipe, tmp_path: Path, layout: str, cache_pixels: bool
) -> None:
    WRITERS[layout](tmp_path / "data")
    recipe = edit_recipe(
        kind="editreward" if layout.startswith("edit") else "hpsv3",
        data={
            "format": layout,
            "path": tmp_path / "data",
            "cache_pixels": cache_pixels,
            "validation": {"held_out": 0.3},
        },
    )
    check_parts(recipe)
    rows = read_rows(recipe.data, "train", None, wanted="order")
    assert len(rows) == NUM_ORDERED[layout]
    model = build_model(recipe.model, [row.prompts[0] for row in rows], seed=0)
    assert isinstance(model, VLMReward)
    feed = Feed(rows, pixel_reader(model), config=recipe.data, batch_size=3, seed=0)
    for batch in feed.steps(0, 2):
        output = PairwiseObjective(model, PairwiseConfig(name="pairwise"))(batch)
        assert output.num_pairs == (6 if layout == "imagerewarddb" else 3)
        output.loss.backward()
    assert all(p.grad is not None for p in model.heads.parameters())


def test_rows_of_tables_decode_the_image_of_their_row(
    edit_recipe: MakeRecipe, tmp_path: Path
) -> None:
    write_pick_a_pic(tmp_path)
    config = config_of(tmp_path, "pick-a-pic", cache_pixels=False)
    rows = read_rows(config, "train", None)
    model = build_model(edit_recipe().model, ["a"], seed=0)
    feed = Feed(rows, pixel_reader(model), config=config, batch_size=8, seed=0)
    batch = feed[0]
    assert batch.pixels is not None
    reds = [[int(image[0].float().mean()) for image in row] for row in batch.pixels]
    assert reds == [[2 * number, 2 * number + 1] for number in batch.row_ids.tolist()]


def test_rows_of_tables_come_row_group_by_row_group(
    edit_recipe: MakeRecipe, tmp_path: Path
) -> None:
    write_table(tmp_path / "train.parquet", [editreward_data(n, 1.0, 2.0) for n in range(12)])
    config = config_of(tmp_path, "editreward-data", cache_pixels=False)
    model = build_model(edit_recipe().model, ["a"], seed=0)
    rows = read_rows(config, "train", None)
    feed = Feed(rows, pixel_reader(model), config=config, batch_size=3, seed=0)
    orders = []
    for epoch in range(4):
        groups = [feed.row_ids(4 * epoch + step) for step in range(4)]
        assert all(len({row // 3 for row in group}) == 1 for group in groups)
        orders.append([row for group in groups for row in group])
        assert sorted(orders[-1]) == list(range(12))
    assert len({tuple(order) for order in orders}) == 4
    assert any(order[:3] != sorted(order[:3]) for order in orders)


def test_worker_processes_read_tables_alike(edit_recipe: MakeRecipe, tmp_path: Path) -> None:
    write_editreward_data(tmp_path)
    model = build_model(edit_recipe().model, ["a"], seed=0)
    found = []
    for num_workers in (0, 2):
        config = config_of(tmp_path, "editreward-data", cache_pixels=False, num_workers=num_workers)
        rows = read_rows(config, "train", None)
        feed = Feed(rows, pixel_reader(model), config=config, batch_size=4, seed=0)
        next(feed.steps(0, 1))  # opens the table in this process
        found.append(list(feed.steps(0, 4)))
    for one, other in zip(*found, strict=True):
        assert one.row_ids.tolist() == other.row_ids.tolist()
        assert one.pixels is not None
        assert other.pixels is not None
        for own, same in zip(one.pixels, other.pixels, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(own, same, strict=True))


def test_table_row_with_an_image_that_is_not_there_is_skipped(
    edit_recipe: MakeRecipe, tmp_path: Path
) -> None:
    rows = [editreward_data(number, 1.0, 2.0) for number in range(4)]
    rows[2]["left_output_image"] = {"bytes": b""}
    write_table(tmp_path / "train.parquet", rows)
    model = build_model(edit_recipe().model, ["a"], seed=0)
    for cache_pixels in (True, False):
        config = config_of(
            tmp_path, "editreward-data", cache_pixels=cache_pixels, max_skip_fraction=0.5
        )
        feed = Feed(
            read_rows(config, "train", None),
            pixel_reader(model),
            config=config,
            batch_size=3 if cache_pixels else 4,
            seed=0,
        )
        batch = feed[0]
        assert sorted(batch.row_ids.tolist()) == [0, 1, 3]
        reason = (feed.skipped | batch.skipped)[2]
        assert "Row 2 of" in reason
        assert "no encoded image in 'left_output_image'" in reason


def test_edit_row_knows_ratings_votes_and_where_it_is_from(tmp_path: Path) -> None:
    write_editreward_data(tmp_path / "tables")
    row = read_rows(config_of(tmp_path / "tables", "editreward-data"), "train", None)[5]
    assert (row.overall, row.is_rated, row.id) == ((3.0, 5.0), True, "train.parquet:5")
    assert row.dimensions == ((4.0, 2.0), (6.0, 2.0))
    assert [str(file).rpartition(":")[2] for file in row.files] == [
        "source_img",
        "left_output_image",
        "right_output_image",
    ]
    write_hpdv3(tmp_path / "json")
    (*_, last) = read_rows(config_of(tmp_path / "json", "hpdv3"), "train", None)
    assert (last.overall, last.is_rated) == ((-1.0, -2.0), False)
    assert last.votes == (PairVotes(one=0, other=1, for_one=7, for_other=1),)


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [("any", [0, 1, 2, 3]), ("labels", [0, 1, 2]), ("order", [0, 1])],
)
def test_rows_without_what_is_wanted_are_left_out_and_counted(
    tmp_path: Path, wanted: Any, kept: list[int]
) -> None:
    labels = [(1.0, True), (0.0, True), (0.5, True), (1.0, False)]
    table = [
        {
            "caption": f"{number}",
            "image_0_uid": "a",
            "image_1_uid": "b",
            "label_0": label,
            "label_1": 1 - label,
            "has_label": has_label,
        }
        for number, (label, has_label) in enumerate(labels)
    ]
    write_table(tmp_path / "train.parquet", table)
    rows = read_rows(config_of(tmp_path, "pick-a-pic"), "train", None, wanted=wanted)
    assert [int(row.prompts[0]) for row in rows] == kept
    assert len(rows.left_out) == (len(kept) < 4)
    if rows.left_out:
        assert rows.left_out[0].startswith(f"{4 - len(kept)} row(s) have no label")


def test_tie_with_a_better_dimension_is_kept_where_order_is_wanted(tmp_path: Path) -> None:
    plain = {"prompt": "a", "path_src": "s.png", "path1": "1.png", "path2": "2.png"}
    tie = editreward_data(0, 2.0, 2.0)
    write_table(
        tmp_path / "train.parquet",
        [tie, tie | {"left_quality_aesthetic_score": 3.0}, tie | {"instruction": "b"}],
    )
    rows = read_rows(config_of(tmp_path, "editreward-data"), "train", None, wanted="order")
    assert rows.numbers.tolist() == [1]
    write_json(tmp_path / "train.json", [plain, plain | {"tie_case": True, "prompt": "b"}])
    config = config_of(tmp_path, "editreward")
    assert len(read_rows(config, "train", None, wanted="order")) == 1
    assert len(read_rows(config, "train", None, wanted="labels")) == 2
    with pytest.raises(DataError, match=r"0 rows to use.* Left out: 2 row\(s\) have no ratings"):
        read_rows(config, "train", None, wanted="ratings")


def test_malformed_rows_are_left_out_up_to_a_share(tmp_path: Path) -> None:
    rows = [hpdv3(0), hpdv3(1, path1=None), hpdv3(2), hpdv3(3, prompt="")]
    write_json(tmp_path / "train.json", [hpdv3(number) for number in range(4)])
    (tmp_path / "train.json").write_text(json.dumps(rows), encoding="utf-8")
    config = config_of(tmp_path, "hpdv3", max_skip_fraction=0.5)
    found = read_rows(config, "train", None)
    assert found.numbers.tolist() == [0, 2]
    assert found.left_out[0].startswith("2 row(s) are malformed, such as: Row 1 of ")
    with pytest.raises(DataError, match=r"2 of 4 rows are malformed, more than .*0\.3\. The first"):
        read_rows(config.model_copy(update={"max_skip_fraction": 0.3}), "train", None)


@pytest.mark.parametrize(("unknown", "kept"), [("keep", [3, 4, 5]), ("drop", [3, 4])])
def test_rows_below_a_confidence_are_left_out(
    tmp_path: Path, unknown: str, kept: list[int]
) -> None:
    rows = [hpdv3(number) for number in range(5)] + [hpdv3(5, confidence=None)]
    write_json(tmp_path / "train.json", rows)
    config = config_of(tmp_path, "hpdv3", min_confidence=0.3, unknown_confidence=unknown)
    found = read_rows(config, "train", None)
    assert [row.votes[0].for_one for row in found] == kept
    assert found.left_out[0].startswith(f"{6 - len(kept)} row(s) have a confidence below 0.3")


@pytest.mark.parametrize(("share", "num"), [(0.01, 0), (0.99, 3)])
def test_held_out_share_of_few_groups_that_takes_none_or_all_is_said(
    tmp_path: Path, share: float, num: int
) -> None:
    write_json(tmp_path / "train.json", [hpdv3(number) for number in range(3)])
    config = config_of(tmp_path, "hpdv3", validation={"held_out": share})
    with pytest.raises(DataError, match=f"holds out {num} of the 3 rows.*Choose another share"):
        read_splits(config, wanted="order")


def test_held_out_rows_share_no_source_image_and_no_prompt_with_training(tmp_path: Path) -> None:
    write_table(
        tmp_path / "edits" / "train.parquet",
        [
            editreward_data(number, 1.0, 2.0, source_img=picture(number % 40))
            for number in range(160)
        ],
    )
    write_json(tmp_path / "images" / "train.json", [hpdv3(number) for number in range(160)])

    def source(row: Row) -> object:
        return readable(row.sources[0])

    def prompt(row: Row) -> object:
        return row.prompts[0]

    for layout, folder, group in (
        ("editreward-data", "edits", source),
        ("hpdv3", "images", prompt),
    ):
        config = config_of(tmp_path / folder, layout, validation={"held_out": 0.25})
        splits = read_splits(config, wanted="order")
        groups = [{group(row) for row in rows} for rows in (splits.train, splits.validation)]
        assert not groups[0] & groups[1]
        assert len(splits.train) + len(splits.validation) == 160
        assert 15 < len(splits.validation) < 70
        again = read_splits(config, wanted="order")
        assert np.array_equal(again.train.numbers, splits.train.numbers)


def test_validation_comes_from_where_the_recipe_says(tmp_path: Path) -> None:
    write_hpdv3(tmp_path)
    write_json(tmp_path / "test.json", [hpdv3(number) for number in range(2)])
    write_json(tmp_path / "own" / "few.json", [hpdv3(number) for number in range(3)])
    with pytest.raises(UsageError, match=r"splits: train, test\).*validation.held_out=0.02"):
        read_splits(config_of(tmp_path, "hpdv3"), wanted="order")
    for values, expected in (
        ({"split": "test"}, 2),
        ({"path": tmp_path / "own" / "few.json"}, 3),
    ):
        config = config_of(tmp_path, "hpdv3", validation=values)
        splits = read_splits(config, wanted="order")
        assert (len(splits.train), len(splits.validation)) == (8, expected)
    single = config_of(tmp_path / "own" / "few.json", "hpdv3")
    assert len(read_rows(single, "train", None)) == 3
    with pytest.raises(UsageError, match="its splits: one file"):
        read_splits(single, wanted="order")


def test_mixture_gives_each_file_its_share_of_every_epoch(
    edit_recipe: MakeRecipe, tmp_path: Path
) -> None:
    for name, count in (("a", 6), ("b", 18)):
        write_json(tmp_path / f"{name}.json", [hpdv3(n, prompt=name) for n in range(count)])
    mixture = "- {path: a.json, weight: 3}\n- {path: b.json}\n"
    (tmp_path / "mixture.yaml").write_text(mixture, encoding="utf-8")
    config = config_of(tmp_path / "mixture.yaml", "hpdv3", cache_pixels=False)
    rows = read_rows(config, "train", None)
    assert [row.prompts[0] for row in rows] == 6 * ["a"] + 18 * ["b"]
    model = build_model(edit_recipe().model, ["a"], seed=0)

    def order(first: int) -> list[list[int]]:
        feed = Feed(rows, pixel_reader(model), config=config, batch_size=4, seed=5)
        return [feed.row_ids(step) for step in range(first, 18)]

    seen = order(0)
    assert seen[7:] == order(7)
    for epoch in range(3):
        drawn = [row for step in seen[6 * epoch : 6 * epoch + 6] for row in step]
        assert sum(row < 6 for row in drawn) == 18
    first = [row for step in seen for row in step if row < 6]
    assert all(set(first[n : n + 6]) == set(range(6)) for n in range(0, 54, 6))
    second = [row for step in seen for row in step if row >= 6]
    assert sorted(second) == list(range(6, 24))


def test_mixture_part_whose_weight_gives_no_row_is_refused(
    edit_recipe: MakeRecipe, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_json(tmp_path / f"{name}.json", [hpdv3(n, prompt=name) for n in range(4)])
    mixture = "- {path: a.json, weight: 0.01}\n- {path: b.json}\n"
    (tmp_path / "mixture.yaml").write_text(mixture, encoding="utf-8")
    config = config_of(tmp_path / "mixture.yaml", "hpdv3", cache_pixels=False)
    model = build_model(edit_recipe().model, ["a"], seed=0)
    rows = read_rows(config, "train", None)
    feed = Feed(rows, pixel_reader(model), config=config, batch_size=2, seed=0)
    with pytest.raises(UsageError, match=r"4, 4\] usable rows and the weights \[0.01, 1.0\]"):
        feed.row_ids(0)


@pytest.mark.parametrize(
    ("kind", "sections", "message"),
    [
        ("hpsv3", {"data": {"format": "editreward"}}, "or 'imagerewarddb', not with 'pairwise'"),
        ("editreward", {"data": {"format": "editreward-bench"}}, "data of format 'editreward'"),
        (
            "hpsv3",
            {"data": {"format": "hpdv3"}, "objective": {"loss": "pointwise"}},
            "says which image is better, not how good",
        ),
        (
            "editreward",
            {"data": {"format": "editreward-data"}, "objective": {"labels": "votes"}},
            "'editreward-data' has no votes",
        ),
        ("hpsv3", {"data": {"format": "pick-a-pic", "min_confidence": 0.9}}, "no confidence"),
        (
            "editreward",
            {"data": {"validation": {"path": "x", "format": "hpdv3"}}},
            "is measured on editreward, editreward-data, editreward-bench",
        ),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    edit_recipe: MakeRecipe, kind: str, sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_parts(edit_recipe(kind=kind, **sections))


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "order"),
        ({"ties": "both-directions"}, "labels"),
        ({"loss": "bradley-terry-ties"}, "labels"),
        ({"loss": "pointwise"}, "ratings"),
    ],
)
def test_objective_wants_the_rows_that_it_learns_from(options: dict[str, Any], wanted: str) -> None:
    assert wanted_rows(PairwiseConfig(name="pairwise", **options)) == wanted
