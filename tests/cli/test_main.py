"""The command line as a whole: help, errors, exit statuses, and what it imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import visreward
from visreward.cli.main import COMMANDS

Call = Callable[..., Result]

LARGE = ("torch", "transformers", "numpy", "PIL", "pandas", "pyarrow", "huggingface_hub")

IMPORTS = """
import sys
from visreward.cli.main import run
sys.argv = ["visreward", *sys.argv[1:]]
try:
    run()
except SystemExit as stop:
    assert not stop.code, stop.code
print(*sys.modules, file=sys.stderr)
"""


def imported_by(*arguments: str) -> set[str]:
    """Return the modules that a command imports, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *arguments], check=True, capture_output=True, text=True
    )
    return set(done.stderr.split())


def test_help_lists_every_command(call: Call) -> None:
    result = call("--help")
    assert result.exit_code == 0
    assert all(command.summary in result.stdout for command in COMMANDS.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_command_help_is_its_own(call: Call, name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0
    assert f" {name} [OPTIONS]" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["score", "--help"], ["rank", "--help"], ["data", "--help"]],
)
def test_help_imports_no_large_package(arguments: list[str]) -> None:
    modules = imported_by(*arguments)
    assert not modules.intersection(LARGE)
    assert "visreward.cli.main" in modules


def test_help_imports_no_command() -> None:
    ours = {name for name in imported_by("--help") if name.startswith("visreward")}
    assert ours == {"visreward", "visreward.cli", "visreward.cli.main"}


def test_command_imports_no_other_command() -> None:
    modules = imported_by("rank", "--help")
    assert "visreward.cli.rank" in modules
    assert not modules & {"visreward.cli.score", "visreward.cli.models", "visreward.cli.data"}


def test_version_is_the_package_s(call: Call) -> None:
    result = call("--version")
    assert (result.exit_code, result.stdout) == (0, f"visreward {visreward.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (["scoer"], "No such command 'scoer'"),
        (["score", "--wrong"], "No such option: --wrong"),
        (["score", "a.png", "--format", "xml"], "xml"),
        (["score", "a.png", "--batch-size", "0"], "batch-size"),
        (["score", "a.png", "--dtype", "int8"], "int8"),
        (["data", "check", "imagenet", "."], "imagenet"),
    ],
)
def test_wrong_usage_exits_with_2(call: Call, arguments: list[str], phrase: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert phrase in result.stderr
    assert result.stdout == ""


def test_error_that_stops_the_run_is_one_sentence(call: Call) -> None:
    result = call("score", "a.png", "--prompt", "p", "--model", "ict-hp-mimi")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(
        "Error: Unknown model 'ict-hp-mimi'. Did you mean 'ict-hp-mini'?"
    )
    assert result.stderr.count("\n") == 1


def test_file_that_cannot_be_used_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", "locked.csv")

    monkeypatch.setattr("visreward.cli.scoring_run.run", refuse)
    result = call("score", "a.png", "--prompt", "p")
    assert result.exit_code == 2
    assert (
        result.stderr == "Error: 'locked.csv' cannot be used: Permission denied. Check the path.\n"
    )


def test_module_runs_and_exits_as_the_command(project_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "visreward", "score"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "Error: No image was given. Give image files, or --input FILE.jsonl.\n"
    assert done.stdout == ""
