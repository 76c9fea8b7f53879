"""What every section of a configuration is."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A configuration section: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def section_keys(model: type[BaseModel], sections: Sequence[str]) -> list[str]:
    """Return the keys that a section of a configuration knows, sorted.

    Args:
        model: The configuration.
        sections: Names of the sections that lead there, all of them known; none for itself.
    """
    for name in sections:
        annotation = model.model_fields[name].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next(
            each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)
        )
    return sorted(model.model_fields)
