"""A process that answers is killed at random moments: nothing that it acknowledged is lost."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from visreward.demo.annotate.creation import create_store
from visreward.demo.annotate.records import Candidate, Question, StudySettings
from visreward.demo.annotate.store import Store

NUM_KILLS = 12


def test_store_killed_at_random_moments_keeps_every_acknowledged_answer(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    create_store(
        path,
        StudySettings(),
        [
            Question(
                name=str(number),
                prompt="a prompt",
                sources=(),
                candidates=tuple(Candidate(image=tmp_path / name) for name in "ab"),
            )
            for number in range(3000)
        ],
    )
    rng = random.Random(0)
    acknowledged: list[str] = []
    for _ in range(NUM_KILLS):
        acknowledged += _answers_until_killed(path, rng)
        kept = _tickets(path)
        # The last answer may be on the disk without its acknowledgement; none is there twice.
        assert set(acknowledged) <= set(kept)
        assert len(kept) == len(set(kept))
        assert len(kept) - len(acknowledged) <= NUM_KILLS
    assert len(acknowledged) > NUM_KILLS
    with Store(path) as store:
        opened = store.open_question("ana")
        assert opened is not None
        assert store.progress("ana").num_left == 3000 - len(_tickets(path))
        assert all(answer.verdict is not None for answer in store.answers())


def _answers_until_killed(path: Path, rng: random.Random) -> list[str]:
    """Return what a process acknowledged before it was killed."""
    script = Path(__file__).with_name("answering.py")
    with subprocess.Popen(
        [sys.executable, str(script), str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(rng.random() * 0.15)
        process.kill()
        rest = process.stdout.read()
        assert process.wait() == -signal.SIGKILL
    # A line that the kill cut off was not acknowledged.
    return [line[:-1] for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]


def _tickets(path: Path) -> list[str]:
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert not connection.execute("PRAGMA foreign_key_check").fetchall()
        found = [row[0] for row in connection.execute("SELECT ticket FROM answer ORDER BY id")]
    connection.close()
    return found
