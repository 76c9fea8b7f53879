"""Answers are read in exactly the form asked for, and never guessed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visreward.evaluation.judges.answers import (
    GenAIBenchForm,
    PairForm,
    RankingForm,
    ScoresForm,
    Unparsed,
)

ONE = ScoresForm(dimensions=("overall",), low=1, high=10, step=1)
TWO = ScoresForm(dimensions=("a", "b"), low=-1, high=1, step=0.5)

free_text = st.text(max_size=60).filter(lambda text: "[[" not in text)


@pytest.mark.parametrize(
    ("answer", "score"),
    [("[[7]]", 7), ("Good.\n\n[[10]]\n \n", 10), ("  [[1]]  ", 1), ("[[3.0]]", 3)],
)
def test_score_in_the_form_asked_for_is_read(answer: str, score: float) -> None:
    assert ONE.read(answer) == {"overall": score}


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "7",
        "Score: [[7]]",
        "[[7]].",
        "**[[7]]**",
        "[7]",
        "[[7/10]]",
        "[[ 7 ]]",
        "[[7]] [[7]]",
        "[[7]]\n[[7]]",
        "First [[3]], but then:\n[[7]]",
        "[[7]]\nThat is my score.",
        "[[0]]",
        "[[11]]",
        "[[7.5]]",
        "[[+7]]",
        "[[1e1]]",
        "[[nan]]",
        "[[inf]]",
        "[[٧]]",
        "[[]]",
        "[[seven]]",
        "[[7",
        "[[[7]]]",
    ],
)
def test_score_in_another_form_is_unparsed(answer: str) -> None:
    assert isinstance(ONE.read(answer), Unparsed)


@pytest.mark.parametrize(
    ("answer", "is_read"),
    [
        ("a: [[0.5]]\nb: [[-1]]", True),
        ("Well.\na: [[0.5]]\n\nb: [[-1]]", True),
        ("b: [[-1]]\na: [[0.5]]", False),
        ("a: [[0.5]]", False),
        ("b: [[-1]]", False),
        ("a: [[0.5]]\nb: [[0.25]]", False),
        ("a:[[0.5]]\nb:[[-1]]", False),
        ("a: [[0.5]]\nb: [[-1]]\nc: [[1]]", False),
        ("a: [[1]]\na: [[0.5]]\nb: [[-1]]", False),
    ],
)
def test_scores_of_two_dimensions_need_both_in_order(answer: str, is_read: bool) -> None:
    found = TWO.read(answer)
    assert (found == {"a": 0.5, "b": -1.0}) if is_read else isinstance(found, Unparsed)


@given(before=free_text, score=st.integers(1, 10), after=st.sampled_from(["", "\n", " \n\n"]))
def test_score_is_read_after_any_text_without_labels(before: str, score: int, after: str) -> None:
    assert ONE.read(f"{before}\n[[{score}]]{after}") == {"overall": score}


@given(free_text)
def test_text_without_a_label_is_always_unparsed(answer: str) -> None:
    for form in (ONE, TWO, PairForm(has_ties=True), GenAIBenchForm(has_ties=True)):
        assert isinstance(form.read(answer), Unparsed)
    assert isinstance(RankingForm(num_images=2, has_ties=True).read(answer), Unparsed)


@given(st.text(alphabet="AB=><[] \n12.", max_size=30))
def test_pair_form_reads_nothing_but_its_labels(answer: str) -> None:
    found = PairForm(has_ties=True).read(answer)
    labels = {"[[A>B]]": "A", "[[B>A]]": "B", "[[A=B]]": "tie"}
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    expected = labels.get(lines[-1]) if lines and answer.count("]]") == 1 else None
    if expected is not None:
        assert found == expected
    elif not isinstance(found, Unparsed):
        assert labels[lines[-1]] == found


def test_tie_is_unparsed_where_it_was_not_offered() -> None:
    assert PairForm(has_ties=True).read("[[A=B]]") == "tie"
    assert isinstance(PairForm(has_ties=False).read("[[A=B]]"), Unparsed)
    assert isinstance(GenAIBenchForm(has_ties=False).read("[[A=B=Good]]"), Unparsed)
    assert "[[A=B]]" not in PairForm(has_ties=False).request
    assert "A=B" not in GenAIBenchForm(has_ties=False).request
    assert "=" not in RankingForm(num_images=3, has_ties=False).request


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_ranking_of_three_gives_each_image_its_place(order: tuple[int, ...]) -> None:
    ranks = RankingForm(num_images=3, has_ties=False).read(f"[[{'>'.join(map(str, order))}]]")
    assert ranks == tuple(order.index(number) + 1 for number in (1, 2, 3))


def test_ranking_with_ties_shares_ranks_and_skips_after_them() -> None:
    form = RankingForm(num_images=4, has_ties=True)
    assert form.read("[[2=4>1>3]]") == (3, 1, 4, 1)
    assert form.read("[[1=2=3=4]]") == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "label", ["1>2", "1>2>2", "1>2>3>4", "1 > 2 > 3", "3<2<1", "01>2>3", "1>>2>3", "1>2>3>", ">"]
)
def test_ranking_that_is_no_order_of_all_images_is_unparsed(label: str) -> None:
    assert isinstance(RankingForm(num_images=3, has_ties=True).read(f"[[{label}]]"), Unparsed)


def test_ranking_with_a_tie_is_unparsed_where_none_was_offered() -> None:
    assert isinstance(RankingForm(num_images=2, has_ties=False).read("[[1=2]]"), Unparsed)


def test_examples_in_the_requests_are_read_back() -> None:
    request = RankingForm(num_images=4, has_ties=True).request
    assert RankingForm(num_images=4, has_ties=True).read(request.splitlines()[-1]) == (4, 1, 2, 3)
    for line in PairForm(has_ties=True).request.splitlines()[1:]:
        assert not isinstance(PairForm(has_ties=True).read(line.split()[0]), Unparsed)
    assert "from -1 (worst) to 1 (best) in steps of 0.5:\na: [[N]]\nb: [[N]]" in TWO.request


def test_reason_quotes_the_line_and_stays_short() -> None:
    found = ONE.read("word " * 1000)
    assert isinstance(found, Unparsed)
    assert "word word" in found.reason
    assert len(found.reason) < 200
