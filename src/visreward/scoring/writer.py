"""What every writer of scored items does."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from types import TracebackType

from visreward.core.types import Sample
from visreward.scoring.records import RowError, ScoredItem


class ScoreWriter(abc.ABC):
    """Take items one by one, in input order.

    As a context manager it finishes the output, or discards it where the block fails.
    """

    def resume(self, entries: Iterator[Sample | RowError]) -> Iterator[ScoredItem]:  # noqa: ARG002
        """Yield the items that the output already holds, drawing their rows from `entries`.

        By default there are none: most formats always start from nothing.
        """
        return iter(())

    @abc.abstractmethod
    def write(self, item: ScoredItem) -> None:
        """Take one item."""

    @abc.abstractmethod
    def finish(self) -> None:
        """Complete the output; a file is whole under its name."""

    @abc.abstractmethod
    def discard(self) -> None:
        """Leave the output unfinished; only what a later run can go on with stays."""

    def __enter__(self) -> ScoreWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.discard()
