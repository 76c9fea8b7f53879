"""Downloads from a small hub on this machine's loopback, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visreward.models.catalog import find_row

if TYPE_CHECKING:
    from tests.models.conftest import Loopback, TinyRelease

COMMIT = "c0ffee" + "0" * 34  # what the loopback hub answers for "main"
ICT, HP = "8y/ICT", "8y/HP"
BACKBONE = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"

SCORE = """
import json, sys
from PIL import Image
import visreward.models.loading as loading
from visreward.core.errors import VisrewardError
from visreward.core.types import Sample
answers = []
for name, revision in json.loads(sys.argv[1]):
    try:
        model = loading.load_model(name, revision=revision)
        sample = Sample(prompt="a red cube", image=Image.linear_gradient("L").convert("RGB"))
        score = model.score([sample])[0]
        answers.append([score.value, score.revision])
    except VisrewardError as error:
        answers.append([type(error).__name__, str(error)])
print(json.dumps(answers))
"""


def files_in(folder: Path) -> dict[str, Path]:
    return {
        str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def hub(release: TinyRelease, start_loopback: Callable[[], Loopback]) -> Loopback:
    """Serve tiny releases under their real names."""
    hub = start_loopback()
    hub.repos = {
        ICT: files_in(release.checkpoint / "ICT"),
        HP: files_in(release.checkpoint / "HP"),
        BACKBONE: files_in(release.backbone),
        "yuvalkirstain/PickScore_v1": {"README.md": release.backbone / "config.json"},
    }
    return hub


def load_in_process(
    models: list[tuple[str, str | None]], home: Path, **environment: str
) -> list[list[Any]]:
    """Load models in a fresh process; return score and revision, or error class and text."""
    inherited = {
        name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCORE, json.dumps(models)],
        env={
            **inherited,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "OMP_NUM_THREADS": "1",
            "NO_PROXY": "127.0.0.1",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    answers: list[list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hf-home")


@pytest.fixture(scope="module")
def online(hub: Loopback, home: Path) -> list[list[Any]]:
    """Load models from the hub into an empty HF_HOME, once for all tests."""
    models = [("ict-hp", None), ("hpsv2", None), ("pickscore", None), ("ict", "no-such-tag")]
    return load_in_process(models, home, HF_ENDPOINT=hub.address)


def test_download_composite_scores_and_names_both_commits(online: list[list[Any]]) -> None:
    value, revision = online[0]
    assert 0 < abs(value) <= 1
    assert revision == f"{COMMIT[:12]}+{COMMIT[:12]}"


def test_download_records_repository_revision_and_commit(
    online: list[list[Any]], home: Path
) -> None:
    config = json.loads((home / "visreward/models/ict@main/config.json").read_text())
    assert config["origin"] == {"repo": ICT, "revision": "main", "commit": COMMIT}


def test_download_takes_only_the_files_that_are_needed(
    online: list[list[Any]], hub: Loopback
) -> None:
    fetched = {line.split("/resolve/")[0] for line in hub.requests if "/resolve/" in line}
    assert fetched == {f"{kind} {repo}" for kind in ("HEAD", "GET") for repo in (ICT, HP, BACKBONE)}
    backbone = [line for line in hub.requests if line.startswith(f"GET {BACKBONE}/resolve")]
    assert not [line for line in backbone if line.endswith("model.safetensors")]
    assert len(set(backbone)) == 4


def test_download_unknown_repository_says_what_to_do(online: list[list[Any]]) -> None:
    kind, text = online[1]
    assert kind == "ModelNotFoundError"
    assert "Model 'hpsv2' is not on this machine" in text


def test_download_repository_without_the_file_names_it(online: list[list[Any]]) -> None:
    kind, text = online[2]
    assert kind == "ModelNotFoundError"
    assert "has no model.safetensors or pytorch_model.bin" in text


def test_download_unknown_revision_is_an_error(online: list[list[Any]]) -> None:
    kind, text = online[3]
    assert kind == "ModelNotFoundError"
    assert "ict@no-such-tag" in text


def test_load_again_offline_uses_the_copy(
    online: list[list[Any]], home: Path, hub: Loopback
) -> None:
    before = len(hub.requests)
    again = load_in_process(
        [("ict-hp", None), ("clipscore", None)],
        home,
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HUB_OFFLINE="1",
    )
    assert again[0] == online[0]
    assert len(hub.requests) == before
    kind, text = again[1]
    assert kind == "ModelNotFoundError"
    assert text.startswith("Model 'clipscore' is not on this machine")
    weights = find_row("clipscore").weights
    assert weights is not None
    assert str(home / f"visreward/models/clipscore@{weights.revision}") in text
    download = (
        f"hf download {weights.repo} --include model.safetensors pytorch_model.bin "
        f"--revision {weights.revision}`"
    )
    assert download in text
    assert "visreward models import clipscore --checkpoint DIR --backbone DIR" in text
    assert "\n" not in text


def test_load_offline_imports_what_the_hub_cache_holds(
    online: list[list[Any]], home: Path, tmp_path: Path
) -> None:
    answers = load_in_process(
        [("ict", None), ("ict", COMMIT)],
        home,
        HF_HUB_OFFLINE="1",
        VISREWARD_CACHE=str(tmp_path),
    )
    assert [revision for _, revision in answers] == [COMMIT[:12]] * 2
    assert answers[0] == answers[1]
    copies = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert copies == [f"ict@{COMMIT}", "ict@main"]


def test_load_hub_out_of_reach_says_what_to_do(tmp_path: Path) -> None:
    [[kind, text]] = load_in_process([("hp", None)], tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert kind == "ModelNotFoundError"
    assert "hf download 8y/HP hp_backbone/pytorch_model.bin" in text
