"""Which data a benchmark finds in a folder or file, real annotation files among them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from visreward.core.errors import DataError, UsageError
from visreward.data.base import load_optional
from visreward.evaluation.benchmarks.records import GroupResult
from visreward.evaluation.benchmarks.registry import BENCHMARKS, find_benchmark
from visreward.evaluation.benchmarks.results import MetricValue

pa = load_optional("pyarrow", extra="train")
pq = load_optional("pyarrow.parquet", extra="train")

Metrics = dict[tuple[str, str], MetricValue]
ByName = Callable[[Sequence[MetricValue]], Metrics]
MakeGroup = Callable[..., GroupResult]

OURS = [
    "aurora-bench",
    "aurora-bench-pointwise",
    "editscore-bench",
    "genai-bench-edit",
    "hpdv2",
    "hpdv3",
    "imagenhub",
    "imagereward",
    "mmrb2",
    "model-ranking",
    "pick-a-pic",
]


def write(file: Path, held: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(held), encoding="utf-8")
    return file


def edit(number: int, first: Any = 4, second: Any = 2) -> dict[str, Any]:
    return {
        "prompt": f"prompt {number % 3}",
        "path_src": f"{number}_s.jpg",
        "path1": f"{number}_1.jpg",
        "path2": f"{number}_2.jpg",
        "model1_dim1_score": first,
        "model2_dim1_score": second,
    }


def test_all_are_registered_under_their_own_names_and_say_what_they_are() -> None:
    assert set(OURS) <= set(BENCHMARKS.names())
    for name in OURS:
        benchmark = find_benchmark(name)
        assert benchmark.name == name
        assert benchmark.needs_data
        assert 20 < len(benchmark.summary) < 90


@pytest.mark.parametrize("name", OURS)
def test_missing_path_and_empty_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' makes no pictures of its own"):
        find_benchmark(name).read(None)
    with pytest.raises(DataError, match="There is no data in"):
        find_benchmark(name).read(tmp_path / "absent")
    with pytest.raises(DataError, match=r"Give a|Lay images out"):
        find_benchmark(name).read(tmp_path)


@pytest.mark.parametrize("name", OURS)
def test_groups_as_json_lines_are_read(tmp_path: Path, name: str) -> None:
    row = {
        "prompt": "p",
        "candidates": [{"image": "a.png", "rank": 1}, {"image": "b.png", "rank": 2}],
        "category": "c",
    }
    file = tmp_path / "groups.jsonl"
    file.write_text(json.dumps(row) + "\n{}\n", encoding="utf-8")
    data = find_benchmark(name).read(file, images=tmp_path / "pictures")
    (group,) = data.groups
    assert group.row.images[0].image == tmp_path / "pictures" / "a.png"
    assert group.category == "c"
    assert [problem.kind for problem in data.problems] == ["malformed row"]


def test_genai_bench_five_rows_one_malformed_in_json(tmp_path: Path) -> None:
    rows = [edit(0), edit(1, 2, 4), edit(2, 3, 3), edit(3, "good"), edit(4)]
    write(tmp_path / "valid_set2_full.json", rows)
    data = find_benchmark("genai-bench-edit").read(tmp_path)
    ranks = [tuple(image.rank for image in group.row.images) for group in data.groups]
    assert ranks == [(1, 2), (2, 1), (1, 1), (1, 2)]
    assert [group.cluster for group in data.groups] == [f"prompt {n}" for n in (0, 1, 2, 1)]
    (problem,) = data.problems
    assert (problem.kind, problem.count, problem.is_warning) == ("malformed row", 1, False)
    assert "Row 3 of" in problem.examples[0]


def test_genai_bench_tables_come_before_json_and_the_papers_split_first(tmp_path: Path) -> None:
    write(tmp_path / "valid_set2_full.json", [edit(0)])
    for split, num in (("test", 2), ("test_v1", 3)):
        cells = {"bytes": b"no picture", "path": None}
        row = {
            "instruct_prompt": "p",
            "vote_type": "leftvote",
            "left_model": "a",
            "right_model": "b",
            "source_image": cells,
            "left_output_image": cells,
            "right_output_image": {"bytes": b"another", "path": None},
        }
        pq.write_table(pa.Table.from_pylist([row] * num), tmp_path / f"{split}.parquet")
    benchmark = find_benchmark("genai-bench-edit")
    assert len(benchmark.read(tmp_path).groups) == 3
    assert len(benchmark.read(tmp_path / "test.parquet").groups) == 2
    with pytest.raises(UsageError, match="hold them themselves"):
        benchmark.read(tmp_path, images=tmp_path)


def test_file_of_another_name_is_read_by_its_ending(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "path1": "a.png", "path2": "b.png"}]
    file = write(tmp_path / "mine.json", rows)
    (group,) = find_benchmark("hpdv3").read(file, images=tmp_path / "pictures").groups
    assert group.row.images[1].image == tmp_path / "pictures/b.png"
    with pytest.raises(DataError, match=r"No data of the benchmark 'pick-a-pic'.*parquet"):
        find_benchmark("pick-a-pic").read(file)


def test_hpdv3_reads_test_and_never_train(tmp_path: Path) -> None:
    write(tmp_path / "train.json", [])
    with pytest.raises(DataError, match=r"No data of the benchmark 'hpdv3'.*test\.json"):
        find_benchmark("hpdv3").read(tmp_path)
    write(tmp_path / "test.json", [{"prompt": "p", "path1": "a.png", "path2": "b.png"}])
    assert len(find_benchmark("hpdv3").read(tmp_path).groups) == 1


def test_pick_a_pic_unique_split_comes_first_and_unlabelled_rows_are_named(tmp_path: Path) -> None:
    def row(label: float | None) -> dict[str, Any]:
        return {
            "caption": "p",
            "image_0_uid": "a",
            "image_1_uid": "b",
            "has_label": label is not None,
            "label_0": label,
            "label_1": None if label is None else 1 - label,
            "jpg_0": b"no picture",
            "jpg_1": b"another",
        }

    table = pa.Table.from_pylist([row(1.0), row(0.5), row(None), row(0.0), row(0.25)])
    pq.write_table(table, tmp_path / "test_unique-00000-of-00001.parquet")
    pq.write_table(pa.Table.from_pylist([row(1.0)]), tmp_path / "test-00000-of-00001.parquet")
    data = find_benchmark("pick-a-pic").read(tmp_path)
    assert len(data.groups) == 3
    assert {problem.kind: problem.count for problem in data.problems} == {
        "malformed row": 1,
        "row that nobody labelled": 1,
    }


def test_mmrb2_reads_both_tasks_and_names_them(tmp_path: Path) -> None:
    def pair(number: int, *, source: str | None) -> dict[str, Any]:
        content = [["text", "p"]] if source is None else [["image", source], ["text", "p"]]
        return {
            "id": str(number),
            "chosen": "A",
            "prompt_source": "wise",
            "prompt_content": content,
            "response_a": {"response_content": [["image", "a.jpg"]]},
            "response_b": {"response_content": [["image", "b.jpg"]]},
        }

    write(tmp_path / "t2i.json", {"pairs": [pair(n, source=None) for n in range(3)]})
    bad = {**pair(9, source="s.jpg"), "chosen": "both"}
    write(tmp_path / "edit.json", {"pairs": [pair(0, source="s.jpg"), bad]})
    data = find_benchmark("mmrb2").read(tmp_path)
    assert Counter(group.category for group in data.groups) == {"t2i/wise": 3, "edit/wise": 1}
    assert data.groups[3].row.sources == (tmp_path / "s.jpg",)
    assert ["Row 1 of" in problem.examples[0] for problem in data.problems] == [True]


def test_genai_bench_published_annotations_have_503_pairs(
    shared_dir: Path, group_of: MakeGroup, by_name: ByName
) -> None:
    benchmark = find_benchmark("genai-bench-edit")
    data = benchmark.read(shared_dir / "data" / "genai_bench_edit_valid.json")
    assert len(data.groups) == 503
    assert data.problems == ()
    assert len({group.cluster for group in data.groups}) == 159
    # A model that always likes the first one is right wherever people like it: in all 503 pairs.
    groups = [
        group_of(number, [1.0, 0.0], ranks=[image.rank for image in group.row.images])
        for number, group in enumerate(data.groups)
    ]
    metrics = by_name(benchmark.evaluate(groups).metrics)
    assert metrics["accuracy_without_ties", "none"].num == 503
    assert metrics["accuracy_without_ties", "none"].value == 1.0


def test_imagereward_published_annotations_have_466_prompts(shared_dir: Path) -> None:
    data = find_benchmark("imagereward").read(shared_dir / "data" / "imagereward_test.json")
    assert len(data.groups) == 466
    assert data.problems == ()
    sizes = Counter(len(group.row.images) for group in data.groups)
    assert sizes == {4: 194, 7: 159, 6: 45, 8: 43, 9: 23, 5: 2}
    assert len({group.cluster for group in data.groups}) == 463


def test_imagereward_a_constant_model_has_no_accuracy_but_a_reason(
    shared_dir: Path, group_of: MakeGroup, by_name: ByName
) -> None:
    benchmark = find_benchmark("imagereward")
    data = benchmark.read(shared_dir / "data" / "imagereward_test.json")
    groups = [
        group_of(
            number,
            [0.5] * len(group.row.images),
            ranks=[image.rank for image in group.row.images],
            prompt=group.row.prompt,
        )
        for number, group in enumerate(data.groups)
    ]
    evaluation = benchmark.evaluate(groups)
    metrics = by_name(evaluation.metrics)
    assert metrics["accuracy", "none"].value is None
    assert "6399 with a margin of 0" in metrics["accuracy", "none"].note
    assert metrics["equal_scores", "none"].value == 1.0
    pairs = sum(len(list(group.row.pairs())) for group in data.groups)
    assert metrics["accuracy", "none"].num == pairs == 6399
    assert "constant scores" in {problem.kind for problem in evaluation.problems}
