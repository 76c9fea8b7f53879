"""Published rows, kept as TOML beside the benchmarks: `published/{name}.toml`.

source = "where the table stands"
unit = "percent"                 # or "number", as they are

[[rows]]
model = "as the table names it"
"accuracy,none" = 38.42
"accuracy,K=2" = 56.45
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources

from visreward.evaluation.benchmarks.results import PublishedRow

_PERCENT = 100.0


@cache
def published_rows(name: str) -> tuple[PublishedRow, ...]:
    """Return the published rows of a benchmark; shares and correlations in [-1, 1].

    Args:
        name: Of the file, without its suffix.
    """
    folder = resources.files("visreward.evaluation.benchmarks") / "published"
    table = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
    scale = {"percent": _PERCENT, "number": 1.0}[table["unit"]]
    return tuple(
        PublishedRow(
            model=row.pop("model"),
            source=row.pop("source", table["source"]),
            values={key: value / scale for key, value in row.items()},
        )
        for row in table["rows"]
    )
