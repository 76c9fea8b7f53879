"""Named entries that are imported only when they are asked for."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable, Iterator
from typing import Final, Generic, TypeVar, cast

from visreward.core.errors import UnknownNameError, UsageError

T = TypeVar("T")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.]*(-[a-z0-9.]+)*")
_TARGET: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def closest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like a misspelt one, or None.

    Upper and lower case, and `_` and `-`, count as the same. Deterministic: of equally close
    names, the first in alphabetical order.

    Args:
        name: What somebody wrote.
        known: The right names.
    """
    right_names: dict[str, str] = {}
    for right_name in sorted(known):
        right_names.setdefault(_folded(right_name), right_name)
    matches = difflib.get_close_matches(_folded(name), sorted(right_names), n=1, cutoff=0.6)
    return right_names[matches[0]] if matches else None


def unknown_name(kind: str, *, name: str, known: Iterable[str], list_with: str) -> UnknownNameError:
    """Return the error for a name that does not exist, with the nearest name that does.

    Args:
        kind: What the name should have named, as in `model`.
        name: What somebody wrote.
        known: The right names.
        list_with: The command that lists them, as in `visreward models list`.
    """
    closest = closest_name(name, known)
    hint = f" Did you mean {closest!r}?" if closest is not None else ""
    return UnknownNameError(f"Unknown {kind} {name!r}.{hint} List all with: {list_with}")


class Registry(Generic[T]):
    """Entries of one kind under lower-case names with dashes.

    An entry is an object, or the text `module:attribute`, which is imported at the first
    `get`. T is therefore never text itself.
    """

    def __init__(self, kind: str, *, list_with: str) -> None:
        self._kind = kind
        self._list_with = list_with
        self._entries: dict[str, T | str] = {}

    def register(self, name: str, entry: T | str) -> None:
        """Add an entry.

        Args:
            name: Lower case with dashes, as in `ict-hp`.
            entry: The object, or `module:attribute` to import it later.

        Raises:
            UsageError: If the name is taken or misspelt, or the text is no `module:attribute`.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"The {self._kind} name {name!r} is not lower case with dashes. "
                "Write it like 'ict-hp'."
            )
        if name in self._entries:
            raise UsageError(f"The {self._kind} {name!r} is registered twice. Choose another name.")
        if isinstance(entry, str) and not _TARGET.fullmatch(entry):
            raise UsageError(
                f"The {self._kind} {name!r} has the entry {entry!r}. Write it as module:attribute."
            )
        self._entries[name] = entry

    def get(self, name: str) -> T:
        """Return an entry, importing it if that has not happened yet.

        Raises:
            UnknownNameError: If no entry has that name.
            ImportError: If the entry's module cannot be imported.
        """
        if name not in self._entries:
            raise unknown_name(
                self._kind, name=name, known=self._entries, list_with=self._list_with
            )
        entry = self._entries[name]
        if isinstance(entry, str):
            module, attribute = entry.split(":")
            entry = cast("T", getattr(importlib.import_module(module), attribute))
            self._entries[name] = entry
        return entry

    def names(self) -> tuple[str, ...]:
        """Return all names in alphabetical order, importing nothing."""
        return tuple(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._entries)


def _folded(name: str) -> str:
    return name.lower().replace("_", "-")
