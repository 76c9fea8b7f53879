"""Say which extra brings a missing optional package, before any work is done."""

from __future__ import annotations

from importlib.util import find_spec

from visreward.core.errors import missing_extra


def require_extra(extra: str, *packages: str) -> None:
    """Stop unless all import names are installed.

    Raises:
        MissingExtraError: names the first missing package and the extra that brings it.
    """
    for package in packages:
        if find_spec(package) is None:
            raise missing_extra(package, extra)
