"""Groups that are made when they are asked for."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import overload

from visreward.evaluation.benchmarks.records import BenchGroup


class LazyGroups(Sequence[BenchGroup], abc.ABC):
    """A sequence of groups, each made when it is asked for."""

    @abc.abstractmethod
    def group(self, number: int) -> BenchGroup:
        """Make a group.

        Args:
            number: Its place, from 0, which is there.
        """

    @overload
    def __getitem__(self, index: int) -> BenchGroup: ...

    @overload
    def __getitem__(self, index: slice) -> list[BenchGroup]: ...

    def __getitem__(self, index: int | slice) -> BenchGroup | list[BenchGroup]:
        """Return a group, or a list of them for a slice.

        Raises:
            IndexError: if there is no such group.
        """
        if isinstance(index, slice):
            return [self.group(number) for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"Group {index} of {len(self)} groups.")
        return self.group(number)
