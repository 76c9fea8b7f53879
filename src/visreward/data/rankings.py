"""Rankings in words: `B>A>C`, `A<B`, `A=B=Good`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_STEP: Final = re.compile(r"\s*([>=<])\s*")
_TIE_KIND: Final = re.compile(r"\s*=\s*(good|bad)\s*$", re.IGNORECASE)


def read_ranking(text: str, letters: Sequence[str]) -> tuple[int, ...]:
    """Return the rank of each candidate, 1 = best, equal for a tie.

    EditReward-Bench adds to a tie whether both are good or bad (`A=B=Bad`); that is read over.

    Args:
        text: The letters of all candidates, best first after `>`, worst first after `<`.
        letters: Of the candidates, in the order of the ranks returned.

    Raises:
        ValueError: if the text is something else; it says what.
    """
    parts = _STEP.split(_TIE_KIND.sub("", text).strip())
    named, signs = parts[::2], parts[1::2]
    unknown = [name for name in named if name not in tuple(letters)]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no candidate; there are {', '.join(letters)}")
    if sorted(named) != sorted(letters):
        raise ValueError(f"each of {', '.join(letters)} must be named once")
    if {">", "<"} <= set(signs):
        raise ValueError("it goes up and down")
    ranks = {named[0]: 1}
    for place, (sign, name) in enumerate(zip(signs, named[1:], strict=True), start=1):
        ranks[name] = ranks[named[place - 1]] if sign == "=" else place + 1
    if "<" in signs:
        worst_first = {name: len(named) + 1 - _last(ranks, name) for name in named}
        ranks = worst_first
    return tuple(ranks[letter] for letter in letters)


def _last(ranks: dict[str, int], name: str) -> int:
    """Return the last place that the candidates of one rank share."""
    return ranks[name] - 1 + sum(rank == ranks[name] for rank in ranks.values())
