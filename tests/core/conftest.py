"""Fixtures of the image tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from PIL import Image

from visreward.core.images import read_image

if TYPE_CHECKING:
    from tests.core.bad_files import BadFile


@pytest.fixture(scope="session")
def corpus(bad_files: tuple[BadFile, ...]) -> dict[str, bytes]:
    """Return the bytes of every corpus file by name."""
    return {bad_file.name: bad_file.make() for bad_file in bad_files}


@pytest.fixture(scope="session")
def plain(corpus: dict[str, bytes]) -> Image.Image:
    """Return the picture that most corpus files show."""
    return read_image(corpus["plain.png"])


class RunPython(Protocol):
    """Runs code in a Python of its own, where warnings are errors, and returns what it printed."""

    def __call__(self, code: str, *arguments: str | Path) -> str: ...


@pytest.fixture(scope="session")
def run_python(project_dir: Path) -> RunPython:
    """Return a function that runs code in another process."""

    def run(code: str, *arguments: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(project_dir / "src")},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
