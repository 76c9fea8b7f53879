"""What the audit says of the models that ship, side by side.

Run: python benchmarks/audits.py [--num 96] [--model NAME ...] [--output FILE.json]
"""

from __future__ import annotations

import argparse
from typing import Any

from record import write_run
from visreward.evaluation.audit.charts import interval_text
from visreward.evaluation.audit.examination import Examination
from visreward.evaluation.audit.items import scene_set
from visreward.evaluation.audit.records import AuditResult, ProbeResult
from visreward.evaluation.audit.report import limit_text
from visreward.evaluation.audit.runner import run_audit
from visreward.evaluation.scenes import Drawing
from visreward.models.loading import load_model

MODELS = ("clip-mini", "ict-mini", "hp-mini", "ict-hp-mini", "hpsv3-mini", "editreward-mini")
MARKS = {"pass": "{}", "warn": "{} (warn)", "fail": "**{}**", "not run": "-"}


def audited(name: str, *, num: int, seed: int) -> AuditResult:
    """Return the audit of one model on the synthetic world."""
    model = load_model(name, device="cpu")
    examination = Examination(
        model,
        scene_set(model.facts, Drawing(num=num, seed=seed)),
        seed=seed,
        batch_size=16,
        reload=lambda dtype: load_model(name, device="cpu", dtype=dtype),
    )
    return run_audit(examination, progress=lambda probe: print(f"{name}: {probe}", flush=True))


def cell(probe: ProbeResult) -> str:
    """Return a probe's effect, marked with its verdict."""
    effect = "" if probe.finding is None else interval_text(probe.finding.effect)
    return MARKS[probe.verdict].format(effect)


def table(results: list[AuditResult]) -> str:
    """Return all effects as Markdown: failed ones bold."""
    lines = [
        "| probe | limit | " + " | ".join(result.model for result in results) + " |",
        "|---|---|" + "---|" * len(results),
    ]
    for row in zip(*(result.probes for result in results), strict=True):
        units = {probe.finding.effect.unit for probe in row if probe.finding is not None}
        # A probe that fits none of the models has measured nothing that a limit is in.
        limit = "".join(limit_text(row[0].limit, unit) for unit in units)
        cells = [f"`{row[0].probe}`", limit, *map(cell, row)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def record(result: AuditResult) -> dict[str, Any]:
    """Return the numbers of an audit, without its pictures."""
    return {
        "model": result.model,
        "spread": dict(result.spread),
        "failures": len(result.failures),
        "probes": {
            probe.probe: {
                "verdict": probe.verdict,
                **(
                    {"note": probe.note}
                    if probe.finding is None
                    else {
                        name: getattr(probe.finding.effect, name)
                        for name in ("value", "low", "high", "unit", "num")
                    }
                ),
            }
            for probe in result.probes
        },
    }


def main(arguments: list[str] | None = None) -> None:
    """Audit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", default=MODELS)
    parser.add_argument("--num", type=int, default=96, help="prompts of each audit")
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args(arguments)
    results = [audited(name, num=options.num, seed=options.seed) for name in options.model]
    print(table(results))
    settings = {key: value for key, value in vars(options).items() if key != "output"}
    write_run(options.output, settings=settings, results={"audits": list(map(record, results))})


if __name__ == "__main__":
    main()
