"""How each light colours sky, ground and things."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visreward.data.scenes.grammar import LIGHTS, PLAIN_LIGHT

Colour = tuple[float, float, float]
"""Red, green and blue as displayed, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """The settings of one light.

    Attributes:
        direction: Unit vector from the thing to the light: right, down, towards the viewer.
        key: Colour of the direct light on things.
        ambient: Colour of the light from all around on things.
        gloss: Strength of highlights.
        shadow: Strength of shadows on the ground, 0 to 1.
        ground: Factor on the colours of the scenery.
        sky_top: Colour at the top of the picture.
        sky_low: Colour at the horizon.
        vignette: Darkening of the corners, 0 to 1.
        pool: Brightening of the scenery in the middle, as a factor above 1.
        disc: Brightness of the sun or the moon in the sky, 0 for none.
    """

    direction: Colour
    key: Colour
    ambient: Colour
    gloss: float
    shadow: float
    ground: Colour
    sky_top: Colour
    sky_low: Colour
    vignette: float
    pool: float
    disc: float


def light_of(name: str) -> Light:
    """Return the settings of a light that the grammar knows."""
    return _LIGHTS[name]


def _unit(x: float, y: float, z: float) -> Colour:
    length = float(np.sqrt(x * x + y * y + z * z))
    return (x / length, y / length, z / length)


_LIGHTS = {
    PLAIN_LIGHT: Light(
        direction=_unit(-0.35, -0.55, 0.75),
        key=(0.42, 0.42, 0.42),
        ambient=(0.63, 0.63, 0.63),
        gloss=0.75,
        shadow=0.0,
        ground=(1.0, 1.0, 1.0),
        sky_top=(0.6, 0.6, 0.6),
        sky_low=(0.6, 0.6, 0.6),
        vignette=0.0,
        pool=0.0,
        disc=0.0,
    ),
    LIGHTS[0]: Light(
        direction=_unit(-0.50, -0.70, 0.62),
        key=(0.78, 0.76, 0.71),
        ambient=(0.40, 0.43, 0.48),
        gloss=1.0,
        shadow=0.55,
        ground=(1.0, 1.0, 1.0),
        sky_top=(0.30, 0.55, 0.88),
        sky_low=(0.80, 0.90, 0.97),
        vignette=0.20,
        pool=0.0,
        disc=0.75,
    ),
    LIGHTS[1]: Light(
        direction=_unit(-0.85, -0.35, 0.50),
        key=(0.95, 0.76, 0.54),
        ambient=(0.40, 0.34, 0.38),
        gloss=1.0,
        shadow=0.60,
        ground=(1.04, 0.80, 0.64),
        sky_top=(0.38, 0.30, 0.56),
        sky_low=(1.00, 0.66, 0.32),
        vignette=0.30,
        pool=0.0,
        disc=0.75,
    ),
    LIGHTS[2]: Light(
        direction=_unit(0.55, -0.70, 0.52),
        key=(0.62, 0.70, 0.86),
        ambient=(0.36, 0.41, 0.54),
        gloss=1.1,
        shadow=0.60,
        ground=(0.50, 0.58, 0.80),
        sky_top=(0.04, 0.07, 0.19),
        sky_low=(0.22, 0.30, 0.50),
        vignette=0.35,
        pool=0.0,
        disc=0.6,
    ),
    LIGHTS[3]: Light(
        direction=_unit(-0.10, -0.85, 0.60),
        key=(0.98, 0.96, 0.90),
        ambient=(0.32, 0.32, 0.35),
        gloss=1.25,
        shadow=0.70,
        ground=(0.60, 0.58, 0.58),
        sky_top=(0.07, 0.07, 0.11),
        sky_low=(0.24, 0.24, 0.30),
        vignette=0.7,
        pool=0.85,
        disc=0.0,
    ),
}
