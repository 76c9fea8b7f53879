"""A corpus of bad and odd image files, made in memory by the tests that want them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from PIL import Image, ImageOps, PngImagePlugin

WIDTH, HEIGHT = 32, 24
SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6


@dataclass(frozen=True, slots=True)
class BadFile:
    """One file of the corpus.

    Attributes:
        name: File name with its ending, unique in the corpus.
        make: Returns the file's bytes, always the same.
        phrase: What the error message must contain, or None when the file must be read.
    """

    name: str
    make: Callable[[], bytes]
    phrase: str | None


def plain_picture(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Return an RGB picture whose four corners differ, so that every turn of it shows."""
    red = Image.linear_gradient("L").resize((width, height))
    green = Image.linear_gradient("L").rotate(90).resize((width, height))
    blue = Image.radial_gradient("L").resize((width, height))
    return Image.merge("RGB", (red, green, blue))


def encoded(picture: Image.Image, form: str, **options: Any) -> bytes:  # options go to Pillow
    """Return a picture as the bytes of a file."""
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes = b"", *, checksum: int | None = None) -> bytes:
    """Return one PNG chunk, with its right checksum unless another is given."""
    if checksum is None:
        checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def header_chunk(
    width: int, height: int, *, depth: int = 8, colour: int = COLOUR, interlace: int = 0
) -> bytes:
    """Return the first chunk of a PNG."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def png(rows: list[bytes], *, width: int, depth: int, colour: int, before: bytes = b"") -> bytes:
    """Return a PNG of unfiltered rows, with the chunks `before` its pixels."""
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    head = SIGNATURE + header_chunk(width, len(rows), depth=depth, colour=colour)
    return head + before + chunk(b"IDAT", pixels) + chunk(b"IEND")


def ramp_16_bits() -> bytes:
    """Return a 16-bit grey PNG of one row with the 256 values 0, 257, ..., 65535."""
    row = b"".join(struct.pack(">H", value * 257) for value in range(256))
    return png([row], width=256, depth=16, colour=GREY)


def jpeg(**options: Any) -> bytes:  # options go to Pillow
    """Return the plain picture as a JPEG."""
    return encoded(plain_picture(), "JPEG", quality=90, **options)


def ycck_jpeg() -> bytes:
    """Return a JPEG of the plain picture in YCCK, with inverted ink as Adobe writes it."""
    ink = ImageOps.invert(plain_picture()).convert("YCbCr")
    planes = (*ink.split(), Image.new("L", (WIDTH, HEIGHT), 255))
    stored = Image.merge("CMYK", [plane.point(lambda value: 255 - value) for plane in planes])
    body = encoded(stored, "JPEG", quality=95)
    adobe = body.index(b"Adobe")
    return body[: adobe + 11] + b"\x02" + body[adobe + 12 :]


def without_adobe_marker() -> bytes:
    """Return a CMYK JPEG that lacks the APP14 marker."""
    body = encoded(plain_picture().convert("CMYK"), "JPEG", quality=95)
    start = body.index(b"\xff\xee")
    (length,) = struct.unpack(">H", body[start + 2 : start + 4])
    return body[:start] + body[start + 2 + length :]


def oriented(orientation: int, form: str = "JPEG") -> bytes:
    """Return a file that shows the plain picture upright once it is turned as EXIF says."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    picture = plain_picture()
    if orientation in undo:
        picture = picture.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if form == "WEBP" else {"quality": 95} if form == "JPEG" else {}
    return encoded(picture, form, exif=exif, **options)


def animated(form: str) -> bytes:
    """Return an animation whose first frame is the plain picture and whose second is black."""
    black = Image.new("RGB", (WIDTH, HEIGHT))
    options = {"lossless": True} if form == "WEBP" else {}
    return encoded(plain_picture(), form, save_all=True, append_images=[black], **options)


