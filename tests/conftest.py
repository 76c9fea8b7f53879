"""Fixtures that every test folder uses."""

from __future__ import annotations

from pathlib import Path

import pytest

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
