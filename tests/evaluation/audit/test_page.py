"""The audit's page: what it says, that it is whole and safe, and how it looks in a browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from visreward.core.images import thumbnail_data_uri
from visreward.evaluation.audit.charts import interval_drawing
from visreward.evaluation.audit.records import (
    AuditResult,
    Case,
    CasePicture,
    Finding,
    ItemFailure,
    Limit,
    Measure,
    ProbeResult,
    audit_json,
)
from visreward.evaluation.audit.report import write_audit_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

EVIL = "<script>document.title='owned'</script>"
LIMIT = Limit(side="at most", value=0.25, reason="People hardly see it.")


def measure(name: str, value: float) -> Measure:
    return Measure(name=name, value=value, low=value / 2, high=value * 2, unit="sd", num=30)


@pytest.fixture
def result() -> AuditResult:
    uri = thumbnail_data_uri(Image.new("RGB", (64, 64), "red"), max_side=64)
    pictures = (
        CasePicture(label="as it is", score=0.5, uri=uri),
        CasePicture(label="w" * 60, score=-12.25, uri=uri),
    )
    case = Case(name="r1", prompt=EVIL + " long" * 40, text="-3.00 SD", pictures=pictures)
    finding = Finding(
        effect=measure("quality 90", 0.8),
        details=(measure("quality 70", 1.5), measure("visual quality", 0.4)),
        cases=(case, case),
        note="Take care.",
    )
    return AuditResult(
        model="toy",
        revision="r1",
        data="12 pictures",
        num_items=12,
        spread={"": 0.25},
        probes=(
            ProbeResult(
                probe="jpeg",
                family="pictures",
                question="Does saving move the score?",
                limit=LIMIT,
                verdict="fail",
                finding=finding,
            ),
            ProbeResult(
                probe="richness",
                family="richness",
                question="Is detail punished?",
                limit=LIMIT,
                verdict="not run",
                note="The model scores edits.",
            ),
        ),
        failures=(ItemFailure(name=EVIL, reason="It is torn."),),
        config={"seed": 0},
    )


@pytest.fixture
def page_path(result: AuditResult, tmp_path: Path) -> Path:
    path = tmp_path / "audit.html"
    write_audit_page(result, path)
    return path


def test_audit_page_says_verdict_effect_limit_and_reason(page_path: Path) -> None:
    page = page_path.read_text(encoding="utf-8")
    for words in (
        "0.80 SD (0.40 to 1.60)",
        "at most 0.25 SD",
        "People hardly see it.",
        "1 failed, 1 not run",
        "The model scores edits.",
        "one is 0.2500",
        "It is torn.",
        "Take care.",
        "-12.25",
    ):
        assert words in page
    assert page.index("Verdicts") < page.index('id="jpeg"')


def test_audit_page_escapes_what_strangers_wrote(page_path: Path) -> None:
    page = page_path.read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3
    assert "http" not in page.replace("http-equiv", "")


def test_audit_page_same_result_makes_the_same_bytes(result: AuditResult, tmp_path: Path) -> None:
    paths = [tmp_path / "a.html", tmp_path / "b.html"]
    for path in paths:
        write_audit_page(result, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_interval_drawing_effect_and_details_of_one_unit_share_a_scale_with_the_limit() -> None:
    effect, detail = measure("effect", 0.01), measure("detail", 0.01)
    dots = [
        re.findall(r'<circle class="dot" cx="([\d.]+)"', drawing)
        for drawing in (
            interval_drawing(effect, (effect, detail), LIMIT, is_judged=True),
            interval_drawing(detail, (effect, detail), LIMIT, is_judged=False),
        )
    ]
    assert dots[0] == dots[1]
    shaded = interval_drawing(effect, (effect, detail), LIMIT, is_judged=True)
    (left,) = re.findall(r'<rect class="bad" x="([\d.]+)"', shaded)
    assert float(dots[0][0]) < float(left)
    assert "bad" not in interval_drawing(detail, (effect, detail), LIMIT, is_judged=False)


def test_audit_json_holds_all_but_the_pictures(result: AuditResult) -> None:
    values = audit_json(result)
    assert values["verdicts"] == {"fail": 1, "warn": 0, "pass": 0, "not run": 1}
    assert values["spread"] == {"score": 0.25}
    case = values["probes"][0]["finding"]["cases"][0]
    assert case["pictures"][0] == {"label": "as it is", "score": 0.5}
    assert values["failures"] == ({"name": EVIL, "reason": "It is torn."},)


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_audit_page_in_a_browser_fits_and_complains_of_nothing(
    browser: Browser, page_path: Path, width: int, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(page_path.as_uri())
    assert page.title() == "Audit: toy"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.naturalWidth === 64)")
    outside = page.evaluate(
        "[...document.querySelectorAll('.effect, .numbers dd, figcaption, .verdict')]"
        ".filter(box => box.getBoundingClientRect().right > innerWidth).length"
    )
    assert outside == 0
    assert complaints == []
