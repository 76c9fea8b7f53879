"""All probes, in the order of the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from visreward.core.registry import unknown_name
from visreward.evaluation.audit import (
    adversarial,
    bias,
    blanks,
    edits,
    invariance,
    pictures,
    prompts,
    richness,
    spread,
)
from visreward.evaluation.audit.probe import Probe

PROBES: Final[tuple[Probe, ...]] = (
    *spread.PROBES,
    *invariance.PROBES,
    *pictures.PROBES,
    *prompts.PROBES,
    *blanks.PROBES,
    *edits.PROBES,
    *bias.PROBES,
    *richness.PROBES,
    *adversarial.PROBES,
)

LIST_WITH: Final = "visreward audit --list-probes"


def find_probes(names: Sequence[str]) -> tuple[Probe, ...]:
    """Return the probes of some names, in the order of the report; all of them for no name.

    Raises:
        UnknownNameError: if a name is unknown.
    """
    known = {probe.name: probe for probe in PROBES}
    for name in names:
        if name not in known:
            raise unknown_name("probe", name=name, known=known, list_with=LIST_WITH)
    return tuple(probe for probe in PROBES if not names or probe.name in names)
