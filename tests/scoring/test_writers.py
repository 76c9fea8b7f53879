"""Formats: which one is chosen, and what each looks like."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from visreward.core import extras
from visreward.core.errors import MissingExtraError, UsageError
from visreward.core.types import DimensionScore, Sample, Score
from visreward.models.facts import ModelFacts
from visreward.scoring.formats import OutputFormat, check_writable, choose_format
from visreward.scoring.ranking import rank_by_prompt
from visreward.scoring.records import ScoredItem, flat_record, item_record, nested_record
from visreward.scoring.text_output import text_output
from visreward.scoring.writer import ScoreWriter
from visreward.scoring.writers import RankingJsonWriter, TableWriter, open_writer


def item(index: int, value: float | None, *, image: str = "", prompt: str = "a cat") -> ScoredItem:
    image = image or f"pictures/{index}.png"
    sample = Sample(prompt=prompt, image=image)
    if value is None:
        return ScoredItem(index=index, sample=sample, name=image, error="It is torn.")
    score = Score(
        value=value,
        dimensions={
            "red": DimensionScore(mu=value, sigma=0.5),
            "letters": DimensionScore(mu=5.0),
        },
        model="colour",
        revision="r1",
        notes=("cut", "odd") if index == 0 else (),
    )
    return ScoredItem(index=index, sample=sample, name=image, score=score)


ITEMS = [item(0, 0.25), item(1, None), item(2, -0.5), item(3, 0.25, prompt="a, dog"), item(4, 1.0)]


def written(writer: ScoreWriter, items: list[ScoredItem]) -> None:
    assert list(writer.resume(iter(()))) == []
    with writer:
        for one in items:
            writer.write(one)


@pytest.mark.parametrize(
    ("asked", "name", "expected"),
    [
        (None, None, OutputFormat.TABLE),
        (None, "a.json", OutputFormat.JSON),
        (None, "a.JSONL", OutputFormat.JSONL),
        (None, "a.csv", OutputFormat.CSV),
        (None, "a.parquet", OutputFormat.PARQUET),
        (None, "a.txt", OutputFormat.TABLE),
        (OutputFormat.CSV, "a.json", OutputFormat.CSV),
        (OutputFormat.JSON, None, OutputFormat.JSON),
    ],
)
def test_choose_format_takes_what_is_asked_or_named(
    tmp_path: Path, asked: OutputFormat | None, name: str | None, expected: OutputFormat
) -> None:
    assert choose_format(asked, None if name is None else tmp_path / name) is expected


@pytest.mark.parametrize(
    ("asked", "name", "phrase"),
    [
        (None, "a.png", "tells no format"),
        (None, "noname", "tells no format"),
        (OutputFormat.PARQUET, None, "cannot go to standard output"),
        (None, "absent/a.csv", "does not exist"),
        (None, ".", "is a folder"),
    ],
)
def test_choose_format_impossible_output_is_refused(
    tmp_path: Path, asked: OutputFormat | None, name: str | None, phrase: str
) -> None:
    with pytest.raises(UsageError, match=phrase):
        choose_format(asked, None if name is None else tmp_path / name)


def test_choose_format_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda package: None)
    with pytest.raises(MissingExtraError, match=r"visreward\[bench\]"):
        choose_format(OutputFormat.PARQUET, tmp_path / "a.parquet")


def test_check_writable_closed_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UsageError, match="closed for writing"):
        check_writable(tmp_path / "a.csv")


def test_json_is_one_document_in_input_order(
    facts: ModelFacts, capsys: pytest.CaptureFixture[str]
) -> None:
    written(open_writer(OutputFormat.JSON, None, facts), ITEMS)
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"model", "items", "num_items", "num_failed"}
    assert document["model"]["name"] == "colour"
    assert document["model"]["score_range"] == [None, None]
    assert (document["num_items"], document["num_failed"]) == (5, 1)
    assert [entry["score"] for entry in document["items"]] == [0.25, None, -0.5, 0.25, 1.0]
    assert document["items"][1]["error"] == "It is torn."
    assert document["items"][0]["notes"] == ["cut", "odd"]
    assert document["items"][0]["dimensions"]["red"] == {"mu": 0.25, "sigma": 0.5}


def test_jsonl_to_standard_output_is_out_at_once(
    facts: ModelFacts, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = open_writer(OutputFormat.JSONL, None, facts)
    writer.write(ITEMS[0])
    assert json.loads(capsys.readouterr().out)["score"] == 0.25
    writer.finish()


def test_csv_has_two_columns_for_each_dimension(facts: ModelFacts, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    written(open_writer(OutputFormat.CSV, path, facts), ITEMS)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert [row["score"] for row in rows] == ["0.25", "", "-0.5", "0.25", "1.0"]
    assert rows[0]["dimensions.red"] == "0.25"
    assert rows[0]["dimensions.red.sigma"] == "0.5"
    assert rows[0]["dimensions.letters.sigma"] == ""
    assert rows[0]["notes"] == "cut; odd"
    assert rows[1]["dimensions.red"] == ""
    assert rows[1]["error"] == "It is torn."
    assert rows[3]["prompt"] == "a, dog"


def test_ranking_json_is_best_first_with_shared_ranks(
    facts: ModelFacts, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [item(0, 0.5), item(1, None), item(2, 0.75), item(3, 0.5), item(4, 0.25)]
    written(RankingJsonWriter(None, facts), items)
    document = json.loads(capsys.readouterr().out)
    assert [(place["rank"], place["index"]) for place in document["ranking"]] == [
        (1, 2),
        (2, 0),
        (2, 3),
        (4, 4),
    ]
    assert [entry["index"] for entry in document["failed"]] == [1]


def test_table_ranks_each_prompt_in_80_columns(
    facts: ModelFacts, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [*ITEMS, item(5, 0.7, image="pictures/" + "very-long-name-" * 9 + ".png")]
    written(TableWriter(None, facts), items)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    places = [line.split()[:3] for line in lines if line.split()[:1] and line.split()[0].isdigit()]
    assert [place[0] for place in places] == ["1", "2", "3", "4", "1"]
    assert [place[2] for place in places] == ["1.0000", "0.7000", "0.2500", "-0.5000", "0.2500"]
    assert places[0][1] == "4.png"
    assert places[1][1].endswith("…")
    assert sum("note: cut" in line for line in lines) == 1
    assert lines[-1] == "colour (r1) · higher is better · a toy"


def test_table_long_names_of_dimensions_stand_on_several_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("instruction_following", "visual_quality")
    facts = ModelFacts(name="edits", dimensions=names, score_range=(0, 1))
    score = Score(
        value=-12.5,
        sigma=0.25,
        dimensions={name: DimensionScore(mu=-2.0, sigma=0.5) for name in names},
    )
    one = replace(item(0, 1.0), score=score)
    written(TableWriter(None, facts), [one])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["instruction", "visual"]
    assert lines[2].split() == ["#", "image", "score", "±", "following", "quality"]
    assert lines[3].split()[:6] == ["1", "0.png", "-12.50", "0.2500", "-2.0000", "-2.0000"]
    assert max(map(len, lines)) <= 80


def test_table_bars_have_lengths_in_proportion(
    facts: ModelFacts, capsys: pytest.CaptureFixture[str]
) -> None:
    written(TableWriter(None, facts), [item(0, 1.0), item(1, 0.5), item(2, 0.0)])
    bars = [line.count("█") for line in capsys.readouterr().out.splitlines() if ".png" in line]
    assert bars == [20, 10, 0]


def test_table_control_characters_and_markup_in_names_stay_harmless(
    facts: ModelFacts, capsys: pytest.CaptureFixture[str]
) -> None:
    one = item(0, 1.0, image="[red]\x1b[31m.png", prompt="[bold]x\x07\ny")
    written(TableWriter(None, facts), [one])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[red]\N{REPLACEMENT CHARACTER}[31m.png" in out
    assert "[bold]x\N{REPLACEMENT CHARACTER} y" in out


def test_table_nothing_scored_prints_nothing(
    facts: ModelFacts, capsys: pytest.CaptureFixture[str]
) -> None:
    written(TableWriter(None, facts), [item(0, None)])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("chosen", [OutputFormat.JSON, OutputFormat.CSV, OutputFormat.TABLE])
def test_writer_of_a_run_that_fails_leaves_the_old_file(
    facts: ModelFacts, tmp_path: Path, chosen: OutputFormat
) -> None:
    path = tmp_path / "out"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError), open_writer(chosen, path, facts) as writer:  # noqa: PT012
        writer.write(ITEMS[0])
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_text_output_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError), text_output(path) as stream:  # noqa: PT012
        stream.write("new")
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_several_source_images_survive_every_record(facts: ModelFacts) -> None:
    sample = Sample(prompt="a cat", image="after.png", source_image=("one.png", "two.png"))
    score = Score(value=1.0, dimensions={"red": DimensionScore(mu=2.0, sigma=0.5)})
    record = item_record(ScoredItem(index=0, sample=sample, name="after", score=score), facts)
    assert record["source_image"] == ["one.png", "two.png"]
    assert flat_record(record)["source_image"] == "one.png\ntwo.png"
    assert nested_record(flat_record(record), facts) == record
    [ranking] = rank_by_prompt([ScoredItem(index=0, sample=sample, name="after", score=score)])
    assert ranking.source_image == "one.png + two.png"
