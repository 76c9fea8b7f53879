"""Gold turns, places and what is left, against counting by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from visreward.demo.annotate.selection import is_gold_turn, places_of, turns_left

SEEDS = st.integers(0, 2**31)
NAMES = st.text(min_size=1, max_size=5)
SHARES = st.sampled_from((0.0, 0.05, 0.1, 0.2, 1 / 3, 0.5))


@given(seed=SEEDS, annotator=NAMES, block=st.integers(0, 50), size=st.integers(2, 20))
def test_gold_turn_comes_once_in_each_block(
    seed: int, annotator: str, block: int, size: int
) -> None:
    turns = range(block * size, (block + 1) * size)
    share = 1 / size
    found = [is_gold_turn(seed, annotator=annotator, turn=turn, gold_share=share) for turn in turns]
    assert sum(found) == 1


def test_gold_turn_is_at_every_place_for_somebody() -> None:
    places = {
        next(
            turn
            for turn in range(10)
            if is_gold_turn(0, annotator=f"a{number}", turn=turn, gold_share=0.1)
        )
        for number in range(200)
    }
    assert places == set(range(10))


@given(seed=SEEDS, annotator=NAMES, question=st.integers(0, 1000), num=st.integers(1, 9))
def test_places_are_an_order_that_stays(seed: int, annotator: str, question: int, num: int) -> None:
    places = places_of(seed, annotator=annotator, question=question, num=num)
    assert sorted(places) == list(range(num))
    assert places == places_of(seed, annotator=annotator, question=question, num=num)


def test_places_put_each_candidate_first_about_equally_often() -> None:
    firsts = [places_of(7, annotator="ana", question=n, num=2)[0] for n in range(2000)]
    assert abs(sum(firsts) - 1000) < 4 * (2000 * 0.25) ** 0.5


@given(
    seed=SEEDS,
    turn=st.integers(0, 60),
    share=SHARES,
    num_questions=st.integers(0, 60),
    num_gold=st.integers(0, 8),
)
def test_turns_left_is_what_asking_them_all_counts(
    seed: int, turn: int, share: float, num_questions: int, num_gold: int
) -> None:
    questions, gold, asked = num_questions, num_gold, 0
    while questions:
        is_gold = is_gold_turn(seed, annotator="ana", turn=turn + asked, gold_share=share)
        if is_gold and gold:
            gold -= 1
        else:
            questions -= 1
        asked += 1
    found = turns_left(
        seed,
        annotator="ana",
        turn=turn,
        gold_share=share,
        num_questions=num_questions,
        num_gold=num_gold,
    )
    assert found == asked
