"""Incidents 10 to 13: images that are places, malformed, of another format, or bombs."""

from __future__ import annotations

import base64
import gzip
import io
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import msgpack
import psutil
import pytest
from PIL import Image, features

if TYPE_CHECKING:
    from tests.core.bad_files import BadFile
    from tests.serving.conftest import Server

IMAGE_MODEL = "hp-mini"
AT_ONCE = 6
LEAKS = re.compile(
    r"0x[0-9a-f]{6}|Traceback|/work|/home|/tmp|site-packages|\.py\b|<.* object|Pillow|PIL\.|libjpeg"
    r"|zlib|decod\w+ error|cannot identify"
)
MSGPACK = {"content-type": "application/msgpack"}


def asked(http: httpx2.Client, images: list[bytes]) -> httpx2.Response:
    body = msgpack.packb({"model": IMAGE_MODEL, "candidates": images})
    response = http.post("/v1/score", content=body, headers=MSGPACK)
    assert response.status_code < 500, response.text
    assert not LEAKS.search(response.text), response.text
    return response


def codes(response: httpx2.Response) -> list[str | None]:
    """Return the code of each image, None for those with a score."""
    results = response.json()["results"]
    assert all((item["score"] is None) != (item["error"] is None) for item in results)
    return [item["error"] and item["error"]["code"] for item in results]


@pytest.mark.parametrize("path", ["/v1/score", "/v1/rank", "/rerank", "/score"])
def test_incident_10_path_is_never_an_image(
    http: httpx2.Client, canary: Path, tmp_path: Path, path: str
) -> None:
    real = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(real)
    places = [
        str(real),
        f"file://{real}",
        "/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "../../etc/passwd",
        "~/x.png",
        "./a.png",
        "\\\\host\\share\\a.png",
        "C:\\a.png",
        "/proc/self/environ",
        "a.png",
        "/etc/passwd\0.png",
        "http://127.0.0.1:1/a.png",
        "http://169.254.169.254/latest/meta-data",
        "gopher://127.0.0.1/_x",
        "data:text/plain,hello",
        "data:image/svg+xml;base64,PHN2Zy8+",
    ]
    for place in places:
        body = {
            "/v1/score": {"model": IMAGE_MODEL, "candidates": [place]},
            "/v1/rank": {"model": IMAGE_MODEL, "candidates": [place]},
            "/rerank": {"model": IMAGE_MODEL, "query": "", "documents": [place]},
            "/score": {
                "requests": [{"history": [{"image_b64": place}], "required_rewards": [IMAGE_MODEL]}]
            },
        }[path]
        response = http.post(path, json=body)
        if path == "/score":
            assert response.json()["results"] == [{}]
            code = response.json()["errors"][0][IMAGE_MODEL].partition(":")[0]
        else:
            assert response.status_code in (400, 415)
            code = response.json()["error"]["code"]
        assert code in {"url_not_allowed", "image_not_base64", "image_format_unsupported"}, place
        assert "root:" not in response.text


def test_incident_10_multipart_file_name_is_no_path(
    http: httpx2.Client, png: Callable[..., bytes]
) -> None:
    files = [("candidates", ("/etc/passwd", b"")), ("candidates", ("../../x", png(8, 8)))]
    response = http.post("/v1/score", data={"model": IMAGE_MODEL}, files=files)
    assert codes(response) == ["image_empty", None]


def bases() -> dict[str, bytes]:
    """Return sound files of many formats, small ones."""
    picture = Image.radial_gradient("L").resize((40, 30))
    rgb = Image.merge("RGB", (picture, picture.rotate(90), picture.rotate(180)))
    forms: dict[str, dict[str, Any]] = {
        "JPEG": {},
        "PNG": {},
        "WEBP": {"lossless": True},
        "JPEG2000": {},
        "TIFF": {"compression": "tiff_lzw"},
        "GIF": {},
        "BMP": {},
        "ICO": {},
        "PPM": {},
        "TGA": {},
        "DDS": {},
        "PDF": {},
        "EPS": {},
    }
    if not features.check("jpg_2000"):
        del forms["JPEG2000"]
    found = {}
    for form, options in forms.items():
        buffer = io.BytesIO()
        rgb.save(buffer, form, **options)
        found[form] = buffer.getvalue()
    more: list[tuple[str, dict[str, Any]]] = [("JPEG", {"progressive": True})]
    more.append(("WEBP", {"quality": 50}))
    for form, options in more:
        buffer = io.BytesIO()
        rgb.save(buffer, form, **options)
        found[f"{form} {options}"] = buffer.getvalue()
    return found


