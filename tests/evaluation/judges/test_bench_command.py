"""visreward bench --judge: judges beside models, what they cost, and a run that stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from visreward.cli.main import app
from visreward.evaluation.benchmarks.result_files import read_results, read_samples

if TYPE_CHECKING:
    from tests.evaluation.judges.conftest import Ask, JudgeServer, Reply

WriteJudge = Callable[..., Path]
RANKS = ([1, 2], [2, 1], [1, 2])  # the first group and the last prefer the redder image


def bench(data: Path, *options: object) -> Result:
    output = data.parent / "out"
    arguments = ["bench", "hpdv3", "--data", data, "--output", output, *options]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path: Path, red: Callable[[int], Path]) -> Path:
    """Return three pairs: a redder image, then another."""
    path = tmp_path / "groups.jsonl"
    lines: list[dict[str, Any]] = [
        {
            "id": f"g{number}",
            "prompt": "something red",
            "candidates": [
                {"image": red(level).name, "rank": rank}
                for level, rank in zip((200 - number, 50 + number), ranks, strict=True)
            ],
        }
        for number, ranks in enumerate(RANKS)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def redder(server: JudgeServer) -> Callable[[Ask], Reply]:
    def answers(ask: Ask) -> Reply:
        left, right = ask.redness
        return server.Reply(text="[[A>B]]" if left > right else "[[B>A]]")

    return answers


def test_judges_stand_beside_models_with_their_counts(
    server: JudgeServer, write_judge: WriteJudge, data: Path
) -> None:
    server.answers = redder(server)
    prices = {"input_per_million": 10.0, "output_per_million": 100.0}
    judge = write_judge("pairs", endpoint={"prices": prices}, name="red.yaml")
    result = bench(data, "--judge", judge, "--model", "random")
    assert result.exit_code == 0, result.output
    (found,) = read_results(data.parent / "out" / "tiny" / "results.json")
    assert (found.model, found.num_groups) == ("tiny", 3)
    assert found.metrics[0].value == pytest.approx(2 / 3)
    assert found.config["num_answers"] == 6  # three pairs in both orders
    assert found.config["cost"] == pytest.approx(6 * (100 * 10 + 10 * 100) / 1e6)
    assert "6 answers" in result.stderr
    samples = list(read_samples(data.parent / "out" / "tiny" / "samples_hpdv3.jsonl"))
    assert [sample.correct for sample in samples] == [1, 0, 1]
    assert samples[0].verdicts[0].outcomes == ("first", "first")
    (chance,) = read_results(data.parent / "out" / "random" / "results.json")
    assert "num_answers" not in chance.config
    assert "tiny" in (data.parent / "out" / "hpdv3.html").read_text(encoding="utf-8")


def test_judge_of_scores_is_asked_once_for_each_image(
    server: JudgeServer, write_judge: WriteJudge, data: Path
) -> None:
    server.answers = lambda ask: server.Reply(text=f"[[{1 + round(ask.redness[0] / 32)}]]")
    result = bench(data, "--judge", write_judge("scores"))
    assert result.exit_code == 0, result.output
    (found,) = read_results(data.parent / "out" / "tiny" / "results.json")
    assert found.metrics[0].value == pytest.approx(2 / 3)
    assert len(server.asks) == 6


def test_stopped_judge_says_so_with_its_counts_and_goes_on_from_its_cache(
    server: JudgeServer, write_judge: WriteJudge, data: Path
) -> None:
    right = redder(server)
    server.answers = lambda ask: server.Reply(status=401) if ask.total > 2 else right(ask)
    judge = write_judge("pairs", endpoint={"concurrency": 1}, cache="kept.sqlite")
    result = bench(data, "--judge", judge)
    assert result.exit_code == 2, result.output
    assert "goes on from the judge's cache" in result.stderr
    assert "2 answers" in result.stderr
    assert not (data.parent / "out" / "tiny" / "results.json").exists()
    asked = len(server.asks)
    server.answers = right
    result = bench(data, "--judge", judge)
    assert result.exit_code == 0, result.output
    (found,) = read_results(data.parent / "out" / "tiny" / "results.json")
    assert found.config["num_cached"] == 2
    assert len(server.asks) == asked + 4


def test_unread_verdict_is_wrong_and_counted(
    server: JudgeServer, write_judge: WriteJudge, data: Path
) -> None:
    right = redder(server)
    server.answers = lambda ask: server.Reply(text="Both.") if ask.total == 1 else right(ask)
    result = bench(data, "--judge", write_judge("pairs", endpoint={"concurrency": 1}))
    assert result.exit_code == 1, result.output
    (found,) = read_results(data.parent / "out" / "tiny" / "results.json")
    assert found.metrics[0].value == pytest.approx(1 / 3)
    assert found.config["num_unparsed"] == 1


def test_annotator_is_held_against_the_others(data: Path) -> None:
    # The others put the redder image first in every group, whatever the file of groups says.
    ranks = {"ann": [1, 2], "bo": [1, 2], "cy": [1, 2]}
    lines = [{"id": "g0", "ranks": ranks}, {"id": "g1", "ranks": {**ranks, "ann": [2, 1]}}]
    votes = data.parent / "votes.jsonl"
    votes.write_text("".join(json.dumps(line) + "\n" for line in lines))
    judge = data.parent / "ann.yaml"
    judge.write_text(
        yaml.safe_dump({"kind": "humans", "annotations": votes.name, "annotator": "ann"})
    )
    result = bench(data, "--judge", judge)
    assert result.exit_code == 0, result.output
    (found,) = read_results(data.parent / "out" / "ann" / "results.json")
    assert (found.num_groups, found.metrics[0].value) == (2, 0.5)
    both = bench(data, "--judge", judge, "--model", "random")
    assert both.exit_code == 2
    assert "one at a time" in both.stderr
