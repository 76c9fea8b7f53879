"""Image files: labels for messages, and the lock around Pillow's warnings."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

import pytest
from PIL import Image

from visreward.core.errors import ImageError
from visreward.core.image_files import decoder_errors_named, image_label, pillow_warnings_hidden


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("cat.png", "Image 'cat.png'"),
        (Path("cat.png"), "Image 'cat.png'"),
        ("line\nbreak.png", r"Image 'line\nbreak.png'"),
        (b"\x89PNG", "Image <bytes>"),
        (Image.new("L", (1, 1)), "Image <picture>"),
        (3.5, "Image <float>"),
        ("https://user:password@host/a.png?token=1#2", "Image 'https://host/a.png'"),
        ("data:image/png;base64,iVBOR", "Image 'data:...'"),
    ],
)
def test_image_label_shows_place_without_content_or_secrets(source: object, expected: str) -> None:
    assert image_label(source, None) == expected


def test_image_label_given_name_comes_first() -> None:
    assert image_label("cat.png", "row 3") == "Image 'row 3'"


def test_image_label_of_endless_path_keeps_both_ends() -> None:
    label = image_label("start" + "x" * 9999 + "end.png", None)
    assert len(label) < 300
    assert label.startswith("Image 'start")
    assert label.endswith("end.png'")


def test_pillow_warnings_hidden_lets_one_thread_in_at_a_time() -> None:
    has_entered = threading.Event()

    def enter() -> None:
        with pillow_warnings_hidden():
            has_entered.set()

    other = threading.Thread(target=enter)
    with pillow_warnings_hidden():
        other.start()
        assert not has_entered.wait(0.2)
    other.join(30)
    assert has_entered.is_set()


def test_pillow_warnings_hidden_shows_warnings_again_after_an_error() -> None:
    def fail_in_silence() -> None:
        with pillow_warnings_hidden():
            warnings.warn("hidden", stacklevel=1)
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        fail_in_silence()
    with pytest.warns(UserWarning, match="shown"):
        warnings.warn("shown", stacklevel=1)


@pytest.mark.parametrize(
    ("error", "phrase"),
    [
        (OSError("image file is truncated (3 bytes not processed)"), "Image 'x' is truncated ("),
        (ValueError("bad tile."), "Image 'x' is corrupt (Pillow: bad tile). Copy"),
        (KeyError(), "Image 'x' is corrupt (Pillow: KeyError). Copy"),
        (MemoryError(), "Image 'x' needs more memory than is free."),
        (Image.DecompressionBombError("9 pixels."), "Image 'x' has too many pixels for Pillow"),
    ],
)
def test_decoder_errors_named_says_what_happened(error: Exception, phrase: str) -> None:
    with pytest.raises(ImageError) as caught, decoder_errors_named("Image 'x'"):
        raise error
    assert str(caught.value).startswith(phrase)
    assert caught.value.__cause__ is error


def test_decoder_errors_named_passes_image_errors_and_mistakes_of_ours() -> None:
    own = ImageError("Image 'x' is empty.")
    with pytest.raises(ImageError) as caught, decoder_errors_named("Image 'y'"):
        raise own
    assert caught.value is own
    with pytest.raises(AssertionError), decoder_errors_named("Image 'y'"):
        raise AssertionError
