"""Resize pictures to the same pixels under every version of Pillow."""

from __future__ import annotations

from PIL import Image

Size = tuple[int, int]
Box = tuple[float, float, float, float]


def are_rows_first(before: Size, after: Size) -> bool:
    """Return whether the number of rows is changed before that of columns.

    Pillow resizes in two passes and rounds between them to 8 bits. Before version 13 the columns
    came first; since then the rows do where more than twice as many of them go as of the columns.

    Args:
        before: Width and height of the picture.
        after: Width and height that it gets.
    """
    rows_gone, columns_gone = before[1] - after[1], before[0] - after[0]
    return rows_gone > 0 and rows_gone > 2 * columns_gone


def resized(
    image: Image.Image,
    size: Size,
    resample: int,
    *,
    box: Box | None = None,
    rows_first: bool | None = None,
) -> Image.Image:
    """Return `image.resize(size, resample, box)` as Pillow 13 makes it, whatever is installed.

    Args:
        image: A picture with 8 bits a channel.
        size: Width and height.
        resample: A filter of Pillow.
        box: (left, top, right, bottom), the part that is resized; None takes all.
        rows_first: The order of the passes; None takes that of `are_rows_first`.
    """
    left, top, right, bottom = box or (0.0, 0.0, *map(float, image.size))
    if rows_first is None:
        rows_first = are_rows_first(image.size, size)
    kind = Image.Resampling(resample)
    if rows_first:
        rows = image.resize((image.width, size[1]), kind, (0.0, top, float(image.width), bottom))
        return rows.resize(size, kind, (left, 0.0, right, float(size[1])))
    columns = image.resize((size[0], image.height), kind, (left, 0.0, right, float(image.height)))
    return columns.resize(size, kind, (0.0, top, float(size[0]), bottom))
