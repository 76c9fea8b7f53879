"""What is said before a download, and the question at a terminal, asked of real processes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from visreward.models.downloads import Download, DownloadPlan, format_size

if TYPE_CHECKING:
    from tests.models.conftest import Loopback, TinyRelease

LOAD = """
import sys
from visreward.core.errors import VisrewardError
from visreward.models.loading import load_model
try:
    print(load_model(sys.argv[1]).facts.revision)
except VisrewardError as error:
    print(type(error).__name__, error)
"""


@dataclass(frozen=True)
class Finished:
    """What a process said: on standard output, and on the terminal."""

    output: str
    terminal: str


@pytest.fixture
def hub(release: TinyRelease, start_loopback: Callable[[], Loopback]) -> Loopback:
    hub = start_loopback()
    for repo, folder in {
        "8y/ICT": release.checkpoint / "ICT",
        "8y/HP": release.checkpoint / "HP",
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": release.backbone,
    }.items():
        hub.repos[repo] = {
            str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()
        }
    return hub


def run_at_terminal(
    command: list[str], answer: str, *, hub: Loopback, home: Path, **environment: str
) -> Finished:
    """Run Python with a terminal as standard input and error; standard output is a pipe."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", *command],
        env={
            **kept,
            "HF_HOME": str(home),
            "HF_ENDPOINT": hub.address,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "400",
            **environment,
        },
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    output, _ = process.communicate(timeout=500)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:  # the other end is closed: all was read
        pass
    os.close(ours)
    return Finished(output=output, terminal=said.decode().replace("\r\n", "\n"))


def test_load_at_a_terminal_answered_no_downloads_nothing(hub: Loopback, tmp_path: Path) -> None:
    done = run_at_terminal(["-c", LOAD, "ict-hp"], "", hub=hub, home=tmp_path)
    assert done.output.startswith("ModelNotFoundError Model 'ict-hp' is not on this machine")
    assert "`visreward models pull ict-hp`" in done.output
    assert done.terminal.count("Download it? [y/N]") == 1
    assert "'ict-hp' needs a download of" in done.terminal
    for repo in ("8y/ICT at main", "8y/HP at main", "laion/CLIP-ViT-H-14"):
        assert repo in done.terminal
    assert not [line for line in hub.requests if "/resolve/" in line]


def test_score_at_a_terminal_answered_yes_keeps_json_clean(
    hub: Loopback, tmp_path: Path, project_dir: Path
) -> None:
    image = project_dir / "examples/images"
    picture = next(path for path in sorted(image.rglob("*")) if path.suffix in {".jpg", ".png"})
    done = run_at_terminal(
        [
            *("-m", "visreward", "score", str(picture), "--prompt", "a red cube"),
            *("--model", "ict-hp", "--format", "json"),
        ],
        "yes",
        hub=hub,
        home=tmp_path,
    )
    assert done.terminal.count("Download it? [y/N]") == 1
    assert json.loads(done.output)


def test_load_in_one_of_several_processes_asks_nobody(hub: Loopback, tmp_path: Path) -> None:
    done = run_at_terminal(["-c", LOAD, "ict"], "", hub=hub, home=tmp_path, WORLD_SIZE="2")
    assert done.output.strip() == "c0ffee000000"
    assert "Download it?" not in done.terminal
    assert "'ict' needs a download of" in done.terminal


def test_plan_names_sizes_addresses_and_what_is_unknown(tmp_path: Path) -> None:
    plan = DownloadPlan(
        name="some-model",
        folder=tmp_path,
        downloads=(
            Download(
                source="https://one/of/these", what="model.safetensors", num_bytes=15_512_345_678
            ),
            Download(source="https://another", what="rating prompts", num_bytes=None),
        ),
    )
    assert str(plan).splitlines() == [
        "'some-model' needs a download of 15.5 GB or more:",
        "       15.5 GB  model.safetensors, https://one/of/these",
        "  unknown size  rating prompts, https://another",
        f"The imported copy in {tmp_path} takes about as much again.",
    ]


@pytest.mark.parametrize(
    ("num_bytes", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (68_966, "69.0 kB"), (2_500_000, "2.5 MB")],
)
def test_size_is_in_decimal_units(num_bytes: int, words: str) -> None:
    assert format_size(num_bytes) == words
