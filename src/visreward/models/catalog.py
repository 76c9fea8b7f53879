"""The catalog of reward models by name; reading it imports no torch."""

from __future__ import annotations

import functools
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from visreward.core.errors import ModelNotFoundError, UnknownNameError
from visreward.core.registry import unknown_name

LIST_WITH: Final = "visreward models list"
CATALOG_FILE: Final = Path(__file__).resolve().parent / "catalog.toml"
BUILTIN_FOLDER: Final = Path(__file__).resolve().parent / "builtin"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFiles:
    """Some files of one repository on the hub.

    Attributes:
        repo: `owner/name`.
        revision: A commit, a branch or a tag.
        files: Each file as its possible names; the first one that the repository has is taken.
    """

    repo: str
    revision: str
    files: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseArchive:
    """The published archive of a release, and what of it a model needs.

    Attributes:
        file: What it is called on this machine.
        url: Where it is published, at a fixed version.
        config_name: Name of the model's training configuration in it.
        sha256: Of the archive; None where its bytes are not promised.
        num_bytes: Its size, or None likewise.
        prompts_sha256: Digest of the rating prompts in it; None where we never held them.
    """

    file: str
    url: str
    config_name: str
    sha256: str | None = None
    num_bytes: int | None = None
    prompts_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Size of the weights in decimal gigabytes, by dtype."""

    float32: float
    bfloat16: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogRow:
    """One reward model.

    Attributes:
        name: What `load_model` takes.
        kind: The registry name of the model's class.
        note: One sentence about its scores.
        licence: SPDX name, or where the licence is stated.
        paper: Link.
        score_range: Lowest and highest possible score.
        memory_gb: Size of the weights.
        dimensions: Names of what the score is made of.
        needs_prompt: Whether the prompt changes the score.
        needs_source: Whether a source image is required.
        builtin: Whether the weights ship with the package.
        layout: The released layout of the weights, or None for built-in models.
        parts: Name of the model of each part; empty for a model of its own.
        weights: The released weights; None for built-in models, models made of parts, and models
            of which no published checkpoint is known.
        backbone: Where configuration, tokenizer and image processor come from, or None likewise.
        release: The archive with the rating prompts; None for CLIP models, and likewise.
    """

    name: str
    kind: str
    note: str
    licence: str
    paper: str
    score_range: tuple[float, float]
    memory_gb: Memory
    dimensions: tuple[str, ...] = ()
    needs_prompt: bool = True
    needs_source: bool = False
    builtin: bool = False
    layout: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    weights: HubFiles | None = None
    backbone: HubFiles | None = None
    release: ReleaseArchive | None = None

    @property
    def is_published(self) -> bool:
        """Return whether the model ships with the package or can be downloaded."""
        return self.builtin or bool(self.parts) or self.weights is not None

    def hub_files(self) -> tuple[HubFiles, ...]:
        """Return all that is downloaded for the model itself, without that of its parts."""
        return tuple(files for files in (self.weights, self.backbone) if files is not None)


@functools.cache
def catalog() -> Mapping[str, CatalogRow]:
    """Return all rows by name, in the order of the file."""
    values = tomllib.loads(CATALOG_FILE.read_text(encoding="utf-8"))
    rows = [_row(row, values) for row in values["model"]]
    return {row.name: row for row in rows}


def find_row(name: str) -> CatalogRow:
    """Return the row of a model.

    Raises:
        UnknownNameError: if the catalog has no such name.
    """
    if name not in catalog():
        raise unknown_name("model", name=name, known=catalog(), list_with=LIST_WITH)
    return catalog()[name]


def local_folder(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the folder of a model that is not one of the catalog; what it holds is not looked at.

    Raises:
        UnknownNameError: if the text is a misspelt name, or one of the hub.
        ModelNotFoundError: if there is no such folder.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if isinstance(name_or_path, str) and path.name == name_or_path:
        # No separator in it: a misspelt name, rather than a folder.
        find_row(name_or_path)
    for row in catalog().values():
        if row.weights is not None and row.weights.repo == str(name_or_path):
            raise UnknownNameError(
                f"'{name_or_path}' is a hub name. Load it as '{row.name}'. "
                f"List all with: {LIST_WITH}"
            )
    raise ModelNotFoundError(
        f"There is no folder {path}. Give a native folder, or a name from: {LIST_WITH}"
    )


def _row(values: dict[str, Any], tables: dict[str, Any]) -> CatalogRow:  # TOML values
    low, high = values["score_range"]
    return CatalogRow(
        **{
            **values,
            "score_range": (low, high),
            "dimensions": tuple(values.get("dimensions", ())),
            "memory_gb": Memory(**values["memory_gb"]),
            "weights": _hub_files(values.get("weights"), tables),
            "backbone": _hub_files(values.get("backbone"), tables),
            "release": _release(values.get("release"), tables),
        }
    )


def _hub_files(
    values: dict[str, Any] | None,  # TOML values
    tables: dict[str, Any],  # TOML values
) -> HubFiles | None:
    if values is None:
        return None
    repo, files = values["repo"], values["files"]
    listed = tables["files"][files] if isinstance(files, str) else files
    return HubFiles(
        repo=repo,
        revision=tables["revisions"][repo],
        files=tuple(tuple(entry.split(" | ")) for entry in listed),
    )


def _release(
    values: dict[str, Any] | None,  # TOML values
    tables: dict[str, Any],  # TOML values
) -> ReleaseArchive | None:
    if values is None:
        return None
    own = {key: value for key, value in values.items() if key != "archive"}
    return ReleaseArchive(**tables["releases"][values["archive"]], **own)
