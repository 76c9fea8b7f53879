"""Which state of the source code runs."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Final

_TIME_LIMIT_S: Final = 10.0


@functools.cache
def git_commit() -> str | None:
    """Return the commit of the package's source, with `-dirty` where files differ from it.

    It is asked once: the state in which this process has read the code.

    None where the package lies in no git work tree of its own, as an installed one does.
    """
    git = shutil.which("git")
    source = Path(__file__).parents[1] / "__init__.py"
    if git is None or _git(git, source, "ls-files", "--error-unmatch", source.name) is None:
        return None
    commit = _git(git, source, "rev-parse", "HEAD")
    changes = _git(git, source, "status", "--porcelain", "--untracked-files=no", ".")
    return f"{commit}-dirty" if commit and changes else commit


def _git(program: str, source: Path, *arguments: str) -> str | None:
    """Return what git says in a file's folder, or None where it fails."""
    try:
        done = subprocess.run(  # noqa: S603  fixed words, no shell
            [program, *arguments],
            cwd=source.parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=_TIME_LIMIT_S,
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return done.stdout.strip()
