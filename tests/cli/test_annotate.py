"""visreward annotate: what it refuses before the page opens, export and agreement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from visreward.cli.annotate_study import make_study, require_same
from visreward.cli.main import app
from visreward.core.errors import UsageError
from visreward.demo.annotate.records import Kind, Order, StudySettings
from visreward.demo.annotate.store import Store


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    lines = []
    for number in range(3):
        names = [f"{number}{letter}.png" for letter in "ab"]
        for name in names:
            Image.new("RGB", (8, 8), "red").save(tmp_path / name)
        lines.append(
            json.dumps({"prompt": f"p{number}", "candidates": [{"image": each} for each in names]})
        )
    path = tmp_path / "groups.jsonl"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def store(groups: Path, tmp_path: Path) -> Path:
    path = tmp_path / "study.sqlite"
    make_study(path, groups, StudySettings(answers_each=2), gold=None, device="cpu")
    with Store(path) as study:
        for name in ("ana", "ben"):
            while (opened := study.open_question(name)) is not None:
                rows = tuple((1 + place,) for place in opened.places)
                study.answer(name, ticket=opened.ticket, rows=rows)
    return path


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["annotate", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_annotate_without_a_study_is_refused(tmp_path: Path, groups: Path) -> None:
    assert run()[0] == 2
    assert "No --store was given" in run()[2]
    status, _, errors = run("--store", tmp_path / "none.sqlite")
    assert (status, "There is no study" in errors) == (2, True)
    status, _, errors = run("--store", tmp_path / "s.sqlite", "--input", tmp_path / "no.jsonl")
    assert (status, "cannot be read" in errors) == (2, True)
    assert not (tmp_path / "s.sqlite").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--order", "disagreement", "--model", "hp-mini"), "two different ones"),
        (("--model", "hp-mini"), "Add --order disagreement"),
        (("--answers-each", "0"), "Give 1 or more"),
        (("--gold-share", "0.6", "--gold", "gold.jsonl"), "from 0 to 0.5"),
    ],
)
def test_annotate_settings_that_cannot_work_are_refused(
    tmp_path: Path, groups: Path, options: tuple[str, ...], message: str
) -> None:
    status, _, errors = run("--store", tmp_path / "s.sqlite", "--input", groups, *options)
    assert status == 2
    assert message in " ".join(errors.split())


def test_annotate_other_input_for_a_store_is_refused(store: Path, groups: Path) -> None:
    require_same(store, groups, StudySettings(answers_each=2), gold=None)
    with pytest.raises(UsageError, match=r"made with kind pair instead of rank\. Give"):
        require_same(store, groups, StudySettings(kind=Kind.RANK, answers_each=2), gold=None)
    groups.write_text(groups.read_text().replace("p1", "p9"))
    with pytest.raises(UsageError, match="made with other questions"):
        require_same(store, groups, StudySettings(answers_each=2), gold=None)


def test_annotate_order_by_disagreement_asks_two_models_once(groups: Path, tmp_path: Path) -> None:
    for number in range(3):
        for letter, shade in (("a", 40 * number), ("b", 255)):
            picture = Image.effect_noise((64, 64), shade).convert("RGB")
            picture.save(tmp_path / f"{number}{letter}.png")
    settings = StudySettings(order=Order.DISAGREEMENT, models=("hp-mini", "ict-mini"))
    path = tmp_path / "by-models.sqlite"
    make_study(path, groups, settings, gold=None, device="cpu")
    with Store(path) as study:
        rows = study._connection.execute("SELECT name, disagreement FROM question").fetchall()
        order = []
        while (opened := study.open_question("ana")) is not None:
            order.append(opened.question.name)
            study.skip("ana", ticket=opened.ticket)
    assert all(0 <= value <= 1 for _, value in rows)
    assert order == [name for name, value in sorted(rows, key=lambda row: -row[1])]


def test_annotate_export_and_agreement_print_what_they_found(store: Path, tmp_path: Path) -> None:
    output = tmp_path / "train.json"
    status, _, notes = run("export", "--store", store, "--format", "hpdv3", "--output", output)
    assert status == 0
    assert "3 pairs, 0 of them ties" in " ".join(notes.split())
    assert [row["choice_dist"] for row in json.loads(output.read_text())] == [[2, 0]] * 3
    status, out, _ = run("agreement", "--store", store)
    assert status == 0
    assert "Krippendorff" in out
    assert "ana" in out
    report = json.loads(run("agreement", "--store", store, "--json")[1])
    assert [each["num_answered"] for each in report["annotators"]] == [3, 3]
    status, _, errors = run("export", "--store", store, "--format", "editreward", "-o", output)
    assert (status, "does not fit" in " ".join(errors.split())) == (2, True)
