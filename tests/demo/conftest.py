"""The page as `visreward demo` starts it, in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MODELS = ("ict-hp-mini", "hpsv3-mini", "hp-mini", "editreward-mini")
STOP_S = 300.0


@dataclass(frozen=True)
class Demo:
    """A running page.

    Attributes:
        url: Its address.
        folder: Where its folder of uploads lies.
        process: The process.
    """

    url: str
    folder: Path
    process: subprocess.Popen[str]

    def stop(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; return the exit status and what was printed last."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=STOP_S)
        return self.process.returncode, rest


@pytest.fixture(scope="module")
def start_demo(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., object]:
    pytest.importorskip("gradio", reason="the extra 'demo' is missing")

    @contextmanager
    def start(*models: str) -> Iterator[Demo]:
        folder = tmp_path_factory.mktemp("uploads")
        options = [part for name in models for part in ("--model", name)]
        command = [sys.executable, "-m", "visreward", "demo", "--port", "0", *options]
        # A shell's own settings must not open the page up.
        env = os.environ | {"TMPDIR": str(folder), "GRADIO_ALLOWED_PATHS": "/", "NO_COLOR": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://[\d.:]+", line)
            assert found is not None, line
            yield Demo(found.group(), folder, process)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    return start


@pytest.fixture(scope="module")
def demo(start_demo: Callable[..., object]) -> Iterator[Demo]:
    with start_demo(*MODELS) as running:  # type: ignore[attr-defined]
        yield running


LOW_CONTRAST = """() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = colour => colour.slice(0, 3)
    .map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = box => {
    for (; box; box = box.parentElement) {
      const colour = rgb(getComputedStyle(box).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.5) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const box of document.querySelectorAll('.gradio-container *')) {
    const own = [...box.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !box.checkVisibility() || box.matches('style, script, :disabled')) continue;
    if (box.offsetWidth <= 1) continue;  // for screen readers only
    const [one, other] = [rgb(getComputedStyle(box).color), behind(box)].map(luminance);
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) found.push(`${box.innerText.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""
NAMELESS = """() => [...document.querySelectorAll(
  'button, input:not([type=hidden]), textarea, summary, [role=tab], fieldset, img, [tabindex="0"]')]
  .filter(part => part.checkVisibility() && !part.closest('[aria-hidden=true]'))
  .filter(part => part.tagName === 'IMG' ? !part.hasAttribute('alt')
    : !(part.ariaLabel || part.innerText || part.placeholder || part.title
        || part.labels?.[0]?.innerText || part.querySelector('img[alt]')?.alt || '').trim())
  .map(part => part.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="session")
def low_contrast() -> str:
    """Return a script that lists words whose contrast is below 4.5."""
    return LOW_CONTRAST


@pytest.fixture(scope="session")
def nameless() -> str:
    """Return a script that lists controls and pictures without a name."""
    return NAMELESS
