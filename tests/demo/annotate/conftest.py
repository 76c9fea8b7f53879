"""Groups of small pictures in files, and studies made of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from PIL import Image

from visreward.demo.annotate.creation import create_store
from visreward.demo.annotate.questions import read_questions
from visreward.demo.annotate.records import Kind, StudySettings
from visreward.demo.annotate.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GroupWriter: TypeAlias = Callable[..., Path]
StudyMaker: TypeAlias = Callable[..., Store]
Serving: TypeAlias = Callable[..., Any]  # a context manager that gives the address


@pytest.fixture
def write_groups(tmp_path: Path) -> GroupWriter:
    """Return a function that writes groups of candidates, brighter ones first in rank."""

    def write(
        name: str = "groups.jsonl", *, num: int = 4, num_candidates: int = 2, is_edit: bool = False
    ) -> Path:
        stem = name.partition(".")[0]
        lines = []
        for group in range(num):
            candidates: list[dict[str, Any]] = []  # JSON values
            for place in range(num_candidates):
                image = f"{stem}-{group}-{place}.png"
                shade = 250 - 20 * place - group % 20
                Image.new("RGB", (8, 8), (shade, shade, shade)).save(tmp_path / image)
                candidates.append(
                    {
                        "image": image,
                        "generator": f"maker-{place}",
                        "rank": place + 1,
                        "instruction_following": 4 - place % 4,
                        "visual_quality": 1 + place % 4,
                    }
                )
            line: dict[str, Any] = {"prompt": f"{stem} prompt {group}", "candidates": candidates}
            if is_edit:
                line["source_image"] = candidates[0]["image"]
            lines.append(json.dumps(line))
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def make_study(tmp_path: Path, write_groups: GroupWriter) -> StudyMaker:
    """Return a function that makes the store of a study and opens it."""

    def make(
        *,
        kind: Kind = Kind.PAIR,
        num: int = 4,
        num_candidates: int = 2,
        num_gold: int = 0,
        is_edit: bool = False,
        disagreements: list[float | None] | None = None,
        **settings: Any,  # fields of StudySettings
    ) -> Store:
        shape = {"num_candidates": num_candidates, "is_edit": is_edit}
        questions = read_questions(write_groups(num=num, **shape), kind=kind)
        gold = (
            read_questions(
                write_groups("gold.jsonl", num=num_gold, **shape), kind=kind, is_gold=True
            )
            if num_gold
            else ()
        )
        path = tmp_path / f"study-{len(list(tmp_path.glob('*.sqlite')))}.sqlite"
        create_store(
            path,
            StudySettings(kind=kind, **settings),
            questions,
            gold=gold,
            disagreements=disagreements,
        )
        return Store(path)

    return make


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a headless Chromium, or skip where there is none."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        pytest.skip("Chromium is not installed")
    playwright: Any = pytest.importorskip("playwright.sync_api", reason="playwright is missing")
    pytest.importorskip("gradio", reason="gradio is missing")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def serving() -> Serving:
    """Return a context manager that runs `visreward annotate` and gives the page's address."""

    @contextmanager
    def run(*options: str | Path) -> Iterator[str]:
        command = [sys.executable, "-m", "visreward", "annotate", "--port", "0"]
        with subprocess.Popen(
            [*command, *map(str, options)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as process:
            try:
                yield _address(process)
            finally:
                process.terminate()
                process.communicate(timeout=60)
        assert process.returncode == 0

    return run


def _address(process: subprocess.Popen[str]) -> str:
    """Return the address that a starting server says, or fail with what it said instead."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"http://[\w.:]+", line):
            return found[0]
    pytest.fail("".join(said))
