"""One HTML page of an audit: verdicts first, then each probe with its limit and worst cases."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Final

import visreward
from visreward.evaluation.audit.charts import interval_drawing, interval_text, number
from visreward.evaluation.audit.records import (
    VERDICTS,
    AuditResult,
    Case,
    CasePicture,
    Finding,
    Limit,
    ProbeResult,
    Unit,
)
from visreward.evaluation.reports.page import page_head, picture, text
from visreward.scoring.table import number_text
from visreward.scoring.text_output import text_output

TITLES: Final = {
    "scores": "The scores themselves",
    "computation": "How it is computed",
    "pictures": "Changes of the picture that people do not mind",
    "prompts": "The prompt",
    "blanks": "Pictures of nothing",
    "edits": "Edits and dimensions",
    "bias": "What should not matter",
    "richness": "The paradox of detail",
    "adversarial": "Changes that nobody sees",
}

MAX_FAILURES: Final = 50
"""How many pictures without a score are listed."""


def write_audit_page(result: AuditResult, path: Path) -> None:
    """Write one self-contained HTML page; the same result makes the same bytes.

    Raises:
        OSError: if the file cannot be written.
    """
    with text_output(path) as page:
        page.write(_head(result))
        page.write(_verdicts(result))
        for family, probes in groupby(result.probes, key=lambda probe: probe.family):
            page.write(_family(family, probes))
        page.write(_failures(result))
        page.write(_foot())


def limit_text(limit: Limit, unit: Unit) -> str:
    """Return a limit in words."""
    value = number(limit.value, unit)
    return f"within ±{value}" if limit.side == "within" else f"{limit.side} {value}"


def unit_of(probe: ProbeResult) -> Unit | None:
    """Return the unit of a probe's effect, or None where it was not run."""
    return None if probe.finding is None else probe.finding.effect.unit


def counts_text(result: AuditResult) -> str:
    """Return how many probes have each verdict, in words."""
    words = {"fail": "failed", "warn": "warned", "pass": "passed", "not run": "not run"}
    return ", ".join(
        f"{result.count(verdict)} {words[verdict]}" for verdict in VERDICTS if result.count(verdict)
    )


def _head(result: AuditResult) -> str:
    style = files("visreward.evaluation.audit").joinpath("audit.css").read_text(encoding="utf-8")
    revision = f" · revision {text(result.revision)}" if result.revision else ""
    line = (
        f"<b>{text(result.model)}</b>{revision} · {text(result.data)} · seed "
        f"{result.config['seed']}<br>{counts_text(result)}"
    )
    note = (
        '<p class="note">An effect is shown with its 95 % interval. <b>pass</b>: all of the '
        "interval keeps the limit. <b>fail</b>: all of it breaks the limit. <b>warn</b>: the "
        "interval holds both, or what breaks the limit may have another reason. SD: standard "
        "deviations of this model's scores between different pictures "
        f"(one is {number_text(result.spread[''])}), so that effects compare across models.</p>"
    )
    return page_head(
        f"Audit: {result.model}",
        heading="Is this reward model sound?",
        line=line,
        note=note,
        style=style,
    )


def _pill(probe: ProbeResult) -> str:
    word = "error" if probe.is_error else probe.verdict
    style = "fail" if probe.is_error else probe.verdict.replace(" ", "-")
    return f'<span class="verdict {style}">{word}</span>'


def _verdicts(result: AuditResult) -> str:
    rows = ""
    for verdict in VERDICTS:
        for probe in result.probes:
            if probe.verdict == verdict:
                rows += _row(probe)
    return f'<section>\n<h2>Verdicts</h2>\n<ul class="verdicts">\n{rows}</ul>\n</section>\n'


def _row(probe: ProbeResult) -> str:
    effect = ""
    if probe.finding is not None:
        limit = limit_text(probe.limit, probe.finding.effect.unit)
        effect = f"{interval_text(probe.finding.effect)}<small>{limit}</small>"
    about = probe.question if probe.finding is not None else probe.note
    return (
        f'<li>{_pill(probe)}<a href="#{probe.probe}">{probe.probe}</a>'
        f'<span class="question">{text(about)}</span><span class="effect">{effect}</span></li>\n'
    )


