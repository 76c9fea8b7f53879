"""Configuration files of judges, right and wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visreward.core.errors import DataError, UsageError
from visreward.evaluation.judges import load_judge
from visreward.evaluation.judges.loading import parse_judge
from visreward.evaluation.judges.scores import ScoreJudge

if TYPE_CHECKING:
    from tests.evaluation.judges.conftest import JudgeServer

ENDPOINT = {"base_url": "http://localhost:1/v1", "model": "m"}


def test_example_of_the_docs_is_loaded_whole(
    project_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    text = (project_dir / "docs" / "judges.md").read_text(encoding="utf-8")
    examples = [part.split("```")[0] for part in text.split("```yaml\n")[1:]]
    assert len(examples) >= 3
    names = []
    for number, example in enumerate(examples):
        (tmp_path / "votes.jsonl").write_text('{"id": "g", "ranks": {"anna": [1, 2]}}')
        path = tmp_path / f"judge{number}.yaml"
        path.write_text(example, encoding="utf-8")
        names.append(type(load_judge(path)).__name__)
    assert {"ScoreJudge", "PairwiseJudge", "HumanJudge", "RandomJudge"} <= set(names)


def test_toml_and_yaml_give_the_same_judge(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'kind = "scores"\n[endpoint]\nbase_url = "http://localhost:1/v1"\nmodel = "m"\n'
    )
    (tmp_path / "a.yml").write_text(
        "kind: scores\nendpoint: {base_url: http://localhost:1/v1/, model: m}\n"
    )
    one, other = load_judge(tmp_path / "a.toml"), load_judge(tmp_path / "a.yml")
    assert (one.name, one.revision) == (other.name, other.revision)
    assert one.name == "m"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "kind: None. Give one of: scores, pairs"),
        ({"kind": "score", "endpoint": ENDPOINT}, "kind: 'score'"),
        ({"kind": "pairs"}, "'endpoint' is missing"),
        (
            {"kind": "pairs", "endpoint": ENDPOINT, "order": "both"},
            "'order'. Did you mean 'orders'",
        ),
        ({"kind": "scores", "endpoint": ENDPOINT, "orders": "both"}, "unknown key 'orders'"),
        ({"kind": "pairs", "endpoint": {**ENDPOINT, "api_key": "s"}}, "'endpoint.api_key'"),
        (
            {"kind": "pairs", "endpoint": {**ENDPOINT, "retry": {"max_atempts": 2}}},
            "'endpoint.retry.max_atempts'. Did you mean 'max_attempts'",
        ),
        ({"kind": "pairs", "endpoint": {**ENDPOINT, "concurrency": 0}}, "concurrency' is 0"),
        ({"kind": "pairs", "endpoint": {**ENDPOINT, "base_url": "ftp://h"}}, "no http or https"),
        (
            {"kind": "pairs", "endpoint": {**ENDPOINT, "base_url": "localhost:1"}},
            "no http or https",
        ),
        ({"kind": "pairs", "endpoint": {**ENDPOINT, "base_url": "http://h/?k=1"}}, "query"),
        ({"kind": "pairs", "endpoint": {**ENDPOINT, "parameters": {"n": 2}}}, "n cannot be set"),
        ({"kind": "pairs", "endpoint": {**ENDPOINT, "max_cost": 1}}, "needs prices"),
        (
            {
                "kind": "pairs",
                "endpoint": {
                    **ENDPOINT,
                    "max_cost": 1,
                    "parameters": {},
                    "prices": {"input_per_million": 1, "output_per_million": 1},
                },
            },
            "needs parameters.max_tokens",
        ),
        ({"kind": "scores", "endpoint": ENDPOINT, "scale": {"low": 1, "high": 1}}, "whole steps"),
        ({"kind": "scores", "endpoint": ENDPOINT, "scale": {"step": 0.7}}, "whole steps"),
        ({"kind": "scores", "endpoint": ENDPOINT, "dimensions": []}, "dimensions"),
        ({"kind": "scores", "endpoint": ENDPOINT, "dimensions": ["a", "a"]}, "twice"),
        ({"kind": "scores", "endpoint": ENDPOINT, "dimensions": ["A b"]}, "dimensions.0"),
        ({"kind": "scores", "endpoint": ENDPOINT, "template": {"x": "x.txt"}}, "no dimension"),
        (
            {
                "kind": "scores",
                "endpoint": ENDPOINT,
                "ask": "together",
                "template": {"overall": "x.txt"},
            },
            "one template",
        ),
        ({"kind": "random", "endpoint": ENDPOINT}, "unknown key 'endpoint'"),
    ],
)
def test_wrong_configuration_is_refused_with_the_key(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_judge(values, name="j.yaml")


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_judge({"kind": "pairs", "endpoint": {"modell": "m"}, "cash": "a"}, name="j.yaml")
    text = str(caught.value)
    assert "'endpoint.base_url' is missing" in text
    assert "'endpoint.modell'. Did you mean 'model'" in text
    assert "'cash'. Did you mean 'cache'" in text


@pytest.mark.parametrize(
    "values",
    [
        {"base_url": "https://me:hunter2@host/v1", "model": "m"},
        {"base_url": "hunter2", "model": "m"},
        {**ENDPOINT, "api_key_env": "sk-hunter2"},
        {**ENDPOINT, "api_key": "hunter2"},
    ],
    ids=str,
)
def test_secret_in_the_wrong_place_is_refused_without_being_shown(values: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_judge({"kind": "pairs", "endpoint": values}, name="j.yaml")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("j.json", "{}"),
        ("j.yaml", "- 1\n"),
        ("j.yaml", "a: [\n"),
        ("j.toml", "= 1"),
        ("j.yaml", ""),
    ],
)
def test_file_without_keys_and_values_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=name):
        load_judge(tmp_path / name)


def test_missing_file_template_or_dimension_is_refused_before_anything_is_asked(
    server: JudgeServer, write_judge: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml"):
        load_judge(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match=r"gone\.txt"):
        load_judge(write_judge("pairs", template="gone.txt"))
    with pytest.raises(UsageError, match="sparkle"):
        load_judge(write_judge("scores", dimensions=["sparkle"]))
    (tmp_path / "h.yaml").write_text("{kind: humans, annotations: gone.jsonl, annotator: a}")
    with pytest.raises(DataError, match=r"gone\.jsonl"):
        load_judge(tmp_path / "h.yaml")


def test_revision_changes_with_the_words_of_a_template(
    server: JudgeServer, write_judge: Callable[..., Path], tmp_path: Path
) -> None:
    revisions = set()
    for text in ("<image>", "<image>!", "<image>!"):
        (tmp_path / "t.txt").write_text(text)
        judge = load_judge(write_judge("scores", template="t.txt"))
        assert isinstance(judge, ScoreJudge)
        revisions.add(judge.revision)
    assert len(revisions) == 2
