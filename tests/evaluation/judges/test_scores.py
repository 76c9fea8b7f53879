"""Judges of scores against a real server."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from visreward.core.errors import DataError
from visreward.core.types import Sample
from visreward.evaluation.judges.scores import ScoreJudge
from visreward.scoring.records import RowError

if TYPE_CHECKING:
    from tests.evaluation.judges.conftest import Ask, JudgeServer, Reply

LoadScorer = Callable[..., ScoreJudge]
MakeSamples = Callable[[int], list[Sample]]


def test_scores_of_many_samples_come_in_their_order(
    server: JudgeServer, score_judge: LoadScorer, samples: MakeSamples
) -> None:
    def answers(ask: Ask) -> Reply:
        number = int(ask.text.split("prompt ")[1].split()[0])
        # The first of each four is answered last.
        server.stopping.wait(0.02 * (3 - number % 4))
        return server.Reply(text=f"Fine.\n\n[[{number % 10 + 1}]]")

    server.answers = answers
    items = list(score_judge().run(samples(40)))
    assert [item.index for item in items] == list(range(40))
    assert [item.score and item.score.value for item in items] == [n % 10 + 1 for n in range(40)]
    assert {item.score.model for item in items if item.score} == {"tiny"}


def test_score_of_generated_image_shows_prompt_criteria_and_form(
    server: JudgeServer, score_judge: LoadScorer, red: Callable[[int], Path]
) -> None:
    list(score_judge().run([Sample(prompt="a red door", image=red(200))]))
    (ask,) = server.asks
    assert ask.path == "/v1/chat/completions"
    assert ask.body["model"] == "tiny"
    assert (ask.body["temperature"], ask.body["max_tokens"]) == (0, 1024)
    assert "a red door" in ask.text
    assert "overall: Would a person" in ask.text
    assert ask.text.endswith("from 1 (worst) to 10 (best):\n[[N]]\n")
    assert ask.redness == pytest.approx([200], abs=3)
    assert "Authorization" not in ask.headers


def test_score_of_edit_shows_source_images_before_the_edited_one(
    server: JudgeServer, score_judge: LoadScorer, red: Callable[[int], Path]
) -> None:
    sample = Sample(prompt="redder", image=red(250), source_image=(red(10), red(100)))
    list(score_judge().run([sample]))
    assert server.asks[0].redness == pytest.approx([10, 100, 250], abs=3)
    assert "an edit" in server.asks[0].text


def test_dimensions_asked_each_make_one_request_each_and_a_mean(
    server: JudgeServer, score_judge: LoadScorer, red: Callable[[int], Path]
) -> None:
    server.answers = lambda ask: server.Reply(
        text="[[4]]" if "visual_quality" in ask.text else "[[9]]"
    )
    judge = score_judge(dimensions=["instruction_following", "visual_quality"])
    (item,) = judge.run([Sample(prompt="p", image=red(1))])
    assert item.score is not None
    assert item.score.value == 6.5
    assert {name: part.mu for name, part in item.score.dimensions.items()} == {
        "instruction_following": 9,
        "visual_quality": 4,
    }
    assert len(server.asks) == 2


@pytest.mark.parametrize(("fusion", "value"), [("mean", 6.5), ("min", 4), ("sum", 13)])
def test_dimensions_asked_together_make_one_request(
    server: JudgeServer,
    score_judge: LoadScorer,
    red: Callable[[int], Path],
    fusion: str,
    value: float,
) -> None:
    server.answers = lambda ask: server.Reply(
        text="Well.\ninstruction_following: [[9]]\nvisual_quality: [[4]]"
    )
    judge = score_judge(
        dimensions=["instruction_following", "visual_quality"], ask="together", fusion=fusion
    )
    (item,) = judge.run([Sample(prompt="p", image=red(1))])
    assert item.score is not None
    assert item.score.value == value
    assert len(server.asks) == 1


def test_one_unparsed_dimension_fails_the_sample_and_keeps_the_raw_answer(
    server: JudgeServer, score_judge: LoadScorer, red: Callable[[int], Path]
) -> None:
    server.answers = lambda ask: server.Reply(
        text="I give it 4/10" if "visual_quality" in ask.text else "[[9]]"
    )
    judge = score_judge(dimensions=["instruction_following", "visual_quality"])
    (item,) = judge.run([Sample(prompt="p", image=red(1))])
    assert item.score is None
    assert item.error is not None
    assert item.error.startswith("unparsed:")
    assert "I give it 4/10" in item.error
    assert judge.counts.num_unparsed == 1


def test_template_per_dimension_replaces_ours_for_that_dimension_only(
    server: JudgeServer, score_judge: LoadScorer, red: Callable[[int], Path], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("Rate how red <image> is.\n<answer_form>")
    judge = score_judge(dimensions=["overall", "redness"], template={"redness": "mine.txt"})
    list(judge.run([Sample(prompt="p", image=red(1))]))
    texts = sorted(ask.text for ask in server.asks)
    assert texts[0].startswith("Rate how red <IMAGE> is.\nEnd your answer")
    assert texts[1].startswith("You rate an image")


def test_one_template_for_all_dimensions_is_filled_for_each(
    server: JudgeServer, score_judge: LoadScorer, red: Callable[[int], Path], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("<image><criteria><answer_form>")
    judge = score_judge(dimensions=["overall", "visual_quality"], template="mine.txt")
    list(judge.run([Sample(prompt="p", image=red(1))]))
    assert sorted(ask.text[7:15] for ask in server.asks) == ["overall:", "visual_q"]


def test_large_image_is_shrunk_to_the_stated_side_and_small_one_kept(
    server: JudgeServer, score_judge: LoadScorer, red: Callable[[int], Path]
) -> None:
    large = io.BytesIO()
    Image.new("RGB", (400, 100), "blue").save(large, format="PNG")
    judge = score_judge(images={"max_side": 64, "encoding": "png"})
    list(judge.run([Sample(prompt="p", image=large.getvalue(), source_image=red(9))]))
    source, image = server.asks[0].pictures
    assert (image.size, image.format) == ((64, 16), "PNG")
    assert source.size == (16, 12)
    assert np.asarray(source).tolist() == np.asarray(Image.open(red(9))).tolist()


def test_bad_rows_and_missing_images_fail_alone_and_ask_nothing(
    server: JudgeServer, score_judge: LoadScorer, red: Callable[[int], Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(red(5).read_bytes()[:40])
    items = list(
        score_judge().run(
            [
                RowError(name="line 1", reason="no prompt"),
                Sample(prompt="p", image=tmp_path / "none.png"),
                Sample(prompt="p", image=bad),
                Sample(prompt="p", image=red(5)),
            ]
        )
    )
    assert [item.score is None for item in items] == [True, True, True, False]
    assert items[0].error == "no prompt"
    assert "none.png" in str(items[1].error)
    assert "bad.png" in str(items[2].error)
    assert len(server.asks) == 1


def test_repeated_sample_is_asked_once_even_under_another_file_name(
    server: JudgeServer, score_judge: LoadScorer, red: Callable[[int], Path], tmp_path: Path
) -> None:
    other = tmp_path / "copy.png"
    other.write_bytes(red(5).read_bytes())
    judge = score_judge()
    items = list(judge.run([Sample(prompt="p", image=path) for path in (red(5), other, red(5))]))
    assert all(item.score for item in items)
    assert len(server.asks) == 1
    assert judge.counts.num_cached == 2


def test_template_that_shows_a_source_fails_samples_without_one(
    server: JudgeServer, score_judge: LoadScorer, red: Callable[[int], Path], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("<source_image> to <image>: <answer_form>")
    (item,) = score_judge(template="mine.txt").run([Sample(prompt="p", image=red(5))])
    assert "<source_image>" in str(item.error)
    assert not server.asks


def test_samples_are_drawn_no_further_ahead_than_the_window_and_closing_early_ends_all_work(
    server: JudgeServer, score_judge: LoadScorer, samples: MakeSamples
) -> None:
    drawn = 0

    def drawing() -> Iterator[Sample]:
        nonlocal drawn
        for sample in samples(60):
            drawn += 1
            yield sample

    def answers(ask: Ask) -> Reply:
        if ask.total > 4:
            server.stopping.wait(60)
        return server.Reply()

    server.answers = answers
    items = score_judge(endpoint={"concurrency": 2}).run(drawing())
    assert isinstance(items, Generator)
    next(items)
    assert drawn <= 9
    items.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "judge"]
    assert len(server.asks) <= 10


def test_error_of_the_samples_themselves_ends_all_work_and_is_raised(
    server: JudgeServer, score_judge: LoadScorer, samples: MakeSamples
) -> None:
    def drawing() -> Iterator[Sample]:
        yield from samples(2)
        raise DataError("the file ends here")

    with pytest.raises(DataError, match="ends here"):
        list(score_judge().run(drawing()))
    assert not [thread for thread in threading.enumerate() if thread.name == "judge"]
