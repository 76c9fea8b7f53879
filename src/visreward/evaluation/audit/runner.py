"""Run the probes on one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from visreward.core.errors import DataError, VisrewardError
from visreward.evaluation.audit.examination import OVERALL, Examination, NoSpreadError
from visreward.evaluation.audit.probe import Probe
from visreward.evaluation.audit.probes import PROBES
from visreward.evaluation.audit.records import AuditResult, Finding, ProbeResult

Progress = Callable[[str], None]


def run_audit(
    examination: Examination,
    *,
    probes: Sequence[Probe] = PROBES,
    progress: Progress | None = None,
) -> AuditResult:
    """Return what each probe says of a model; deterministic on one device.

    Args:
        examination: Of the model.
        probes: Which probes.
        progress: Called with the name of each probe before it runs.

    Raises:
        DataError: if there is no picture, or none has a score.
    """
    _check_scored(examination)
    results = []
    for probe in probes:
        if progress is not None:
            progress(probe.name)
        results.append(_result(probe, examination))
    facts = examination.model.facts
    return AuditResult(
        model=facts.name,
        revision=facts.revision,
        data=examination.audited.words,
        num_items=len(examination.items),
        spread=dict(examination.spread),
        probes=tuple(results),
        failures=tuple(examination.failures.values()),
        config={"seed": examination.seed, "device": str(examination.model.device)},
    )


def _check_scored(examination: Examination) -> None:
    if not examination.items:
        raise DataError(
            f"There is no picture to audit in {examination.audited.words}. Give rows with a "
            "prompt and an image."
        )
    if not np.isfinite(examination.base[OVERALL]).any():
        first = next(iter(examination.failures.values()))
        raise DataError(
            f"None of {len(examination.items)} pictures has a score. {first.name}: {first.reason}"
        )


def _result(probe: Probe, examination: Examination) -> ProbeResult:
    obstacle = probe.obstacle(examination)
    if obstacle:
        return _not_run(probe, obstacle)
    try:
        finding = probe.measure(examination)
    except NoSpreadError as error:
        return _not_run(probe, str(error))
    except (VisrewardError, RuntimeError) as error:
        # RuntimeError is what torch raises, for memory and for number types alike.
        return _not_run(probe, f"It could not be run: {error}", is_error=True)
    return _judged(probe, finding)


def _judged(probe: Probe, finding: Finding) -> ProbeResult:
    verdict = probe.limit.verdict(finding.effect)
    if verdict == "fail" and not finding.is_proof:
        verdict = "warn"
    return ProbeResult(
        probe=probe.name,
        family=probe.family,
        question=probe.question,
        limit=probe.limit,
        verdict=verdict,
        finding=finding,
    )


def _not_run(probe: Probe, note: str, *, is_error: bool = False) -> ProbeResult:
    return ProbeResult(
        probe=probe.name,
        family=probe.family,
        question=probe.question,
        limit=probe.limit,
        verdict="not run",
        note=note,
        is_error=is_error,
    )
