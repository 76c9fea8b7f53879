"""The page of a benchmark: what it says, that it is safe and small, and how it looks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest
from PIL import Image

from visreward.core.errors import UsageError
from visreward.data.base import Problem
from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult, PairVerdict
from visreward.evaluation.benchmarks.results import BenchResult, MetricValue, PublishedRow
from visreward.evaluation.reports import drawing
from visreward.evaluation.reports.bench_report import write_bench_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

EVIL = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'& $x_1$ #ffffff"


class Run(Protocol):
    """What the fixture `made_run` gives."""

    results: tuple[BenchResult, ...]
    samples: dict[str, tuple[GroupResult, ...]]

    def pictures(self, group: int, place: Any) -> Image.Image | None:
        """Return a picture."""


class Parsed(HTMLParser):
    """Collect a page's elements and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._in_style = False
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.words.append(data)

    def values(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for found, attributes in self.tags if found == tag]


@pytest.fixture(scope="session")
def made_page(made_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "report.html"
    write_bench_report(made_run.results, made_run.samples, path, made_run.pictures)
    return path


def no_picture(group: int, place: object) -> None:
    return None


def result(model: str = "toy", **changes: Any) -> BenchResult:
    given = BenchResult(
        benchmark="toys",
        version=1,
        model=model,
        revision="r1",
        metrics=(MetricValue(name="accuracy", value=0.625, low=0.6, high=0.65, num=8),),
        num_groups=8,
        num_counted=8,
    )
    return replace(given, **changes)


def group(
    number: int, values: Sequence[float | None], ranks: Sequence[int], **changes: Any
) -> GroupResult:
    candidates = tuple(
        CandidateResult(image=f"{place}.png", rank=rank, value=value)
        for place, (value, rank) in enumerate(zip(values, ranks, strict=True))
    )
    given = GroupResult(
        id=f"g{number}", prompt=f"prompt {number}", sources=(), candidates=candidates, correct=1.0
    )
    return replace(given, **changes)


def written(
    tmp_path: Path, results: Sequence[BenchResult], samples: dict[str, Sequence[GroupResult]]
) -> Parsed:
    path = tmp_path / "page.html"
    write_bench_report(results, samples, path, no_picture)
    return Parsed(path)


def test_bench_report_shows_ours_beside_published_and_the_difference(tmp_path: Path) -> None:
    rows = (
        PublishedRow(model="theirs", values={"accuracy,none": 0.7}, source="a paper"),
        PublishedRow(model="near", values={"accuracy,none": 0.61}, source="a paper"),
    )
    page = written(tmp_path, [result(published=rows)], {})
    assert "62.5 60.0 to 65.0" in page.text
    assert "theirs a paper 70.0 ours −7.5" in page.text
    assert "near a paper 61.0 ours +1.5" in page.text
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<b>ours −7.5</b>" in html
    assert "<span>ours +1.5</span>" in html


def test_bench_report_names_and_counts_problems(tmp_path: Path) -> None:
    problems = (
        Problem(kind="torn row", count=5, examples=("row 3", "row 8")),
        Problem(kind="odd label", count=1, examples=("row 9",), is_warning=True),
    )
    text = written(tmp_path, [result(problems=problems)], {}).text
    assert "5 × torn row row 3 , row 8 and 3 more" in text
    assert "1 × odd label row 9" in text


def test_bench_report_metric_without_a_value_says_why(tmp_path: Path) -> None:
    metric = MetricValue(name="spearman", value=None, unit="correlation", note="constant scores")
    text = written(tmp_path, [result(metrics=(metric,))], {}).text
    assert text.count("constant scores") == 2
    assert "0.000" not in text


def test_bench_report_paired_difference_is_by_groups_both_answer(tmp_path: Path) -> None:
    right, wrong = group(0, (2.0, 1.0), (1, 2)), group(0, (1.0, 2.0), (1, 2), correct=0.0)
    one = [replace(right, id=f"g{n}") for n in range(40)]
    other = [replace(wrong if n < 10 else right, id=f"g{n}") for n in range(40)]
    samples: dict[str, Sequence[GroupResult]] = {"one": one, "other": other}
    text = written(tmp_path, [result("one"), result("other")], samples).text
    assert re.search(r"one less other \+25\.0 \+1\d\.\d to \+4\d\.\d", text)
    same: dict[str, Sequence[GroupResult]] = {"one": one, "other": one}
    assert "one less other +0.0" in written(tmp_path, [result("one"), result("other")], same).text


def test_bench_report_worst_group_comes_first_with_people_and_model_order(tmp_path: Path) -> None:
    groups = [group(n, (2.0, 1.0), (1, 2)) for n in range(6)]
    groups += [group(6, (1.0, 9.0), (1, 2)), group(7, (1.0, 2.0), (1, 2))]
    text = written(tmp_path, [result()], {"toy": groups}).text
    worst = text[text.rindex("Worst disagreement") :]
    assert worst.index("prompt 6") < worst.index("prompt 7")
    assert "people A > B toy B > A" in worst
    agreed = text[text.rindex("Best agreement") : text.rindex("Worst disagreement")]
    assert "prompt 6" not in agreed
    assert "people A > B toy A > B" in agreed


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"benchmark": "others"}, "Compare results of one benchmark"),
        ({"version": 2}, "by version 2 of 'toys', but 'toy' by version 1"),
        ({"model": "toy"}, "Two results are of 'toy'"),
    ],
)
def test_bench_report_results_that_do_not_compare_are_refused(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        written(tmp_path, [result(), result(**{"model": "other", **changes})], {})
    assert not (tmp_path / "page.html").exists()


def test_bench_report_samples_missing_or_of_other_groups_are_refused(tmp_path: Path) -> None:
    groups = [group(0, (2.0, 1.0), (1, 2))]
    both = [result(), result("other")]
    with pytest.raises(UsageError, match="no samples of 'other'"):
        written(tmp_path, both, {"toy": groups})
    with pytest.raises(UsageError, match="not of the same groups"):
        written(tmp_path, both, {"toy": groups, "other": [group(5, (1.0, 2.0), (1, 2))]})
    with pytest.raises(UsageError, match="0 results"):
        written(tmp_path, [], {})


def test_bench_report_ties_are_counted_by_people_and_model(tmp_path: Path) -> None:
    groups = [group(n, (1.0, 1.01), (1, 1)) for n in range(3)]
    groups += [group(3 + n, (5.0, 1.0), (1, 2)) for n in range(4)]
    page = written(tmp_path, [result()], {"toy": groups})
    assert "toy people: first 4 0 0 toy people: tie 0 3 0 toy people: second 0 0 0" in page.text
    alts = [label for label in page.values("svg", "aria-label") if label]
    assert "toy finds 3 of the 3 pairs that people call a tie." in alts


def odd_groups() -> dict[str, list[GroupResult]]:
    verdicts = (
        PairVerdict(first=1, second=0, outcomes=("first", "first")),
        PairVerdict(first=0, second=2, outcomes=("first", None), errors=("torn",)),
    )
    alone = [
        replace(
            group(n, (float(n % 5),), (1,)),
            candidates=(CandidateResult(image="x", human=float(n), value=float(n % 5)),),
        )
        for n in range(30)
    ]
    return {
        "no group": [],
        "no score": [group(0, (None, None), (1, 2), correct=None)],
        "constant scores": [group(n, (1.0, 1.0), (1, 2)) for n in range(60)],
        "all ties": [group(n, (n / 7, 1.0), (1, 1)) for n in range(60)],
        "always right": [group(n, (2.0 + n, 1.0), (1, 2)) for n in range(60)],
        "verdicts": [group(n, (None,) * 3, (1, 2, 3), verdicts=verdicts) for n in range(60)],
        "scored alone": alone,
        "many candidates": [group(0, tuple(map(float, range(40))), tuple(range(1, 41)))],
    }


@pytest.mark.parametrize("name", odd_groups())
def test_bench_report_odd_answers_make_a_page(tmp_path: Path, name: str) -> None:
    text = written(tmp_path, [result()], {"toy": odd_groups()[name]}).text
    assert "nan" not in text.lower()
    expected = {
        "no group": "How it was run",
        "no score": "How it was run",
        "constant scores": "Accuracy by margin",
        "all ties": "people A = B",
        "always right": "Best agreement",
        "verdicts": "B > A, then B > A; A > C, then A ? C",
        "scored alone": "Scores beside people's",
        "many candidates": "32 more candidates are not shown",
    }
    assert expected[name] in text


def test_bench_report_without_samples_has_numbers_only(tmp_path: Path) -> None:
    page = written(tmp_path, [result()], {})
    assert "Reliability" not in page.text
    assert "Metrics" in page.text
    assert len(page.values("svg", "aria-label")) == 1


def test_bench_report_of_many_models_shows_the_best(tmp_path: Path) -> None:
    results = [
        result(f"model-{n}", metrics=(MetricValue(name="accuracy", value=n / 20),))
        for n in range(12)
    ]
    text = written(tmp_path, results, {}).text
    assert "the best 8 of 12 models" in text
    assert "model-4" in text
    assert "model-3" not in text


def test_bench_report_text_from_strangers_is_escaped(tmp_path: Path) -> None:
    groups = [
        group(n, (1.0 + n, 3.0), (1, 2), prompt=EVIL, category=EVIL if n % 2 else "b")
        for n in range(60)
    ]
    given = result(
        EVIL,
        revision=EVIL,
        problems=(Problem(kind=EVIL, count=1, examples=(EVIL,)),),
        published=(PublishedRow(model=EVIL, values={"accuracy,none": 0.5}, source=EVIL),),
        config={EVIL: EVIL},
    )
    page = written(tmp_path, [given], {EVIL: groups})
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert page.text.count("owned") > 10


def test_bench_report_whatever_the_input_stays_below_10_mb(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)) for _ in range(9)]
    groups = [
        group(n, tuple(rng.normal(size=8)), range(1, 9), prompt="w " * 50_000, id="i" * 10_000)
        for n in range(60)
    ]
    groups = [replace(each, id=f"{n}{each.id}") for n, each in enumerate(groups)]
    problems = tuple(
        Problem(kind=f"{n} {'k' * 5000}", count=50, examples=("e" * 5000,) * 20) for n in range(300)
    )
    metrics = tuple(
        MetricValue(name=f"metric_{n}", value=0.5, low=0.4, high=0.6, note="n" * 5000)
        for n in range(400)
    )
    names = [f"{n}{'m' * 300}" for n in range(10)]
    results = [
        result(name, problems=problems, metrics=metrics, config={"c": "v" * 10**6})
        for name in names
    ]
    path = tmp_path / "big.html"
    write_bench_report(
        results,
        dict.fromkeys(names, groups),
        path,
        lambda _, place: noise[8] if place == "source" else noise[place],
    )
    assert path.stat().st_size < 10_000_000
    assert "pictures are left out to keep the page small" in path.read_text(encoding="utf-8")


