"""Running groups: each distinct image once, bounded, resumable, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import pytest
import torch
from PIL import Image

from visreward.core.errors import DataError
from visreward.core.types import Sample, Score
from visreward.data.base import Problem
from visreward.data.preferences import ImageBytes, JudgedImage, PreferenceRow
from visreward.evaluation.benchmarks.base import BenchData, Benchmark, Evaluation
from visreward.evaluation.benchmarks.records import BenchGroup, GroupResult, PairVerdict
from visreward.evaluation.benchmarks.results import MetricValue
from visreward.evaluation.benchmarks.runner import (
    RunFacts,
    evaluate,
    has_failures,
    judge_groups,
    picture_finder,
    score_groups,
)
from visreward.evaluation.benchmarks.scorers import EngineScorer, RandomScorer
from visreward.models.output import RewardOutput
from visreward.scoring.engine import ScoringEngine
from visreward.scoring.records import RowError, ScoredItem

if TYPE_CHECKING:
    from visreward.models.base import RewardModel
    from visreward.models.loaded import LoadedSample


def group(number: int, images: Sequence[Any], *, prompt: str = "p", **fields: Any) -> BenchGroup:
    return BenchGroup(
        row=PreferenceRow(
            id=f"g{number}",
            prompt=prompt,
            images=tuple(
                JudgedImage(image=image, rank=place + 1, generator=f"m{place}")
                for place, image in enumerate(images)
            ),
            **fields,
        ),
        cluster=prompt,
    )


class Counting:
    """A scorer that gives each sample its number."""

    name = "counting"
    revision = "r"

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def run(self, samples: Iterable[Sample | RowError]) -> Iterator[ScoredItem]:
        for index, sample in enumerate(samples):
            assert isinstance(sample, Sample)
            self.samples.append(sample)
            if str(sample.image).endswith("bad.png"):
                yield ScoredItem(index=index, sample=sample, name="x", error="broken")
            else:
                yield ScoredItem(
                    index=index, sample=sample, name="x", score=Score(value=float(index))
                )


def test_score_groups_scores_each_distinct_sample_once() -> None:
    scorer = Counting()
    groups = [
        group(0, [Path("a"), Path("b")]),
        group(1, [Path("b"), Path("a"), Path("b")]),
        group(2, [Path("a"), Path("b")], prompt="other"),
        group(3, [Path("a"), Path("b")], sources=(Path("s"),)),
        group(4, [ImageBytes(name="x", data=b"1"), ImageBytes(name="x", data=b"2")]),
        group(5, [ImageBytes(name="y", data=b"1"), Path("1")]),
    ]
    done: list[int] = []
    answers = score_groups(groups, scorer, on_groups=done.append)
    assert [[each.value for each in result.candidates] for result in answers.results] == [
        [0, 1],
        [1, 0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
        [6, 8],
    ]
    assert len(scorer.samples) == 9
    assert sum(done) == 6
    assert scorer.samples[4].source_image == Path("s")
    assert [each.image for each in answers.results[5].candidates] == ["y", "1"]
    assert [each.generator for each in answers.results[0].candidates] == ["m0", "m1"]


def test_score_groups_failed_candidate_keeps_its_reason_in_every_group() -> None:
    groups = [group(0, [Path("a"), Path("bad.png")]), group(1, [Path("bad.png"), Path("c")])]
    answers = score_groups(groups, Counting())
    first, second = answers.results
    assert (first.candidates[1].value, first.candidates[1].error) == (None, "broken")
    assert second.candidates[0].error == "broken"
    assert second.candidates[1].value == 2.0


class FaultyGroups(Sequence[BenchGroup]):
    """Five groups, the third of which cannot be made."""

    def __len__(self) -> int:
        return 5

    @overload
    def __getitem__(self, index: int) -> BenchGroup: ...

    @overload
    def __getitem__(self, index: slice) -> list[BenchGroup]: ...

    def __getitem__(self, index: int | slice) -> BenchGroup | list[BenchGroup]:
        assert isinstance(index, int)
        if index == 2:
            raise DataError("Row 2 of 'x' has no encoded image in 'jpg_0'. Correct it.")
        return group(index, [Path(f"{index}a"), Path(f"{index}b")])


def test_score_groups_group_that_cannot_be_made_is_named_and_places_are_kept() -> None:
    answers = score_groups(FaultyGroups(), Counting())
    assert [result.id for result in answers.results] == ["g0", "g1", "g3", "g4"]
    assert answers.places == (0, 1, 3, 4)
    (problem,) = answers.problems
    assert (problem.count, problem.is_warning) == (1, False)
    assert "Row 2 of 'x'" in problem.examples[0]
    find = picture_finder(BenchData(groups=FaultyGroups()), answers.places)
    assert find(2, 1) == Path("3b")
    assert find(2, "source") is None


def test_score_groups_limit_takes_the_first_groups() -> None:
    assert len(score_groups(FaultyGroups(), Counting(), limit=2).results) == 2
    assert len(score_groups(FaultyGroups(), Counting(), limit=99).results) == 4


def test_score_groups_nothing_to_score_stops() -> None:
    with pytest.raises(DataError, match="0 groups"):
        score_groups([], Counting())


class FirstWins:
    name = "first-wins"
    revision = ""

    def __init__(self, second: int = 1) -> None:
        self._second = second

    def compare(self, groups: Iterable[BenchGroup]) -> Iterator[tuple[PairVerdict, ...]]:
        for _ in groups:
            yield (PairVerdict(first=0, second=self._second, outcomes=("first", None)),)


def test_judge_groups_verdicts_reach_their_groups() -> None:
    answers = judge_groups(FaultyGroups(), FirstWins())
    assert [result.id for result in answers.results] == ["g0", "g1", "g3", "g4"]
    assert all(result.verdicts[0].outcomes == ("first", None) for result in answers.results)
    assert answers.problems[0].count == 1


@pytest.mark.parametrize("second", [2, -1])
def test_judge_groups_unknown_candidate_stops(second: int) -> None:
    with pytest.raises(DataError, match=f"0 and {second} of 'g0', which has 2"):
        judge_groups(FaultyGroups(), FirstWins(second))


def test_random_scorer_depends_on_seed_and_sample_only() -> None:
    samples = [Sample(prompt=f"p{number}", image="a.png") for number in range(2000)]
    values = [item.score.value for item in RandomScorer().run(samples) if item.score]
    again = [item.score.value for item in RandomScorer().run(reversed(samples)) if item.score]
    assert values == again[::-1]
    other = [item.score.value for item in RandomScorer(seed=1).run(samples[:9]) if item.score]
    assert set(other).isdisjoint(values)
    assert min(values) >= 0
    assert max(values) < 1
    # mean and variance of a uniform variable, within 5 standard errors
    mean = sum(values) / 2000
    assert abs(mean - 1 / 2) < 5 * (1 / 12 / 2000) ** 0.5
    assert abs(sum((value - mean) ** 2 for value in values) / 2000 - 1 / 12) < 0.01
    failed = list(RandomScorer().run([RowError(name="row", reason="broken")]))
    assert failed[0].error == "broken"


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = []
    for number in range(40):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (8, 8), (6 * number, 0, 0)).save(path)
        paths.append(path)
    return paths


def counting_engine(model: RewardModel, scored: list[str]) -> ScoringEngine:
    """Return an engine that notes the prompt of everything its model computes."""
    forward = model.preprocess

    def noted(samples: Sequence[LoadedSample]) -> Any:
        scored.extend(sample.prompt for sample in samples)
        return forward(samples)

    model.preprocess = noted  # type: ignore[method-assign]  # of this model alone
    return ScoringEngine(model, batch_size=4, num_workers=2)


def test_engine_scorer_goes_on_after_a_stop_and_scores_nothing_twice(
    likes_detail: RewardModel, pictures: list[Path], tmp_path: Path
) -> None:
    """Same content under two names, seen before and after the stop, is scored once."""
    copy = tmp_path / "copy.png"
    copy.write_bytes(pictures[0].read_bytes())
    groups = [group(n, pictures[2 * n : 2 * n + 2], prompt=f"p{n}") for n in range(20)]
    groups += [group(20, [copy, pictures[1]], prompt="p0")]
    log = tmp_path / "scores.jsonl"
    scored: list[str] = []
    engine = counting_engine(likes_detail, scored)
    whole = score_groups(groups, EngineScorer(engine, name="m", log=log))
    assert len(scored) == 40
    content = log.read_bytes()
    lines = content.splitlines(keepends=True)
    assert len(lines) == 41
    log.write_bytes(b"".join(lines[:11]) + lines[11][:20])  # cut while line 12 was written
    scored.clear()
    scorer = EngineScorer(engine, name="m", log=log)
    assert score_groups(groups, scorer) == whole
    assert scorer.num_resumed == 11
    assert len(scored) == 29
    assert log.read_bytes() == content
    scored.clear()
    assert score_groups(groups, EngineScorer(engine, name="m", log=log)) == whole
    assert scored == []


def test_engine_scorer_log_of_other_data_or_dtype_is_refused(
    likes_detail: RewardModel, pictures: list[Path], tmp_path: Path
) -> None:
    log = tmp_path / "scores.jsonl"
    engine = ScoringEngine(likes_detail, batch_size=4, num_workers=1)
    score_groups([group(0, pictures[:2])], EngineScorer(engine, name="m", log=log))
    with pytest.raises(DataError, match="made by another run"):
        score_groups([group(0, pictures[1:3])], EngineScorer(engine, name="m", log=log))
    other = EngineScorer(engine, name="m", log=log, dtype="bfloat16")
    assert other.revision.endswith("bfloat16")
    with pytest.raises(DataError, match="revision"):
        score_groups([group(0, pictures[:2])], other)


def test_engine_scorer_draws_groups_only_as_they_are_needed(
    likes_detail: RewardModel, tmp_path: Path, pictures: list[Path]
) -> None:
    """Of 600 groups that hold their images, a few windows are in memory at once."""
    data = [path.read_bytes() for path in pictures]
    drawn = 0

    class Groups(FaultyGroups):
        def __len__(self) -> int:
            return 600

        def __getitem__(self, index: int | slice) -> Any:
            nonlocal drawn
            assert isinstance(index, int)
            drawn += 1
            held = ImageBytes(name="i", data=data[index % 40])
            return group(index, [held], prompt=f"p{index}")

    ahead = []
    engine = ScoringEngine(likes_detail, batch_size=4, num_workers=1)
    scorer = EngineScorer(engine, name="m", log=tmp_path / "s.jsonl")
    num_done = 0

    def note(num: int) -> None:
        nonlocal num_done
        num_done += num
        ahead.append(drawn - num_done)

    answers = score_groups(Groups(), scorer, on_groups=note)
    assert len(answers.results) == 600
    assert max(ahead) <= 3 * 64  # windows of 64 rows


def test_engine_scorer_missing_and_not_finite_are_named(
    likes_detail: RewardModel, pictures: list[Path], tmp_path: Path
) -> None:
    class Infinite(type(likes_detail)):  # type: ignore[misc]  # the fixture's own class
        def forward(self, batch: torch.Tensor) -> RewardOutput:
            found = super().forward(batch)
            return RewardOutput(mu=found.mu / (batch[:, 1] - 3), dimensions=batch)

    model = Infinite("infinite", 1.0)
    groups = [
        group(0, [pictures[0], tmp_path / "missing.png"], prompt="two"),
        group(1, [pictures[1], pictures[2]], prompt="fine"),
    ]
    engine = ScoringEngine(model, batch_size=4, num_workers=1)
    answers = score_groups(groups, EngineScorer(engine, name="m", log=tmp_path / "s.jsonl"))
    broken, missing = answers.results[0].candidates
    assert broken.value is None
    assert "not finite" in (broken.error or "")
    assert "missing.png" in (missing.error or "")
    assert all(each.value is not None for each in answers.results[1].candidates)
    log = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [row["score"] is None for row in log] == [True, True, False, False]


def test_engine_scorer_keeps_sigma_and_dimensions(
    likes_detail: RewardModel, pictures: list[Path], tmp_path: Path
) -> None:
    engine = ScoringEngine(likes_detail, batch_size=4, num_workers=1)
    scorer = EngineScorer(engine, name="renamed", log=tmp_path / "s.jsonl")
    (result,) = score_groups([group(0, pictures[:2], prompt="four")], scorer).results
    assert result.candidates[0].dimensions == {"detail": 0.0, "length": 4.0}
    assert scorer.name == "renamed"


class ShareBench(Benchmark):
    name = "share"
    summary = "half of the groups"
    published = ()

    def read(self, path: Path | None, *, images: Path | None = None) -> BenchData:
        raise NotImplementedError

    def evaluate(self, results: Sequence[GroupResult]) -> Evaluation:
        return Evaluation(
            metrics=(MetricValue(name="share", value=0.5),),
            correct=tuple(None if number % 2 else 1.0 for number in range(len(results))),
            problems=(Problem(kind="odd", count=3, examples=("x",), is_warning=True),),
        )


def test_evaluate_joins_problems_and_counts_groups() -> None:
    odd = Problem(kind="odd", count=2, examples=("y",), is_warning=True)
    data = BenchData(groups=FaultyGroups(), problems=(odd,))
    answers = score_groups(data.groups, Counting())
    facts = RunFacts(model="m", revision="r", date="d", config={"k": 1})
    result, samples = evaluate(ShareBench(), data, answers, facts)
    assert (result.num_groups, result.num_counted) == (4, 2)
    assert [sample.correct for sample in samples] == [1.0, None, 1.0, None]
    assert [(each.kind, each.count, each.is_warning) for each in result.problems] == [
        ("odd", 5, True),
        ("group that cannot be read", 1, False),
    ]
    assert result.problems[0].examples == ("y", "x")
    assert has_failures(result)
    assert (result.date, result.config, result.revision) == ("d", {"k": 1}, "r")
