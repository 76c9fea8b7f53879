"""Each experiment once from end to end, tiny: nothing is learnt, everything is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import learning
from visreward import load_model
from visreward.models.vlm.reward import VLMReward

TINY = (
    "--seeds 1 --steps 2 --batch-size 2 --num-edits 16 --num-held-out 6 --num-layers 1 --workers 1"
)
ARMS = {"ablation": 6, "noise": 4, "ties": 5, "filtering": 6}

Learn = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learning")


@pytest.fixture
def learn(work: Path) -> Learn:
    """Return a function that runs an experiment and returns its record."""

    def run(name: str) -> dict[str, Any]:
        output = work / f"{name}.json"
        more = ["--wrong-labels", "0.3", "--work", str(work), "--output", str(output)]
        learning.main([name, *TINY.split(), *more])
        record: dict[str, Any] = json.loads(output.read_text())
        return record

    return run


@pytest.mark.parametrize("name", sorted(ARMS))
def test_learning_experiment_measures_every_arm_once(
    name: str, learn: Learn, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = learn(name)

    arms = record["results"]["arms"]
    assert len(arms) == ARMS[name]
    assert all(0 <= arm["figures"]["accuracy"]["value"] <= 1 for arm in arms)
    assert f"| {arms[0]['arm']} |" in capsys.readouterr().out
    assert (work / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    done = {file: file.stat().st_mtime_ns for file in (work / name).rglob("result.json")}
    assert len(done) == ARMS[name]

    assert learn(name)["results"] == record["results"]

    assert {file: file.stat().st_mtime_ns for file in done} == done
    assert f"{ARMS[name] // 3 if name == 'filtering' else ARMS[name]} done before" in (
        capsys.readouterr().err
    )


def test_learning_filtering_keeps_the_share_that_it_says(learn: Learn, work: Path) -> None:
    arms = {each["arm"]: each for each in learn("filtering")["results"]["arms"]}

    # 12 of 16 edits are noisy, 5 of them wrong; 20/46 of 12 are 5.
    assert arms["right part"]["figures"]["kept_right"]["value"] == 1
    for file in work.glob("edits-16-6/kept-by-*.json"):
        assert len({row["path_src"] for row in json.loads(file.read_text())}) == 5


def test_learning_runs_begin_with_the_tower_of_the_model_and_a_new_language_model(
    learn: Learn, work: Path
) -> None:
    learn("ties")

    start = load_model(str(work / "starts" / "editreward-mini-1-0"))
    shipped = load_model("editreward-mini")

    assert isinstance(start, VLMReward)
    assert isinstance(shipped, VLMReward)
    seen, known = (model.backbone.model.visual.state_dict() for model in (start, shipped))
    assert all(known[name].equal(weight) for name, weight in seen.items())
    assert len(start.backbone.model.language_model.layers) == 1
    words, others = (
        model.backbone.model.language_model.embed_tokens.weight for model in (start, shipped)
    )
    assert not words.equal(others)
