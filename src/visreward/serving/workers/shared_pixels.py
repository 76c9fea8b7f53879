"""Pixels in memory that several processes see, without a copy on the way from one to the next."""

from __future__ import annotations

import os
import tempfile
from typing import NoReturn


class SharedPixels:
    """An open file in memory without a name; the last process that closes it frees the memory.

    It is closed with the object. No process can open it that was not given it.

    Attributes:
        descriptor: Of the file, in this process.
    """

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def holding(cls, content: bytes) -> SharedPixels:
        """Return a new file with some bytes.

        Raises:
            OSError: if there is no memory for them.
        """
        shared = cls(_nameless())
        left = memoryview(content)
        while left:
            left = left[os.write(shared.descriptor, left) :]
        return shared

    def read(self, num_bytes: int) -> bytearray:
        """Return the first bytes.

        Raises:
            EOFError: if there are not as many.
        """
        content = bytearray(num_bytes)
        done = 0
        with memoryview(content) as view:
            while done < num_bytes:
                count = os.preadv(self.descriptor, [view[done:]], done)
                if not count:
                    raise EOFError
                done += count
        return content

    def __del__(self) -> None:
        os.close(self.descriptor)

    def __reduce__(self) -> NoReturn:
        """Refuse copies, whose end would close the file."""
        raise TypeError("Shared pixels cannot be copied.")


def _nameless() -> int:
    """Return the descriptor of a new file that no path leads to."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("visreward-pixels")
    with tempfile.TemporaryFile() as file:  # where there is no Linux
        return os.dup(file.fileno())
