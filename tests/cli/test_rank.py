"""visreward rank: one prompt, best first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from visreward.models.loading import load_model

Call = Callable[..., Result]


def test_rank_json_is_the_model_s_ranking(call: Call, models: Path, pictures: list[str]) -> None:
    images = [*pictures, pictures[0]]
    result = call("rank", *images, "-p", "a cube", "-m", models / "ict-hp", "--format", "json")
    assert result.exit_code == 0, result.stderr
    expected = load_model(models / "ict-hp").rank(prompt="a cube", images=images)
    found = json.loads(result.stdout)["ranking"]
    assert [(place["rank"], place["index"]) for place in found] == [
        (place.rank, place.index) for place in expected
    ]
    assert len({place["rank"] for place in found}) == 3


def test_rank_table_and_failures(call: Call, models: Path, pictures: list[str]) -> None:
    result = call("rank", *pictures, "absent.png", "-p", "a cube", "-m", models / "ict-hp")
    assert result.exit_code == 1
    ranks = [line.split()[0] for line in result.stdout.splitlines() if ".png" in line]
    assert ranks == ["1", "2", "3"]
    assert "failed: Image 'absent.png' does not exist." in result.stderr


def test_rank_json_lists_failures(call: Call, models: Path, pictures: list[str]) -> None:
    result = call(
        "rank", "absent.png", pictures[0], "-p", "x", "-m", models / "ict-hp", "--format", "json"
    )
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [item["image"] for item in found["failed"]] == ["absent.png"]
    assert [item["image"] for item in found["ranking"]] == [pictures[0]]


def test_rank_other_format_is_refused(call: Call, pictures: list[str]) -> None:
    result = call("rank", *pictures, "-p", "x", "--format", "csv")
    assert result.exit_code == 2
    assert "printed as table or json, not csv" in result.stderr
