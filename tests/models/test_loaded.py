"""Source images that several samples share are decoded once, whoever asks for them first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from PIL import Image

from visreward.core.errors import ImageError, NonFiniteError
from visreward.core.images import UPRIGHT
from visreward.models.facts import ModelFacts
from visreward.models.loaded import PictureReader
from visreward.models.output import RewardOutput


def picture(level: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (level, 0, 0))


def test_threads_that_ask_for_one_picture_get_the_same_object() -> None:
    prepared: list[int] = []
    lock = threading.Lock()
    started = threading.Barrier(4, timeout=20)

    def prepare(image: Image.Image) -> Image.Image:
        with lock:
            prepared.append(1)
        return image.resize((2, 2))

    reader = PictureReader(UPRIGHT, prepare)

    def ask(_: int) -> Image.Image:
        started.wait()
        return reader.read_shared(picture(9), "nine")

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    assert len(prepared) == 1
    assert all(each is found[0] for each in found)
    assert found[0].size == (2, 2)


def test_only_the_pictures_used_last_are_kept() -> None:
    prepared: list[Image.Image] = []

    def prepare(image: Image.Image) -> Image.Image:
        prepared.append(image)
        return image

    reader = PictureReader(UPRIGHT, prepare, max_kept=2)
    for level in (1, 2, 3, 3, 2, 1):
        reader.read_shared(picture(level), str(level))
    assert len(prepared) == 4


def test_what_cannot_be_read_fails_again_and_is_not_remembered() -> None:
    reader = PictureReader(UPRIGHT, lambda image: image)
    for _ in "ab":
        with pytest.raises(ImageError):
            reader.read_shared(b"no picture", "key")
    assert reader.read_shared(picture(5), "key").getpixel((0, 0)) == (5, 0, 0)


def test_sigma_that_is_not_finite_is_an_error() -> None:
    output = RewardOutput(mu=torch.zeros(3), log_sigma=torch.tensor([0.0, 900.0, 0.0]))
    with pytest.raises(NonFiniteError, match=r"item\(s\) \[1\]"):
        output.scores(ModelFacts(name="wide"))
