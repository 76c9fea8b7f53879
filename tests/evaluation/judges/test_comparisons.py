"""Judges that compare, against a real server that looks at the pictures it is sent."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visreward.evaluation.benchmarks.records import BenchGroup, PairVerdict
from visreward.evaluation.judges.comparisons import ComparingJudge

if TYPE_CHECKING:
    from tests.evaluation.judges.conftest import Ask, JudgeServer, Reply

LoadJudge = Callable[..., ComparingJudge]
MakeGroup = Callable[..., BenchGroup]


def prefer_red(server: JudgeServer, form: str = "{}") -> Callable[[Ask], Reply]:
    """Return a judge that wants the redder of the last two pictures, and ties within 10."""

    def answers(ask: Ask) -> Reply:
        left, right = ask.redness[-2:]
        label = "A=B" if abs(left - right) < 10 else "A>B" if left > right else "B>A"
        return server.Reply(text=form.format(f"[[{label}]]"))

    return answers


def test_pairs_of_a_group_are_asked_in_both_orders_and_named_by_place(
    server: JudgeServer, pair_judge: LoadJudge, group: MakeGroup
) -> None:
    server.answers = prefer_red(server, "A is this, B is that.\n\n{}\n")
    (verdicts,) = pair_judge().compare([group(100, 200, 104)])
    assert verdicts == (
        PairVerdict(first=0, second=1, outcomes=("second", "second")),
        PairVerdict(first=0, second=2, outcomes=("tie", "tie")),
        PairVerdict(first=1, second=2, outcomes=("first", "first")),
    )
    assert len(server.asks) == 6
    assert server.asked_twice == 0


@pytest.mark.parametrize(
    ("label", "raw"), [("A>B", ("first", "second")), ("B>A", ("second", "first"))]
)
def test_judge_that_favours_a_side_averages_to_a_tie_with_both_outcomes_kept(
    server: JudgeServer, pair_judge: LoadJudge, group: MakeGroup, label: str, raw: tuple[str, str]
) -> None:
    server.answers = lambda ask: server.Reply(text=f"[[{label}]]")
    ((verdict,),) = pair_judge().compare([group(100, 200)])
    assert verdict.outcomes == raw
    assert verdict.mean == 0


def test_consistent_judge_averages_to_the_same_verdict_whichever_candidate_is_first(
    server: JudgeServer, pair_judge: LoadJudge, group: MakeGroup
) -> None:
    server.answers = prefer_red(server)
    (one,), (other,) = pair_judge().compare([group(100, 200, name="a"), group(200, 100, name="b")])
    assert (one.mean, other.mean) == (-1, 1)
    # The swapped group asks what was asked before.
    assert len(server.asks) == 2


def test_given_order_only_asks_once(
    server: JudgeServer, pair_judge: LoadJudge, group: MakeGroup
) -> None:
    server.answers = prefer_red(server)
    ((verdict,),) = pair_judge(orders="given").compare([group(100, 200)])
    assert verdict.outcomes == ("second",)
    assert len(server.asks) == 1


def test_unread_order_is_none_with_its_reason_and_is_not_averaged(
    server: JudgeServer, pair_judge: LoadJudge, group: MakeGroup
) -> None:
    server.answers = lambda ask: server.Reply(
        text="[[A>B]]" if ask.redness[0] > 150 else "The first one, I think."
    )
    judge = pair_judge()
    ((verdict,),) = judge.compare([group(100, 200)])
    assert verdict.outcomes == (None, "second")
    assert len(verdict.errors) == 1
    assert "The first one, I think." in verdict.errors[0]
    assert verdict.mean is None
    assert judge.counts.num_unparsed == 1


def test_edit_is_compared_with_its_source_before_both_candidates(
    server: JudgeServer, pair_judge: LoadJudge, group: MakeGroup
) -> None:
    list(pair_judge(orders="given").compare([group(100, 200, source=30, prompt="make it redder")]))
    (ask,) = server.asks
    assert ask.redness == pytest.approx([30, 100, 200], abs=3)
    assert "make it redder" in ask.text
    assert "before the edit" in ask.text


@pytest.mark.parametrize(
    ("ties", "offered"),
    [("always", [True, True]), ("groups_of_two", [True, False]), ("never", [False, False])],
)
def test_tie_is_offered_and_accepted_only_where_it_is_allowed(
    server: JudgeServer, pair_judge: LoadJudge, group: MakeGroup, ties: str, offered: list[bool]
) -> None:
    server.answers = lambda ask: server.Reply(text="[[A=B]]")
    judge = pair_judge(ties=ties, orders="given")
    of_two, of_three = judge.compare([group(1, 2, name="two"), group(3, 4, 5, name="three")])
    assert [("[[A=B]]" in ask.text) for ask in server.asks if "p" in ask.text].count(True) == (
        offered[0] * 1 + offered[1] * 3
    )
    assert of_two[0].outcomes == (("tie",) if offered[0] else (None,))
    assert {verdict.outcomes for verdict in of_three} == {("tie",) if offered[1] else (None,)}


GENAI_EDIT = """Judge two edits of one picture.
Before: <source_prompt> After: <target_prompt> Do: <instruct_prompt>
<source_image>
Left: <left_output_image> Right: <right_output_image>
Finish with one of [[A>B]], [[B>A]], [[A=B=Good]], [[A=B=Bad]].
"""


@pytest.mark.parametrize(
    ("answer", "outcomes"),
    [
        ("Verdict: [[A>B]] as said.", ("first", "second")),
        ("[[A=B=Good]]", ("tie", "tie")),
        ("**[[A=B=Bad]]**", ("tie", "tie")),
        ("[[A=B]]", (None, None)),
        ("[[A>B]] or [[B>A]]", (None, None)),
        ("A>B", (None, None)),
    ],
)
def test_template_of_genai_bench_is_filled_and_its_four_labels_read(
    server: JudgeServer,
    pair_judge: LoadJudge,
    group: MakeGroup,
    tmp_path: Path,
    answer: str,
    outcomes: tuple[Any, ...],
) -> None:
    (tmp_path / "edit.txt").write_text(GENAI_EDIT)
    server.answers = lambda ask: server.Reply(text=answer)
    judge = pair_judge(template="edit.txt", answer="genai-bench")
    ((verdict,),) = judge.compare([group(100, 200, source=9, prompt="say <left_image>")])
    assert verdict.outcomes == outcomes
    assert "Before:  After:  Do: say <left_image>\n<IMAGE>\nLeft: <IMAGE> Right:" in (
        server.asks[0].text
    )


def rank_by_red(server: JudgeServer, num_sources: int = 0) -> Callable[[Ask], Reply]:
    def answers(ask: Ask) -> Reply:
        reds = ask.redness[num_sources:]
        order = sorted(range(len(reds)), key=lambda place: -reds[place])
        text = str(order[0] + 1)
        for before, place in itertools.pairwise(order):
            text += ("=" if reds[before] - reds[place] < 10 else ">") + str(place + 1)
        return server.Reply(text=f"So:\n[[{text}]]")

    return answers


def test_ranking_becomes_a_verdict_on_every_pair_from_both_orders(
    server: JudgeServer, pair_judge: LoadJudge, group: MakeGroup
) -> None:
    server.answers = rank_by_red(server, num_sources=1)
    (verdicts,) = pair_judge("ranking").compare([group(100, 200, 104, 20, source=7)])
    assert [(each.first, each.second, each.outcomes[0]) for each in verdicts] == [
        (0, 1, "second"),
        (0, 2, "tie"),
        (0, 3, "first"),
        (1, 2, "first"),
        (1, 3, "first"),
        (2, 3, "first"),
    ]
    assert all(each.outcomes[0] == each.outcomes[1] for each in verdicts)
    assert sorted(ask.redness[1] for ask in server.asks) == pytest.approx([20, 100], abs=3)
    assert "Image 4:\n<IMAGE>" in server.asks[0].text


def test_ranking_that_cannot_be_read_leaves_all_pairs_of_that_order_open(
    server: JudgeServer, pair_judge: LoadJudge, group: MakeGroup
) -> None:
    right = rank_by_red(server)
    server.answers = lambda ask: (
        server.Reply(text="[[1>1>3]]") if ask.redness[0] > 150 else right(ask)
    )
    (verdicts,) = pair_judge("ranking").compare([group(200, 60, 100)])
    assert {each.outcomes[0] for each in verdicts} == {None}
    assert [each.outcomes[1] for each in verdicts] == ["first", "first", "second"]


@pytest.mark.parametrize("kind", ["pairs", "ranking"])
def test_group_of_one_has_no_verdicts_and_asks_nothing(
    server: JudgeServer, pair_judge: LoadJudge, group: MakeGroup, kind: str
) -> None:
    assert list(pair_judge(kind).compare([group(100)])) == [()]
    assert not server.asks


@pytest.mark.parametrize("kind", ["pairs", "ranking"])
def test_missing_image_is_the_error_of_its_pairs_and_the_next_group_goes_on(
    server: JudgeServer,
    pair_judge: LoadJudge,
    group: MakeGroup,
    red: Callable[[int], Path],
    kind: str,
) -> None:
    server.answers = prefer_red(server) if kind == "pairs" else rank_by_red(server)
    broken, fine = group(1, 2, name="broken"), group(100, 200, name="fine")
    red(2).unlink()
    first, second = pair_judge(kind).compare([broken, fine])
    assert first[0].outcomes == (None, None)
    assert all("red2.png" in error for error in first[0].errors)
    assert second[0].outcomes == ("second", "second")