def test_bench_report_is_whole_and_asks_nothing_of_the_network(made_page: Path) -> None:
    page = Parsed(made_page)
    assert all(str(each).startswith("data:image/jpeg") for each in page.values("img", "src"))
    assert all(page.values("img", "alt"))
    assert all(page.values("svg", "aria-label"))
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    assert all(str(each).startswith("#") for each in page.values("a", "href"))
    ids = [each for _, attributes in page.tags if (each := attributes.get("id"))]
    assert len(ids) == len(set(ids))
    assert {str(each)[1:] for each in page.values("a", "href")} <= set(ids)
    assert {str(each)[1:] for each in page.values("use", "xlink:href")} <= set(ids)
    assert all(each in ("col", "row") for each in page.values("th", "scope"))
    assert any("default-src 'none'" in str(each) for each in page.values("meta", "content"))


def test_bench_report_has_every_plot_and_saves_it_as_png_and_svg(made_page: Path) -> None:
    folder = made_page.with_name("report-plots")
    stems = {"overview", "reliability", "accuracy-by-margin", "scores", "ties", "categories"}
    assert {each.name for each in folder.iterdir()} == {
        f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")
    }
    text = Parsed(made_page).text
    for title in ("Reliability", "Accuracy by margin", "Score distributions", "Ties"):
        assert title in text
    for file in folder.glob("*.png"):
        with Image.open(file) as picture:
            assert picture.width == 1000


