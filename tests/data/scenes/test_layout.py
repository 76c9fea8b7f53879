"""Where things stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from visreward.data.scenes.grammar import RELATIONS, Scene
from visreward.data.scenes.layout import Placement, place
from visreward.data.scenes.sampling import enrich, sample_scene

SEEDS = st.integers(0, 2**31 - 1)


def scene_of(seed: int, num_named: int) -> Scene:
    return sample_scene(np.random.default_rng(seed), split="train", num_named=num_named)


def span(placed: list[Placement], axis: str) -> tuple[float, float]:
    return (
        min(getattr(p, axis) - p.radius for p in placed),
        max(getattr(p, axis) + p.radius for p in placed),
    )


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(1, 2))
def test_place_any_scene_has_each_copy_inside_and_apart(seed: int, num_named: int) -> None:
    scene = scene_of(seed, num_named)
    placed = place(scene)
    for index, thing in enumerate(scene.things):
        assert sum(p.thing == index for p in placed) == thing.count
    for p in placed:
        assert p.x - p.radius >= 0
        assert p.x + p.radius <= 1
        assert p.y - p.radius >= 0
        assert p.y + p.radius <= 1
    for i, a in enumerate(placed):
        for b in placed[:i]:
            assert np.hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.sampled_from(RELATIONS))
def test_place_two_things_relation_is_true_with_a_gap(seed: int, relation: str) -> None:
    scene = replace(scene_of(seed, 2), relation=relation)
    first, second = ([p for p in place(scene) if p.thing == index] for index in (0, 1))
    axis = "x" if relation in ("left of", "right of") else "y"
    if relation in ("right of", "below"):
        first, second = second, first
    assert span(second, axis)[0] - span(first, axis)[1] > 0.04


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(1, 2))
def test_place_any_scene_sizes_never_overlap(seed: int, num_named: int) -> None:
    scene = scene_of(seed, num_named)
    for p in place(scene):
        if scene.things[p.thing].size == "small":
            assert 0.07 < p.radius < 0.1275
        else:
            assert 0.1275 < p.radius < 0.24


def test_place_four_small_copies_are_ten_pixels_wide_at_64() -> None:
    for seed in range(300):
        scene = scene_of(seed, 1 + seed % 2)
        for p in place(scene):
            assert 2 * p.radius * 64 >= 9.9


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_place_swap_of_colour_or_material_moves_nothing(seed: int) -> None:
    scene = scene_of(seed, 1)
    thing = replace(scene.things[0], colour="green", material="glass", shape="ring")
    assert place(replace(scene, things=(thing,))) == place(scene)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 2))
def test_place_extra_thing_stands_clear_and_moves_no_other(seed: int, num_named: int) -> None:
    rng = np.random.default_rng(seed)
    plain = scene_of(seed, num_named)
    rich = enrich(plain, rng)
    placed = place(rich)
    assert placed[: len(place(plain))] == place(plain)
    if rich.extra is not None:
        *others, extra = placed
        for p in others:
            assert np.hypot(extra.x - p.x, extra.y - p.y) > extra.radius + p.radius


def test_place_other_layout_seed_gives_other_places() -> None:
    scene = scene_of(3, 1)
    xs = {round(place(replace(scene, layout=layout))[0].x, 3) for layout in range(20)}
    assert len(xs) > 15
    assert max(xs) - min(xs) > 0.2
