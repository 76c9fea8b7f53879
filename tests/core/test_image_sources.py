"""Images: paths and other sources that are refused, each with its own sentence."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from visreward.core.errors import ImageError
from visreward.core.images import (
    content_key,
    read_image,
)
from visreward.core.types import ImageSource

if TYPE_CHECKING:
    from tests.core.conftest import RunPython


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
    corpus: dict[str, bytes], tmp_path: Path, run_python: RunPython
) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(corpus["plain.png"])
    path.chmod(0o000)
    lines = run_python(DENIED_CODE, path).splitlines()
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
