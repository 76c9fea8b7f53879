"""ImagenHub's tables of raters, in the release's layout."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from visreward.core.errors import DataError
from visreward.data.imagenhub import read_imagenhub

# As in the release: a blank after the comma or none, and a model that evaluations leave out.
TABLES = {
    "Text-Guided_IE_rater1.tsv": [
        "uid\tImagic\tMagicBrush\tSDEdit",
        "sample_1_1.jpg\t[0,0]\t[0.5, 0.5]\t[0,1]",
        "sample_2_1.jpg\t[0,0]\t[1 , 1]\t[1, 0.5]",
        "sample_3_1.jpg\t[0,0]\t[0, 1]\t[0.5, 1]",
        "sample_4_1.jpg\t[0,0]\t[1, 2]\t[1, 1]",
        "sample_5_1.jpg\t[0,0]\t[1, 1]\t[1, 1]",
    ],
    "Text-Guided_IE_rater2.tsv": [
        "uid\tImagic\tMagicBrush\tSDEdit",
        "sample_1_1.jpg\t[0,0]\t[1, 1]\t[0, 0]",
        "sample_2_1.jpg\t[0,0]\t[1, 1]\t[0, 0]",
        "sample_3_1.jpg\t[0,0]\t[0, 0]\t",
        "sample_4_1.jpg\t[0,0]\tgood\t[0.5, 0.5]",
        "sample_5_1.jpg\t[0,0]\t[1, 1]\t[1, 1]",
    ],
}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    for name, lines in TABLES.items():
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    held = {f"sample_{n}_1.jpg": {"instruction": f"edit {n}", "uid": n} for n in (1, 2, 3, 4)}
    (tmp_path / "dataset_lookup.json").write_text(json.dumps(held), encoding="utf-8")
    return tmp_path


def test_tables_give_the_geometric_mean_of_each_rater_and_their_mean(release: Path) -> None:
    rows = {row.id: row for row in read_imagenhub(release).rows}
    row = rows["MagicBrush/sample_1_1.jpg"]
    assert row.prompt == "edit 1"
    assert row.sources == (release / "input" / "sample_1_1.jpg",)
    (edit,) = row.images
    assert edit.image == release / "MagicBrush" / "sample_1_1.jpg"
    assert edit.generator == "MagicBrush"
    assert edit.ratings == {"Text-Guided_IE_rater1": 0.5, "Text-Guided_IE_rater2": 1.0}
    assert edit.overall == 0.75
    half = rows["SDEdit/sample_2_1.jpg"].images[0].ratings
    assert half["Text-Guided_IE_rater1"] == pytest.approx(math.sqrt(0.5), abs=1e-15)
    assert list(rows["SDEdit/sample_3_1.jpg"].images[0].ratings) == ["Text-Guided_IE_rater1"]


def test_tables_name_and_count_what_is_left_out(release: Path) -> None:
    found = read_imagenhub(release)
    assert len(found.rows) == 7
    problems = {problem.kind: problem for problem in found.problems}
    assert problems["malformed rating"].count == 2
    assert "Row 3 of" in problems["malformed rating"].examples[0]
    assert "'[1, 2]' in 'MagicBrush'" in problems["malformed rating"].examples[0]
    assert problems["rated edit without an instruction"].count == 2
    imagic = problems["edit of Imagic, which is left out"]
    assert (imagic.count, imagic.is_warning) == (5, True)


def test_images_may_be_in_another_folder(release: Path) -> None:
    images = release / "results"
    images.mkdir()
    (release / "dataset_lookup.json").rename(images / "dataset_lookup.json")
    (first, *_) = read_imagenhub(release, images=images).rows
    assert first.sources == (images / "input" / "sample_1_1.jpg",)
    with pytest.raises(DataError, match=r"dataset_lookup\.json, input/ .* --images"):
        read_imagenhub(release)


@pytest.mark.parametrize(
    ("lookup", "said"), [("[]", "holds a list"), ('{"other.jpg": {"instruction": "x"}}', "common")]
)
def test_instructions_of_other_edits_are_refused(release: Path, lookup: str, said: str) -> None:
    (release / "dataset_lookup.json").write_text(lookup)
    with pytest.raises(DataError, match=said):
        read_imagenhub(release)


def test_table_without_ids_and_name_that_leads_out_are_refused(release: Path) -> None:
    table = release / "Text-Guided_IE_rater1.tsv"
    table.write_text("uid\tSDEdit\n../../x.jpg\t[1,1]\n", encoding="utf-8")
    problems = {problem.kind: problem for problem in read_imagenhub(release).problems}
    assert any("does not lead into" in each for each in problems["malformed rating"].examples)
    table.write_text("file\tSDEdit\na.jpg\t[1,1]\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column 'uid'"):
        read_imagenhub(release)
