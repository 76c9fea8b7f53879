from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import ones
from typer.testing import CliRunner, Result

from visreward.cli.models import app
from visreward.core.errors import ModelNotFoundError, UnknownNameError, UsageError
from visreward.models.catalog import catalog
from visreward.models.layouts import LAYOUTS


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISREWARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_list_as_json_is_one_document_with_every_model() -> None:
    result = run("list", "--format", "json")
    assert result.exit_code == 0
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert list(rows) == list(catalog())
    assert rows["laion-aesthetic"]["score_range"] == [None, None]
    assert rows["ict"]["hub"][0] == "8y/ICT@main"
    assert rows["ict-hp"]["parts"] == {"ict": "ict", "hp": "hp"}


def test_list_as_table_names_every_model() -> None:
    result = run("list")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in catalog())
    assert "on the hub" in result.stdout


def test_list_notices_an_imported_copy(tmp_path: Path) -> None:
    folder = tmp_path / "cache/models/ict@main"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"format_version": 1}')
    files = {
        row["name"]: row["files"] for row in json.loads(run("list", "--format", "json").stdout)
    }
    assert files["ict"] == "here"
    assert files["ict-hp"] == "on the hub"


def test_show_name_prints_facts_and_links() -> None:
    result = run("show", "pickscore")
    assert result.exit_code == 0
    assert "-100 to 100" in result.stdout
    assert "yuvalkirstain/PickScore_v1@a4e4367c6dfa7288a00c550414478f865b875800" in result.stdout


def test_show_name_as_json_is_one_document() -> None:
    assert json.loads(run("show", "hp", "--format", "json").stdout)["needs_prompt"] is False


def test_show_name_prints_the_command_that_brings_it(tmp_path: Path) -> None:
    rows = {
        name: json.loads(run("show", name, "--format", "json").stdout)
        for name in ("hpsv3", "editreward-qwen3", "clip-mini")
    }
    assert rows["hpsv3"]["get_with"] == "visreward models pull hpsv3"
    assert rows["hpsv3"]["release"].endswith("/hpsv3-1.0.0-py3-none-any.whl")
    assert rows["clip-mini"]["get_with"] is None
    own = rows["editreward-qwen3"]
    assert own["files"] == "to import"
    assert own["get_with"] == (
        "visreward models import editreward --checkpoint DIR --backbone DIR --release PATH "
        f"--config NAME.yaml --output {tmp_path / 'cache/models/editreward-qwen3'}"
    )
    assert "visreward models pull ict-hp" in run("show", "ict-hp").stdout


def test_pull_builtin_model_says_that_it_ships() -> None:
    result = run("pull", "clip-mini")
    assert result.exit_code == 0
    assert "ships with the package" in result.stderr
    assert result.stdout.strip().endswith("builtin/clip-mini")


def test_pull_misspelt_name_gets_the_nearest() -> None:
    result = run("pull", "hpsv33")
    assert isinstance(result.exception, UnknownNameError)
    assert "Did you mean 'hpsv3'" in str(result.exception)


def test_pull_revision_of_a_model_made_of_parts_is_refused() -> None:
    result = run("pull", "ict-hp", "--revision", "v2")
    assert isinstance(result.exception, UsageError)
    assert "made of ict and hp, which have revisions of their own" in str(result.exception)


def test_show_folder_prints_facts_and_card(tmp_path: Path) -> None:
    facts = {
        "name": "mine",
        "needs_prompt": False,
        "needs_source": False,
        "dimensions": [],
        "score_range": [0, None],
        "fidelity": "paper",
        "licence": "MIT",
        "note": "knows nothing",
    }
    config = {"format_version": 1, "model": "hp", "facts": facts, "config": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "README.md").write_text("# The card\n\nTrained on nothing.")
    result = run("show", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "knows nothing" in result.stdout
    assert "Trained on nothing." in result.stdout


def test_show_misspelt_name_gets_the_nearest() -> None:
    result = run("show", "hpsv4")
    assert isinstance(result.exception, UnknownNameError)
    assert "Did you mean 'hpsv3'" in str(result.exception)


def test_import_help_names_every_layout() -> None:
    text = run("import", "--help").stdout
    assert all(name in text for name in LAYOUTS)


def test_import_without_weights_stops_and_writes_nothing(tmp_path: Path) -> None:
    save_file({"weight": ones(1)}, tmp_path / "other.safetensors")
    result = run(
        *("import", "ict", "--checkpoint", str(tmp_path), "--backbone", str(tmp_path)),
        *("--output", str(tmp_path / "out")),
    )
    assert isinstance(result.exception, ModelNotFoundError)
    assert not (tmp_path / "out").exists()
