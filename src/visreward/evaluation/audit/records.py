"""What an audit says: measures with intervals, verdicts against limits, worst cases, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias

Verdict: TypeAlias = Literal["pass", "warn", "fail", "not run"]

VERDICTS: Final[tuple[Verdict, ...]] = ("fail", "warn", "pass", "not run")
"""In the order in which people want to see them."""

Unit: TypeAlias = Literal["sd", "share", "correlation"]
"""`sd`: in standard deviations of the model's scores between different pictures."""

Side: TypeAlias = Literal["at most", "at least", "within"]

FORMAT: Final = "visreward-audit"
VERSION: Final = 1
"""Of the probes and limits; raised whenever a verdict could change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number of a probe and its 95 % interval.

    Attributes:
        name: What was measured.
        value: The number.
        low: Lower end of the interval.
        high: Upper end.
        unit: How it reads.
        num: How many comparisons it rests on.
    """

    name: str
    value: float
    low: float
    high: float
    unit: Unit
    num: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a probe's effect is held against.

    Attributes:
        side: `within` allows from -value to value.
        value: In the unit of the effect.
        reason: Why this number.
    """

    side: Side
    value: float
    reason: str

    def verdict(self, effect: Measure) -> Verdict:
        """Return what an effect means.

        pass where its whole interval keeps the limit, fail where its whole interval breaks it,
        warn where the interval holds both: more pictures would tell.
        """
        if self.side == "at least":
            keeps, breaks = effect.low >= self.value, effect.high < self.value
        elif self.side == "at most":
            keeps, breaks = effect.high <= self.value, effect.low > self.value
        else:
            keeps = -self.value <= effect.low and effect.high <= self.value
            breaks = effect.low > self.value or effect.high < -self.value
        return "pass" if keeps else "fail" if breaks else "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePicture:
    """One picture of a case.

    Attributes:
        label: What it is.
        score: Its score, or None for pictures that were not scored, such as sources.
        uri: A small copy as a `data:` URI; empty where it cannot be made.
    """

    label: str
    score: float | None
    uri: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One of the worst cases of a probe.

    Attributes:
        name: Which item.
        prompt: What was asked for.
        text: What is wrong with it, in a few words.
        pictures: Before, after and the like.
    """

    name: str
    prompt: str
    text: str
    pictures: tuple[CasePicture, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a probe measured.

    Attributes:
        effect: The number that the limit is for.
        details: What else was measured: stronger changes, each dimension, a control.
        cases: The worst ones, worst first.
        note: What a reader must know, or "".
        is_proof: Whether breaking the limit is a fault for sure; where not, it is a warning.
    """

    effect: Measure
    details: tuple[Measure, ...] = ()
    cases: tuple[Case, ...] = ()
    note: str = ""
    is_proof: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What one probe says of a model.

    Attributes:
        probe: Its name.
        family: Its family's name.
        question: What it asks.
        limit: What its effect is held against.
        verdict: What came of it.
        finding: What was measured, or None where it was not run.
        note: Why it was not run, or "".
        is_error: Whether it was meant to run and could not.
    """

    probe: str
    family: str
    question: str
    limit: Limit
    verdict: Verdict
    finding: Finding | None = None
    note: str = ""
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFailure:
    """A picture that has no score.

    Attributes:
        name: Which.
        reason: Why.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """What all probes say of a model.

    Attributes:
        model: Its name.
        revision: Which weights.
        data: What pictures it was tried on, in words.
        num_items: Different pictures under their own prompts.
        spread: Standard deviation of their scores, and of each dimension's, by name; "" is the
            score itself. The unit `sd` is this.
        probes: In the order of the registry.
        failures: Pictures without a score, each once.
        config: Seed and other settings.
    """

    model: str
    revision: str
    data: str
    num_items: int
    spread: Mapping[str, float]
    probes: tuple[ProbeResult, ...]
    failures: tuple[ItemFailure, ...] = ()
    config: Mapping[str, str | int] = field(default_factory=dict)

    def count(self, verdict: Verdict) -> int:
        """Return how many probes have a verdict."""
        return sum(probe.verdict == verdict for probe in self.probes)

    @property
    def is_complete(self) -> bool:
        """Whether every probe ran that was meant to, and every picture has a score."""
        return not self.failures and not any(probe.is_error for probe in self.probes)


def audit_json(result: AuditResult) -> dict[str, Any]:  # JSON values
    """Return an audit as JSON values: everything but the pictures."""
    values = asdict(result)
    for probe in values["probes"]:
        for case in (probe["finding"] or {}).get("cases", ()):
            for picture in case["pictures"]:
                del picture["uri"]
    spread = values.pop("spread")
    return {
        "format": FORMAT,
        "version": VERSION,
        **values,
        "spread": {name or "score": value for name, value in spread.items()},
        "verdicts": {verdict: result.count(verdict) for verdict in VERDICTS},
    }
