"""Prompts say what a scene holds, and nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visreward.core.errors import UnknownNameError, UsageError
from visreward.data.scenes.grammar import (
    COLOURS,
    MATERIALS,
    SHAPES,
    SIZES,
    SPLITS,
    SWAP_KINDS,
    Thing,
    swap_attribute,
)
from visreward.data.scenes.language import (
    ALL_MENTIONS,
    Mentions,
    askable_kinds,
    basic_prompt,
    refined_prompt,
    sample_mentions,
)
from visreward.data.scenes.sampling import enrich, sample_scene, sample_swappable

if TYPE_CHECKING:
    from tests.data.scenes.conftest import PlainScene

SEEDS = st.integers(0, 2**31 - 1)
NUMBERS = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "some": None}
PHRASE = re.compile(
    rf"\b({'|'.join(NUMBERS)}) (?:({'|'.join(SIZES)}) )?({'|'.join(COLOURS)}) "
    rf"(?:({'|'.join(MATERIALS)}) )?({'|'.join(SHAPES)})(s?)\b"
)
NO_MENTIONS = Mentions(size=False, material=False, count=False, relation=False)


def parse(prompt: str) -> list[tuple[str, str | None, str, str | None, str, bool]]:
    """Return number word, size, colour, material, shape and plural of each thing named."""
    return [
        (number, size or None, colour, material or None, shape, bool(plural))
        for number, size, colour, material, shape, plural in PHRASE.findall(prompt)
    ]


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.sampled_from(SPLITS), st.integers(1, 2))
def test_basic_prompt_parsed_back_gives_the_named_things(
    seed: int, split: str, num_named: int
) -> None:
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng, split=split, num_named=num_named)
    mentions = sample_mentions(rng)
    found = parse(basic_prompt(scene, mentions, rng))
    assert len(found) == num_named
    for (number, size, colour, material, shape, is_plural), thing in zip(
        found, scene.named, strict=True
    ):
        assert (colour, shape, is_plural) == (thing.colour, thing.shape, thing.count > 1)
        assert size == (thing.size if mentions.size else None)
        assert material == (thing.material if mentions.material else None)
        says_count = mentions.count or thing.count == 1
        assert NUMBERS[number] == (thing.count if says_count else None)


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.integers(1, 2))
def test_refined_prompt_names_everything_in_under_60_words(seed: int, num_named: int) -> None:
    rng = np.random.default_rng(seed)
    scene = enrich(sample_scene(rng, split="train", num_named=num_named), rng)
    prompt = refined_prompt(scene, rng)
    assert len(prompt.split()) < 60
    found = [(NUMBERS[n], size, c, m, shape) for n, size, c, m, shape, _ in parse(prompt)]
    assert found == [(t.count, t.size, t.colour, t.material, t.shape) for t in scene.things]
    for word in (scene.background.split()[-1], scene.light.split()[-1], *scene.decorations):
        assert word in prompt


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.sampled_from(SWAP_KINDS))
def test_neighbours_under_the_same_phrasing_have_different_prompts(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    mentions = sample_mentions(rng, must=(kind,))
    scene = sample_swappable(rng, split="train", kinds=(kind,))
    assert kind in askable_kinds(scene, mentions)
    first, second = (
        basic_prompt(s, mentions, np.random.default_rng(seed)).split()
        for s in (scene, swap_attribute(scene, kind, rng))
    )
    assert first != second


@pytest.mark.parametrize(
    ("thing", "mentions", "words"),
    [
        (Thing("ball", "orange", "small", "metal"), NO_MENTIONS, "an orange ball"),
        (Thing("ball", "orange", "small", "metal"), ALL_MENTIONS, "a small orange metal ball"),
        (Thing("cube", "red", "large", "glass", 3), ALL_MENTIONS, "three large red glass cubes"),
        (Thing("cube", "red", "large", "glass", 3), NO_MENTIONS, "some red cubes"),
    ],
)
def test_basic_prompt_one_thing_reads_as_english(
    plain_scene: PlainScene, thing: Thing, mentions: Mentions, words: str
) -> None:
    prompts = {
        basic_prompt(plain_scene(thing), mentions, np.random.default_rng(seed))
        for seed in range(60)
    }
    assert words in prompts
    assert all(words in prompt for prompt in prompts)
    assert len(prompts) == 5


def test_basic_prompt_two_things_says_the_relation(plain_scene: PlainScene) -> None:
    scene = plain_scene(
        Thing("cube", "red", "small", "metal", 2),
        Thing("ball", "blue", "large", "rubber"),
        relation="left of",
    )
    prompts = {basic_prompt(scene, ALL_MENTIONS, np.random.default_rng(seed)) for seed in range(60)}
    assert "two small red metal cubes left of a large blue rubber ball" in prompts
    assert (
        "a picture of two small red metal cubes to the left of a large blue rubber ball" in prompts
    )


def test_basic_prompt_relation_not_mentioned_joins_with_and(plain_scene: PlainScene) -> None:
    scene = plain_scene(
        Thing("cube", "red", "small", "metal"),
        Thing("ball", "blue", "large", "rubber"),
        relation="above",
    )
    prompts = [basic_prompt(scene, NO_MENTIONS, np.random.default_rng(s)) for s in range(40)]
    assert "a red cube and a blue ball" in prompts
    assert not any("above" in prompt or "over" in prompt for prompt in prompts)


def test_askable_kinds_silent_prompt_asks_for_colour_shape_and_binding_only(
    plain_scene: PlainScene,
) -> None:
    scene = sample_swappable(np.random.default_rng(0), split="train", kinds=("binding", "relation"))
    assert set(askable_kinds(scene, NO_MENTIONS)) == {"colour", "shape", "binding"}
    assert set(askable_kinds(scene, ALL_MENTIONS)) == set(SWAP_KINDS)


@pytest.mark.parametrize("kind", ["size", "material", "count", "relation"])
def test_sample_mentions_must_is_always_named(kind: str) -> None:
    rng = np.random.default_rng(0)
    assert all(getattr(sample_mentions(rng, must=(kind,)), kind) for _ in range(50))


def test_sample_mentions_unknown_kind_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Unknown swap kind 'mood'"):
        sample_mentions(np.random.default_rng(0), must=("mood",))


def test_refined_prompt_plain_scene_is_refused(plain_scene: PlainScene) -> None:
    scene = plain_scene(Thing("ball", "red", "small", "rubber"))
    with pytest.raises(UsageError, match="The scene is plain"):
        refined_prompt(scene, np.random.default_rng(0))
