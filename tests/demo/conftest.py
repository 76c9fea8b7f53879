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
