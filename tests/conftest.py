"""Fixtures that every test folder uses."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from tests.core.bad_files import BadFile

PROJECT_DIR = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def project_dir() -> Path:
    """Return the project's root."""
    return PROJECT_DIR


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Return the folder of reference data beside the project, or skip where it is absent."""
    folder = PROJECT_DIR.parent / "shared"
    if not (folder / "parity").is_dir():
        pytest.skip(f"reference data not found at {folder.name}/ beside the project")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a headless Chromium, or skip where there is none.

    Of one module: while it runs, asyncio cannot be used by other tests of the same process.
    """
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        pytest.skip("Chromium is not installed")
    playwright: Any = pytest.importorskip("playwright.sync_api", reason="playwright is missing")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield running
        running.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `bad_file` once for each file of the corpus."""
    if "bad_file" in metafunc.fixturenames:
        metafunc.parametrize("bad_file", _load_bad_files(), ids=lambda bad_file: bad_file.name)


@pytest.fixture(scope="session")
def bad_files() -> tuple[BadFile, ...]:
    """Return the corpus of bad and odd image files: name, make() and the phrase expected."""
    return _load_bad_files()


def _load_bad_files() -> tuple[BadFile, ...]:
    # pytest's importlib mode puts no test folder on sys.path, so the file is loaded by path.
    name = "visreward_bad_files"
    if name not in sys.modules:
        path = PROJECT_DIR / "tests" / "core" / "bad_files.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return cast("tuple[BadFile, ...]", sys.modules[name].BAD_FILES)
