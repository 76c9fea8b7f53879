"""The page in a browser: keys, buttons, errors, names, narrow screens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from visreward.demo.annotate.records import Kind
from visreward.demo.annotate.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from tests.demo.annotate.conftest import GroupWriter, Serving

PATIENCE_MS = 90_000


@contextmanager
def opened(
    browser: Browser, address: str, name: str | None, *, width: int = 1000, is_dark: bool = False
) -> Iterator[Page]:
    """Open the page, as one annotator, and see that no script fails."""
    page = browser.new_page(
        viewport={"width": width, "height": 700}, color_scheme="dark" if is_dark else "light"
    )
    page.set_default_timeout(PATIENCE_MS)
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(address)
    if name is not None:
        page.get_by_label("Your name").fill(name)
        page.keyboard.press("Enter")
        page.wait_for_selector("#va-question")
    yield page
    page.close()
    assert failures == []


def ticket(page: Page) -> str | None:
    return page.get_attribute("#va-question", "data-ticket")


def after(page: Page, act: str) -> None:
    """Press a key, or click what `#` names, and wait for what comes next."""
    old = ticket(page)
    if act.startswith("#"):
        page.click(act)
    else:
        page.keyboard.press(act)
    page.wait_for_function(
        "old => document.querySelector('#va-question').dataset.ticket !== old", arg=old
    )


def test_page_pair_answers_by_key_and_button_and_takes_back(
    browser: Browser, serving: Serving, write_groups: GroupWriter, tmp_path: Path
) -> None:
    store = tmp_path / "study.sqlite"
    with (
        serving("--input", write_groups(num=8), "--store", store) as address,
        opened(browser, address, "  ana ") as page,
    ):
        assert page.get_by_role("heading", name="groups prompt").count() == 1
        assert page.get_by_role("img", name="Image A").count() == 1
        for act in ("1", "2", "ArrowLeft", "ArrowRight", "0", "#va-first", "s"):
            after(page, act)
        assert page.inner_text(".va-message") == "Skipped."
        page.wait_for_selector("#va-message[role=status]")
        prompt = page.inner_text("#va-question h2").split(maxsplit=1)[1]
        assert f"Next: {prompt}" in (page.text_content("#va-message") or "")
        after(page, "u")
        after(page, "u")
        after(page, "#va-second")
        assert "6 of 8 answered" in page.inner_text(".va-progress")
        # Keys that are turned off, or typed with a modifier, answer nothing.
        page.click(".va-help summary")
        page.uncheck("#va-keys")
        open_ticket = ticket(page)
        page.keyboard.press("1")
        page.check("#va-keys")
        page.keyboard.press("Control+1")
        page.wait_for_timeout(300)
        assert ticket(page) == open_ticket
        after(page, "1")
        after(page, "2")
        assert page.get_by_text("Nothing is left to answer").is_visible()
        assert page.locator("#va-first").is_disabled()
    with Store(store) as study:
        answers = study.answers()
        standing = [answer for answer in answers if not answer.is_superseded]
        assert {answer.annotator for answer in answers} == {"ana"}
        assert (len(answers), len(standing)) == (10, 8)
        shown = [
            None
            if answer.verdict is None
            else tuple(answer.verdict.rows[place][0] for place in answer.places)
            for answer in answers
        ]
    first, second, tie = (1, 2), (2, 1), (1, 1)
    assert shown == [first, second, first, second, tie, first, None, second, first, second]


@pytest.mark.parametrize(
    ("kind", "keys", "rows"),
    [
        (Kind.RANK, "213", ((2,), (1,), (3,))),
        (Kind.SCORES, "413223", ((4, 1), (3, 2), (2, 3))),
    ],
)
def test_page_fields_are_filled_by_digits_in_order(
    browser: Browser,
    serving: Serving,
    write_groups: GroupWriter,
    tmp_path: Path,
    kind: Kind,
    keys: str,
    rows: tuple[tuple[int, ...], ...],
) -> None:
    store = tmp_path / "study.sqlite"
    groups = write_groups(num=2, num_candidates=3, is_edit=kind is Kind.SCORES)
    with (
        serving("--input", groups, "--store", store, "--kind", kind.value) as address,
        opened(browser, address, "ana", width=390) as page,
    ):
        # What a screen reader calls the fields, and which end of the scale is the good one.
        legends = page.locator(".va-field").evaluate_all("all => all.map(f => f.innerText)")
        best = "1 is best" if kind is Kind.RANK else "4 is best"
        assert all(f"({best})" in each for each in legends)
        for number in "ABC":
            group = page.get_by_role("group", name=f"({best}) of image {number}")
            assert group.count() == len(kind.columns)
            assert group.first.get_by_role("radio", name="1").count() == 1
        # Nothing is wider than a phone.
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for key in keys[:-1]:
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        page.get_by_text("is missing").wait_for()
        page.keyboard.press("Backspace")
        page.keyboard.press(keys[-2])
        page.keyboard.press(keys[-1])
        after(page, "Enter")
        # The same with the pointer; the legend names the image for those who do not see it.
        for number, row in zip("ABC", rows, strict=True):
            for column, value in zip(kind.columns, row, strict=True):
                page.check(f'input[name="va-{number}-{column}"][value="{value}"]')
        after(page, "#va-send")
    with Store(store) as study:
        for answer in study.answers():
            assert answer.verdict is not None
            assert tuple(answer.verdict.rows[place] for place in answer.places) == rows


@pytest.mark.parametrize("is_dark", [False, True])
def test_page_has_names_and_contrast_in_every_state(
    browser: Browser,
    serving: Serving,
    write_groups: GroupWriter,
    tmp_path: Path,
    low_contrast: str,
    nameless: str,
    is_dark: bool,
) -> None:
    groups = write_groups(num=2, num_candidates=3, is_edit=True)
    options = ("--input", groups, "--store", tmp_path / "s.sqlite", "--kind", "scores")
    with serving(*options, "--order", "fixed") as address:
        (tmp_path / "groups-0-0.png").write_bytes(b"torn")
        with opened(browser, address, None, width=390, is_dark=is_dark) as page:

            def check() -> None:
                page.wait_for_timeout(300)  # colours change slowly
                assert page.evaluate(low_contrast) == []
                assert page.evaluate(nameless) == []

            page.get_by_label("Your name").wait_for()
            check()
            page.get_by_role("button", name="Start").click()
            page.get_by_text("cannot be used").first.wait_for()
            check()
            page.get_by_label("Your name").fill("ana")
            page.keyboard.press("Enter")
            page.get_by_role("alert").filter(has_text="cannot be shown").first.wait_for()
            page.click(".va-help summary")
            check()
            after(page, "s")
            page.locator("#va-send:not([disabled])").wait_for()
            page.keyboard.press("4")
            check()
            for key in "41312":
                page.keyboard.press(key)
            page.click("#va-send")  # Enter belongs to the summary, which has the focus
            page.get_by_text("Nothing is left to answer").wait_for()
            check()


def test_page_missing_image_and_bad_name_are_explicit_errors(
    browser: Browser, serving: Serving, write_groups: GroupWriter, tmp_path: Path
) -> None:
    store = tmp_path / "study.sqlite"
    groups = write_groups(num=2)
    with serving("--input", groups, "--store", store, "--order", "fixed") as address:
        (tmp_path / "groups-0-0.png").write_bytes(b"torn")
        with opened(browser, address, None) as page:
            page.get_by_role("button", name="Start").click()
            page.get_by_text("cannot be used").first.wait_for()
            page.get_by_label("Your name").fill("ana")
            page.get_by_role("button", name="Start").click()
            page.get_by_text("cannot be shown").wait_for()
            assert page.locator("#va-first").is_disabled()
            assert "groups-0-0" not in page.content()
            after(page, "s")
            page.locator("#va-first:not([disabled])").wait_for()
            # Enlarged and closed again by keys alone.
            page.get_by_role("button", name="Enlarge: Image A").press("Enter")
            page.get_by_role("dialog").wait_for()
            page.keyboard.press("Escape")
            after(page, "1")
    with Store(store) as study:
        skipped, answered = study.answers()
        assert skipped.problem is not None
        assert "groups-0-0.png" in skipped.problem
        assert answered.verdict is not None


def test_page_of_a_named_annotator_goes_on_where_it_was(
    browser: Browser, serving: Serving, write_groups: GroupWriter, tmp_path: Path
) -> None:
    store = tmp_path / "study.sqlite"
    groups = write_groups(num=3)
    with serving("--input", groups, "--store", store, "--annotator", "ana") as address:
        with opened(browser, address, None) as page:
            page.wait_for_selector("#va-question")
            after(page, "1")
            open_ticket = ticket(page)
        with opened(browser, address, None) as page:
            page.wait_for_selector("#va-question")
            assert ticket(page) == open_ticket
            assert "1 of 3 answered" in page.inner_text(".va-progress")
    lines = [json.loads(line) for line in groups.read_text().splitlines()]
    assert all("generator" in each for line in lines for each in line["candidates"])
