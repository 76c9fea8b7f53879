"""Images: what is read, by which rule, and what is refused with which sentence."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFile, ImageStat

from visreward.core.errors import ImageError, UsageError
from visreward.core.images import (
    AS_RELEASED,
    UPRIGHT,
    ReadingRule,
    content_key,
    read_image,
    thumbnail_data_uri,
)
from visreward.core.types import ImageSource

if TYPE_CHECKING:
    from tests.core.bad_files import BadFile

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture(scope="module")
def corpus(bad_files: tuple[BadFile, ...]) -> dict[str, bytes]:
    """Return the bytes of every corpus file by name."""
    return {bad_file.name: bad_file.make() for bad_file in bad_files}


@pytest.fixture(scope="module")
def plain(corpus: dict[str, bytes]) -> Image.Image:
    """Return the picture that most corpus files show."""
    return read_image(corpus["plain.png"])


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


def opened(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


def run_python(code: str, *arguments: str | Path, project_dir: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(project_dir / "src")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
    corpus: dict[str, bytes], tmp_path: Path, project_dir: Path
) -> None:
    pytest.importorskip("resource", reason="peak memory is measured on Unix only")
    names = ["plain.png", *(name for name in corpus if "bomb" in name)]
    assert len(names) >= 7
    for name in names:
        (tmp_path / name).write_bytes(corpus[name])
    paths = [tmp_path / name for name in names]
    assert float(run_python(BOMB_CODE, *paths, project_dir=project_dir)) < 64


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
    corpus: dict[str, bytes], tmp_path: Path, project_dir: Path
) -> None:
    path = tmp_path / "plain.jpg"
    path.write_bytes(corpus["plain.jpg"])
    assert run_python(FORK_CODE, path, project_dir=project_dir).strip() == "0"


# Sources


def test_read_image_missing_file_names_path(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"Image '.*none\.png' does not exist\. Check"):
        read_image(tmp_path / "none.png")


def test_read_image_below_a_file_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "file" / "image.png")


def test_read_image_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a directory"):
        read_image(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are a Unix thing")
def test_read_image_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="is a pipe or a device"):
        read_image(tmp_path / "pipe.png")


@pytest.mark.parametrize("path", ["a" * 5000 + ".png", "nul\0letter.png"])
def test_read_image_impossible_path_is_refused(path: str) -> None:
    with pytest.raises(ImageError, match="cannot be opened: ") as caught:
        read_image(path)
    assert len(str(caught.value)) < 400


def test_read_image_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(ImageError, match="cannot be opened: "):
        read_image(tmp_path / "loop.png")


DENIED_CODE = """
import os, sys
from visreward.core.images import content_key, read_image
if os.geteuid() == 0:
    os.seteuid(65534)
for read in (read_image, content_key):
    try:
        read(sys.argv[1])
    except ValueError as error:
        print(error)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="access rights of Unix")
def test_read_image_without_permission_says_so(
    corpus: dict[str, bytes], tmp_path: Path, project_dir: Path
) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(corpus["plain.png"])
    path.chmod(0o000)
    lines = run_python(DENIED_CODE, path, project_dir=project_dir).splitlines()
    assert len(lines) == 2
    assert all("secret.png' may not be read: permission denied" in line for line in lines)


@pytest.mark.parametrize("read", [read_image, content_key])
@pytest.mark.parametrize("url", ["http://host/a.png", "HTTPS://host/a.png", "s3://bucket/a.png"])
def test_url_is_refused_with_advice_to_download(
    read: Callable[[ImageSource], object], url: str
) -> None:
    with pytest.raises(ImageError, match=r"is a URL, and URLs are off\. Download the file first"):
        read(url)


def test_read_image_url_message_hides_password_and_query() -> None:
    with pytest.raises(ImageError) as caught:
        read_image("https://user:secret@host/a.png?token=secret#secret")
    assert "'https://host/a.png'" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_read_image_data_uri_is_refused_without_its_content() -> None:
    with pytest.raises(ImageError, match="is a data URI") as caught:
        read_image("data:image/png;base64,iVBORw0KGgo")
    assert "iVBOR" not in str(caught.value)


@pytest.mark.parametrize("source", [None, 7, ["a.png"], object()])
def test_read_image_of_other_type_names_the_type(source: object) -> None:
    with pytest.raises(ImageError, match=f"cannot be read from a {type(source).__name__}"):
        read_image(source)  # type: ignore[arg-type]


