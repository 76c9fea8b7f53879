"""visreward score: formats, inputs, failures, resumption."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import Result

from visreward.core.types import Sample
from visreward.data.base import load_optional
from visreward.models.loading import load_model

if TYPE_CHECKING:
    from tests.core.bad_files import BadFile

Call = Callable[..., Result]


def document(result: Result) -> dict[str, Any]:
    """Return the one JSON document on standard output; fails if there is anything else."""
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def test_score_json_holds_every_image_with_every_prompt(
    call: Call, models: Path, pictures: list[str]
) -> None:
    result = call(
        "score", *pictures, "-p", "a red ball", "--prompt", "a cube", "--model", models / "ict-hp",
        "--format", "json", "--batch-size", "2",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    found = document(result)
    pairs = [(image, prompt) for image in pictures for prompt in ("a red ball", "a cube")]
    assert [(item["image"], item["prompt"]) for item in found["items"]] == pairs
    model = load_model(models / "ict-hp")
    scores = model.score([Sample(prompt=prompt, image=image) for image, prompt in pairs])
    assert [item["score"] for item in found["items"]] == pytest.approx(
        [score.value for score in scores], abs=1e-6
    )
    assert all(set(item["dimensions"]) == {"ict", "hp"} for item in found["items"])
    assert found["model"]["note"] == "knows nothing at all"
    assert found["model"]["revision"] == model.facts.revision
    assert (found["num_items"], found["num_failed"]) == (6, 0)
    assert "knows nothing at all" in result.stderr


def test_score_table_is_ranked_and_says_what_the_model_knows(
    call: Call, models: Path, pictures: list[str]
) -> None:
    result = call("score", *pictures, "-p", "a red ball", "-m", models / "ict-hp")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    places = [line.split()[:3] for line in lines if ".png" in line]
    assert [place[0] for place in places] == ["1", "2", "3"]
    values = [float(place[2]) for place in places]
    assert values == sorted(values, reverse=True)
    assert "knows nothing at all" in " ".join(lines)
    assert result.stderr == ""


@pytest.mark.parametrize("name", ["out.json", "out.jsonl", "out.csv", "out.parquet", "out.txt"])
def test_score_output_file_takes_its_format_from_its_name(
    call: Call, models: Path, pictures: list[str], tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    result = call("score", *pictures, "-p", "x", "-m", models / "ict-hp", "--output", path)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    content = path.read_bytes()
    starts = {"out.json": b"{\n", "out.jsonl": b'{"index"', "out.csv": b"index,id"}
    starts |= {"out.parquet": b"PAR1", "out.txt": b" x"}
    assert content.startswith(starts[name])
    if name == "out.parquet":
        table = load_optional("pyarrow.parquet", extra="bench").read_table(path)
        content = str(table.column("image").to_pylist()).encode()
    assert all(Path(picture).name.encode() in content for picture in pictures)


def test_score_output_file_goes_on_where_a_run_stopped(
    call: Call, models: Path, pictures: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    options = ("-p", "x", "-m", models / "ict-hp", "-o", path)
    assert call("score", *pictures[:2], *options).exit_code == 0
    kept = path.read_bytes()
    result = call("score", *pictures, *options)
    assert result.exit_code == 0
    assert "2 items were scored before" in result.stderr
    assert path.read_bytes().startswith(kept)
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [0, 1, 2]


def test_score_output_file_of_another_model_exits_with_2(
    call: Call, models: Path, pictures: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    call("score", *pictures, "-p", "x", "-m", models / "ict-hp", "-o", path)
    result = call("score", *pictures, "-p", "x", "-m", models / "hp", "-o", path)
    assert result.exit_code == 2
    assert "was made by another run: row 1 has model 'tiny'" in result.stderr


def test_score_input_file_reads_paths_from_its_folder_and_names_bad_lines(
    call: Call, models: Path, pictures: list[str], tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        '{"prompt": "a ball", "image": "red.png", "id": "one"}\n'
        "{broken\n"
        '{"prompt": "a cube", "image": "blue.png"}\n'
    )
    result = call("score", "--input", rows, "-m", models / "ict-hp", "--format", "json")
    assert result.exit_code == 1
    items = document(result)["items"]
    assert [item["score"] is None for item in items] == [False, True, False]
    assert [item["id"] for item in items] == ["one", "rows.jsonl line 2", None]
    assert items[2]["image"] == pictures[2]
    assert "failed: rows.jsonl line 2: The line is not JSON" in result.stderr
    assert "1 of 3 items failed." in result.stderr


def test_score_input_file_and_images_are_scored_together(
    call: Call, models: Path, pictures: list[str], tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a ball", "image": "red.png"}\n')
    result = call(
        "score",
        pictures[1],
        "-p",
        "x",
        "--input",
        rows,
        "-m",
        models / "ict-hp",
        "--format",
        "json",
    )
    assert [item["prompt"] for item in document(result)["items"]] == ["a ball", "x"]


def test_score_input_file_without_a_sample_exits_with_2(
    call: Call, models: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{broken\n")
    result = call("score", "--input", rows, "-m", models / "ict-hp", "--format", "json")
    assert result.exit_code == 2
    assert "No line of" in result.stderr


def test_score_bad_files_fail_alone_and_are_named(
    call: Call,
    models: Path,
    pictures: list[str],
    tmp_path: Path,
    bad_files: tuple[BadFile, ...],
) -> None:
    assert len(bad_files) >= 60
    folder = tmp_path / "corpus"
    folder.mkdir()
    for bad_file in bad_files:
        (folder / bad_file.name).write_bytes(bad_file.make())
    names = [bad_file.name for bad_file in bad_files]
    result = call(
        "score", pictures[0], *(folder / name for name in names), folder / "absent.png",
        "-p", "a red ball", "-m", models / "ict-hp", "--format", "json",
    )  # fmt: skip
    assert result.exit_code == 1, result.stderr
    good, *rest, absent = document(result)["items"]
    assert good["score"] is not None
    assert "does not exist" in absent["error"]
    failures = result.stderr.splitlines()
    for item, bad_file in zip(rest, bad_files, strict=True):
        if bad_file.phrase is None:
            assert item["error"] is None, bad_file.name
            continue
        assert item["score"] is None, bad_file.name
        assert bad_file.phrase in item["error"]
        assert any(
            line.startswith("failed: ") and bad_file.name in line and bad_file.phrase in line
            for line in failures
        ), bad_file.name


def test_score_folder_is_named_with_a_glob(
    call: Call, models: Path, pictures: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "my pictures"
    folder.mkdir()
    result = call("score", folder, pictures[0], "-p", "x", "-m", models / "ict-hp")
    assert result.exit_code == 1
    assert f"'{folder}' is a folder. Give its files: '{folder}'/*.png" in result.stderr
    assert "red.png" in result.stdout


def test_score_repeated_failure_is_named_once(
    call: Call, models: Path, pictures: list[str]
) -> None:
    result = call("score", "absent.png", pictures[0], "-p", "x", "-p", "y", "-m", models / "ict-hp")
    assert result.exit_code == 1
    assert result.stderr.count("absent.png") == 1
    assert "2 of 4 items failed." in result.stderr


def test_score_empty_prompt_fails_its_items_only(
    call: Call, models: Path, pictures: list[str]
) -> None:
    result = call("score", pictures[0], "-p", "", "-p", "x", "-m", models / "ict-hp")
    assert result.exit_code == 1
    assert f"failed: {pictures[0]}: The prompt is empty" in result.stderr
    assert "red.png" in result.stdout


def test_score_without_a_prompt_is_wrong_usage_unless_the_model_takes_none(
    call: Call, models: Path, pictures: list[str]
) -> None:
    result = call("score", *pictures, "-m", models / "ict-hp")
    assert result.exit_code == 2
    assert "No prompt, but 'tiny' scores how an image fits a prompt" in result.stderr
    result = call("score", *pictures, "-m", models / "hp", "--format", "json")
    assert result.exit_code == 0
    assert [item["prompt"] for item in document(result)["items"]] == ["", "", ""]


def test_score_source_image_is_passed_on(call: Call, models: Path, pictures: list[str]) -> None:
    result = call(
        "score", pictures[0], "-p", "x", "--source", pictures[1], "-m", models / "ict-hp",
        "--format", "json",
    )  # fmt: skip
    assert result.exit_code == 1
    item = document(result)["items"][0]
    assert item["source_image"] == pictures[1]
    assert "source image was given" in item["error"]


def test_score_without_a_model_takes_the_one_for_edits_where_a_source_is_given(
    call: Call, project_dir: Path, pictures: list[str]
) -> None:
    edits = project_dir / "examples" / "edits"
    prompt = "change the colour of the four white balls to orange"
    given = ("--source", edits / "before.png", "-p", prompt)
    alone = call("score", edits / "right.png", edits / "untouched.png", *given, "--format", "json")
    assert alone.exit_code == 0, alone.stderr
    found = document(alone)
    assert found["model"]["name"] == "editreward-mini"
    assert all(item["sigma"] > 0 for item in found["items"])
    from_file = document(call("score", "--input", edits / "samples.jsonl", "--format", "json"))
    assert from_file["model"] == found["model"]
    by_image = {Path(item["image"]).name: item["score"] for item in from_file["items"]}
    for item in found["items"]:
        assert by_image[Path(item["image"]).name] == pytest.approx(item["score"], abs=1e-4)
    assert max(by_image, key=lambda name: by_image[name]) == "right.png"
    images = document(call("score", *pictures, "-p", "a red ball", "--format", "json"))
    assert images["model"]["name"] == "ict-hp-mini"


def test_score_prompt_that_is_cut_is_said_beside_the_scores(
    call: Call, models: Path, pictures: list[str]
) -> None:
    arguments = ("score", *pictures, "-p", "a red ball " * 20, "-m", models / "ict-hp")
    result = call(*arguments)
    assert result.exit_code == 0
    assert result.stdout.count("cut to 16") == 1
    result = call(*arguments, "--format", "jsonl")
    assert all("cut to 16" in json.loads(line)["notes"][0] for line in result.stdout.splitlines())
    assert "cut to 16 (3 items)" in result.stderr


def test_score_nan_weights_stop_the_run(
    call: Call, models: Path, pictures: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "nan"
    shutil.copytree(models / "hp", folder)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("weight"))
    weights[name] = weights[name] * float("nan")
    save_file(weights, folder / "model.safetensors")
    result = call("score", *pictures, "-m", folder)
    assert result.exit_code == 2
    assert name in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("native", [True, False])
def test_score_dtype_without_instructions_is_said(
    call: Call, models: Path, pictures: list[str], monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    monkeypatch.setattr("visreward.models.devices.is_native", lambda dtype, device: native)
    arguments = ["--model", models / "hp", "--dtype", "bfloat16", "--format", "json"]
    result = call("score", pictures[0], *arguments)
    assert result.exit_code == 0
    said = "this cpu has no bfloat16 instructions; float32 is many times faster"
    assert (said in result.stderr) is not native


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_score_dtype_and_batch_invariance_reach_the_model(
    call: Call, models: Path, pictures: list[str], dtype: str
) -> None:
    def values(*options: str) -> list[float]:
        result = call(
            "score", *pictures, "-p", "a red ball", "-m", models / "ict-hp", "--format", "json",
            *options,
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        return [item["score"] for item in document(result)["items"]]

    exact, rough = values(), values("--dtype", dtype)
    assert rough != exact
    assert rough == pytest.approx(exact, abs=0.05)
    assert values("--dtype", dtype, "--batch-invariant", "--batch-size", "3") == values(
        "--dtype", dtype, "--batch-invariant", "--batch-size", "1"
    )


def test_score_report_shows_every_image(
    call: Call, models: Path, pictures: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    result = call(
        "score", *pictures, "absent.png", "-p", "a red ball", "-m", models / "ict-hp",
        "--report", page, "--format", "json",
    )  # fmt: skip
    assert result.exit_code == 1
    text = page.read_text(encoding="utf-8")
    assert text.count('<li class="card') == 3
    assert "absent.png" in text
    assert f"Report: {page}" in result.stderr
    assert document(result)["num_items"] == 4


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        (["--format", "parquet"], "cannot go to standard output"),
        (["--output", "a.png"], "tells no format"),
        (["--output", "absent/a.csv"], "does not exist"),
        (["--report", "absent/a.html"], "does not exist"),
        (["--device", "tpu"], "tpu"),
        (["--model", "./absent"], "absent"),
    ],
)
def test_score_impossible_option_exits_with_2_before_scoring(
    call: Call, models: Path, pictures: list[str], options: list[str], phrase: str
) -> None:
    model = [] if "--model" in options else ["--model", str(models / "ict-hp")]
    result = call("score", *pictures, "-p", "x", *model, *options)
    assert result.exit_code == 2
    assert phrase in result.stderr
    assert result.stdout == ""


def test_score_output_equal_to_input_is_refused(call: Call, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a ball", "image": "red.png"}\n')
    result = call("score", "--input", rows, "--output", rows)
    assert result.exit_code == 2
    assert "--input and --output are both" in result.stderr
    assert rows.read_text().startswith('{"prompt"')
