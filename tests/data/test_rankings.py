"""Rankings in words."""

from __future__ import annotations

import itertools

import pytest

from visreward.data.rankings import read_ranking


@pytest.mark.parametrize(
    ("text", "ranks"),
    [
        ("A>B", (1, 2)),
        ("B > A", (2, 1)),
        ("A<B", (2, 1)),
        ("A=B", (1, 1)),
        ("A=B=Good", (1, 1)),
        ("B=A=bad", (1, 1)),
        ("B>C>A", (3, 1, 2)),
        ("C<A<B", (2, 1, 3)),
        ("A>B=C", (1, 2, 2)),
        ("A=B>C", (1, 1, 3)),
        ("A=B<C", (2, 2, 1)),
        ("C<A=B", (1, 1, 3)),
    ],
)
def test_read_ranking_gives_ranks_in_the_order_of_the_letters(
    text: str, ranks: tuple[int, ...]
) -> None:
    assert read_ranking(text, "ABCD"[: len(ranks)]) == ranks


def test_read_ranking_every_strict_order_of_four_is_its_own_ranks() -> None:
    for order in itertools.permutations("ABCD"):
        ranks = tuple(order.index(letter) + 1 for letter in "ABCD")
        assert read_ranking(">".join(order), "ABCD") == ranks
        assert read_ranking("<".join(reversed(order)), "ABCD") == ranks


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A>E", "'E' is no candidate"),
        ("A", "named once"),
        ("A>A", "named once"),
        ("", "'' is no candidate"),
        ("A>", "'' is no candidate"),
        ("left", "'left' is no candidate"),
    ],
)
def test_read_ranking_something_else_says_what(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_ranking(text, "AB")


def test_read_ranking_up_and_down_is_refused() -> None:
    with pytest.raises(ValueError, match="up and down"):
        read_ranking("A>B<C", "ABC")