def _family(family: str, probes: Iterable[ProbeResult]) -> str:
    shown = "".join(_probe(probe) for probe in probes)
    return f"<section>\n<h2>{text(TITLES.get(family, family))}</h2>\n{shown}</section>\n"


def _probe(probe: ProbeResult) -> str:
    head = (
        f'<article class="probe" id="{probe.probe}">\n<h3>{probe.probe} {_pill(probe)}</h3>\n'
        f"<p>{text(probe.question)}</p>\n"
    )
    finding = probe.finding
    if finding is None:
        return f'{head}<p class="limit">{text(probe.note)}</p>\n</article>\n'
    limit = limit_text(probe.limit, finding.effect.unit)
    note = f'<p class="remark">{text(finding.note)}</p>\n' if finding.note else ""
    return (
        f"{head}{_numbers(finding, probe.limit)}"
        f'<p class="limit">Limit: {limit}. {text(probe.limit.reason)}</p>\n'
        f"{note}{_cases(finding, is_open=probe.verdict != 'pass')}</article>\n"
    )


def _numbers(finding: Finding, limit: Limit) -> str:
    measures = (finding.effect, *finding.details)
    lines = ""
    for measure in measures:
        is_effect = measure is finding.effect
        on_scale = limit if measure.unit == finding.effect.unit else None
        drawing = interval_drawing(measure, measures, on_scale, is_judged=is_effect)
        style = "" if is_effect else ' class="detail"'
        value = interval_text(measure)
        lines += (
            f"<div><dt{style}>{text(measure.name)}</dt>"
            f'<dd class="drawing">{drawing}</dd>'
            f"<dd>{f'<b>{value}</b>' if is_effect else value}</dd></div>\n"
        )
    num = f'<p class="limit">{finding.effect.num} comparisons</p>\n'
    return f'<dl class="numbers">\n{lines}</dl>\n{num}'


def _cases(finding: Finding, *, is_open: bool) -> str:
    if not finding.cases:
        return ""
    cases = f'<ul class="cases">\n{"".join(map(_case, finding.cases))}</ul>\n'
    return (
        f"<details{' open' if is_open else ''}><summary>Worst cases</summary>\n{cases}</details>\n"
    )


def _case(case: Case) -> str:
    shown = "".join(map(_figure, case.pictures))
    prompt = f'<p class="prompt">“{text(case.prompt)}”</p>' if case.prompt else ""
    return (
        f'<li class="case">{prompt}<p class="text">{text(case.text)}</p>'
        f'<div class="pictures">{shown}</div></li>\n'
    )


def _figure(shown: CasePicture) -> str:
    score = "" if shown.score is None else f"<b>{number_text(shown.score)}</b>"
    return (
        f"<figure>{picture(shown.uri, shown.label)}"
        f"<figcaption>{score}{text(shown.label)}</figcaption></figure>"
    )


def _failures(result: AuditResult) -> str:
    if not result.failures:
        return ""
    lines = "".join(
        f"<li><b><bdi>{text(failure.name)}</bdi></b>{text(failure.reason)}</li>\n"
        for failure in result.failures[:MAX_FAILURES]
    )
    more = len(result.failures) - MAX_FAILURES
    rest = f"<li>{more} more are in audit.json.</li>\n" if more > 0 else ""
    return (
        f'<section>\n<h2>Not scored</h2>\n<p class="count">{len(result.failures)} pictures have '
        f"no score; comparisons with them are left out of the numbers above.</p>\n"
        f'<ul class="faults">\n{lines}{rest}</ul>\n</section>\n'
    )


def _foot() -> str:
    return f"""</main>
<footer>What each probe does, and why its limit is what it is: docs/audit.md. A model that passes
has none of these faults on these pictures; it is not thereby a good one. Made by visreward
{visreward.__version__}.</footer>
</body>
</html>
"""
