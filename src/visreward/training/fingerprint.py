"""What a run was made from: which rows, and which state of the code."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import visreward
from visreward.core.errors import UsageError
from visreward.training.batches import Row

TIME_LIMIT_S = 10.0


def rows_fingerprint(rows: Iterable[Row], root: Path) -> dict[str, Any]:  # JSON values
    """Return how many rows there are, and a digest of all that is known of them, in their order.

    It holds the images' names below `root`, prompts, labels and ratings, but not the images
    themselves: reading them all would take as long as a first epoch.
    """
    digest = hashlib.sha256()
    count = 0
    for row in rows:
        files = [_below(path, root) for path in row.files]
        known = (files, row.prompts, row.labels, row.dimensions, row.overall)
        digest.update(f"{known!r}\n".encode())
        count += 1
    return {"rows": count, "sha256": digest.hexdigest()}


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def require_same_rows(
    known: Mapping[str, Any],  # JSON values
    now: Mapping[str, Any],  # JSON values
    *,
    data: Path,
    run: Path,
) -> None:
    """Stop where a run would go on with other rows than it began with.

    Args:
        known: Fingerprint of each split when the run began.
        now: Fingerprint of each split today.
        data: The data set, for the message.
        run: The run's folder, for the message.

    Raises:
        UsageError: naming the splits that differ.
    """
    changed = [
        f"'{split}' ({known[split]['rows']} rows {known[split]['sha256'][:12]}, now "
        f"{now[split]['rows']} rows {now[split]['sha256'][:12]})"
        for split in now
        if split in known and known[split] != now[split]
    ]
    if changed:
        raise UsageError(
            f"The rows of {data} have changed since the run in {run} began, in the split "
            f"{' and '.join(changed)}. Bring the data back, or give another output=FOLDER."
        )


def git_commit() -> str | None:
    """Return the commit of the package's source, with `-dirty` where files differ from it.

    None where the package lies in no git work tree of its own, as an installed one does.
    """
    git = shutil.which("git")
    source = Path(visreward.__file__)
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
            timeout=TIME_LIMIT_S,
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return done.stdout.strip()
