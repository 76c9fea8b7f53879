"""Rewards for flow_grpo: its reward factories, and its pickle protocol read safely.

flow_grpo wants `factory(device) -> reward(images, prompts, metadata) -> (scores, {})`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from PIL import Image

from visreward.core.errors import NonFiniteError, RewardServerError, ShapeError, UnsafePickleError
from visreward.core.extras import require_extra
from visreward.serving.client import RewardClient, client_settings, posted
from visreward.serving.client_messages import ClientSettings, OnError, encoded, read_body, refusal
from visreward.serving.plain_pickle import Plain, read_plain, write_plain

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from visreward.core.types import ImageSource

Metadata: TypeAlias = Sequence[Mapping[str, Any]]  # whatever the data set has
Reward: TypeAlias = Callable[
    ["Tensor | NDArray[np.uint8]", Sequence[str], Metadata], tuple[list[float], dict[str, Any]]
]
"""What flow_grpo calls for each batch; the second value is always empty."""

_CONNECTIONS: Final = 8
_OCTETS: Final = "application/octet-stream"


def reward_factory(
    settings: ClientSettings | str,
    *,
    model: str | None = None,
    source_key: str | None = None,
    on_error: OnError = "raise",
) -> Callable[[object], Reward]:
    """Return a reward factory that asks a reward server, over its own protocol.

    Args:
        settings: Where the server is; a URL stands for the defaults.
        model: One that is served; None takes the server's first.
        source_key: Where the metadata have the source image's path, for a model of edits.
        on_error: `raise` stops at an image that has no score; `nan` gives it NaN.
    """

    def factory(device: object) -> Reward:  # noqa: ARG001  the server has its own device
        def reward(
            images: Tensor | NDArray[np.uint8], prompts: Sequence[str], metadata: Metadata
        ) -> tuple[list[float], dict[str, Any]]:
            pictures = pictures_of(images)
            sources = [None if source_key is None else each[source_key] for each in metadata]
            groups = _groups(pictures, prompts, sources)

            def scored(key: tuple[str, str | None]) -> list[float]:
                prompt, source = key
                scores = client.score(
                    prompt=prompt,
                    images=[pictures[place] for place in groups[key]],
                    source_image=source,
                    model=model,
                    on_error=on_error,
                )
                return [score.value for score in scores]

            values = [math.nan] * len(pictures)
            with RewardClient(settings) as client, ThreadPoolExecutor(_CONNECTIONS) as threads:
                for key, found in zip(groups, threads.map(scored, groups), strict=True):
                    for place, value in zip(groups[key], found, strict=True):
                        values[place] = value
            return values, {}

        return reward

    return factory


def pictures_of(images: Tensor | NDArray[np.uint8]) -> list[Image.Image]:
    """Return flow_grpo's images as pictures.

    Args:
        images: (N, 3, H, W) float tensor in [0, 1], clamped to it and rounded to 8 bits as
            flow_grpo does; or (N, H, W, 3) uint8 array.

    Raises:
        ShapeError: if they are neither.
        NonFiniteError: if a value is NaN or infinite.
    """
    if not isinstance(images, np.ndarray):
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise _wrong_images(tuple(images.shape), images.dtype)
        values = images.detach().float().cpu()
        if not bool(values.isfinite().all()):
            raise NonFiniteError(
                "An image has a value that is NaN or infinite, so that it has no score. "
                "Look at the model that made it."
            )
        images = (values * 255).round().clamp(0, 255).byte().numpy().transpose(0, 2, 3, 1)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise _wrong_images(images.shape, images.dtype)
    return [Image.fromarray(np.ascontiguousarray(image)) for image in images]


def flow_grpo_scores(
    settings: ClientSettings | str,
    *,
    images: Sequence[ImageSource],
    prompts: Sequence[str],
    source_images: Sequence[ImageSource] | None = None,
) -> list[float]:
    """Score images on a server that speaks flow_grpo's pickle protocol, ours or another's.

    The reply is read as plain data: a server that sends anything else is refused.

    Args:
        settings: Where the server is; a URL stands for the defaults.
        images: Paths, bytes of image files, or pictures.
        prompts: One for each image.
        source_images: The image before the edit for each image, or None.

    Raises:
        RewardServerError: if one image has no score, or the server does not answer as it should.
        ShapeError: if there is not one prompt for each image.
        ImageError: if a file cannot be read.
    """
    require_extra("serve", "httpx2", "msgpack")
    import httpx2

    if len(prompts) != len(images):
        raise _unequal(len(images), len(prompts), "prompts")
    asked: dict[str, Plain] = {
        "images": [encoded(image) for image in images],
        "prompts": list(prompts),
    }
    if source_images is not None:
        asked["source_images"] = [encoded(image) for image in source_images]
    place = client_settings(settings)
    headers = place.headers() | {"content-type": _OCTETS, "accept": _OCTETS}
    with httpx2.Client(
        base_url=place.url, headers=headers, timeout=place.http_timeout_s
    ) as connections:
        response = posted(connections, "/", write_plain(asked), place)
    if response.headers.get("content-type", "").startswith("application/json"):
        raise refusal(response, read_body(response))
    try:
        reply = read_plain(response.content)
    except UnsafePickleError as error:
        raise RewardServerError(
            f"The server at {place.url} sent what is not plain data, and it was not unpickled. "
            "Check which server this is.",
            status=response.status_code,
        ) from error
    return _checked_scores(reply, len(images), status=response.status_code)


def _checked_scores(reply: Plain, num_images: int, *, status: int) -> list[float]:
    """Return a reply's scores.

    Raises:
        RewardServerError: unless there is one finite number for each image.
    """
    values = reply if isinstance(reply, dict) else {}
    found = values.get("outputs", values.get("scores"))
    is_sound = (
        isinstance(found, list)
        and len(found) == num_images
        and all(type(value) in (int, float) and math.isfinite(value) for value in found)
    )
    if "error" in values or not is_sound or status != 200:
        failed = values.get("errors")
        first = failed[0] if isinstance(failed, list) and failed else {}
        code = first.get("code") if isinstance(first, dict) else None
        text = values.get("error", f"The server sent no list of {num_images} finite numbers.")
        raise RewardServerError(
            f"{text} Nothing was scored; leave the image out, or look at the server.",
            code=code if isinstance(code, str) else None,
            status=status,
        )
    assert isinstance(found, list)
    return [float(value) for value in found]


def _groups(
    pictures: Sequence[Image.Image], prompts: Sequence[str], sources: Sequence[str | None]
) -> dict[tuple[str, str | None], list[int]]:
    """Return the places of the images that share a prompt and a source image."""
    for name, values in (("prompts", prompts), ("metadata", sources)):
        if len(values) != len(pictures):
            raise _unequal(len(pictures), len(values), name)
    groups: dict[tuple[str, str | None], list[int]] = {}
    for place, key in enumerate(zip(prompts, sources, strict=True)):
        groups.setdefault(key, []).append(place)
    return groups


def _unequal(num_images: int, num_found: int, name: str) -> ShapeError:
    return ShapeError(
        f"There are {num_images} images and {num_found} {name}. Give one for each image."
    )


def _wrong_images(shape: tuple[int, ...], dtype: object) -> ShapeError:
    return ShapeError(
        f"The images have shape {shape} and dtype {dtype}. "
        "Give a float tensor (N, 3, H, W) in [0, 1], or a uint8 array (N, H, W, 3)."
    )
