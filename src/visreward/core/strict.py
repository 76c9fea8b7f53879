"""What every section of a configuration is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A configuration section: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
