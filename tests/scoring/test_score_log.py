"""Score files that go on where a run stopped: JSON lines and Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visreward.core.errors import DataError
from visreward.core.types import Sample
from visreward.data.base import load_optional
from visreward.models.facts import ModelFacts
from visreward.scoring.engine import ScoringEngine
from visreward.scoring.formats import OutputFormat
from visreward.scoring.records import RECORD_KEYS, RowError, ScoredItem
from visreward.scoring.writers import open_writer

if TYPE_CHECKING:
    from tests.scoring.conftest import ColourModel

FORMATS = [OutputFormat.JSONL, OutputFormat.PARQUET]
Entry = Sample | RowError


@pytest.fixture
def entries(picture: Callable[..., str]) -> list[Entry]:
    samples: list[Entry] = [
        Sample(prompt="ab", image=picture(f"{red}.png", red), id=None if red else "zero")
        for red in range(0, 250, 25)
    ]
    samples[3] = Sample(prompt="ab", image="absent.png")
    samples[6] = RowError(name="rows.jsonl line 6", reason="no JSON")
    return samples


def run(
    model: ColourModel,
    entries: Sequence[Entry],
    path: Path,
    chosen: OutputFormat,
    *,
    stop_after: int | None = None,
) -> list[ScoredItem]:
    """Score into a file as the command line does; `stop_after` breaks off."""
    rows = iter(entries)
    with suppress(InterruptedError), open_writer(chosen, path, model.facts) as writer:
        items = list(writer.resume(rows))
        for number, item in enumerate(ScoringEngine(model).run(rows, first_index=len(items))):
            if number == stop_after:
                raise InterruptedError
            writer.write(item)
            items.append(item)
    return items


def records(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        parquet = load_optional("pyarrow.parquet", extra="bench")
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("chosen", FORMATS)
def test_log_holds_every_item_with_every_key(
    model: ColourModel, entries: list[Entry], tmp_path: Path, chosen: OutputFormat
) -> None:
    path = tmp_path / f"out.{chosen}"
    items = run(model, entries, path, chosen)
    found = records(path)
    assert [record["score"] for record in found] == [
        None if item.score is None else item.score.value for item in items
    ]
    assert [record["index"] for record in found] == list(range(10))
    assert found[0]["id"] == "zero"
    assert found[6]["id"] == "rows.jsonl line 6"
    assert found[6]["error"] == "no JSON"
    assert {record["model"] for record in found} == {"colour"}
    if chosen is OutputFormat.JSONL:
        assert all(tuple(record) == RECORD_KEYS for record in found)
        assert found[1]["dimensions"]["red"]["mu"] == pytest.approx(25 / 255)
    else:
        assert found[1]["dimensions.red"] == pytest.approx(25 / 255)
        assert found[3]["dimensions.red"] is None
    assert sorted(file.name for file in tmp_path.glob("out*")) == [path.name]


@pytest.mark.parametrize("chosen", FORMATS)
@pytest.mark.parametrize("torn_bytes", [0, 25])
def test_log_interrupted_run_goes_on_and_ends_as_if_whole(
    model: ColourModel, entries: list[Entry], tmp_path: Path, chosen: OutputFormat, torn_bytes: int
) -> None:
    whole, path = tmp_path / f"whole.{chosen}", tmp_path / f"out.{chosen}"
    expected = run(model, entries, whole, chosen)
    run(model, entries, path, chosen, stop_after=5)
    log = path if chosen is OutputFormat.JSONL else tmp_path / "out.parquet.partial.jsonl"
    assert len(log.read_bytes().splitlines()) == 5
    if torn_bytes:
        log.write_bytes(log.read_bytes()[:-torn_bytes])
    model.batches.clear()
    items = run(model, entries, path, chosen)
    assert items == expected
    assert model.num_scored == (4 if torn_bytes == 0 else 5)
    assert records(path) == records(whole)


@pytest.mark.parametrize("chosen", FORMATS)
def test_log_finished_file_scores_nothing_and_longer_input_goes_on(
    model: ColourModel, entries: list[Entry], tmp_path: Path, chosen: OutputFormat
) -> None:
    path = tmp_path / f"out.{chosen}"
    run(model, entries[:8], path, chosen)
    model.batches.clear()
    first = run(model, entries[:8], path, chosen)
    assert model.num_scored == 0
    assert len(run(model, entries, path, chosen)) == 10
    assert model.num_scored == 2
    assert records(path)[7]["score"] == pytest.approx(first[7].score.value)  # type: ignore[union-attr]


@pytest.mark.parametrize("chosen", FORMATS)
@pytest.mark.parametrize(
    ("facts_change", "phrase"),
    [({"name": "other"}, "has model 'colour'"), ({"revision": "r2"}, "has revision 'r1'")],
)
def test_log_of_another_model_is_refused_untouched(
    model: ColourModel,
    entries: list[Entry],
    tmp_path: Path,
    chosen: OutputFormat,
    facts_change: dict[str, str],
    phrase: str,
) -> None:
    path = tmp_path / f"out.{chosen}"
    run(model, entries, path, chosen)
    before = path.read_bytes()
    model.describe(**facts_change)
    with pytest.raises(DataError, match=phrase):
        run(model, entries, path, chosen)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*partial*"))


@pytest.mark.parametrize("change", ["prompt", "image", "source_image", "id"])
def test_log_of_other_input_is_refused(
    model: ColourModel, entries: list[Entry], tmp_path: Path, change: str
) -> None:
    path = tmp_path / "out.jsonl"
    run(model, entries, path, OutputFormat.JSONL)
    second = entries[1]
    assert isinstance(second, Sample)
    entries[1] = replace(second, **{change: "other"})
    with pytest.raises(DataError, match=f"row 2 has {change} .*this run has 'other'"):
        run(model, entries, path, OutputFormat.JSONL)


def test_log_of_more_input_is_refused(
    model: ColourModel, entries: list[Entry], tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    run(model, entries, path, OutputFormat.JSONL)
    with pytest.raises(DataError, match="holds 9 items or more, but the input has 8"):
        run(model, entries[:8], path, OutputFormat.JSONL)


@pytest.mark.parametrize("content", [b'{"prompt": "a", "image": "b"}\n', b"text\n", b"[]\n"])
def test_log_foreign_file_is_refused_untouched(
    model: ColourModel, entries: list[Entry], tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a score file: row 1"):
        run(model, entries, path, OutputFormat.JSONL)
    assert path.read_bytes() == content


def test_parquet_foreign_file_is_refused_untouched(
    model: ColourModel, entries: list[Entry], tmp_path: Path
) -> None:
    path = tmp_path / "out.parquet"
    path.write_bytes(b"text")
    with pytest.raises(DataError, match="not a Parquet file"):
        run(model, entries, path, OutputFormat.PARQUET)
    assert path.read_bytes() == b"text"


def test_log_no_items_leaves_an_empty_file(facts: ModelFacts, tmp_path: Path) -> None:
    for chosen in FORMATS:
        path = tmp_path / f"out.{chosen}"
        open_writer(chosen, path, facts).finish()
        assert records(path) == []
