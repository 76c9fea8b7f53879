"""Pictures hold what their scenes say, at every size."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from visreward.core.errors import UsageError
from visreward.data.scenes.grammar import (
    BACKGROUNDS,
    COLOURS,
    DECORATIONS,
    LIGHTS,
    MATERIALS,
    SHAPES,
    Scene,
    Thing,
)
from visreward.data.scenes.layout import Placement, place
from visreward.data.scenes.render import render
from visreward.data.scenes.render_objects import COLOUR_VALUES
from visreward.data.scenes.sampling import decorations_of, enrich, lights_of, sample_scene

if TYPE_CHECKING:
    from tests.data.scenes.conftest import PlainScene

Pixels = NDArray[np.uint8]
BALL = Thing("ball", "red", "large", "rubber")


def rich_of(scene: Scene, background: str, light: str, *decorations: str) -> Scene:
    return replace(
        scene, rich=True, background=background, light=light, decorations=tuple(decorations)
    )


def disc(placement: Placement, size: int, *, reach: float) -> NDArray[np.bool_]:
    """Return which pixel centres lie within `reach` radii of the centre of a placement."""
    at = (np.arange(size) + 0.5) / size
    squared = (at[None, :] - placement.x) ** 2 + (at[:, None] - placement.y) ** 2
    return np.asarray(squared < (reach * placement.radius) ** 2)


def difference(first: Pixels, second: Pixels) -> NDArray[np.int64]:
    gap: NDArray[np.int64] = np.abs(first.astype(np.int64) - second.astype(np.int64))
    return np.asarray(gap.max(axis=2))


@pytest.mark.parametrize("size", [64, 100, 128, 256])
def test_render_any_scene_gives_square_uint8_of_the_size(
    plain_scene: PlainScene, size: int
) -> None:
    image = render(plain_scene(BALL), size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("size", [63, 513])
def test_render_size_out_of_range_is_refused(plain_scene: PlainScene, size: int) -> None:
    with pytest.raises(UsageError, match=f"image size is {size}"):
        render(plain_scene(BALL), size)


def test_render_twice_gives_the_same_pixels() -> None:
    rng = np.random.default_rng(0)
    for index in range(12):
        scene = enrich(sample_scene(rng, split="train", num_named=1 + index % 2), rng)
        assert np.array_equal(render(scene, 64), render(scene, 64))


def test_render_other_layout_seed_gives_another_picture(plain_scene: PlainScene) -> None:
    first = render(plain_scene(BALL, layout=1), 64)
    assert difference(first, render(plain_scene(BALL, layout=2), 64)).mean() > 3


@pytest.mark.parametrize("colour", [c for c in COLOURS if c not in ("white", "black")])
@pytest.mark.parametrize("material", MATERIALS)
def test_render_ball_has_the_hue_of_its_colour_at_its_place(
    plain_scene: PlainScene, colour: str, material: str
) -> None:
    scene = plain_scene(replace(BALL, colour=colour, material=material))
    image = render(scene, 64).astype(float)
    inside = image[disc(place(scene)[0], 64, reach=0.85)].mean(axis=0)
    chroma = inside - inside.mean()
    cosines = {}
    for name, value in COLOUR_VALUES.items():
        if name not in ("white", "black"):
            wanted = np.array(value) - np.mean(value)
            norm = np.linalg.norm(chroma) * np.linalg.norm(wanted)
            cosines[name] = float(chroma @ wanted / norm)
    assert max(cosines, key=lambda name: cosines[name]) == colour


def test_render_white_and_black_things_stand_out_from_every_wall(plain_scene: PlainScene) -> None:
    for colour, layout in product(("white", "black"), range(12)):
        scene = plain_scene(replace(BALL, colour=colour), layout=layout)
        image = render(scene, 64).mean(axis=2)
        inside = disc(place(scene)[0], 64, reach=0.8)
        outside = ~disc(place(scene)[0], 64, reach=1.2)
        gap = image[inside].mean() - image[outside].mean()
        assert (gap > 25) if colour == "white" else (gap < -25)


@pytest.mark.parametrize("is_rich", [False, True])
def test_render_colour_swap_changes_the_region_of_the_thing_only(
    plain_scene: PlainScene, is_rich: bool
) -> None:
    scene = plain_scene(BALL, Thing("cube", "green", "large", "metal"), relation="left of")
    if is_rich:
        scene = rich_of(scene, "meadow", LIGHTS[0], "clouds")
    swapped = replace(scene, things=(replace(BALL, colour="blue"), scene.things[1]))
    changed = difference(render(scene, 128), render(swapped, 128)) > 0
    near = disc(place(scene)[0], 128, reach=1.0 + 2 / (128 * place(scene)[0].radius))
    assert not (changed & ~near).any()
    assert changed[disc(place(scene)[0], 128, reach=0.9)].mean() > 0.95


def test_render_small_and_large_ball_areas_differ_by_the_square_of_the_ratio(
    plain_scene: PlainScene,
) -> None:
    areas = {}
    for size in ("small", "large"):
        scene = plain_scene(replace(BALL, size=size))
        swapped = plain_scene(replace(BALL, size=size, colour="blue"))
        changed = difference(render(scene, 256), render(swapped, 256)) > 20
        areas[size] = changed.sum() / 256**2 / (np.pi * place(scene)[0].radius ** 2)
    assert areas["small"] == pytest.approx(1, abs=0.06)
    assert areas["large"] == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_render_copies_are_as_many_separate_red_spots(plain_scene: PlainScene, count: int) -> None:
    from scipy import ndimage

    for layout in range(4):
        scene = plain_scene(replace(BALL, count=count, size="small"), layout=layout)
        image = render(scene, 64).astype(float)
        is_red = image[..., 0] - image[..., 1:].max(axis=2) > 60
        assert ndimage.label(is_red)[1] == count


def test_render_relation_puts_the_first_thing_on_the_right_side(plain_scene: PlainScene) -> None:
    cube = Thing("cube", "blue", "large", "rubber")
    for relation in ("left of", "right of", "above", "below"):
        image = render(plain_scene(BALL, cube, relation=relation), 64).astype(float)
        red = np.argwhere(image[..., 0] - image[..., 1:].max(axis=2) > 60).mean(axis=0)
        blue = np.argwhere(image[..., 2] - image[..., :2].max(axis=2) > 60).mean(axis=0)
        down, right = red - blue
        moved = {"left of": -right, "right of": right, "above": -down, "below": down}
        assert moved[relation] > 15


def test_render_outline_is_antialiased(plain_scene: PlainScene) -> None:
    scene = plain_scene(replace(BALL, colour="white"))
    image = render(scene, 64).astype(float).mean(axis=2)
    placement = place(scene)[0]
    row = image[int(placement.y * 64)]
    left = int(np.floor((placement.x - placement.radius) * 64))
    wall, body = row[left - 3], row[left + 3]
    edge = row[left - 1 : left + 2]
    partly = (edge > wall + 0.1 * (body - wall)) & (edge < wall + 0.9 * (body - wall))
    assert partly.any()


@pytest.mark.parametrize("is_rich", [False, True])
def test_render_large_picture_made_smaller_is_close_to_the_small_one(is_rich: bool) -> None:
    rng = np.random.default_rng(4)
    for index in range(12):
        scene = sample_scene(rng, split="train", num_named=1 + index % 2)
        scene = enrich(scene, rng) if is_rich else scene
        large = Image.fromarray(render(scene, 256)).resize((64, 64), Image.Resampling.BOX)
        gap = np.abs(np.asarray(large, float) - render(scene, 64).astype(float)).mean()
        assert gap < (7 if is_rich else 3)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_render_rich_is_more_detailed_than_plain(plain_scene: PlainScene, background: str) -> None:
    def detail(scene: Scene) -> float:
        grey = render(scene, 128).astype(float).mean(axis=2)
        return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())

    plain = plain_scene(replace(BALL, size="small"))
    for light in lights_of(background):
        assert detail(rich_of(plain, background, light)) > 1.3 * detail(plain)


def test_render_ground_texture_spectrum_falls_like_one_over_frequency(
    plain_scene: PlainScene,
) -> None:
    scene = rich_of(plain_scene(replace(BALL, size="small")), "meadow", LIGHTS[0])
    slopes = []
    for layout in range(6):
        image = render(replace(scene, layout=layout), 256).astype(float).mean(axis=2)
        rows = image[200:256] - image[200:256].mean()
        power = np.abs(np.fft.rfft(rows * np.hanning(256), axis=1)) ** 2
        frequencies = np.arange(4, 100)
        slope = np.polyfit(np.log(frequencies), np.log(power.mean(axis=0)[4:100]), 1)[0]
        slopes.append(slope)
    assert -3.0 < np.mean(slopes) < -0.8


def test_render_lights_give_pictures_of_different_tone(plain_scene: PlainScene) -> None:
    scene = plain_scene(replace(BALL, size="small"))
    tone = {
        light: render(rich_of(scene, "desert", light), 64).astype(float).mean(axis=(0, 1))
        for light in LIGHTS
    }
    day, sunset, moon, spot = (tone[light] for light in LIGHTS)
    assert sunset[0] / sunset[2] > day[0] / day[2]
    assert moon[0] / moon[2] < day[0] / day[2]
    assert spot.mean() < day.mean()


@pytest.mark.parametrize("decoration", DECORATIONS)
def test_render_decoration_changes_its_part_of_the_picture(
    plain_scene: PlainScene, decoration: str
) -> None:
    light = LIGHTS[2] if decoration == "stars" else LIGHTS[0]
    assert decoration in decorations_of("meadow", light)
    scene = rich_of(plain_scene(replace(BALL, size="small")), "meadow", light)
    decorated = rich_of(scene, "meadow", light, decoration)
    changed = difference(render(scene, 128), render(decorated, 128)) > 8
    sky, ground = changed[:40], changed[44:]
    if decoration in ("clouds", "birds", "stars"):
        assert sky.mean() > 0.004
        assert not ground.any()
    else:
        assert ground.mean() > 0.004
        assert not sky[:38].any()


def test_render_every_background_light_and_shape_works_without_a_warning(
    plain_scene: PlainScene,
) -> None:
    for background, shape, material in product(BACKGROUNDS, SHAPES, MATERIALS):
        for light in lights_of(background):
            scene = rich_of(
                plain_scene(Thing(shape, "white", "small", material)), background, light
            )
            assert render(scene, 64).std() > 5


def silhouette(scene: Scene) -> NDArray[np.bool_]:
    thing = scene.things[0]
    other = replace(scene, things=(replace(thing, colour="blue"),))
    return difference(render(scene, 64), render(other, 64)) > 30


def test_render_shapes_have_distinct_silhouettes_at_64(plain_scene: PlainScene) -> None:
    outlines = {
        shape: silhouette(plain_scene(Thing(shape, "red", "large", "rubber"))) for shape in SHAPES
    }
    for first, second in product(SHAPES, SHAPES):
        a, b = outlines[first], outlines[second]
        overlap = (a & b).sum() / (a | b).sum()
        assert (overlap == 1) if first == second else (overlap < 0.87)


def test_render_materials_differ_inside_the_thing_at_64(plain_scene: PlainScene) -> None:
    images = {
        material: render(plain_scene(replace(BALL, material=material)), 64)
        for material in MATERIALS
    }
    inside = disc(place(plain_scene(BALL))[0], 64, reach=0.9)
    for first, second in product(MATERIALS, MATERIALS):
        gap = difference(images[first], images[second])[inside].mean()
        assert (gap == 0) if first == second else (gap > 15)
