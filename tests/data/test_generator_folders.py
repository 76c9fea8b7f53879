from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visreward.core.errors import DataError
from visreward.data.generator_folders import HUMAN_SCORES_FILE, read_generator_images


def write(folder: Path, *names: str, prompt: str | None = "a cat\non a mat\n") -> None:
    for name in names:
        image = folder / name
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"no real picture")
        if prompt is not None:
            image.with_suffix(".txt").write_text(prompt, encoding="utf-8")


def test_images_of_one_name_and_prompt_are_one_row_with_the_human_scores(tmp_path: Path) -> None:
    write(tmp_path, "one/animals/0.png", "two/animals/0.jpg", "one/arts/deep/0.webp")
    (tmp_path / HUMAN_SCORES_FILE).write_text('{"one": 7.5, "two": 2}', encoding="utf-8")
    found = read_generator_images(tmp_path)
    assert found.problems == ()
    animals, arts = found.rows
    assert (animals.id, animals.category, animals.prompt) == (
        "animals/0",
        "animals",
        "a cat\non a mat",
    )
    assert [image.generator for image in animals.images] == ["one", "two"]
    assert [image.overall for image in animals.images] == [7.5, 2.0]
    assert animals.images[1].image == tmp_path / "two/animals/0.jpg"
    assert (arts.id, len(arts.images)) == ("arts/deep/0", 1)
    assert not animals.has_ranks


def test_images_of_another_prompt_are_another_row(tmp_path: Path) -> None:
    write(tmp_path, "one/animals/0.png", prompt="a cat")
    write(tmp_path, "two/animals/0.png", prompt="a dog")
    assert [row.prompt for row in read_generator_images(tmp_path).rows] == ["a cat", "a dog"]


def test_image_without_a_prompt_and_unscored_generator_are_named(tmp_path: Path) -> None:
    write(tmp_path, "one/animals/0.png", "two/animals/0.png")
    write(tmp_path, "one/animals/1.png", prompt=None)
    write(tmp_path, "one/animals/2.png", prompt=" \n")
    (tmp_path / HUMAN_SCORES_FILE).write_text('{"one": 1, "three": 2}', encoding="utf-8")
    found = read_generator_images(tmp_path)
    assert len(found.rows) == 1
    assert [image.overall for image in found.rows[0].images] == [1.0, None]
    problems = {problem.kind: problem for problem in found.problems}
    assert problems["image without a prompt"].examples == (
        "one/animals/1.png has no 1.txt",
        "one/animals/2.txt is empty",
    )
    assert not problems["image without a prompt"].is_warning
    assert problems["generator that people did not score"].examples == ("two",)
    assert problems["generator without images"].examples == ("three",)


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "0.png", "one/0.png")
    with pytest.raises(DataError, match="No image with a prompt was found"):
        read_generator_images(tmp_path)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (["one", "two"], "holds a list, expected a score per generator"),
        ({}, "holds a dict, expected a score per generator"),
        ({"one": "best"}, "has 'best' for 'one', expected a number"),
        ({"one": float("nan")}, "has nan for 'one', expected a number"),
    ],
)
def test_human_scores_of_another_shape_are_refused(tmp_path: Path, held: Any, message: str) -> None:
    write(tmp_path, "one/animals/0.png")
    (tmp_path / HUMAN_SCORES_FILE).write_text(json.dumps(held), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_generator_images(tmp_path)


def test_prompts_of_a_category_in_one_list_need_no_text_files(tmp_path: Path) -> None:
    write(tmp_path, "one/anime/00001.jpg", "two/anime/00001.jpg", prompt=None)
    write(tmp_path, "one/arts/a7.png", "one/arts/b.png", prompt=None)
    (tmp_path / "anime.json").write_text('["a cat", "a dog", ""]', encoding="utf-8")
    prompts = [{"id": "a7", "prompt": "a house"}, {"prompt": "no id"}]
    (tmp_path / "arts.json").write_text(json.dumps(prompts), encoding="utf-8")
    found = read_generator_images(tmp_path)
    assert [(row.id, row.prompt, len(row.images)) for row in found.rows] == [
        ("anime/00001", "a dog", 2),
        ("arts/a7", "a house", 1),
    ]
    assert {problem.kind: problem.count for problem in found.problems} == {
        "malformed prompt": 2,
        "image without a prompt": 1,
    }


def test_published_prompts_of_imagereward_are_100_with_ids(
    tmp_path: Path, shared_dir: Path
) -> None:
    name = "imagereward_benchmark_prompts"
    held = (shared_dir / "data" / f"{name}.json").read_text(encoding="utf-8")
    (tmp_path / f"{name}.json").write_text(held, encoding="utf-8")
    rows = json.loads(held)
    write(tmp_path, *(f"one/{name}/{row['id']}.png" for row in rows), prompt=None)
    found = read_generator_images(tmp_path)
    assert found.problems == ()
    assert len(found.rows) == 100
    assert {row.prompt for row in found.rows} == {row["prompt"].strip() for row in rows}
