"""Pulls of vision-language models by name, from a hub and an archive on this machine's loopback.

The client is that of this process, pointed to the loopback; nothing of ours is replaced. Only the
catalog is one of the test's own where a digest of the made-up release must be known.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import huggingface_hub
import pytest
from huggingface_hub import constants
from typer.testing import CliRunner, Result

from visreward.cli.models import app
from visreward.core.errors import ModelNotFoundError, VisrewardError, WeightsError
from visreward.core.types import Sample
from visreward.models import catalog as catalog_module
from visreward.models.catalog import ReleaseArchive, catalog, find_row
from visreward.models.loading import load_model
from visreward.models.released import ReleasedSource, import_released
from visreward.models.weights import load_native

if TYPE_CHECKING:
    from tests.models.conftest import Fault, Loopback
    from tests.models.vlm.conftest import TinyVLMRelease

QWEN, MIMO, HPSV3 = "editreward-qwen2.5", "editreward-mimo", "hpsv3"


def zipped(files: dict[str, str], folder: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(f"{folder}/{name}", text)
    return written.getvalue()


def release_of(name: str) -> ReleaseArchive:
    found = find_row(name).release
    assert found is not None
    return found


def path_of(name: str) -> str:
    return urlsplit(release_of(name).url).path.strip("/")


def serve(hub: Loopback, name: str, release: TinyVLMRelease) -> None:
    """Put a tiny checkpoint, its backbone and its release where the catalog has the real ones."""
    row = find_row(name)
    assert row.weights is not None
    assert row.backbone is not None
    for repo, folder in (
        (row.weights.repo, release.checkpoint),
        (row.backbone.repo, release.backbone),
    ):
        hub.repos[repo] = {path.name: path for path in sorted(folder.iterdir())}
    hub.archives[path_of(name)] = zipped(release.texts, "EditReward-c8bb3a3")


@pytest.fixture
def hub(
    start_loopback: Callable[[], Loopback],
    edit_release: TinyVLMRelease,
    image_release: TinyVLMRelease,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Loopback]:
    """Serve all three models; this process's client and cache are pointed there."""
    hub = start_loopback()
    for name in (QWEN, MIMO):
        serve(hub, name, edit_release)
    serve(hub, HPSV3, image_release)
    for name, value in environment(hub, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        hub.address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home/hub"))
    huggingface_hub.close_session()
    yield hub
    huggingface_hub.close_session()


def environment(hub: Loopback, folder: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "VISREWARD_CACHE": str(folder / "cache"),
        "VISREWARD_RELEASE_ENDPOINT": hub.address,
    }


@pytest.fixture
def own_catalog(
    hub: Loopback, image_release: TinyVLMRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Give the catalog the digests of the made-up release of HPSv3."""
    release = release_of(HPSV3)
    archive = hub.archives[path_of(HPSV3)]
    text = catalog_module.CATALOG_FILE.read_text(encoding="utf-8")
    assert release.sha256 is not None
    assert release.prompts_sha256 is not None
    text = text.replace(release.sha256, hashlib.sha256(archive).hexdigest())
    text = text.replace(release.prompts_sha256, image_release.prompts.digest)
    (tmp_path / "catalog.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(catalog_module, "CATALOG_FILE", tmp_path / "catalog.toml")
    catalog.cache_clear()
    yield
    monkeypatch.undo()
    catalog.cache_clear()


def pull(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["pull", *arguments])


def failed(*arguments: str) -> VisrewardError:
    error = pull(*arguments).exception
    assert isinstance(error, VisrewardError), error
    return error


def cached_files(folder: Path) -> list[str]:
    """Return what the cache holds beside locks."""
    return sorted(
        path.relative_to(folder / "cache").as_posix()
        for path in (folder / "cache").rglob("*")
        if path.is_file() and path.suffix != ".lock"
    )


def imported_by_hand(name: str, release: TinyVLMRelease, folder: Path) -> Path:
    archive = folder / "by-hand.zip"
    archive.write_bytes(zipped(release.texts, "tree"))
    source = ReleasedSource(
        checkpoint=release.checkpoint,
        backbone=release.backbone,
        release=archive,
        config_name=release_of(name).config_name,
    )
    layout = find_row(name).layout
    assert layout is not None
    return import_released(layout, source, output=folder / "by-hand").output


def test_pull_in_a_process_of_its_own_equals_import_by_hand(
    hub: Loopback, edit_release: TinyVLMRelease, edits: list[Sample], tmp_path: Path
) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "visreward", "models", "pull", MIMO],
        env={**kept, **environment(hub, tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder == tmp_path / f"cache/models/{MIMO}@main"
    assert f"'{MIMO}' needs a download of" in done.stderr
    assert "model.safetensors" in done.stderr
    assert path_of(MIMO) in done.stderr
    assert f"{edit_release.prompts.digest}, not checked against a known digest" in done.stderr
    assert "was run" not in done.stderr
    by_hand = load_native(imported_by_hand(MIMO, edit_release, tmp_path))
    before = len(hub.requests)
    pulled = load_model(MIMO)
    assert len(hub.requests) == before
    assert [each.value for each in pulled.score(edits)] == [
        each.value for each in by_hand.score(edits)
    ]
    origin = json.loads((folder / "config.json").read_text())["origin"]
    assert origin["release"] == release_of(MIMO).url
    assert origin["revision"] == "main"


def test_load_by_name_downloads_imports_and_scores(
    hub: Loopback,
    own_catalog: None,
    image_release: TinyVLMRelease,
    picture: Callable[..., object],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = load_model(HPSV3)
    samples = [Sample(prompt="a red cube", image=picture(5))]  # type: ignore[arg-type]  # a picture
    by_hand = load_native(imported_by_hand(HPSV3, image_release, tmp_path))
    assert model.score(samples)[0].value == by_hand.score(samples)[0].value
    assert "'hpsv3' needs a download of" in caplog.text
    assert "MizzenAI/HPSv3 at 4f81e3e09edd82fe3c5f636444c721b592a735ca" in caplog.text
    assert "read and never run, checked by hash" in caplog.text


def test_pull_again_makes_no_request_and_says_so(hub: Loopback) -> None:
    first = pull(QWEN)
    assert first.exit_code == 0, first.exception
    before = len(hub.requests)
    again = pull(QWEN)
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    assert "already here; nothing was downloaded" in again.stderr
    assert "not checked against a known digest" in again.stderr
    assert len(hub.requests) == before


def test_pull_of_a_second_model_takes_the_archive_that_is_there(
    hub: Loopback, tmp_path: Path
) -> None:
    assert pull(QWEN).exit_code == 0
    second = pull(MIMO)
    assert second.exit_code == 0, second.exception
    assert len(hub.gets(path_of(QWEN))) == 1
    assert f"those of the copy in {tmp_path / 'cache/models'}/{QWEN}@" in second.stderr


def test_pull_interrupted_weights_go_on_where_they_stopped(
    hub: Loopback, fault: type[Fault], tmp_path: Path
) -> None:
    hub.faults["model.safetensors"] = [fault(num_bytes=50_000), fault(status=500)]
    error = failed(QWEN)
    assert isinstance(error, ModelNotFoundError)
    assert "the server answered 500" in str(error)
    assert not list((tmp_path / "cache/models").glob("*"))
    assert pull(QWEN).exit_code == 0
    assert hub.gets("model.safetensors") == ["", "bytes=50000-", "bytes=50000-"]


def test_pull_broken_connection_is_taken_up_in_the_same_run(
    hub: Loopback, fault: type[Fault]
) -> None:
    hub.faults["model.safetensors"] = [fault(num_bytes=40_000), fault(num_bytes=40_000)]
    assert pull(QWEN).exit_code == 0
    assert hub.gets("model.safetensors") == ["", "bytes=40000-", "bytes=80000-"]


def test_pull_damaged_weights_are_said_and_not_kept(
    hub: Loopback, fault: type[Fault], tmp_path: Path
) -> None:
    hub.faults["model.safetensors"] = [fault(num_bytes=50_000), fault(status=500)]
    failed(QWEN)
    [part] = (tmp_path / "home/hub").rglob(".*.part")
    part.write_bytes(b"\0" * 50_000)
    error = failed(QWEN)
    assert isinstance(error, WeightsError)
    assert "/model.safetensors from http://127.0.0.1" in str(error)
    assert not list((tmp_path / "home/hub").rglob(".*.part"))
    assert pull(QWEN).exit_code == 0


def test_pull_interrupted_archive_goes_on_where_it_stopped(
    hub: Loopback, own_catalog: None, fault: type[Fault], tmp_path: Path
) -> None:
    hub.faults[".whl"] = [fault(num_bytes=100), fault(status=500)]
    error = failed(HPSV3)
    assert isinstance(error, ModelNotFoundError)
    assert "could not be downloaded" in str(error)
    assert "the server answered 500" in str(error)
    assert not hub.gets("HPSv3.safetensors")
    result = pull(HPSV3)
    assert result.exit_code == 0, result.exception
    assert hub.gets(".whl") == ["", "bytes=100-", "bytes=100-"]
    assert f", those of {release_of(HPSV3).file}." in result.stderr


def test_pull_archive_of_unknown_hash_starts_anew(hub: Loopback, fault: type[Fault]) -> None:
    hub.faults[path_of(QWEN)] = [fault(num_bytes=100)]
    assert isinstance(failed(QWEN), ModelNotFoundError)
    assert pull(QWEN).exit_code == 0
    assert hub.gets(path_of(QWEN)) == ["", ""]


def test_pull_archive_with_another_hash_names_both_and_keeps_nothing(
    hub: Loopback, own_catalog: None, image_release: TinyVLMRelease, tmp_path: Path
) -> None:
    wanted = release_of(HPSV3).sha256
    other = zipped(image_release.texts | {"hpsv3/new.py": "more = 1\n"}, "tree")
    hub.archives[path_of(HPSV3)] = other
    error = failed(HPSV3)
    assert isinstance(error, WeightsError)
    found = hashlib.sha256(other).hexdigest()
    assert f"has the SHA-256 {found}, expected {wanted}. Nothing of it was kept." in str(error)
    assert not hub.gets("HPSv3.safetensors")
    assert cached_files(tmp_path) == []


def test_pull_damaged_archive_in_the_cache_is_downloaded_anew(
    hub: Loopback, own_catalog: None, tmp_path: Path
) -> None:
    archive = tmp_path / "cache/releases" / release_of(HPSV3).file
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"damaged")
    assert pull(HPSV3).exit_code == 0
    assert archive.read_bytes() == hub.archives[path_of(HPSV3)]


def test_pull_changed_rating_prompts_say_both_digests_before_the_weights(
    hub: Loopback, edit_release: TinyVLMRelease, tmp_path: Path
) -> None:
    assert pull(QWEN).exit_code == 0
    (tmp_path / "cache/releases" / release_of(MIMO).file).unlink()
    changed = {
        name: text.replace("Is it clean", "Is it neat") for name, text in edit_release.texts.items()
    }
    hub.archives[path_of(MIMO)] = zipped(changed, "tree")
    before = len(hub.gets("model.safetensors"))
    error = failed(MIMO)
    assert isinstance(error, WeightsError)
    assert f"expected {edit_release.prompts.digest}, those of the copy in" in str(error)
    assert "they were changed" in str(error)
    assert len(hub.gets("model.safetensors")) == before
    assert not list((tmp_path / "cache/models").glob(f"{MIMO}*"))
    assert not (tmp_path / "cache/releases" / release_of(MIMO).file).exists()


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (
            "EditReward/config/EditReward-Qwen2.5-7B-VL.yaml",
            "has no EditReward/config/EditReward-Q",
        ),
        ("EditReward/dataset/prompts.py", r"which holds the release's rating prompts"),
    ],
)
def test_pull_archive_without_a_file_names_it(
    missing: str, words: str, hub: Loopback, edit_release: TinyVLMRelease, tmp_path: Path
) -> None:
    texts = {name: text for name, text in edit_release.texts.items() if name != missing}
    hub.archives[path_of(QWEN)] = zipped(texts, "tree")
    error = failed(QWEN)
    assert isinstance(error, ModelNotFoundError)
    assert words in str(error)
    assert cached_files(tmp_path) == []


def test_pull_archive_that_leads_out_of_its_folder_writes_nothing_there(
    hub: Loopback, edit_release: TinyVLMRelease, tmp_path: Path
) -> None:
    evil = {"../../../../EditReward/evil.py": "x = 1\n", "/EditReward/evil.py": "x = 1\n"}
    hub.archives[path_of(QWEN)] = zipped(edit_release.texts | evil, "tree")
    assert pull(QWEN).exit_code == 0
    assert not list(tmp_path.rglob("evil.py"))


@pytest.mark.parametrize("status", [404, 500])
def test_pull_archive_that_the_server_does_not_give_says_what_to_do(
    status: int, hub: Loopback, fault: type[Fault], tmp_path: Path
) -> None:
    hub.faults[path_of(QWEN)] = [fault(status=status)]
    error = failed(QWEN)
    assert isinstance(error, ModelNotFoundError)
    assert f"the server answered {status}" in str(error)
    assert "visreward models import editreward --checkpoint DIR --backbone DIR --release" in str(
        error
    )
    assert "--config EditReward-Qwen2.5-7B-VL.yaml" in str(error)
    assert cached_files(tmp_path) == []


def test_pull_answer_that_is_no_archive_is_said(hub: Loopback, tmp_path: Path) -> None:
    hub.archives[path_of(QWEN)] = b"<html>Log in</html>"
    error = failed(QWEN)
    assert "is no zip file, but 19 bytes" in str(error)
    assert cached_files(tmp_path) == []


def test_pull_offline_says_so_in_a_sentence(
    hub: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    error = failed(QWEN)
    assert "offline mode is enabled" in str(error)
    assert "hf download TIGER-Lab/EditReward-Qwen2.5-VL-7B" in str(error)
    assert "--release EditReward-c8bb3a3b17ec.zip --config EditReward-Qwen2.5-7B-VL.yaml" in str(
        error
    )
    assert "\n" not in str(error)


def test_pull_offline_with_the_hub_cache_misses_the_release_alone(
    hub: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert pull(QWEN).exit_code == 0
    monkeypatch.setenv("VISREWARD_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    error = failed(QWEN)
    assert "The release of 'editreward-qwen2.5', which holds its rating prompts" in str(error)
    assert "offline mode is enabled" in str(error)
    target = tmp_path / "other/releases" / release_of(QWEN).file
    assert f"bring that file to {target}" in str(error)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(hub.archives[path_of(QWEN)])
    assert pull(QWEN).exit_code == 0


def test_pull_model_without_a_published_checkpoint_says_how_to_import_one(
    hub: Loopback, tmp_path: Path
) -> None:
    error = failed("editreward-qwen3")
    assert "no published checkpoint of it is known" in str(error)
    folder = tmp_path / "cache/models/editreward-qwen3"
    assert "visreward models import editreward --checkpoint DIR --backbone DIR" in str(error)
    assert f"--output {folder}" in str(error)
    with pytest.raises(ModelNotFoundError, match="no published checkpoint"):
        load_model("editreward-qwen3")
    assert "No published checkpoint" in str(failed("editreward-qwen3", "--revision", "main"))


def test_import_into_the_folder_of_an_unpublished_model_makes_its_name_load(
    hub: Loopback, qwen3_release: TinyVLMRelease, edits: list[Sample], tmp_path: Path
) -> None:
    release = tmp_path / "own.zip"
    release.write_bytes(zipped(qwen3_release.texts, "tree"))
    result = CliRunner().invoke(
        app,
        [
            *("import", "editreward", "--checkpoint", str(qwen3_release.checkpoint)),
            *("--backbone", str(qwen3_release.backbone), "--release", str(release)),
            *("--config", "EditReward-Qwen2.5-7B-VL.yaml"),
            *("--output", str(tmp_path / "cache/models/editreward-qwen3")),
        ],
    )
    assert result.exit_code == 0, result.exception
    digest = qwen3_release.prompts.digest
    assert f"prompts   {digest}, not checked against a known digest" in result.stdout
    assert len(load_model("editreward-qwen3").score(edits)) == len(edits)
    assert pull("editreward-qwen3").exit_code == 0


def test_import_by_hand_says_whether_the_rating_prompts_are_the_published_ones(
    image_release: TinyVLMRelease, tmp_path: Path
) -> None:
    (tmp_path / "own.zip").write_bytes(zipped(image_release.texts, "tree"))
    result = CliRunner().invoke(
        app,
        [
            *("import", "hpsv3", "--checkpoint", str(image_release.checkpoint)),
            *("--backbone", str(image_release.backbone)),
            *("--release", str(tmp_path / "own.zip"), "--output", str(tmp_path / "model")),
        ],
    )
    assert result.exit_code == 0, result.exception
    published = (
        f"not those of {release_of(HPSV3).file}, which are {release_of(HPSV3).prompts_sha256}"
    )
    assert f"prompts   {image_release.prompts.digest}, {published}" in result.stdout
