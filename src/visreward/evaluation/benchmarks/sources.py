"""Where the data of a benchmark is: a path, or a data set on the hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visreward.core.errors import DataError

_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """Data that is on this machine.

    Attributes:
        path: A file or a folder.
        name: What results call it: the path, or the data set with its commit.
    """

    path: Path
    name: str


def find_data(
    given: str, *, revision: str | None = None, files: Sequence[str] = ("*",)
) -> DataSource:
    """Return where data is, after fetching a data set from the hub.

    What is there as a path is a path, and anything else of the form `owner/name` a data set, which
    is kept in the hub's own cache. Honours HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE, shows a
    progress bar, and goes on where an earlier download stopped.

    Args:
        given: A path or the id of a data set.
        revision: Branch, tag or commit of the data set; None means its main branch.
        files: Patterns of what is fetched of a data set.

    Raises:
        DataError: if there is no such path, and no such data set or no network.
    """
    path = Path(given)
    if path.exists():
        if revision is not None:
            raise DataError(
                f"'{given}' is on this machine and has no revision {revision!r}. Leave it out."
            )
        return DataSource(path=path, name=given)
    if _HUB_ID.fullmatch(given) is None:
        raise DataError(
            f"There is no '{given}'. Give a file, a folder, or a data set of the hub as owner/name."
        )
    folder = _fetch(given, revision, files)
    return DataSource(path=folder, name=f"{given} at {folder.name}")


def _fetch(repo: str, revision: str | None, files: Sequence[str]) -> Path:
    """Return the folder of a data set, which is named by its commit."""
    from huggingface_hub import snapshot_download

    # HTTPError is that of httpx, under whichever name the hub's client depends on it.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        return Path(
            snapshot_download(
                repo, repo_type="dataset", revision=revision, allow_patterns=list(files)
            )
        )
    except (OSError, HTTPError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"There is no path '{repo}', and no data set of that name could be fetched from the "
            f"hub: {reason} Check the name, or give a folder."
        ) from error
