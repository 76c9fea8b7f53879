"""visreward bench: end to end, killed and resumed, bad input."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import Result

from visreward.evaluation.benchmarks.registry import BENCHMARKS
from visreward.evaluation.benchmarks.result_files import read_results, read_samples

Call = Callable[..., Result]


def write_groups(folder: Path, num: int, *, num_images: int = 20) -> Path:
    """Write pairs, several of which repeat each other, and the images that they name."""
    for number in range(num_images):
        Image.new("RGB", (24, 24), (10 * number % 256, number, 0)).save(folder / f"{number}.png")
    path = folder / "groups.jsonl"
    lines = []
    for number in range(num):
        images = [number % num_images, (7 * number + 1) % num_images]
        candidates = [
            {"image": f"{image}.png", "rank": place + 1} for place, image in enumerate(images)
        ]
        row = {"id": f"g{number}", "prompt": f"a ball {number % 13}", "candidates": candidates}
        lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def scores_of(folder: Path, benchmark: str) -> list[dict[str, Any]]:
    lines = (folder / f"scores_{benchmark}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_bench_scenes_end_to_end_writes_results_samples_and_report(
    call: Call, tmp_path: Path
) -> None:
    result = call(
        "bench", "scenes", "--model", "random", "--model", "hp-mini", "--limit", "12",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "pair_accuracy" in result.stdout
    for model in ("random", "hp-mini"):
        (found,) = read_results(tmp_path / "out" / model / "results.json")
        assert (found.benchmark, found.model, found.num_groups) == ("scenes", model, 12)
        samples = list(read_samples(tmp_path / "out" / model / "samples_scenes.jsonl"))
        assert len(samples) == 12
        right = sum(sample.correct or 0 for sample in samples)
        assert found.metrics[0].value == pytest.approx(right / 12)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found.date)
    assert len(scores_of(tmp_path / "out" / "hp-mini", "scenes")) == 36
    page = (tmp_path / "out" / "scenes.html").read_text(encoding="utf-8")
    assert "hp-mini" in page
    assert page.count("data:image/") > 3


def test_bench_scenes_edit_knows_the_shipped_model_and_keeps_both_benchmarks(
    call: Call, tmp_path: Path
) -> None:
    for name in ("scenes-edit", "scenes"):
        result = call("bench", name, "-m", "random", "--limit", "3", "-o", tmp_path)
        assert result.exit_code == 0, result.output
    both = read_results(tmp_path / "random" / "results.json")
    assert [found.benchmark for found in both] == ["scenes", "scenes-edit"]
    result = call("bench", "scenes-edit", "-m", "editreward-mini", "--limit", "3", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    (found,) = read_results(tmp_path / "editreward-mini" / "results.json")
    value = found.metrics[0].value
    assert value is not None
    assert value > 0.75  # 0.94 of all of them; chance is 0.5


def test_bench_list_names_every_benchmark(call: Call) -> None:
    result = call("bench", "list")
    assert result.exit_code == 0
    for name in BENCHMARKS.names():
        assert name in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("scense", "-m", "random"), "Did you mean 'scenes'?"),
        (("scenes",), "No model was given"),
        (("pick-high", "-m", "random"), "--data"),
        (("hpdv3", "-m", "random", "--data", "nowhere"), "There is no 'nowhere'"),
        (("scenes", "-m", "editreward-mini"), "has no source images"),
        (("scenes-edit", "-m", "hp-mini"), "scores single images"),
        (("scenes", "-m", "a/b", "-m", "a:b"), "called alike"),
        (("scenes", "-m", "random", "-m", "random"), "called alike"),
    ],
)
def test_bench_wrong_usage_stops_with_status_2(
    call: Call, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = call("bench", *arguments, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_bench_bad_rows_and_missing_images_are_named_and_end_with_status_1(
    call: Call, models: Path, tmp_path: Path
) -> None:
    path = write_groups(tmp_path, 5)
    lines = path.read_text().splitlines()
    lines[2] = json.dumps({"id": "g2", "prompt": "p", "candidates": [{"image": "0.png"}]})
    path.write_text("\n".join(lines) + "\n")
    (tmp_path / "3.png").unlink()
    out = tmp_path / "out"
    result = call("bench", "hpdv3", "--data", path, "-m", models / "ict-hp", "-o", out)
    assert result.exit_code == 1
    assert "malformed row (1)" in result.stderr
    assert "Row 2 of" in result.stderr
    assert "3.png" in result.stderr
    (folder,) = (each for each in out.iterdir() if (each / "results.json").is_file())
    (found,) = read_results(folder / "results.json")
    kinds = {problem.kind: problem.count for problem in found.problems}
    assert kinds == {"malformed row": 1, "candidate without a score": 1}
    assert found.num_groups == 4
    samples = {each.id: each for each in read_samples(folder / "samples_hpdv3.jsonl")}
    assert samples["g3"].correct == 0
    assert "3.png" in (samples["g3"].candidates[0].error or "")


def test_bench_export_is_read_back_with_the_same_scores(call: Call, tmp_path: Path) -> None:
    exported = tmp_path / "export" / "scenes.jsonl"
    result = call("bench", "scenes", "--export", exported, "--limit", "3")
    assert result.exit_code == 0, result.output
    for name, options in (("own", ()), ("read", ("--data", exported))):
        result = call(
            "bench", "scenes", *options, "-m", "hp-mini", "--limit", "3", "-o", tmp_path / name
        )
        assert result.exit_code == 0, result.output
    values = [
        [each.value for sample in read_samples(path) for each in sample.candidates]
        for path in (tmp_path / name / "hp-mini/samples_scenes.jsonl" for name in ("own", "read"))
    ]
    assert values[0] == values[1]


def bench_process(arguments: list[str | Path]) -> subprocess.Popen[str]:
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
        if name in os.environ
    }
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "visreward", "bench", *map(str, arguments)],
        env={**kept, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def files_without_date(folder: Path) -> dict[str, bytes]:
    """Return what a model's folder holds; the date of a run is not the same as that of another."""
    dated = re.compile(rb'"date": "[^"]*"')
    return {path.name: dated.sub(b'"date": ""', path.read_bytes()) for path in folder.iterdir()}


