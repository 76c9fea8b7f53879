"""Scenes by hand for the tests of the synthetic world."""

from __future__ import annotations

from typing import Protocol

import pytest

from visreward.data.scenes.grammar import PLAIN_BACKGROUND, PLAIN_LIGHT, Scene, Thing


class PlainScene(Protocol):
    """Builds a plain scene from its things."""

    def __call__(self, *things: Thing, relation: str | None = None, layout: int = 7) -> Scene: ...


@pytest.fixture
def plain_scene() -> PlainScene:
    """Return a builder of plain scenes."""

    def build(*things: Thing, relation: str | None = None, layout: int = 7) -> Scene:
        return Scene(
            things=things,
            relation=relation,
            background=PLAIN_BACKGROUND,
            light=PLAIN_LIGHT,
            decorations=(),
            rich=False,
            layout=layout,
        )

    return build
