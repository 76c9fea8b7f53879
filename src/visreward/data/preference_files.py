"""Data sets of preferences on disk: which files a format has, and how a split is read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from visreward.core.errors import DataError, UnknownNameError, UsageError
from visreward.data.base import Progress
from visreward.data.json_rows import iterate_json_list, iterate_json_member
from visreward.data.parquet_rows import ParquetStore, iterate_parquet
from visreward.data.preference_builder import TableBuilder
from visreward.data.preference_table import (
    FolderStore,
    ImageStore,
    Part,
    PreferenceCells,
    PreferenceTable,
)
from visreward.data.row import Row

RowParser: TypeAlias = Callable[[Row], PreferenceCells]

_SHARD: Final = re.compile(r"(?P<split>.+?)(-\d+-of-\d+.*)?\.parquet")
_SPLIT: Final = "{split}"
_ROWS_PER_CALL: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceFormat:
    """A format of preference data.

    Attributes:
        name: As the command line takes it, such as `hpdv3`.
        kind: Of its files: a JSON list per split, or Parquet tables.
        splits: Names that its splits may have, which name the files.
        parse: Reads one row; raises `DataError` for a malformed one.
        dimensions: Names of the dimensions that images have scores on.
        nested: Pairs of splits of which one is meant to hold rows of the other.
        columns: Parquet: columns that are read in memory.
        image_columns: Parquet: columns that hold the encoded images of a row, in order.
        source_columns: Parquet: the same for the images before an edit. A column that holds a
            list of images is named with a place, such as `images[0]`.
        member: JSON: the key of the list of rows, where a file holds an object.
        folders: Parquet: in which folders below the path the tables of a split may be; `{split}`
            stands for its name, and tables in such a folder may have any name.
    """

    name: str
    kind: Literal["json", "parquet"]
    splits: tuple[str, ...]
    parse: RowParser
    dimensions: tuple[str, ...] = ()
    nested: tuple[frozenset[str], ...] = ()
    columns: tuple[str, ...] = ()
    image_columns: tuple[str, ...] = ()
    source_columns: tuple[str, ...] = ()
    member: str | None = None
    folders: tuple[str, ...] = (".", "data")


class PreferenceData:
    """A data set of preferences on disk."""

    def __init__(
        self,
        layout: PreferenceFormat,
        path: str | os.PathLike[str],
        *,
        images: str | os.PathLike[str] | None = None,
    ) -> None:
        """Find the files; none is read yet.

        Args:
            layout: The format.
            path: The folder of its files, or one file, whose name is the split's.
            images: The folder that images are named relative to; None means that of the file.

        Raises:
            DataError: if there is no such file.
            UsageError: if `images` is given, but the tables hold their images themselves.
        """
        if images is not None and layout.image_columns:
            raise UsageError(
                f"Images are in '{images}', but tables of the format '{layout.name}' hold them "
                "themselves. Leave the folder out."
            )
        self.layout = layout
        self._files = _split_files(layout, Path(path))
        self._images = None if images is None else Path(images)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have a file."""
        return tuple(self._files)

    def image_folder(self, name: str) -> Path:
        """Return the folder that the images of a split are named relative to."""
        return self._images or self._files[name][0].parent

    def split(self, name: str, *, progress: Progress | None = None) -> PreferenceTable:
        """Read the rows of a split. Deterministic; no image is opened.

        A malformed row stops nothing here: it is in `bad_rows` of the table, and asking for it
        raises. Of 1.2 M rows, the columns take some 400 MB.

        Args:
            name: Of the split.
            progress: Called with the number of rows read since the last call, or None.

        Raises:
            UnknownNameError: if there is no such split.
            DataError: if a file cannot be read, or holds no rows of this format at all.
            MissingExtraError: if pyarrow is not installed.
        """
        if name not in self._files:
            raise UnknownNameError(
                f"There is no split {name!r} here. Splits found: {', '.join(self._files)}."
            )
        builder = TableBuilder()
        parts = []
        for file in self._files[name]:
            parts.append(Part(file, len(builder)))
            self._read(file, builder, progress)
        return builder.finish(
            name=name,
            parts=parts,
            store=self._store(name, parts),
            dimensions=self.layout.dimensions,
        )

    def _read(self, file: Path, builder: TableBuilder, progress: Progress | None) -> None:
        number = -1
        for number, values in enumerate(self._values(file)):
            try:
                cells = self.layout.parse(Row(values, file=file, number=number))
            except DataError as error:
                builder.add_bad(error)
            else:
                builder.add(cells)
            if progress is not None and number % _ROWS_PER_CALL == _ROWS_PER_CALL - 1:
                progress(_ROWS_PER_CALL)
        if progress is not None:
            progress((number + 1) % _ROWS_PER_CALL)

    def _values(self, file: Path) -> Iterator[object]:
        if self.layout.kind == "json":
            if self.layout.member is not None:
                return iterate_json_member(file, self.layout.member)
            return iterate_json_list(file)
        columns = self.layout.columns
        has_images = not set(columns).isdisjoint(self.layout.image_columns)
        return iterate_parquet(file, columns=columns, has_images=has_images)

    def _store(self, name: str, parts: Sequence[Part]) -> ImageStore:
        if self.layout.image_columns:
            return ParquetStore(
                parts, images=self.layout.image_columns, sources=self.layout.source_columns
            )
        return FolderStore(self.image_folder(name))


def _split_files(layout: PreferenceFormat, path: Path) -> Mapping[str, tuple[Path, ...]]:
    """Return the files of each split that has any."""
    if path.is_file():
        return {path.stem: (path,)}
    found: dict[str, list[Path]] = {}
    if layout.kind == "json":
        for split in layout.splits:
            if (path / f"{split}.json").is_file():
                found[split] = [path / f"{split}.json"]
    else:
        for split, file in _tables(layout, path):
            if split in layout.splits:
                found.setdefault(split, []).append(file)
    if not found:
        suffix = ".json" if layout.kind == "json" else ".parquet"
        raise DataError(
            f"No file of the format '{layout.name}' was found in '{path}'. Give a file, or a "
            f"folder that holds {' or '.join(split + suffix for split in layout.splits)}."
        )
    return {split: tuple(found[split]) for split in layout.splits if split in found}


def _tables(layout: PreferenceFormat, path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the split and the path of every table that may be of this format."""
    for folder in layout.folders:
        if _SPLIT in folder:
            for split in layout.splits:
                for file in sorted(path.glob(f"{folder.replace(_SPLIT, split)}/*.parquet")):
                    yield split, file
        else:
            for file in sorted(path.glob(f"{folder}/*.parquet")):
                match = _SHARD.fullmatch(file.name)
                if match is not None:
                    yield match["split"], file