def see_through(mode: str) -> Image.Image:
    """Return the plain picture with a left half that is fully transparent."""
    picture = plain_picture()
    alpha = Image.new("L", (WIDTH, HEIGHT), 255)
    alpha.paste(0, (0, 0, WIDTH // 2, HEIGHT))
    picture.putalpha(alpha)
    return picture.convert(mode)


def palette_picture() -> Image.Image:
    """Return a palette picture: left half index 0 (red), right half index 1 (blue)."""
    picture = Image.new("P", (WIDTH, HEIGHT), 1)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.paste(0, (0, 0, WIDTH // 2, HEIGHT))
    return picture


def cut(whole: Callable[[], bytes], part: float) -> bytes:
    """Return the first `part` (0..1) of a file."""
    body = whole()
    return body[: int(len(body) * part)]


def less(whole: Callable[[], bytes], num_bytes: int) -> bytes:
    """Return a file without its last bytes."""
    return whole()[:-num_bytes]


def patched(whole: Callable[[], bytes], at: int, replacement: bytes) -> bytes:
    """Return a file with other bytes at one place."""
    body = whole()
    return body[:at] + replacement + body[at + len(replacement) :]


def zero_tail(whole: Callable[[], bytes], part: float) -> bytes:
    """Return a file of its right length whose bytes after the first `part` are zero."""
    body = whole()
    return body[: int(len(body) * part)].ljust(len(body), b"\0")


def start_of_frame(marker: int = 0xC0, *, width: int, height: int, bits: int = 8) -> bytes:
    """Return a JPEG that claims a size and holds no pixels worth the name."""
    table = b"\xff\xdb\0\x43\0" + bytes([1] * 64)
    frame = struct.pack(">BBHBHHB", 0xFF, marker, 11, bits, height, width, 1) + b"\1\x11\0"
    return b"\xff\xd8" + table + frame + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + b"\0" * 99 + b"\xff\xd9"


def claiming_png(width: int, height: int, **options: int) -> bytes:
    """Return a PNG that claims a size and holds a kilobyte of pixels."""
    pixels = chunk(b"IDAT", zlib.compress(bytes(1024)))
    return SIGNATURE + header_chunk(width, height, **options) + pixels + chunk(b"IEND")


def text_bomb() -> bytes:
    """Return a small PNG with a compressed comment that unpacks to 64 MB."""
    comment = chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(64 << 20), 1))
    return png([b"\0\0\0"], width=1, depth=8, colour=COLOUR, before=comment)


def claiming_webp(width: int, height: int) -> bytes:
    """Return a lossless WebP that claims a size and holds no pixels worth the name."""
    bits = (width - 1) | (height - 1) << 14
    body = b"VP8L" + struct.pack("<IBI", 37, 0x2F, bits) + bytes(33)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def claiming_gif(width: int, height: int) -> bytes:
    """Return a GIF that claims a size and holds one code of pixels."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\1\x2c\0;"


def bmp() -> bytes:
    """Return the plain picture as a BMP."""
    return encoded(plain_picture(), "BMP")


def bmp_of_size(width: int, height: int) -> bytes:
    """Return a BMP with another size in its header."""
    return patched(bmp, 18, struct.pack("<ii", width, height))


def plain_png() -> bytes:
    """Return the plain picture as a PNG."""
    return encoded(plain_picture(), "PNG")


def with_comment() -> bytes:
    """Return a PNG with a text chunk and a compressed one."""
    text = PngImagePlugin.PngInfo()
    text.add_text("prompt", "a tiny dragon")
    text.add_text("workflow", "{}" * 500, zip=True)
    return encoded(plain_picture(), "PNG", pnginfo=text)


def with_chunk_at_end(extra: bytes) -> bytes:
    """Return a PNG with a chunk between its pixels and its end."""
    return plain_png()[:-12] + extra + chunk(b"IEND")


def with_damaged_pixels(*, right_checksum: bool) -> bytes:
    """Return a PNG with ten wrong bytes in its compressed pixels."""
    body = plain_png()
    start = body.index(b"IDAT")
    (length,) = struct.unpack(">I", body[start - 4 : start])
    pixels = bytearray(body[start + 4 : start + 4 + length])
    checksum = None if right_checksum else zlib.crc32(b"IDAT" + pixels)
    pixels[20:30] = bytes(10)
    return body[: start - 4] + chunk(b"IDAT", bytes(pixels), checksum=checksum) + chunk(b"IEND")


def with_damaged_exif(form: str) -> bytes:
    """Return a file whose EXIF block promises 65535 entries and ends in the first."""
    block = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0"
    return encoded(plain_picture(), form, exif=block)


def short_palette(**options: Any) -> bytes:  # options go to Pillow
    """Return the palette picture as a PNG."""
    return encoded(palette_picture(), "PNG", **options)


def only(body: bytes) -> Callable[[], bytes]:
    """Return a maker of fixed bytes."""
    return lambda: body


def picture(mode: str, form: str, **options: Any) -> Callable[[], bytes]:  # options go to Pillow
    """Return a maker of the plain picture in a mode and a format."""
    return lambda: encoded(plain_picture().convert(mode), form, **options)


RGB_ROW_16 = struct.pack(">3H", 0xFFFF, 0x8000, 0x0100)
PALETTE_CHUNK = chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255]))

ODD_BUT_READABLE: tuple[tuple[str, Callable[[], bytes]], ...] = (
    ("plain.jpg", jpeg),
    ("progressive.jpg", partial(jpeg, progressive=True)),
    ("grey.jpg", picture("L", "JPEG")),
    ("cmyk_adobe.jpg", picture("CMYK", "JPEG")),
    ("cmyk_without_marker.jpg", without_adobe_marker),
    ("ycck.jpg", ycck_jpeg),
    ("exif_turned.jpg", partial(oriented, 6)),
    ("exif_damaged.jpg", partial(with_damaged_exif, "JPEG")),
    ("exif_damaged.png", partial(with_damaged_exif, "PNG")),
    ("exif_damaged.webp", partial(with_damaged_exif, "WEBP")),
    ("two_pictures.mpo.jpg", lambda: animated("MPO")),
    ("bytes_after_end.jpg", lambda: jpeg() + b"appended" * 99),
    ("one_pixel.jpg", lambda: encoded(plain_picture(1, 1), "JPEG")),
    ("jpeg_called.png", jpeg),
    ("plain.png", plain_png),
    ("no_ending", plain_png),
    ("one_pixel.png", lambda: encoded(plain_picture(1, 1), "PNG")),
    ("one_row.png", lambda: encoded(plain_picture(300, 1), "PNG")),
    ("one_column.png", lambda: encoded(plain_picture(1, 300), "PNG")),
    ("grey_16_bits.png", ramp_16_bits),
    ("colour_16_bits.png", lambda: png([RGB_ROW_16], width=1, depth=16, colour=COLOUR)),
    ("alpha_16_bits.png", lambda: png([RGB_ROW_16 + b"\0\0"], width=1, depth=16, colour=6)),
    ("grey_alpha_16_bits.png", lambda: png([b"\x80\0\0\0"], width=1, depth=16, colour=4)),
    ("grey_2_bits.png", lambda: png([b"\x1b"], width=4, depth=2, colour=GREY)),
    ("one_bit.png", picture("1", "PNG")),
    ("grey_alpha.png", lambda: encoded(see_through("LA"), "PNG")),
    ("alpha.png", lambda: encoded(see_through("RGBA"), "PNG")),
    ("all_transparent.png", lambda: encoded(Image.new("RGBA", (4, 4)), "PNG")),
    ("palette_one_clear.png", partial(short_palette, transparency=0)),
    ("palette_half_clear.png", partial(short_palette, transparency=b"\x80\xff")),
    ("colour_key.png", lambda: encoded(plain_picture(), "PNG", transparency=(0, 0, 0))),
    ("grey_key.png", lambda: encoded(plain_picture().convert("L"), "PNG", transparency=9)),
    ("exif_turned.png", partial(oriented, 6, "PNG")),
    ("comments.png", with_comment),
    ("bytes_after_end.png", lambda: plain_png() + b"appended"),
    (
        "wrong_sum_of_late_comment.png",
        lambda: with_chunk_at_end(chunk(b"tEXt", b"a\0b", checksum=7)),
    ),
    ("animated.png", lambda: animated("PNG")),
    ("lossy.webp", picture("RGB", "WEBP")),
    ("lossless_alpha.webp", lambda: encoded(see_through("RGBA"), "WEBP", lossless=True)),
    ("exif_turned.webp", partial(oriented, 6, "WEBP")),
    ("animated.webp", lambda: animated("WEBP")),
    ("plain.gif", picture("P", "GIF")),
    ("animated.gif", lambda: animated("GIF")),
    ("one_clear.gif", lambda: encoded(palette_picture(), "GIF", transparency=0)),
    ("second_frame_cut.gif", lambda: animated("GIF")[:-40]),
    ("plain.bmp", bmp),
    ("palette.bmp", picture("P", "BMP")),
    ("one_bit.bmp", picture("1", "BMP")),
)

REFUSED: tuple[tuple[str, Callable[[], bytes], str], ...] = (
    ("empty.png", only(b""), "is empty"),
    ("one_byte.png", only(b"\x89"), "no format that is known"),
    ("zeros.png", only(bytes(4096)), "no format that is known"),
    ("noise.jpg", lambda: bytes(i * 7919 % 251 for i in range(999)), "no format that is known"),
    ("text.png", only(b"this is no picture\n"), "is text"),
    ("cut_letter.png", only(("a" + "é" * 600).encode()), "is text"),
    ("answer.jpg", only(b'{"error": "not found"}'), "is text"),
    ("page.jpg", only(b"<!DOCTYPE html><html><body>404</body></html>"), "web page"),
    (
        "lfs_pointer.png",
        only(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "Git LFS",
    ),
    ("drawing.svg", only(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), "SVG"),
    ("drawing_with_prolog.svg", only(b'\xef\xbb\xbf<?xml version="1.0"?>\n<svg/>'), "SVG"),
    ("paper.pdf", only(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), "PDF"),
    ("paper.eps", only(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "PostScript"),
    ("little_endian.tif", picture("RGB", "TIFF"), "TIFF"),
    ("big_endian.tif", only(b"MM\0*\0\0\0\x08\0\0"), "TIFF"),
    ("tiff_called.png", picture("RGB", "TIFF"), "TIFF"),
    ("icon.ico", picture("RGB", "ICO"), "ICO"),
    ("layers.psd", only(b"8BPS\0\1" + bytes(40)), "PSD"),
    ("photo.avif", only(b"\0\0\0\x20ftypavif\0\0\0\0avifmif1"), "AVIF"),
    ("photo.heic", only(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), "HEIC"),
    ("photo.jxl", only(b"\xff\x0a\xfa\x7f\x01\x90"), "JPEG XL"),
    ("photo.jp2", only(b"\0\0\0\x0cjP  \r\n\x87\n"), "JPEG 2000"),
    ("picture.ppm", picture("RGB", "PPM"), "PPM"),
    ("texture.dds", picture("RGB", "DDS"), "DDS"),
    ("clip.mp4", only(b"\0\0\0\x18ftypisom\0\0\2\0isom"), "video"),
    ("sound.webp", only(b"RIFF\x24\0\0\0WAVEfmt "), "RIFF file without a WebP"),
    ("archive.png", only(b"PK\3\4\x14\0\0\0"), "ZIP"),
    ("array.npy", only(b"\x93NUMPY\1\0v\0"), "NumPy"),
    ("start_only.jpg", only(b"\xff\xd8\xff"), "is truncated"),
    ("cut_header.jpg", partial(cut, jpeg, 0.2), "is truncated"),
    ("cut_half.jpg", partial(cut, jpeg, 0.8), "is truncated"),
    ("cut_marker.jpg", partial(less, jpeg, 2), "is truncated"),
    ("cut_progressive.jpg", partial(cut, partial(jpeg, progressive=True), 0.8), "is truncated"),
    ("zero_tail.jpg", partial(zero_tail, jpeg, 0.8), "is truncated"),
    ("no_width.jpg", lambda: start_of_frame(width=0, height=9), "zero width or height"),
    ("12_bits.jpg", lambda: start_of_frame(width=9, height=9, bits=12), "12-bit"),
    ("lossless.jpg", lambda: start_of_frame(0xC3, width=9, height=9), "is corrupt"),
    ("bomb.jpg", lambda: start_of_frame(width=65500, height=65500), "too many pixels"),
    ("signature_only.png", only(SIGNATURE), "is truncated"),
    ("text_mode_transfer.png", lambda: plain_png().replace(b"\r\n", b"\n"), "text mode"),
    ("cut_header.png", lambda: plain_png()[:20], "is truncated"),
    ("cut_half.png", partial(cut, plain_png, 0.5), "is truncated"),
    ("cut_end.png", partial(less, plain_png, 12), "is truncated"),
    ("cut_last_byte.png", partial(less, plain_png, 1), "is truncated"),
    ("zero_tail.png", partial(zero_tail, plain_png, 0.5), "is corrupt"),
    ("wrong_sum_of_header.png", partial(patched, plain_png, 29, b"\0\0\0\0"), "is corrupt"),
    ("wrong_sum.png", lambda: with_damaged_pixels(right_checksum=False), "checksum"),
    ("wrong_pixels.png", lambda: with_damaged_pixels(right_checksum=True), "is corrupt"),
    ("no_width.png", lambda: claiming_png(0, 9), "zero width or height"),
    ("no_height.png", lambda: claiming_png(9, 0), "zero width or height"),
    ("unknown_colour.png", lambda: claiming_png(9, 9, colour=5), "is corrupt"),
    ("unknown_depth.png", lambda: claiming_png(9, 9, depth=7), "is corrupt"),
    ("few_pixels.png", lambda: claiming_png(90, 90), "is truncated"),
    ("no_pixels.png", lambda: SIGNATURE + header_chunk(9, 9) + chunk(b"IEND"), "is corrupt"),
    ("bomb.png", lambda: claiming_png(60000, 60000), "too many pixels"),
    ("largest_bomb.png", lambda: claiming_png(2**31 - 1, 2**31 - 1), "too many pixels"),
    ("text_bomb.png", text_bomb, "is corrupt"),
    (
        "late_animation.png",
        lambda: with_chunk_at_end(chunk(b"acTL", bytes(8))),
        "is corrupt",
    ),
    ("start_only.webp", only(b"RIFF\x04\0\0\0WEBP"), "is corrupt"),
    ("cut_half.webp", partial(cut, picture("RGB", "WEBP"), 0.5), "is truncated"),
    ("cut_last_byte.webp", partial(less, picture("RGB", "WEBP"), 1), "is truncated"),
    ("no_pixels.webp", lambda: claiming_webp(40, 40), "is corrupt"),
    ("bomb.webp", lambda: claiming_webp(16384, 16384), "too many pixels"),
    ("start_only.gif", only(b"GIF89a"), "is truncated"),
    ("no_frame.gif", lambda: claiming_gif(9, 9)[:19] + b";", "is corrupt"),
    ("cut_half.gif", partial(cut, picture("P", "GIF"), 0.95), "is truncated"),
    ("no_width.gif", lambda: claiming_gif(0, 9), "zero width or height"),
    ("bomb.gif", lambda: claiming_gif(65535, 65535), "too many pixels"),
    ("start_only.bmp", only(b"BM"), "is text"),
    ("cut_half.bmp", partial(cut, bmp, 0.5), "is truncated"),
    ("unknown_header.bmp", partial(patched, bmp, 14, b"\x07\0\0\0"), "no format that is known"),
    ("text_with_the_letters.bmp", only(b"BMW makes cars, this is a text file"), "is text"),
    ("no_width.bmp", lambda: bmp_of_size(0, 24), "zero width or height"),
    ("bomb.bmp", lambda: bmp_of_size(60000, 60000), "too many pixels"),
)

BAD_FILES: tuple[BadFile, ...] = (
    *(BadFile(name, make, None) for name, make in ODD_BUT_READABLE),
    *(BadFile(name, make, phrase) for name, make, phrase in REFUSED),
)
