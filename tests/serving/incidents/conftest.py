"""What tests of several incidents share: a witness of sockets, and code that must never run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


class Poison:
    """Pickles into a call that leaves a file behind."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.canary,)


class SocketWitness:
    """Sees every socket that is made, connected or asked for an address, while it watches."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.is_watching = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_watching and event.startswith("socket."):
            self.events.append(event)


WITNESS = SocketWitness()
HOOKED: list[bool] = []


@pytest.fixture
def sockets() -> Iterator[SocketWitness]:
    """Return a witness; set `is_watching` around what must open nothing."""
    if not HOOKED:
        sys.addaudithook(WITNESS)  # which nothing can take back
        HOOKED.append(True)
    WITNESS.events.clear()
    yield WITNESS
    WITNESS.is_watching = False


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """Return where a crafted pickle would leave a file; none may be there afterwards."""
    place = tmp_path / "canary"
    yield place
    assert not place.exists()


@pytest.fixture
def poison(canary: Path) -> Poison:
    """Return an object whose unpickling would leave the canary."""
    return Poison(canary)
