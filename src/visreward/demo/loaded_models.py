"""The reward models that a page offers, and what it says about each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from visreward.core.errors import UsageError
from visreward.models.base import RewardModel
from visreward.models.catalog import catalog
from visreward.models.facts import ModelFacts
from visreward.models.loading import load_model

DEFAULT_MODELS: Final = ("ict-hp-mini", "hpsv3-mini", "clip-mini", "hp-mini", "editreward-mini")
"""Built in, so that the page works without a network."""


class LoadedModels:
    """Reward models by the name that a page shows, in the order of their loading."""

    def __init__(self, models: Iterable[RewardModel]) -> None:
        self._models = {model.facts.name: model for model in models}

    def __getitem__(self, name: str | None) -> RewardModel:
        """Return a model by its name.

        Raises:
            UsageError: if the page has no such model.
        """
        if name not in self._models:
            raise UsageError(f"The model is {name!r}. Choose one of {', '.join(self._models)}.")
        return self._models[name]

    @property
    def facts(self) -> list[ModelFacts]:
        """Return what is known about each model."""
        return [model.facts for model in self._models.values()]

    def names(self, *, of_edits: bool) -> list[str]:
        """Return the names of the models that score edits, or of those that score one image."""
        return [facts.name for facts in self.facts if facts.needs_source == of_edits]


def load_models(names: Iterable[str], *, device: str, dtype: str) -> LoadedModels:
    """Load models by name or folder, each once.

    Raises:
        VisrewardError: if one cannot be loaded.
        UsageError: if two folders hold models of one name, which a page could not tell apart.
    """
    models: dict[str, RewardModel] = {}
    for given in dict.fromkeys(names):
        model = load_model(given, device=device, dtype=dtype)
        name = model.facts.name
        if name in models:
            raise UsageError(
                f"Two models are called '{name}', the second one from '{given}'. Leave one out."
            )
        models[name] = model
    return LoadedModels(models.values())


def is_builtin(facts: ModelFacts) -> bool:
    """Return whether a model ships with the package, and so knows the example scenes."""
    row = catalog().get(facts.name)
    return row is not None and row.builtin
