from __future__ import annotations

import subprocess
from pathlib import Path

from visreward.core.source_commit import git_commit


def test_git_commit_is_the_one_of_the_source(project_dir: Path) -> None:
    asked = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=project_dir, capture_output=True, text=True, check=False
    )
    if asked.returncode != 0:
        assert git_commit() is None
        return
    found = git_commit()
    assert found is not None
    assert found.removesuffix("-dirty") == asked.stdout.strip()