def test_bench_killed_in_the_middle_goes_on_to_the_same_bytes(
    call: Call, models: Path, tmp_path: Path
) -> None:
    """Batch-invariant, as what is scored beside an image depends on where the run was killed."""
    data = write_groups(tmp_path, 120)
    model = models / "ict-hp"

    def arguments(output: str) -> list[str | Path]:
        return [
            "hpdv3", "--data", data, "-m", model, "-o", tmp_path / output, "--batch-size", "1",
            "--batch-invariant",
        ]  # fmt: skip

    result = call("bench", *arguments("whole"))
    assert result.exit_code == 0, result.output
    (whole,) = (each for each in (tmp_path / "whole").iterdir() if (each / "results.json").exists())
    wanted = scores_of(whole, "hpdv3")
    assert len({(row["image"], row["prompt"]) for row in wanted}) == len(wanted)
    assert len(wanted) < 240

    killed = tmp_path / "killed" / whole.name
    log = killed / "scores_hpdv3.jsonl"
    process = bench_process(arguments("killed"))
    deadline = time.monotonic() + 300
    while not (log.exists() and log.read_bytes().count(b"\n") >= 20):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    left = log.read_bytes()
    assert 20 <= left.count(b"\n") < len(wanted)
    assert not (killed / "results.json").exists()

    result = call("bench", *arguments("killed"))
    assert result.exit_code == 0, result.output
    kept = left[: left.rfind(b"\n") + 1]
    num_kept = kept.count(b"\n")
    assert f"{num_kept} images were scored before" in result.stderr
    assert log.read_bytes().startswith(kept)
    assert files_without_date(killed) == files_without_date(whole)

    before = {path.name: path.read_bytes() for path in killed.iterdir()}
    result = call("bench", *arguments("killed"))
    assert f"{len(wanted)} images were scored before" in result.stderr
    assert {path.name: path.read_bytes() for path in killed.iterdir()} == before