def mutated(body: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return a damaged copy."""
    start, end = sorted(rng.sample(range(len(body)), 2))
    kind = rng.randrange(8)
    if kind == 0:
        return body[:end]
    if kind == 1:
        return body[:start] + bytes(end - start) + body[end:]
    if kind == 2:
        return body[:start] + body[end:]
    if kind == 3:
        return body[:end] + body[start:]
    if kind == 4:
        return body[:start] + rng.choice(others)[start:]
    if kind == 5:
        word = rng.choice(
            [b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4), b"\x80\0\0\0", b"\0\0\0\x01"]
        )
        place = rng.randrange(min(64, len(body) - 4))
        return body[:place] + word + body[place + 4 :]
    noisy = bytearray(body)
    for _ in range(rng.choice([1, 3, 30])):
        noisy[rng.randrange(len(noisy))] = rng.randrange(256)
    return bytes(noisy)


def corpus(size: int) -> Iterator[bytes]:
    """Yield damaged files; always the same."""
    rng = random.Random(11)
    sound = list(bases().values())
    for number in range(size):
        yield mutated(sound[number % len(sound)], rng, sound)


def test_incident_11_malformed_images_get_codes_and_no_details(
    http: httpx2.Client, server: Server, bad_files: tuple[BadFile, ...]
) -> None:
    files = [*corpus(500), *(bad_file.make() for bad_file in bad_files)]
    files = [body for body in files if len(body) < 60_000]
    assert len(files) >= 500
    restarts = f'visreward_model_restarts_total{{model="{IMAGE_MODEL}"}}'
    before = server.metric(restarts)
    seen: dict[str | None, int] = {}
    for start in range(0, len(files), AT_ONCE):
        response = asked(http, files[start : start + AT_ONCE])
        for code in codes(response):
            assert code is None or code.startswith("image_")
            seen[code] = seen.get(code, 0) + 1
    assert seen["image_unreadable"] > 50
    assert seen["image_format_unsupported"] > 100
    assert server.metric(restarts) == before
    assert server.is_ready()


def fits() -> bytes:
    """Return a FITS picture."""
    cards: tuple[str, ...] = ("SIMPLE  =                    T", "BITPIX  =                    8")
    cards += ("NAXIS   =                    2", "NAXIS1  =                    8")
    cards += ("NAXIS2  =                    8", "END")
    head = "".join(card.ljust(80) for card in cards).ljust(2880).encode()
    return head + bytes(64).ljust(2880, b"\0")


def psd() -> bytes:
    """Return a Photoshop picture."""
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 8, 8, 8, 3)
    return head + bytes(12) + b"\0\0" + bytes(192)


FOREIGN = {
    "FITS": fits(),
    "FITS in gzip": gzip.compress(fits()),
    "PSD": psd(),
    "MSP": b"DanM" + bytes(60),
    "PCX": b"\x0a\x05\x01\x08" + bytes(124),
    "SGI": b"\x01\xda\0\x01\0\x03" + bytes(600),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "MVG": b"push graphic-context\nimage over 0,0 0,0 'url(http://127.0.0.1/)'\n",
    "PostScript": b"%!PS-Adobe-3.0\n(/etc/passwd) (r) file\n",
    **{form: body for form, body in bases().items() if form.partition(" ")[0] in "TIFF EPS PDF"},
}


@pytest.mark.parametrize("form", FOREIGN)
def test_incident_12_other_format_named_png_is_refused(http: httpx2.Client, form: str) -> None:
    files = [("candidates", ("a.png", FOREIGN[form], "image/png"))]
    response = http.post("/v1/score", data={"model": IMAGE_MODEL}, files=files)
    assert (response.status_code, response.json()["error"]["code"]) == (
        415,
        "image_format_unsupported",
    )


def test_incident_12_foreign_files_are_what_their_parsers_open() -> None:
    # The test above would prove little if no parser took these files.
    for form in ("FITS", "PSD", "TIFF", "EPS"):
        with Image.open(io.BytesIO(FOREIGN[form])) as picture:
            assert picture.format == form


def chunk(kind: bytes, body: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + checksum


def png_of(width: int, height: int, *extra: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1 << 20), 9))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + pixels + chunk(b"IEND", b"")


def frames(count: int) -> bytes:
    """Return the chunks of that many PNG frames of one pixel."""
    pixel = zlib.compress(bytes(4), 1)
    found = [chunk(b"acTL", struct.pack(">II", count, 0))]
    for number in range(count):
        control = struct.pack(">IIIIIHHBB", 2 * number, 1, 1, 0, 0, 1, 100, 0, 0)
        found.append(chunk(b"fcTL", control))
        found.append(chunk(b"fdAT", struct.pack(">I", 2 * number + 1) + pixel))
    return b"".join(found)


def webp_of(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBP" + kind + body


def jpeg_of(width: int, height: int, marker: int = 0xC0, scans: int = 1) -> bytes:
    table = b"\xff\xdb\0\x43\0" + bytes([1] * 64)
    frame = struct.pack(">BBHBHHB", 0xFF, marker, 11, 8, height, width, 1) + b"\1\x11\0"
    scan = b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(20)
    return b"\xff\xd8" + table + frame + scan * scans + b"\xff\xd9"


ZEROS = zlib.compress(bytes(100 << 20), 9)
BOMBS = {
    "png 100k x 100k": png_of(100_000, 100_000),
    "png largest": png_of(2**31 - 1, 2**31 - 1),
    "png beyond largest": png_of(2**32 - 1, 2**32 - 1),
    "png one row": png_of(2**31 - 1, 1),
    "png one column": png_of(1, 2**31 - 1),
    "png 16 bits": png_of(60_000, 60_000, depth=16, colour=6),
    "png one bit": png_of(200_000, 200_000, depth=1, colour=0),
    "png more pixels than said": png_of(2, 2),
    "png comment": png_of(8, 8, chunk(b"zTXt", b"a\0\0" + ZEROS)),
    "png comments": png_of(8, 8, *[chunk(b"zTXt", b"a\0\0" + ZEROS[:90_000])] * 3),
    "png words": png_of(8, 8, chunk(b"iTXt", b"a\0\1\0\0\0" + ZEROS)),
    "png profile": png_of(8, 8, chunk(b"iCCP", b"a\0\0" + ZEROS)),
    "png frames": png_of(8, 8, frames(3000)),
    "png frames said": png_of(8, 8, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
    "png chunk said": b"\x89PNG\r\n\x1a\n\x7f\xff\xff\xffIHDR" + bytes(40),
    "jpeg 65k x 65k": jpeg_of(65_500, 65_500),
    "jpeg progressive": jpeg_of(65_500, 65_500, 0xC2),
    "jpeg scans": jpeg_of(490, 500, 0xC2, scans=8000),
    "webp 16k x 16k": webp_of(b"VP8L", struct.pack("<IBI", 37, 0x2F, 0x0FFFFFFF) + bytes(33)),
    "webp canvas": webp_of(b"VP8X", struct.pack("<IIHBHB", 10, 2, 0xFFFF, 0xFF, 0xFFFF, 0xFF)),
}


def decoders(server: Server) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if "visreward.serving.workers.decoder" in child.cmdline()]


def peak_kilobytes(process: psutil.Process) -> int:
    """Return the most memory that a process has had since its peak was reset."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0])


def test_incident_13_bombs_are_refused_by_their_headers_within_memory(
    http: httpx2.Client, server: Server, png: Callable[..., bytes]
) -> None:
    assert len(BOMBS) >= 20
    warm = [png(500, 500)]
    for _ in range(2 * len(decoders(server))):
        assert codes(asked(http, warm)) == [None]
    before = {}
    for process in decoders(server):
        Path(f"/proc/{process.pid}/clear_refs").write_text("5", encoding="ascii")  # resets the peak
        before[process.pid] = process.memory_info().rss >> 10
    found = {}
    for name, body in BOMBS.items():
        assert len(body) < 400_000, name
        response = asked(http, [body])
        found[name] = codes(response)[0]
    scored = {name for name, code in found.items() if code is None}
    assert scored <= {"png frames", "png frames said", "png more pixels than said"}
    assert set(found.values()) <= {None, "image_too_large", "image_unreadable"}
    assert {process.pid for process in decoders(server)} == set(before)
    for process in decoders(server):
        assert peak_kilobytes(process) - before[process.pid] < 64 << 10


def test_incident_13_bomb_among_others_fails_alone(
    http: httpx2.Client, png: Callable[..., bytes]
) -> None:
    images = [png(8, 8), BOMBS["png 100k x 100k"], png(8, 8)]
    assert codes(asked(http, images)) == [None, "image_too_large", None]
    text = base64.b64encode(BOMBS["jpeg 65k x 65k"]).decode()
    response = http.post("/v1/score", json={"model": IMAGE_MODEL, "candidates": [text]})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "image_too_large")