def test_bench_report_same_input_makes_the_same_bytes(
    made_run: Run, made_page: Path, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    write_bench_report(made_run.results, made_run.samples, path, made_run.pictures)
    assert path.read_bytes() == made_page.read_bytes()
    for file in made_page.with_name("report-plots").iterdir():
        again = path.with_name("report-plots") / file.name
        assert again.read_bytes() == file.read_bytes()


def test_bench_report_colours_stand_out_in_both_schemes() -> None:
    style = (Path(drawing.__file__).parent / "bench.css").read_text(encoding="utf-8")
    common = (Path(drawing.__file__).parent / "report.css").read_text(encoding="utf-8")
    light, dark = (part.split("}")[0] for part in style.split(":root {")[1:])
    cards = re.findall(r"--card: (#\w{6})", common)
    for scheme, card in zip((light, dark), cards, strict=True):
        colours = re.findall(r"--series-\d: (#\w{6})", scheme)
        assert len(colours) == len(drawing.SERIES)
        assert min(contrast(colour, card) for colour in colours) >= 4.5
    assert tuple(re.findall(r"--series-\d: (#\w{6})", light)) == drawing.SERIES


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2.1."""

    def luminance(colour: str) -> float:
        parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_bench_report_in_a_browser_fits_and_complains_of_nothing(
    browser: Browser, made_page: Path, width: int, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(made_page.as_uri())
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [made_page.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert all(page.evaluate("[...document.images].map(image => image.naturalWidth)"))
    beyond = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(box => !box.closest('.scroll, svg') && "
        "box.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert beyond == 0
    ink, back = page.evaluate(
        "[getComputedStyle(document.querySelector('.plot text')).fill,"
        " getComputedStyle(document.querySelector('.panel')).backgroundColor]"
    )
    dark, bright = (sum(map(int, re.findall(r"\d+", each)[:3])) for each in (ink, back))
    assert (dark < bright) == (scheme == "light")
    context.close()