def test_read_image_empty_path_is_refused() -> None:
    with pytest.raises(ImageError, match="is an empty path"):
        read_image("")


def test_read_image_closes_its_file(corpus: dict[str, bytes], tmp_path: Path) -> None:
    # An open file would raise ResourceWarning here, which the test run turns into an error.
    for name in ("plain.png", "animated.gif", "animated.webp", "cut_half.jpg", "text.png"):
        path = tmp_path / name
        path.write_bytes(corpus[name])
        with contextlib.suppress(ImageError):
            read_image(path)
        path.unlink()


# Orientation


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image_of_each_orientation_is_upright(
    plain: Image.Image, orientation: int, form: str
) -> None:
    # From the EXIF standard: where row 0 and column 0 of the stored pixels belong.
    stored = {
        1: lambda picture: picture,
        2: lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda picture: picture.rotate(180),
        4: lambda picture: picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda picture: picture.transpose(Image.Transpose.TRANSPOSE),
        6: lambda picture: picture.rotate(90, expand=True),
        7: lambda picture: picture.transpose(Image.Transpose.TRANSVERSE),
        8: lambda picture: picture.rotate(-90, expand=True),
    }[orientation](plain)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, form, exif=exif, quality=100 if form != "PNG" else 0, lossless=True)
    body = buffer.getvalue()
    tolerance = 8 if form == "JPEG" else 0
    assert mean_difference(read_image(body), plain) <= tolerance
    assert mean_difference(read_image(opened(body)), plain) <= tolerance
    assert read_image(body, rule=AS_RELEASED).size == stored.size
    only_turned = ReadingRule(apply_orientation=True, alpha="drop")
    assert read_image(body, rule=only_turned).tobytes() == read_image(body).tobytes()


def test_read_image_result_cannot_be_turned_twice(corpus: dict[str, bytes]) -> None:
    image = read_image(corpus["exif_turned.jpg"])
    assert image.info == {}
    assert dict(image.getexif()) == {}


def test_read_image_unknown_orientation_is_left_as_stored(plain: Image.Image) -> None:
    for orientation in (0, 9, 77):
        exif = Image.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        plain.save(buffer, "PNG", exif=exif)
        assert read_image(buffer.getvalue()).tobytes() == plain.tobytes()


# Modes


def test_read_image_16_bit_ramp_keeps_every_step(corpus: dict[str, bytes]) -> None:
    image = read_image(corpus["grey_16_bits.png"])
    assert list(image.getchannel(0).tobytes()) == list(range(256))
    assert image.getchannel(0).tobytes() == image.getchannel(2).tobytes()


def test_read_image_16_bit_ramp_as_released_is_clipped(corpus: dict[str, bytes]) -> None:
    image = read_image(corpus["grey_16_bits.png"], rule=AS_RELEASED)
    assert list(image.getchannel(0).tobytes()) == [0] + [255] * 255


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_read_image_16_bit_picture_takes_the_high_byte(mode: str) -> None:
    order: Literal["big", "little"] = "big" if mode.endswith("B") else "little"
    values = [0, 255, 256, 0x7FFF, 0x8000, 65535]
    body = b"".join(value.to_bytes(2, order) for value in values)
    picture = Image.frombytes(mode, (6, 1), body)
    assert list(read_image(picture).getchannel(0).tobytes()) == [0, 0, 1, 127, 128, 255]


def test_read_image_16_bit_transparent_grey_is_white(plain: Image.Image) -> None:
    values = [0x1234, 0x1235, 0x1334, 0x1234]
    body = b"".join(value.to_bytes(2, "little") for value in values)
    picture = Image.frombytes("I;16", (4, 1), body)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=0x1234)
    image = read_image(buffer.getvalue())
    assert list(image.getchannel(0).tobytes()) == [255, 0x12, 0x13, 255]


@pytest.mark.parametrize("name", ["cmyk_adobe.jpg", "cmyk_without_marker.jpg", "ycck.jpg"])
def test_read_image_cmyk_jpeg_is_close_to_the_rgb_picture(
    corpus: dict[str, bytes], plain: Image.Image, name: str
) -> None:
    assert opened(corpus[name]).mode == "CMYK"
    assert mean_difference(read_image(corpus[name]), plain) < 8


