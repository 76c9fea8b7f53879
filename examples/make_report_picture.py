"""Make docs/images/bench-report.png: the report of the offline benchmark of edits, in Chromium.

Run it again after a change of the report: python examples/make_report_picture.py
It needs Chromium (Debian's package) and the extras dev and bench.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "bench-report.png"
MODELS = ("editreward-mini", "random")
WIDTH, HEIGHT = 1180, 900
SHOWN = ("#plots", "#disagreement-0")
"""Parts of the page below its head that are shown."""
NUM_COLOURS = 128


def main() -> None:
    """Run the benchmark, open its report, and keep a picture of it."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Chromium is not installed. Install Debian's package: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        named = [word for model in MODELS for word in ("--model", model)]
        command = [sys.executable, "-m", "visreward", "bench", "scenes-edit", *named]
        subprocess.run([*command, "--output", folder], check=True)  # noqa: S603 - our own words
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto((Path(folder) / "scenes-edit.html").as_uri())
            kept = ", ".join((".key-numbers", *SHOWN))
            page.add_style_tag(content=f"main > :not({kept}), .group ~ .group {{ display: none; }}")
            drawn = page.screenshot(full_page=True, timeout=300_000)
            browser.close()
    with Image.open(io.BytesIO(drawn)) as picture:
        picture.convert("RGB").quantize(NUM_COLOURS).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
