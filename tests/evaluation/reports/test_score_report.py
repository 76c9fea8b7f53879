"""The HTML report: what it shows, that it is safe and whole, and how it looks in a browser."""

from __future__ import annotations

import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from visreward.core.images import read_image
from visreward.core.types import DimensionScore, ImageSource, Sample, Score
from visreward.evaluation.reports import page as page_module
from visreward.evaluation.reports import score_report as report_module
from visreward.evaluation.reports.score_report import write_report
from visreward.models.facts import ModelFacts
from visreward.scoring.records import ScoredItem, sample_name

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FACTS = ModelFacts(
    name="toy",
    revision="r1",
    dimensions=("ict", "visual_quality"),
    score_range=(-1.0, 1.0),
    fidelity="paper",
    licence="MIT",
    note="knows the synthetic scenes only",
)
EVIL = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&"


class Parsed(HTMLParser):
    """Collect a page's elements, and the text of each card."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for found, attributes in self.tags if found == tag]


def scored(
    index: int,
    image: ImageSource,
    value: float,
    *,
    prompt: str = "a cat",
    notes: tuple[str, ...] = (),
    source: ImageSource | None = None,
    sigma: float | None = None,
) -> ScoredItem:
    sample = Sample(prompt=prompt, image=image, source_image=source)
    score = Score(
        value=value,
        sigma=sigma,
        dimensions={
            "ict": DimensionScore(mu=value),
            "visual_quality": DimensionScore(mu=abs(value)),
        },
        notes=notes,
    )
    return ScoredItem(index=index, sample=sample, name=sample_name(sample, index), score=score)


def failed(index: int, name: str, reason: str) -> ScoredItem:
    return ScoredItem(index=index, sample=None, name=name, error=reason)


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    paths = []
    for name, colour in (("red", (255, 0, 0)), ("green", (0, 255, 0)), ("blue", (0, 0, 255))):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (600, 300), colour).save(path)
        paths.append(str(path))
    return paths


def written(items: list[ScoredItem], tmp_path: Path, facts: ModelFacts = FACTS) -> Path:
    path = tmp_path / "report.html"
    write_report(items, facts, path)
    return path


def test_report_ranks_each_prompt_best_first(pictures: list[str], tmp_path: Path) -> None:
    items = [
        scored(n, image, value)
        for n, (image, value) in enumerate(zip(pictures, (0.1, 0.9, 0.5), strict=True))
    ]
    items.append(scored(3, pictures[0], 0.3, prompt="a dog"))
    text = " ".join(Parsed(written(items, tmp_path)).text.split())
    first, second = text.split("“a dog”")
    assert "“a cat” 3 images, best first" in first
    assert first.index("green.png") < first.index("blue.png") < first.index("red.png")
    assert "1 image, best first" in second
    assert "0.9000" in first
    assert "visual quality" in first


def test_report_names_the_model_and_what_it_knows(pictures: list[str], tmp_path: Path) -> None:
    text = " ".join(Parsed(written([scored(0, pictures[0], 0.5)], tmp_path)).text.split())
    assert (
        "toy · revision r1 · scores from -1 to 1 · higher is better · follows the paper · "
        "licence MIT · 1 scored" in text
    )
    assert "knows the synthetic scenes only" in text


@pytest.mark.parametrize(
    ("score_range", "expected"),
    [
        ((0.0, 100.0), "scores from 0 to 100"),
        ((0.0, float("inf")), "scores from 0 up"),
        ((float("-inf"), 0.0), "scores up to 0"),
        ((float("-inf"), float("inf")), "scores without bounds"),
    ],
)
def test_report_says_the_range(
    pictures: list[str], tmp_path: Path, score_range: tuple[float, float], expected: str
) -> None:
    facts = ModelFacts(name="toy", dimensions=FACTS.dimensions, score_range=score_range)
    assert expected in Parsed(written([scored(0, pictures[0], 0.5)], tmp_path, facts)).text


def test_report_bars_start_at_zero_and_share_one_scale(pictures: list[str], tmp_path: Path) -> None:
    items = [
        scored(n, image, value)
        for n, (image, value) in enumerate(zip(pictures, (0.6, -0.2, 0.2), strict=True))
    ]
    styles = Parsed(written(items, tmp_path)).values("i", "style")
    assert styles[0::3] == [
        "left:25.00%;width:75.00%",
        "left:25.00%;width:25.00%",
        "left:0.00%;width:25.00%",
    ]
    assert styles[2::3] == [
        "left:0.00%;width:100.00%",
        "left:0.00%;width:33.33%",
        "left:0.00%;width:33.33%",
    ]


def test_report_asks_nothing_of_the_network_or_the_disk(
    pictures: list[str], tmp_path: Path
) -> None:
    parsed = Parsed(written([scored(0, pictures[0], 0.5), failed(1, "x", "torn")], tmp_path))
    sources = parsed.values("img", "src")
    assert len(sources) == 1
    assert all(str(source).startswith("data:image/jpeg;base64,") for source in sources)
    names = {tag for tag, _ in parsed.tags}
    assert not names & {"script", "link", "iframe", "object", "a", "base", "form"}
    assert not {"href", "srcset", "onclick", "onerror"} & {
        name for _, attributes in parsed.tags for name in attributes
    }
    style = "".join(path.read_text() for path in Path(report_module.__file__).parent.glob("*.css"))
    assert "url(" not in style
    assert "@import" not in style
    policies = [value for value in parsed.values("meta", "content") if value]
    assert any("default-src 'none'" in policy for policy in policies)


def test_report_thumbnails_are_small_and_made_once(
    pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    def counted(source: ImageSource) -> Image.Image:
        opened.append(source)
        return read_image(source)

    monkeypatch.setattr(page_module, "read_image", counted)
    items = [scored(n, pictures[0], 0.5, prompt=f"prompt {n}") for n in range(4)]
    path = written(items, tmp_path)
    assert len(Parsed(path).values("img", "src")) == 4
    assert opened == [pictures[0]]
    assert path.stat().st_size < 40_000


def test_report_of_many_large_pictures_stays_below_10_mb_and_says_what_it_leaves_out(
    tmp_path: Path,
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    items = [scored(n, str(tmp_path / "noise.png"), 0.5, prompt=f"p{n}") for n in range(900)]
    path = written(items, tmp_path)
    assert 7_000_000 < path.stat().st_size < 10_000_000
    num_left_out = 900 - len(Parsed(path).values("img", "src"))
    assert num_left_out > 0
    assert f"{num_left_out} pictures are left out" in path.read_text(encoding="utf-8")


def test_report_text_from_strangers_is_escaped(pictures: list[str], tmp_path: Path) -> None:
    image = tmp_path / "<img src=x onerror=alert(2)>.png"
    shutil.copy(pictures[0], image)
    items = [
        scored(0, str(image), 0.5, prompt=EVIL, notes=(EVIL,)),
        failed(1, EVIL, f"bad: {EVIL}"),
    ]
    facts = ModelFacts(
        name=EVIL, revision=EVIL, licence=EVIL, note=EVIL, dimensions=FACTS.dimensions
    )
    parsed = Parsed(written(items, tmp_path, facts))
    assert len(parsed.values("img", "src")) == 1
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert parsed.text.count(EVIL) >= 7
    assert parsed.values("img", "alt") == [image.name]


def test_report_failures_are_listed_once(pictures: list[str], tmp_path: Path) -> None:
    items = [
        scored(0, pictures[0], 0.5),
        failed(1, "torn.png", "It is torn."),
        failed(2, "torn.png", "It is torn."),
    ]
    text = " ".join(Parsed(written(items, tmp_path)).text.split())
    assert "1 scored, 2 failed" in text
    assert text.count("torn.png It is torn.") + text.count("torn.pngIt is torn.") == 1


def test_report_nothing_scored_lists_the_failures(tmp_path: Path) -> None:
    text = Parsed(written([failed(0, "a", "torn")], tmp_path)).text
    assert "Not scored" in text
    assert "best first" not in text


def test_report_image_that_has_gone_leaves_its_score(pictures: list[str], tmp_path: Path) -> None:
    Path(pictures[1]).unlink()
    parsed = Parsed(written([scored(n, image, 0.5) for n, image in enumerate(pictures)], tmp_path))
    assert len(parsed.values("img", "src")) == 2
    assert parsed.text.count("no picture") == 1
    assert "green.png" in parsed.text


def test_report_source_image_uncertainty_and_notes_are_shown(
    pictures: list[str], tmp_path: Path
) -> None:
    item = scored(0, pictures[0], 0.5, source=pictures[1], sigma=0.25, notes=("prompt was cut",))
    parsed = Parsed(written([item], tmp_path))
    assert parsed.values("img", "alt") == ["before the edit", "red.png"]
    assert "0.5000 ± 0.25" in parsed.text
    assert "prompt was cut" in parsed.text


def test_report_more_images_than_fit_says_so(
    pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "MAX_CARDS", 2)
    items = [scored(n, image, 0.1 * n) for n, image in enumerate(pictures)]
    items.append(scored(3, pictures[0], 0.5, prompt="a dog"))
    parsed = Parsed(written(items, tmp_path))
    assert len(parsed.values("img", "src")) == 2
    assert "3 images, best first; the best 2 are shown" in parsed.text
    assert "2 more images are scored but not shown here." in parsed.text


def test_report_same_items_make_the_same_bytes(pictures: list[str], tmp_path: Path) -> None:
    items = [scored(n, image, 0.1 * n) for n, image in enumerate(pictures)]
    assert written(items, tmp_path).read_bytes() == written(items, tmp_path).read_bytes()


def opened(browser: Browser, path: Path, *, width: int = 1280, scheme: Any = "light") -> Page:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto(path.as_uri())
    return page


@pytest.fixture
def page_path(pictures: list[str], tmp_path: Path) -> Path:
    items = [scored(n, image, 0.4 * n - 0.3) for n, image in enumerate(pictures)]
    items.append(scored(3, pictures[0], 0.5, prompt="long " * 60 + "w" * 200))
    items.append(failed(4, "folder/" * 30 + "torn.png", "It is torn."))
    return written(items, tmp_path)


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_report_in_a_browser_fits_the_screen(browser: Browser, page_path: Path, width: int) -> None:
    page = opened(browser, page_path, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    images = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert images == [384] * 4
    hidden = page.evaluate(
        "[...document.querySelectorAll('.value, .name, .rank')]"
        ".filter(box => box.getBoundingClientRect().right > innerWidth).length"
    )
    assert hidden == 0


def test_report_in_a_browser_requests_nothing_and_runs_nothing(
    browser: Browser, pictures: list[str], tmp_path: Path
) -> None:
    path = written([scored(0, pictures[0], 0.5, prompt=EVIL)], tmp_path)
    context = browser.new_context()
    page = context.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(path.as_uri())
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    assert complaints == []
    assert page.title() == "Image scores: toy"


def test_report_in_a_browser_follows_the_colour_scheme(browser: Browser, page_path: Path) -> None:
    def brightness(scheme: str) -> tuple[int, int]:
        page = opened(browser, page_path, scheme=scheme)
        colours = page.evaluate(
            "['backgroundColor', 'color'].map(name => getComputedStyle(document.body)[name])"
        )
        back, ink = (sum(map(int, colour[4:-1].split(","))) for colour in colours)
        return back, ink

    light, dark = brightness("light"), brightness("dark")
    assert light[0] > 600
    assert light[1] < 200
    assert dark[0] < 200
    assert dark[1] > 600