def test_read_image_palette_with_clear_index_shows_white(corpus: dict[str, bytes]) -> None:
    image = read_image(corpus["palette_one_clear.png"])
    assert (image.getpixel((0, 0)), image.getpixel((31, 23))) == (WHITE, BLUE)
    released = read_image(corpus["palette_one_clear.png"], rule=AS_RELEASED)
    assert (released.getpixel((0, 0)), released.getpixel((31, 23))) == (RED, BLUE)


def test_read_image_palette_with_half_alpha_blends_with_white(corpus: dict[str, bytes]) -> None:
    image = read_image(corpus["palette_half_clear.png"])
    assert image.getpixel((0, 0)) == (255, 127, 127)
    assert image.getpixel((31, 23)) == BLUE


@pytest.mark.parametrize(
    "name", ["alpha.png", "grey_alpha.png", "lossless_alpha.webp", "one_clear.gif"]
)
def test_read_image_alpha_is_composited_on_white(
    corpus: dict[str, bytes], plain: Image.Image, name: str
) -> None:
    image = read_image(corpus[name])
    left, right = (0, 0, 16, 24), (16, 0, 32, 24)
    assert image.crop(left).getcolors() == [(16 * 24, WHITE)]
    released = read_image(corpus[name], rule=AS_RELEASED)
    assert image.crop(right).tobytes() == released.crop(right).tobytes()
    if name != "lossless_alpha.webp":  # the encoder blackens what cannot be seen
        assert released.crop(left).getcolors() != [(16 * 24, WHITE)]


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa", "PA"])
def test_read_image_given_picture_with_alpha_shows_white_where_clear(mode: str) -> None:
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (90, 90, 90, 255))
    if mode == "La":
        picture = picture.convert("LA")
    image = read_image(picture.convert(mode))
    assert [image.getpixel((0, 0)), image.getpixel((1, 0))] == [WHITE, (90, 90, 90)]


@pytest.mark.parametrize("key", ["colour_key.png", "grey_key.png"])
def test_read_image_key_colour_shows_white(corpus: dict[str, bytes], key: str) -> None:
    stored = opened(corpus[key])
    clear = stored.info["transparency"]
    stored.load()
    stored.putpixel((3, 2), clear)
    assert read_image(stored).getpixel((3, 2)) == WHITE
    assert read_image(stored, rule=AS_RELEASED).getpixel((3, 2)) != WHITE


@settings(max_examples=50, deadline=None)
@given(
    colour=st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)),
    alpha=st.integers(0, 255),
)
def test_read_image_any_colour_and_alpha_is_the_blend_with_white(
    colour: tuple[int, int, int], alpha: int
) -> None:
    image = read_image(Image.new("RGBA", (1, 1), (*colour, alpha)))
    pixel = image.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    for got, value in zip(pixel, colour, strict=True):
        assert abs(got - (value * alpha + 255 * (255 - alpha)) / 255) <= 1


@pytest.mark.parametrize("mode", ["I", "F"])
def test_read_image_mode_without_range_is_refused(mode: str) -> None:
    with pytest.raises(ImageError, match=f"is in mode '{mode}', whose values have no fixed range"):
        read_image(Image.new(mode, (2, 2)))
    released = read_image(Image.new(mode, (2, 2), 300), rule=AS_RELEASED)
    assert released.getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_read_image_opaque_mode_agrees_with_plain_convert(plain: Image.Image, mode: str) -> None:
    picture = plain.convert("RGB" if mode == "RGBX" else mode)
    assert read_image(picture).tobytes() == picture.convert("RGB").tobytes()


# Given pictures and animations


@pytest.mark.parametrize("name", ["animated.png", "animated.webp", "animated.gif"])
def test_read_image_animation_shows_first_frame(
    corpus: dict[str, bytes], plain: Image.Image, name: str
) -> None:
    stored = opened(corpus[name])
    assert getattr(stored, "n_frames", 1) == 2
    assert mean_difference(read_image(corpus[name]), plain) < 8


def test_read_image_given_picture_is_copied_and_left_alone(corpus: dict[str, bytes]) -> None:
    picture = opened(corpus["palette_half_clear.png"])
    picture.load()
    info, pixels = dict(picture.info), picture.tobytes()
    for rule in (UPRIGHT, AS_RELEASED):
        image = read_image(picture, rule=rule)
        image.paste((1, 2, 3), (0, 0, 32, 24))
    assert (picture.info, picture.tobytes(), picture.mode) == (info, pixels, "P")


def test_read_image_given_rgb_picture_is_a_copy(plain: Image.Image) -> None:
    image = read_image(plain)
    image.putpixel((0, 0), (1, 2, 3))
    assert plain.getpixel((0, 0)) != (1, 2, 3)


