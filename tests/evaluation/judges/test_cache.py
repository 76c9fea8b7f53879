"""The file of answers: what it keeps, what it refuses, and that it survives being killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from visreward.core.errors import DataError, StorageError
from visreward.core.types import Sample
from visreward.evaluation.judges import load_judge
from visreward.evaluation.judges.cache import AnswerCache
from visreward.evaluation.judges.completions import Answer
from visreward.evaluation.judges.scores import ScoreJudge

if TYPE_CHECKING:
    from tests.evaluation.judges.conftest import Ask, JudgeServer, Reply

ANSWER = Answer(
    text="ünï\x00[[5]]", finish_reason="stop", prompt_tokens=3, completion_tokens=2, served_by="m"
)
LoadScorer = Callable[..., ScoreJudge]
MakeSamples = Callable[[int], list[Sample]]


def test_answer_comes_back_as_it_was_from_another_connection(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "answers.sqlite"
    cache = AnswerCache(path)
    assert cache.get("k") is None
    cache.keep("k", ANSWER, question="{}")
    refusal = Answer(text="", finish_reason="content_filter", refusal="no")
    cache.keep("r", refusal, question="{}")
    other = AnswerCache(path)
    assert (other.get("k"), other.get("r"), len(other)) == (ANSWER, refusal, 2)
    cache.close()
    other.close()


def test_first_answer_to_a_question_stays() -> None:
    cache = AnswerCache(None)
    cache.keep("k", ANSWER, question="{}")
    cache.keep("k", Answer(text="other", finish_reason="stop"), question="{}")
    assert cache.get("k") == ANSWER
    cache.close()


def test_threads_write_into_two_connections_of_one_file_without_loss(tmp_path: Path) -> None:
    caches = [AnswerCache(tmp_path / "a.sqlite") for _ in range(2)]

    def write(start: int) -> None:
        for number in range(start, 40, 4):
            caches[number % 2].keep(str(number), ANSWER, question="{}")

    threads = [threading.Thread(target=write, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caches[0]) == len(caches[1]) == 40
    for cache in caches:
        cache.close()


def test_file_that_is_no_cache_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes, which are long enough to be read as a header\n" * 30)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"notes\.txt"):
        AnswerCache(path)
    assert path.read_bytes() == before


def test_cache_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 7")
    file.close()
    with pytest.raises(DataError, match="version 7"):
        AnswerCache(path)


def test_cache_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be used"):
        AnswerCache(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": {"model": "other"}},
        {"endpoint": {"parameters": {"temperature": 1}}},
        {"images": {"max_side": 8}},
        {"images": {"quality": 50}},
        {"scale": {"low": 0, "high": 5}},
        {"dimensions": ["visual_quality"]},
    ],
    ids=str,
)
def test_anything_that_changes_an_answer_asks_again_and_nothing_else_does(
    server: JudgeServer, score_judge: LoadScorer, samples: MakeSamples, change: dict[str, object]
) -> None:
    first = score_judge(cache="a.sqlite")
    list(first.run(samples(1)))
    unchanged = {"endpoint": {"concurrency": 1, "timeout_s": 9}, "fusion": "min"}
    same = score_judge(cache="a.sqlite", name="same.yaml", **unchanged)
    list(same.run(samples(1)))
    assert len(server.asks) == 1
    other = score_judge(cache="a.sqlite", name="other.yaml", **change)
    list(other.run(samples(1)))
    assert len(server.asks) == 2
    assert other.revision != first.revision


SCRIPT = """
import sys
from pathlib import Path
from visreward.core.types import Sample
from visreward.evaluation.judges.scores import ScoreJudge
from visreward.evaluation.judges import load_judge
images = sorted(Path(sys.argv[2]).glob("red*.png"))
for item in load_judge(Path(sys.argv[1])).run(Sample(prompt="p", image=path) for path in images):
    print(item.index, flush=True)
"""


@pytest.mark.parametrize("concurrency", [1, 3])
def test_killed_run_goes_on_without_asking_what_was_answered(
    server: JudgeServer,
    write_judge: Callable[..., Path],
    samples: MakeSamples,
    tmp_path: Path,
    concurrency: int,
) -> None:
    samples(12)
    reached = threading.Event()

    def answers(ask: Ask) -> Reply:
        if ask.total > 5 and not reached.is_set():
            # The other requests of that moment wait here too, until the client is dead.
            if len(server.asks) >= 5 + concurrency:
                waiting.set()
            reached.wait(60)
        return server.Reply()

    waiting = threading.Event()
    server.answers = answers
    config = write_judge("scores", cache="answers.sqlite", endpoint={"concurrency": concurrency})
    command = [sys.executable, "-c", SCRIPT, str(config), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        assert waiting.wait(60)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    cache = AnswerCache(tmp_path / "answers.sqlite")
    num_kept = len(cache)
    cache.close()
    assert num_kept == 5
    num_asked = len(server.asks)
    assert num_asked == 5 + concurrency

    reached.set()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(number) for number in range(12)]
    assert len(server.asks) == num_asked + 12 - num_kept
    # Only those that had no answer when it was killed came twice.
    assert server.asked_twice == concurrency
    again = load_judge(config)
    assert isinstance(again, ScoreJudge)
    same = [Sample(prompt="p", image=sample.image) for sample in samples(12)]
    assert all(item.score for item in again.run(same))
    assert len(server.asks) == num_asked + 12 - num_kept
