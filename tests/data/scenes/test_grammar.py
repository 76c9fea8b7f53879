"""Vocabulary, splits and one-attribute swaps."""

from __future__ import annotations

from dataclasses import fields, replace
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
    SPLITS,
    SWAP_KINDS,
    Scene,
    Thing,
    combinations_of,
    split_of,
    swap_attribute,
    swap_candidates,
)
from visreward.data.scenes.sampling import enrich, sample_scene, sample_swappable

if TYPE_CHECKING:
    from tests.data.scenes.conftest import PlainScene

RED_BALL = Thing("ball", "red", "small", "rubber")
BLUE_CUBE = Thing("cube", "blue", "large", "metal")
SEEDS = st.integers(0, 2**31 - 1)


def attributes(scene: Scene) -> list[tuple[str, object]]:
    """Return every attribute of the things and of the scene with a name that tells its place."""
    rows: list[tuple[str, object]] = [
        (f"{index}.{field.name}", getattr(thing, field.name))
        for index, thing in enumerate(scene.things)
        for field in fields(thing)
    ]
    names = ("relation", "background", "light", "decorations", "rich", "layout")
    return rows + [(name, getattr(scene, name)) for name in names]


def changed_names(before: Scene, after: Scene) -> list[str]:
    pairs = zip(attributes(before), attributes(after), strict=True)
    return [name for (name, old), (_, new) in pairs if old != new]


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from(SPLITS), st.sampled_from(SWAP_KINDS), st.booleans())
def test_swap_any_scene_changes_exactly_the_asked_attribute(
    seed: int, split: str, kind: str, is_rich: bool
) -> None:
    rng = np.random.default_rng(seed)
    scene = sample_swappable(rng, split=split, kinds=(kind,))
    if is_rich:
        scene = enrich(scene, rng)
    if not swap_candidates(scene, kind):  # an extra thing may stand in the way
        return

    names = changed_names(scene, swap_attribute(scene, kind, rng))

    if kind == "relation":
        assert names == ["relation"]
    elif kind == "binding":
        assert names in (["0.colour", "1.colour"], ["0.shape", "1.shape"])
    else:
        assert len(names) == 1
        assert names[0] in (f"0.{kind}", f"1.{kind}")


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from(SPLITS), st.sampled_from(SWAP_KINDS))
def test_swap_any_scene_stays_in_its_split(seed: int, split: str, kind: str) -> None:
    rng = np.random.default_rng(seed)
    scene = sample_swappable(rng, split=split, kinds=(kind,))
    for neighbour in swap_candidates(scene, kind):
        assert {split_of(thing.combination) for thing in neighbour.things} == {split}


def test_binding_swap_exchanges_the_colours_of_the_two_things(plain_scene: PlainScene) -> None:
    scene = plain_scene(RED_BALL, replace(BLUE_CUBE, material="rubber"), relation="above")
    looks = {
        tuple((thing.colour, thing.shape) for thing in neighbour.things)
        for neighbour in swap_candidates(scene, "binding")
    }
    assert looks <= {
        (("blue", "ball"), ("red", "cube")),
        (("red", "cube"), ("blue", "ball")),
    }


def test_swap_attribute_one_named_thing_has_no_relation(plain_scene: PlainScene) -> None:
    with pytest.raises(UsageError, match="no swap of kind 'relation'"):
        swap_attribute(plain_scene(RED_BALL), "relation", np.random.default_rng(0))


def test_swap_attribute_unknown_kind_is_refused(plain_scene: PlainScene) -> None:
    with pytest.raises(UnknownNameError, match="Unknown swap kind 'mood'"):
        swap_attribute(plain_scene(RED_BALL), "mood", np.random.default_rng(0))


def test_relation_swap_is_the_opposite_in_two_cases_of_three_and_more() -> None:
    rng = np.random.default_rng(0)
    scene = replace(sample_scene(rng, split="train", num_named=2), relation="left of")
    found = [swap_attribute(scene, "relation", rng).relation for _ in range(300)]
    assert set(found) == {"right of", "above", "below"}
    # 2/3 opposite by choice and 1/3 * 1/3 by chance: 0.78, standard error 0.024.
    assert found.count("right of") / 300 == pytest.approx(7 / 9, abs=0.1)


def test_splits_share_no_combination_and_cover_all() -> None:
    parts = [set(combinations_of(split)) for split in SPLITS]
    assert [len(part) for part in parts] == [152, 16, 24]
    assert len(set.union(*parts)) == len(COLOURS) * len(SHAPES) * len(MATERIALS) == 192


def test_splits_are_the_same_on_every_machine() -> None:
    def spelled(split: str) -> str:
        return " ".join(f"{c.colour}-{c.shape}-{c.material}" for c in combinations_of(split)[:3])

    assert spelled("test") == "green-cone-glass green-cone-rubber green-star-glass"


def test_test_split_holds_every_shape_and_material_and_most_colours() -> None:
    combinations = combinations_of("test")
    assert {c.shape for c in combinations} == set(SHAPES)
    assert {c.material for c in combinations} == set(MATERIALS)
    assert len({c.colour for c in combinations}) == 6


@pytest.mark.parametrize("split", SPLITS)
def test_sampled_scenes_use_combinations_of_their_split_only(split: str) -> None:
    rng = np.random.default_rng(1)
    for index in range(60):
        scene = enrich(sample_scene(rng, split=split, num_named=1 + index % 2), rng)
        assert {split_of(thing.combination) for thing in scene.things} == {split}


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from(SPLITS), st.integers(1, 2))
def test_enrich_keeps_named_things_and_adds_an_unlike_extra(
    seed: int, split: str, num_named: int
) -> None:
    rng = np.random.default_rng(seed)
    plain = sample_scene(rng, split=split, num_named=num_named)
    rich = enrich(plain, rng)
    assert rich.rich
    assert rich.named == plain.named
    assert (rich.relation, rich.layout) == (plain.relation, plain.layout)
    assert rich.decorations
    if rich.extra is not None:
        assert rich.extra.shape not in {thing.shape for thing in plain.things}
        assert rich.extra.colour not in {thing.colour for thing in plain.things}


def test_thing_unknown_word_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown colour 'pink'. Use one of: red, orange"):
        replace(RED_BALL, colour="pink")


def test_scene_two_alike_things_are_refused(plain_scene: PlainScene) -> None:
    with pytest.raises(UsageError, match="share shape and colour"):
        plain_scene(RED_BALL, replace(RED_BALL, size="large"), relation="above")


def test_scene_too_many_copies_are_refused(plain_scene: PlainScene) -> None:
    with pytest.raises(UsageError, match="have 6 copies"):
        plain_scene(replace(RED_BALL, count=4), replace(BLUE_CUBE, count=2), relation="above")


def test_scene_relation_with_one_thing_is_refused(plain_scene: PlainScene) -> None:
    with pytest.raises(UsageError, match=r"has 1 thing\(s\). Give 2 named"):
        plain_scene(RED_BALL, relation="above")


def test_scene_plain_with_decorations_is_refused(plain_scene: PlainScene) -> None:
    with pytest.raises(UnknownNameError, match="none for a plain scene"):
        replace(plain_scene(RED_BALL), decorations=("clouds",))