def test_read_image_given_truncated_picture_is_refused(corpus: dict[str, bytes]) -> None:
    with pytest.raises(ImageError, match="Image <picture> is truncated"):
        read_image(opened(corpus["cut_half.jpg"]))


@pytest.mark.parametrize("read", [read_image, content_key])
def test_given_picture_without_pixels_is_refused(
    read: Callable[[ImageSource], object],
) -> None:
    with pytest.raises(ImageError, match=r"has no pixels \(0 x 5\)"):
        read(Image.new("RGB", (0, 5)))


# Keys


def test_content_key_of_file_is_sha256_under_any_name(
    corpus: dict[str, bytes], tmp_path: Path
) -> None:
    body = corpus["plain.jpg"]
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_bytes(body)
        assert content_key(tmp_path / name) == hashlib.sha256(body).hexdigest()
    assert content_key(body) == content_key(str(tmp_path / "a.jpg"))
    assert content_key(body) != content_key(corpus["plain.png"])


@pytest.mark.parametrize(("name", "phrase"), [("none.png", "does not exist"), ("", "directory")])
def test_content_key_of_missing_file_is_refused(tmp_path: Path, name: str, phrase: str) -> None:
    with pytest.raises(ImageError, match=phrase):
        content_key(tmp_path / name)


def test_content_key_of_equal_pictures_is_equal(plain: Image.Image) -> None:
    assert content_key(plain) == content_key(plain.copy())


def test_content_key_of_pictures_that_read_differently_differs(plain: Image.Image) -> None:
    palette = Image.new("P", (32, 24))
    palette.putpalette([1, 2, 3])
    other_palette = Image.new("P", (32, 24))
    other_palette.putpalette([3, 2, 1])
    clear = palette.copy()
    clear.info["transparency"] = 0
    turned = plain.copy()
    turned.getexif()[0x0112] = 6
    pictures = [
        plain,
        turned,
        plain.convert("L"),
        plain.resize((24, 32)),
        plain.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        palette,
        other_palette,
        clear,
        Image.new("L", (2, 3)),
        Image.new("L", (3, 2)),
    ]
    assert len({content_key(picture) for picture in pictures}) == len(pictures)


def test_content_key_is_stable_when_the_picture_is_read(corpus: dict[str, bytes]) -> None:
    picture = opened(corpus["palette_half_clear.png"])
    key = content_key(picture)
    read_image(picture)
    read_image(picture, rule=AS_RELEASED)
    assert content_key(picture) == key


# Thumbnails


@pytest.mark.parametrize("encoding", ["jpeg", "webp"])
def test_thumbnail_data_uri_holds_a_small_picture_of_the_same_shape(
    plain: Image.Image, encoding: Literal["jpeg", "webp"]
) -> None:
    uri = thumbnail_data_uri(plain, max_side=16, encoding=encoding)
    head, body = uri.split(",")
    assert head == f"data:image/{encoding};base64"
    small = opened(base64.b64decode(body, validate=True))
    assert (small.format, small.size) == (encoding.upper(), (16, 12))
    assert mean_difference(small.convert("RGB"), plain.resize((16, 12))) < 12
    assert uri == thumbnail_data_uri(plain, max_side=16, encoding=encoding)


def test_thumbnail_data_uri_keeps_small_and_thin_pictures_whole(plain: Image.Image) -> None:
    for size, expected in (((32, 24), (32, 24)), ((600, 1), (64, 1)), ((1, 600), (1, 64))):
        uri = thumbnail_data_uri(plain.resize(size), max_side=64)
        assert opened(base64.b64decode(uri.split(",")[1])).size == expected


def test_thumbnail_data_uri_shows_transparency_as_white() -> None:
    uri = thumbnail_data_uri(Image.new("RGBA", (8, 8)), max_side=4)
    assert opened(base64.b64decode(uri.split(",")[1])).getpixel((0, 0)) == WHITE


def test_thumbnail_data_uri_without_a_side_is_refused(plain: Image.Image) -> None:
    with pytest.raises(UsageError, match="max_side is 0"):
        thumbnail_data_uri(plain, max_side=0)


# Cost


def test_images_module_imports_neither_torch_nor_numpy(project_dir: Path) -> None:
    code = "import sys, visreward.core.images as i; print({'torch', 'numpy'} & set(sys.modules))"
    assert run_python(code, project_dir=project_dir).strip() == "set()"
