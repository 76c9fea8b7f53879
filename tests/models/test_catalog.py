from __future__ import annotations

import re
import subprocess
import sys

import pytest

from visreward.core.errors import UnknownNameError
from visreward.models.catalog import catalog, find_row
from visreward.models.kinds import MODEL_KINDS
from visreward.models.layouts import LAYOUTS


@pytest.mark.parametrize("name", list(catalog()))
def test_catalog_row_is_complete(name: str) -> None:
    row = catalog()[name]
    kind = MODEL_KINDS.get(row.kind)
    assert row.note
    assert row.licence
    assert row.paper.startswith("https://")
    assert row.score_range[0] < row.score_range[1]
    assert row.memory_gb.float32 > row.memory_gb.bfloat16 > 0
    assert set(row.parts) == set(kind.part_kinds)
    assert row.needs_prompt == (row.kind not in {"hp", "laion-aesthetic"})
    assert {find_row(part).kind for part in row.parts.values()} == set(kind.part_kinds.values())


@pytest.mark.parametrize("name", [row.name for row in catalog().values() if not row.builtin])
def test_catalog_released_row_has_a_layout_of_its_kind(name: str) -> None:
    row = catalog()[name]
    assert row.layout is not None
    assert LAYOUTS[row.layout].kind == row.kind
    assert not row.is_published or bool(row.hub_files()) != bool(row.parts)
    needs_release = row.is_published and LAYOUTS[row.layout].release is not None
    assert (row.release is not None) == needs_release


def test_catalog_releases_stand_at_fixed_versions() -> None:
    found = {row.name: row.release for row in catalog().values() if row.release is not None}
    assert set(found) == {"hpsv3", "editreward-qwen2.5", "editreward-mimo"}
    wheel, tree = found["hpsv3"], found["editreward-mimo"]
    assert wheel.url.startswith("https://files.pythonhosted.org/packages/")
    assert wheel.url.endswith(f"/{wheel.file}")
    assert re.fullmatch("[0-9a-f]{64}", wheel.sha256 or "")
    assert re.fullmatch("[0-9a-f]{64}", wheel.prompts_sha256 or "")
    assert re.fullmatch("https://codeload.github.com/.*/zip/[0-9a-f]{40}", tree.url)
    # Nobody here held this release's rating prompts, and the bytes of its archive may change.
    assert tree.sha256 is None
    assert tree.prompts_sha256 is None


def test_catalog_model_without_published_weights_is_listed() -> None:
    row = find_row("editreward-qwen3")
    assert not row.is_published
    assert not row.hub_files()
    assert "import your own" in row.note


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_catalog_has_a_row_for_each_layout(layout: str) -> None:
    assert layout in {row.layout for row in catalog().values()}


def test_catalog_downloads_what_the_layout_reads() -> None:
    for row in catalog().values():
        if row.layout is None or row.weights is None or row.backbone is None:
            continue
        for file in LAYOUTS[row.layout].files:
            source = row.weights if file.place == "checkpoint" else row.backbone
            assert any(set(names) <= set(file.names) for names in source.files), row.name


def test_catalog_revisions_are_commits_or_main() -> None:
    found = {f.repo: f.revision for row in catalog().values() for f in row.hub_files()}
    open_ends = {repo for repo, revision in found.items() if revision == "main"}
    # No commit of these is known for sure; the one of the first download is recorded.
    assert open_ends == {
        *("8y/ICT", "8y/HP", "camenduru/improved-aesthetic-predictor"),
        *("TIGER-Lab/EditReward-MiMo-VL-7B-SFT-2508", "XiaomiMiMo/MiMo-VL-7B-SFT-2508"),
    }
    pinned = [revision for repo, revision in found.items() if repo not in open_ends]
    assert all(re.fullmatch("[0-9a-f]{40}", revision) for revision in pinned)


def test_catalog_builtin_models_say_what_they_know() -> None:
    builtin = {row.name: row.note for row in catalog().values() if row.builtin}
    assert set(builtin) == {
        *("clip-mini", "ict-mini", "hp-mini", "ict-hp-mini"),
        "editreward-mini",
        "hpsv3-mini",
    }
    assert all("synthetic scenes only" in note for note in builtin.values())


def test_catalog_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'pickskore'. Did you mean 'pickscore'\?"):
        find_row("pickskore")


def test_catalog_reading_imports_no_torch() -> None:
    code = (
        "import sys; from visreward.models.catalog import catalog; catalog(); "
        "import visreward.cli.models; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
