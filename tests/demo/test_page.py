"""The page in a browser: score, compare, edit, errors, keyboard, phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from visreward.data.scenes.examples import EDIT, PROMPT
from visreward.models.loading import load_model
from visreward.scoring.table import number_text

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page
    from tests.demo.conftest import Demo

TIMEOUT_MS = 280_000


class Visitor:
    """A page, what it complained of, and which requests it made."""

    def __init__(self, browser: Browser, demo: Demo, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(TIMEOUT_MS)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(demo.url)
        self.page.get_by_role("tab", name="Models").wait_for()

    def _hear(self, message: Any) -> None:
        # Gradio's client itself warns "Method not implemented." at every upload.
        if message.type == "error":
            self.complaints.append(message.text)

    def open(self, tab: str) -> None:
        self.page.get_by_role("tab", name=tab, exact=True).click()

    def fill(self, label: str, words: str) -> None:
        # Tabs have fields of the same name.
        self.page.get_by_label(label).locator("visible=true").fill(words)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).click()

    def tabs(self, example: str) -> Iterator[str]:
        """Open every tab, let it show the results of its examples, and say which it is."""
        for tab, button in (
            ("Score", example),
            ("Compare", "Try it with six example images"),
            ("Edit", "Try it with six example edits"),
            ("Models", None),
        ):
            self.open(tab)
            if button is not None:
                self.press(button)
                self.result.locator(".card").first.wait_for()
            yield tab

    def upload(self, label: str, *paths: Path) -> None:
        """Give files to the visible place of a label, one by one as a picker would."""
        part = self.page.locator(".block:visible", has_text=label).last
        part.locator("input[type=file]").first.set_input_files([str(path) for path in paths])
        part.locator(f"img >> nth={len(paths) - 1}").wait_for(state="attached")

    @property
    def result(self) -> Locator:
        return self.page.locator(".block.live:visible")

    def shows(self, words: str) -> None:
        self.result.get_by_text(words).first.wait_for()


@pytest.fixture(scope="module")
def visitor(browser: Browser, demo: Demo) -> Iterator[Visitor]:
    visitor = Visitor(browser, demo, viewport={"width": 1280, "height": 900})
    yield visitor
    visitor.context.close()


@pytest.fixture(scope="module")
def folder(project_dir: Path) -> Path:
    return project_dir / "examples"


@pytest.fixture(autouse=True)
def quiet(visitor: Visitor, demo: Demo) -> Iterator[None]:
    """After every test: nothing was complained of, and no other host was asked."""
    yield
    assert visitor.complaints == []
    strangers = [
        url for url in visitor.requests if not url.startswith((demo.url, "data:", "blob:"))
    ]
    assert strangers == []


def test_score_tab_upload_shows_the_models_own_score(visitor: Visitor, folder: Path) -> None:
    path = folder / "images" / "right-and-plain.png"
    visitor.open("Score")
    visitor.fill("Prompt", PROMPT)
    visitor.upload("Image to score", path)
    visitor.press("Score this image")
    visitor.shows("Where this score stands")
    model = load_model("ict-hp-mini")
    score = model.rank(prompt=PROMPT, images=[str(path)])[0].score
    card = visitor.result.locator(".card").inner_text()
    assert number_text(score.value) in card
    assert all(number_text(part.mu) in card for part in score.dimensions.values())
    assert path.name in card
    assert "knows the synthetic scenes only" in visitor.result.inner_text()
    # The example of the same content stands beside it.
    own = visitor.result.locator(".ladder [aria-current]")
    above = own.locator("xpath=preceding-sibling::li[1]").inner_text()
    assert "right and plain" in above
    assert number_text(score.value) in above


def test_score_tab_without_prompt_says_so(visitor: Visitor) -> None:
    visitor.open("Score")
    visitor.fill("Prompt", "  ")
    visitor.press("Score this image")
    visitor.shows("The prompt is empty, but 'ict-hp-mini' scores how an image fits a prompt.")
    assert visitor.result.get_by_role("alert").count() == 1


def test_score_tab_with_edit_model_asks_for_the_source_and_then_scores(
    visitor: Visitor, folder: Path
) -> None:
    visitor.open("Score")
    visitor.page.get_by_role("radio", name="editreward-mini").check()
    visitor.fill("Edit instruction", EDIT.instruction)
    visitor.press("Score this image")
    visitor.shows("No source image, but 'editreward-mini' scores edits.")
    visitor.upload("Source image: before the edit", folder / "edits" / "before.png")
    visitor.press("Score this image")
    visitor.shows("instruction following")
    # The source stays in sight with a model that takes none, and can be removed there.
    visitor.page.get_by_role("radio", name="hpsv3-mini").check()
    visitor.fill("Prompt", PROMPT)
    visitor.press("Score this image")
    visitor.shows("A source image was given, but 'hpsv3-mini' scores single images.")


def test_compare_tab_ranks_uploads_and_names_the_unreadable(
    visitor: Visitor, folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes((folder / "images" / "wrong-place.png").read_bytes()[:900])
    paths = [folder / "images" / f"{name}.png" for name in ("wrong-colour", "right-and-rich")]
    visitor.open("Compare")
    visitor.page.get_by_role("radio", name="hpsv3-mini").check()
    visitor.fill("Prompt", PROMPT)
    visitor.upload("Images to compare", paths[0], broken, paths[1])
    visitor.press("Rank these images")
    visitor.shows("2 images scored, best first; 1 not scored, see below")
    model = load_model("hpsv3-mini")
    best, other = model.rank(prompt=PROMPT, images=[str(path) for path in paths])
    cards = visitor.result.locator(".card")
    assert [paths[place.index].name for place in (best, other)] == [
        name.strip() for name in cards.locator(".name").all_inner_texts()
    ]
    chance = 100 * model.prefer(other.score, best.score)
    expected = f"{chance:.0f} %" if chance >= 1 else "under 1 %"
    assert expected in cards.nth(1).inner_text()
    fault = visitor.result.locator(".faults li").inner_text()
    assert re.search(r"^broken\.png\s+Image 'broken\.png' is truncated", fault)


def test_edit_tab_example_shows_both_dimensions_and_the_source(visitor: Visitor) -> None:
    visitor.open("Edit")
    visitor.press("Try it with six example edits")
    visitor.shows("6 images scored, best first")
    first = visitor.result.locator(".card").first.inner_text()
    assert "instruction following" in first
    assert "visual quality" in first
    assert visitor.result.get_by_alt_text("before the edit").count() == 1
    assert all(
        visitor.page.evaluate(
            "[...document.querySelectorAll('.card img')].map(one => one.naturalWidth && one.alt)"
        )
    )


def test_models_tab_says_what_each_model_needs(visitor: Visitor) -> None:
    visitor.open("Models")
    facts = visitor.page.get_by_label("editreward-mini", exact=True).filter(has_text="Needs")
    words = facts.inner_text()
    assert "an image, a prompt, the source image" in words
    assert "MIT" in words
    assert "knows the synthetic scenes only" in words


def test_keyboard_alone_is_enough_to_score_an_example(visitor: Visitor) -> None:
    page = visitor.page
    visitor.open("Score")
    page.get_by_role("tab", name="Score", exact=True).focus()
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        focus = "document.activeElement"
        seen.append(page.evaluate(f"{focus}.ariaLabel || {focus}.innerText || ''"))
        assert page.evaluate(f"getComputedStyle({focus}).outlineStyle") != "none", seen
        if seen[-1].strip() == "wrong colour":
            break
    assert "Score this image" in seen
    page.keyboard.press("Enter")
    visitor.result.get_by_text("wrong-colour.png").wait_for()
    assert visitor.result.get_attribute("aria-live") == "polite"


def test_screen_reader_has_a_name_for_every_control_and_no_name_twice(
    visitor: Visitor, nameless: str
) -> None:
    page = visitor.page
    for tab in visitor.tabs("wrong colour"):
        if tab != "Models":
            assert page.get_by_role("group", name="Reward model").count() == 1
        assert page.evaluate(nameless) == []
        levels = page.get_by_role("heading").evaluate_all("them => them.map(one => one.tagName)")
        assert levels[0] == "H1"
        assert set(levels[1:]) <= {"H2"}  # no level is left out
        # The tree that a screen reader reads: no key of a dictionary, no empty definition.
        page.wait_for_timeout(300)
        tree = page.locator("body").aria_snapshot()
        assert "common." not in tree
        assert "- definition\n" not in tree
        names = page.get_by_role("button").evaluate_all(
            "all => all.filter(one => one.checkVisibility())"
            ".map(one => one.ariaLabel || one.innerText.trim())"
        )
        assert sorted(names) == sorted(set(names))
    visitor.open("Score")
    assert page.get_by_role("button", name="wrong colour", exact=True).count() == 1


def test_tabs_are_changed_by_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_role("tab", name="Score", exact=True).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("tab", name="Compare", selected=True).wait_for()
    page.get_by_role("button", name="Rank these images").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_shows_every_tab_without_overflow(
    browser: Browser, demo: Demo, scheme: Any, low_contrast: str
) -> None:
    visitor = Visitor(
        browser, demo, viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True
    )
    for _ in visitor.tabs("right and plain"):
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390
        beyond = visitor.page.evaluate(
            "[...document.querySelectorAll('.shown *')].filter(box => box.checkVisibility() && "
            "box.getBoundingClientRect().right > innerWidth + 1).length"
        )
        assert beyond == 0
        assert visitor.page.evaluate(low_contrast) == []
    assert visitor.complaints == []
    visitor.context.close()


def test_too_many_images_are_refused_with_their_number(visitor: Visitor, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(25)]
    for number, path in enumerate(paths):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    visitor.page.reload()
    visitor.open("Compare")
    visitor.fill("Prompt", PROMPT)
    visitor.upload("Images to compare", *paths)
    visitor.press("Rank these images")
    visitor.shows("There are 25 images, more than the 24 that are compared at once. Remove 1.")
