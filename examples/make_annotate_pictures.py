"""Make the pictures of docs/annotate.md: the running page in Chromium, wide and on a phone.

Needs the extras demo and dev, and Chromium: python examples/make_annotate_pictures.py
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Browser

EXAMPLES = Path(__file__).resolve().parent
IMAGES = EXAMPLES.parent / "docs" / "images"
TIMEOUT_MS = 600_000
NUM_COLOURS = 256
PROMPT = "two small orange metal cubes left of a large purple rubber cylinder"
INSTRUCTION = "change the colour of the four white balls to orange"
# Name, kind, width, whether of edits, candidates of each group, keys before the picture is made.
PICTURES = (
    ("annotate-pair", "pair", 1000, False, ("right-and-rich", "wrong-colour", "wrong-place"), "1"),
    ("annotate-scores", "scores", 1000, True, ("right", "half-done", "flawed"), "4423"),
    ("annotate-phone", "pair", 390, True, ("right", "over-edited"), ""),
)


def write_groups(path: Path, names: tuple[str, ...], *, of_edits: bool) -> None:
    """Write a file of one group with these candidates."""
    folder = EXAMPLES / ("edits" if of_edits else "images")
    group: dict[str, object] = {
        "prompt": INSTRUCTION if of_edits else PROMPT,
        "candidates": [{"image": str(folder / f"{name}.png")} for name in names],
    }
    if of_edits:
        group["source_image"] = str(folder / "before.png")
    path.write_text(json.dumps(group) + "\n")


@contextmanager
def served(groups: Path, kind: str) -> Iterator[str]:
    """Run `visreward annotate` and give its address."""
    command = [sys.executable, "-m", "visreward", "annotate", "--port", "0", "--seed", "3"]
    command += ["--input", str(groups), "--store", f"{groups}.sqlite", "--kind", kind]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stderr is not None
        try:
            found = (re.search(r"http://[\d.:]+", line) for line in process.stderr)
            yield next(each.group() for each in found if each)
        finally:
            process.terminate()
            process.communicate()


def make(browser: Browser, name: str, address: str, width: int, keys: str) -> None:
    """Answer with some keys and write the picture of what then stands there."""
    page = browser.new_page(viewport={"width": width, "height": 640})
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(address)
    page.get_by_label("Your name").fill("Ana")
    page.keyboard.press("Enter")
    page.wait_for_selector("#va-question")
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(1500)
    page.wait_for_timeout(1500)
    with Image.open(io.BytesIO(page.screenshot(full_page=True))) as picture:
        picture.convert("RGB").quantize(NUM_COLOURS).save(IMAGES / f"{name}.png", optimize=True)
    page.close()


def main() -> None:
    """Start a page for each picture and make it."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        sys.exit("Chromium is not installed. Install Debian's package: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        for name, kind, width, of_edits, names, keys in PICTURES:
            groups = Path(folder) / f"{name}.jsonl"
            write_groups(groups, names, of_edits=of_edits)
            with served(groups, kind) as address:
                make(browser, name, address, width, keys)
        browser.close()


if __name__ == "__main__":
    main()
