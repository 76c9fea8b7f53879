"""Reward models of generated and edited images: score, train, benchmark, audit, serve."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visreward.core.errors import VisrewardError
    from visreward.core.images import read_image
    from visreward.core.types import (
        DimensionScore,
        PreferenceGroup,
        PreferencePair,
        Sample,
        Score,
    )
    from visreward.models.base import RewardModel
    from visreward.models.loading import load_model
    from visreward.models.ranked import Ranked
    from visreward.scoring.engine import ScoringEngine

__version__ = "0.1.0"

__all__ = [
    "DimensionScore",
    "PreferenceGroup",
    "PreferencePair",
    "Ranked",
    "RewardModel",
    "Sample",
    "Score",
    "ScoringEngine",
    "VisrewardError",
    "load_model",
    "read_image",
]

# Where each public name lives. It is imported at its first use, so that torch and the other
# large packages are paid for by those who score.
_HOMES = {
    "DimensionScore": "visreward.core.types",
    "PreferenceGroup": "visreward.core.types",
    "PreferencePair": "visreward.core.types",
    "Ranked": "visreward.models.ranked",
    "RewardModel": "visreward.models.base",
    "Sample": "visreward.core.types",
    "Score": "visreward.core.types",
    "ScoringEngine": "visreward.scoring.engine",
    "VisrewardError": "visreward.core.errors",
    "load_model": "visreward.models.loading",
    "read_image": "visreward.core.images",
}


if not TYPE_CHECKING:  # a type checker would take every name for a public one

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
