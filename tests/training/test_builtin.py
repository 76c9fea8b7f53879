"""The stages that make the shipped models: in order, once each, resumable."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from visreward.training import builtin

Stage = tuple[str, Callable[[Console], None]]


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list in which three stand-in stages write that they ran."""
    seen: list[str] = []

    def stages(overrides: list[str]) -> list[Stage]:
        return [
            (name, lambda _, name=name: seen.append(" ".join([name, *overrides])))  # type: ignore[misc]
            for name in ("one", "two", "three")
        ]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builtin, "stages", stages)
    return seen


def test_builtin_runs_each_stage_once_and_in_order(ran: list[str]) -> None:
    builtin.main([])
    builtin.main([])
    assert ran == ["one", "two", "three"]
    assert list(json.loads(Path("runs/builtin-stages.json").read_text())) == ran


def test_builtin_only_runs_the_named_stages_with_overrides(ran: list[str]) -> None:
    builtin.main(["--only", "two", "device=cuda"])
    assert ran == ["two device=cuda"]
    builtin.main([])
    assert ran == ["two device=cuda", "one", "three"]


def test_builtin_stage_that_fails_is_tried_again(
    ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = builtin.stages

    def failing(overrides: list[str]) -> list[Stage]:
        first, _, last = stages(overrides)

        def fail(_: Console) -> None:
            raise KeyboardInterrupt

        return [first, ("two", fail), last]

    with monkeypatch.context() as patch:
        patch.setattr(builtin, "stages", failing)
        with pytest.raises(KeyboardInterrupt):
            builtin.main([])
    assert ran == ["one"]
    builtin.main([])
    assert ran == ["one", "two", "three"]


def test_builtin_stages_make_what_the_next_one_needs() -> None:
    names = [name for name, _ in builtin.stages([])]
    for earlier, later in (
        ("captions", "clip-mini"),
        ("clip-mini", "labels"),
        ("triplets", "labels"),
        ("labels", "ict-mini"),
        ("ict-mini", "hp-mini"),
        ("photographic", "hp-mini"),
        ("clip-mini", "vision-mini"),
        ("hp-mini", "vision-mini"),
        ("edits", "vision-mini"),
        ("vision-mini", "editreward-mini"),
        ("editreward-mini", "hpsv3-mini"),
        ("photographic", "hpsv3-mini"),
    ):
        assert names.index(earlier) < names.index(later)
    assert names[-1] == "install"
