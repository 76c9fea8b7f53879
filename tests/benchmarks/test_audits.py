from __future__ import annotations

import json
from pathlib import Path

import pytest

import audits
from visreward.evaluation.audit.probes import PROBES


def test_audits_of_two_models_stand_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "audits.json"
    audits.main(["--model", "clip-mini", "hp-mini", "--num", "2", "--output", str(output)])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines[0] == "| probe | limit | clip-mini | hp-mini |"
    assert len(lines) == 2 + len(PROBES)
    assert {line.count("|") for line in lines} == {5}
    found = json.loads(output.read_text(encoding="utf-8"))["results"]["audits"]
    assert [audit["model"] for audit in found] == ["clip-mini", "hp-mini"]
    for audit in found:
        assert list(audit["probes"]) == [probe.name for probe in PROBES]
        assert all(
            "value" in each or each["verdict"] == "not run" for each in audit["probes"].values()
        )
