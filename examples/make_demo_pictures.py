"""Make the pictures of docs/demo.md: the running page in Chromium, wide and on a phone.

Needs the extras demo and dev, and Chromium: python examples/make_demo_pictures.py
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
WIDE = (1280, 900)
PHONE = (390, 844)
TIMEOUT_MS = 600_000
NUM_COLOURS = 256
# Name, size of the window, colours, tab, model, button, and how far down the page to begin.
PICTURES = (
    ("demo-score", WIDE, "light", "Score", "ict-hp-mini", "right and plain", None),
    ("demo-compare", WIDE, "dark", "Compare", "hpsv3-mini", "Try it with six example images", None),
    ("demo-edit", WIDE, "light", "Edit", None, "Try it with six example edits", None),
    ("demo-phone-score", PHONE, "light", "Score", "ict-hp-mini", "wrong colour", ".ladder"),
    ("demo-phone-edit", PHONE, "dark", "Edit", None, "Try it with six example edits", ".cards"),
)


def show(page: Page, tab: str, model: str | None, button: str) -> None:
    """Bring a tab to the state that the picture shows."""
    page.get_by_role("tab", name=tab, exact=True).click()
    if model is not None:
        page.locator("label:visible", has_text=model).first.click()
    page.get_by_role("button", name=button, exact=True).click()
    page.locator(".live:visible .card").first.wait_for()
    page.wait_for_timeout(3000)
    page.mouse.move(0, 0)


def make(page: Page) -> None:
    """Write all pictures."""
    for name, (width, height), scheme, tab, model, button, first in PICTURES:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        show(page, tab, model, button)
        page.evaluate("scrollTo(0, 0)")
        if first is not None:
            page.locator(f".live:visible {first}").evaluate("part => part.scrollIntoView()")
            page.evaluate("scrollBy(0, -120)")
        drawn = page.screenshot(timeout=TIMEOUT_MS)
        with Image.open(io.BytesIO(drawn)) as picture:
            small = picture.convert("RGB").quantize(NUM_COLOURS)
            small.save(IMAGES / f"{name}.png", optimize=True)


def main() -> None:
    """Start the page, make the pictures, stop the page."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        sys.exit("Chromium is not installed. Install Debian's package: apt-get install chromium")
    command = [sys.executable, "-m", "visreward", "demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        found = re.search(r"http://[\d.:]+", process.stdout.readline())
        try:
            assert found is not None
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
                page = browser.new_page()
                page.set_default_timeout(TIMEOUT_MS)
                page.goto(found.group())
                make(page)
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
