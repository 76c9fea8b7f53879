"""visreward audit: the verdicts, the files it writes and its exit statuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

Call = Callable[..., Result]


def test_audit_of_a_shipped_model_writes_page_and_json(call: Call, tmp_path: Path) -> None:
    result = call("audit", "--model", "clip-mini", "--num", "4", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert values["model"] == "clip-mini"
    assert values["num_items"] == 12
    probes = {probe["probe"]: probe for probe in values["probes"]}
    assert probes["black"]["finding"]["effect"]["value"] == 1.0
    assert probes["batch"]["verdict"] == "pass"
    assert probes["adversarial"]["finding"]["effect"]["value"] > 0
    assert probes["swapped"]["verdict"] == "not run"
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in probes)
    assert len(page) < 10_000_000


def test_audit_strict_ends_with_1_where_a_probe_fails(call: Call) -> None:
    # The paradox of the ICT & HP paper: a plain CLIP punishes richness.
    arguments = ("audit", "--model", "clip-mini", "--probe", "richness", "--num", "16")
    assert call(*arguments).exit_code == 0
    strict = call(*arguments, "--strict")
    assert strict.exit_code == 1
    assert "clip-mini: 1 failed" in strict.output


def test_audit_names_pictures_that_cannot_be_scored(
    call: Call, tmp_path: Path, models: Path, pictures: list[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    images = [*pictures, str(tmp_path / "gone.png")]
    rows.write_text("\n".join(json.dumps({"prompt": "a ball", "image": each}) for each in images))
    result = call("audit", "--model", models / "ict-hp", "--images", rows, "--probe", "jpeg")
    assert result.exit_code == 1
    assert "gone.png" in result.output


def test_audit_unknown_probe_is_wrong_usage(call: Call) -> None:
    result = call("audit", "--model", "clip-mini", "--probe", "jpg")
    assert result.exit_code == 2
    assert "Did you mean 'jpeg'" in result.output


def test_audit_lists_its_probes(call: Call) -> None:
    result = call("audit", "--list-probes")
    assert result.exit_code == 0
    assert "richness" in result.output
    assert "adversarial" in result.output
