"""Images: a corpus of bad and odd files, damaged further, in threads and forks."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from visreward.core.errors import ImageError
from visreward.core.images import (
    AS_RELEASED,
    UPRIGHT,
    read_image,
)

if TYPE_CHECKING:
    from tests.core.bad_files import BadFile
    from tests.core.conftest import RunPython


def opened(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


# The corpus


def test_corpus_holds_enough_files_with_unique_names(bad_files: tuple[BadFile, ...]) -> None:
    assert len(bad_files) >= 60
    assert len({bad_file.name for bad_file in bad_files}) == len(bad_files)


def test_read_image_of_corpus_file_is_read_or_refused_by_name(
    bad_file: BadFile, tmp_path: Path
) -> None:
    path = tmp_path / bad_file.name
    path.write_bytes(bad_file.make())
    if bad_file.phrase is None:
        image = read_image(path)
        assert image.mode == "RGB"
        assert min(image.size) >= 1
        assert len(image.tobytes()) == 3 * image.width * image.height
        return
    with pytest.raises(ImageError) as caught:
        read_image(path)
    message = str(caught.value)
    assert bad_file.phrase in message
    assert repr(str(path)) in message
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))


def test_read_image_of_corpus_bytes_agrees_with_file(bad_file: BadFile, tmp_path: Path) -> None:
    path = tmp_path / bad_file.name
    body = bad_file.make()
    path.write_bytes(body)
    if bad_file.phrase is None:
        assert read_image(body).tobytes() == read_image(str(path)).tobytes()
        return
    with pytest.raises(ImageError, match="Image 'row 7'"):
        read_image(body, name="row 7")


def test_read_image_as_released_of_corpus_equals_plain_convert(
    bad_files: tuple[BadFile, ...], corpus: dict[str, bytes]
) -> None:
    for bad_file in bad_files:
        if bad_file.phrase is not None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            released = opened(corpus[bad_file.name]).convert("RGB")
        image = read_image(corpus[bad_file.name], rule=AS_RELEASED)
        assert image.size == released.size, bad_file.name
        assert image.tobytes() == released.tobytes(), bad_file.name


@pytest.mark.parametrize("folder", ["parity/clip_tiny/images", "images"])
def test_read_image_as_released_of_shared_images_equals_plain_convert(
    shared_dir: Path, folder: str
) -> None:
    paths = sorted((shared_dir / folder).iterdir())
    assert len(paths) >= 10
    for path in paths:
        with Image.open(path) as file:
            released = file.convert("RGB")
        image = read_image(path, rule=AS_RELEASED)
        assert (image.size, image.tobytes()) == (released.size, released.tobytes()), path.name


# What no file may do


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_read_image_damaged_anywhere_reads_rgb_or_raises_image_error(
    corpus: dict[str, bytes], data: st.DataObject
) -> None:
    body = bytearray(corpus[data.draw(st.sampled_from(sorted(corpus)))][:5000])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    with contextlib.suppress(ImageError):
        image = read_image(bytes(body), max_pixels=1_000_000)
        assert image.mode == "RGB"
        assert min(image.size) >= 1


@pytest.mark.parametrize(
    "name",
    ["plain.jpg", "progressive.jpg", "plain.png", "lossy.webp", "plain.gif", "plain.bmp"],
)
def test_read_image_cut_at_any_byte_is_refused_or_complete(
    corpus: dict[str, bytes], name: str
) -> None:
    whole = read_image(corpus[name]).tobytes()
    num_read = 0
    for num_bytes in range(len(corpus[name])):
        try:
            image = read_image(corpus[name][:num_bytes])
        except ImageError:
            continue
        assert image.tobytes() == whole, num_bytes
        num_read += 1
    # Only the few bytes behind the last pixel of a GIF may be missing.
    assert num_read <= (2 if name.endswith(".gif") else 0)


def test_read_image_leaves_pillow_and_warnings_as_they_were(bad_file: BadFile) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        before = (
            list(warnings.filters),
            Image.MAX_IMAGE_PIXELS,
            Image.WARN_POSSIBLE_FORMATS,
            ImageFile.LOAD_TRUNCATED_IMAGES,
        )
        for rule in (UPRIGHT, AS_RELEASED):
            try:
                read_image(bad_file.make(), rule=rule)
            except ImageError:
                assert bad_file.phrase is not None
        after = (
            list(warnings.filters),
            Image.MAX_IMAGE_PIXELS,
            Image.WARN_POSSIBLE_FORMATS,
            ImageFile.LOAD_TRUNCATED_IMAGES,
        )
    assert shown == []
    assert after == before


BOMB_CODE = """
import resource, sys
from visreward.core.errors import ImageError
from visreward.core.images import AS_RELEASED, UPRIGHT, read_image

def peak_mb():
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

read_image(sys.argv[1])
before = peak_mb()
for path in sys.argv[2:]:
    for rule in (UPRIGHT, AS_RELEASED):
        try:
            read_image(path, rule=rule)
        except ImageError:
            continue
        raise SystemExit(f"{path} was read")
print(peak_mb() - before)
"""


def test_read_image_of_bombs_grows_memory_by_less_than_64_mb(
    corpus: dict[str, bytes], tmp_path: Path, run_python: RunPython
) -> None:
    pytest.importorskip("resource", reason="peak memory is measured on Unix only")
    names = ["plain.png", *(name for name in corpus if "bomb" in name)]
    assert len(names) >= 7
    for name in names:
        (tmp_path / name).write_bytes(corpus[name])
    paths = [tmp_path / name for name in names]
    assert float(run_python(BOMB_CODE, *paths)) < 64


def test_read_image_over_max_pixels_names_size_and_limit(corpus: dict[str, bytes]) -> None:
    with pytest.raises(ImageError, match=r"32 x 24 = 768, the limit is 767"):
        read_image(corpus["plain.png"], max_pixels=767)
    assert read_image(corpus["plain.png"], max_pixels=768).size == (32, 24)


def test_read_image_between_both_pillow_limits_shows_no_warning(
    corpus: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.warns(Image.DecompressionBombWarning):
        opened(corpus["plain.png"])
    for name in ("plain.png", "plain.jpg", "lossy.webp", "plain.gif", "plain.bmp"):
        assert read_image(corpus[name]).size == (32, 24)


def test_read_image_from_eight_threads_gives_the_same_pixels(
    bad_files: tuple[BadFile, ...], corpus: dict[str, bytes]
) -> None:
    readable = [bad_file.name for bad_file in bad_files if bad_file.phrase is None]
    alone = {name: read_image(corpus[name]).tobytes() for name in readable}
    filters = list(warnings.filters)
    names = readable * 8
    with ThreadPoolExecutor(max_workers=8) as pool:
        together = pool.map(lambda name: read_image(corpus[name]).tobytes(), names)
        assert all(pixels == alone[name] for name, pixels in zip(names, together, strict=True))
    assert list(warnings.filters) == filters


FORK_CODE = """
import os, signal, sys
from visreward.core.image_files import pillow_warnings_hidden
from visreward.core.images import read_image
read_image(sys.argv[1])
with pillow_warnings_hidden():
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        read_image(sys.argv[1])
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forking is a Unix thing")
def test_read_image_in_a_process_forked_while_reading_does_not_wait(
    corpus: dict[str, bytes], tmp_path: Path, run_python: RunPython
) -> None:
    path = tmp_path / "plain.jpg"
    path.write_bytes(corpus["plain.jpg"])
    assert run_python(FORK_CODE, path).strip() == "0"
