"""What the running page refuses: foreign files, addresses, names, routes and sizes."""

from __future__ import annotations

import http.client
import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest

import visreward.demo.gate

if TYPE_CHECKING:
    from tests.demo.conftest import Demo

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
SOURCE = str(Path(visreward.demo.gate.__file__))


def ask(
    demo: Demo, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(urlsplit(demo.url).netloc, timeout=300)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, names)
        answer = connection.getresponse()
        return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
    finally:
        connection.close()


def upload(demo: Demo, content: bytes, name: str = "a.png") -> tuple[int, bytes]:
    body = (
        f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        "Content-Type: image/png\r\n\r\n"
    ).encode() + content
    status, answer, _ = ask(
        demo,
        "POST",
        "/gradio_api/upload",
        body + b"\r\n--b--\r\n",
        Content_Type="multipart/form-data; boundary=b",
    )
    return status, answer


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "etc/passwd",
        "../../../../../../etc/passwd",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/tmp/../etc/passwd",
        "/proc/self/environ",
        SOURCE,
        "pyproject.toml",
        "src/visreward/demo/gate.py",
        "http://example.com/a.png",
        "https:/example.com/a.png",
        "file:///etc/passwd",
        "%00",
        "C:/Windows/win.ini",
    ],
)
def test_foreign_file_is_not_served(demo: Demo, path: str) -> None:
    for prefix in ("/gradio_api/file=", "/gradio_api/file%3D", "/gradio_api/file/", "/file="):
        status, body, _ = ask(demo, "GET", prefix + path)
        assert status in (403, 404), (prefix, path)
        assert len(body) < 100


def test_own_upload_is_served_and_leaving_its_folder_is_not(demo: Demo) -> None:
    status, answer = upload(demo, PNG)
    assert status == 200
    (path,) = json.loads(answer)
    assert Path(path).is_relative_to(demo.folder)
    assert ask(demo, "GET", f"/gradio_api/file={quote(path)}")[1] == PNG
    beyond = f"{Path(path).parent}/{'../' * 12}etc/passwd"
    assert ask(demo, "GET", f"/gradio_api/file={quote(beyond)}")[0] == 403


@pytest.mark.parametrize(
    "path", ["/etc/passwd", SOURCE, "http://127.0.0.1:1/a.png", "HTTPS://example.com/a.png", ""]
)
def test_event_with_a_path_or_an_address_is_refused(demo: Demo, path: str) -> None:
    record = {"path": path, "meta": {"_type": "gradio.FileData"}}
    event = {"data": ["ict-hp-mini", "a cat", [[{"image": record}]]], "fn_index": 0}
    status, body, _ = ask(
        demo,
        "POST",
        "/gradio_api/queue/join",
        json.dumps(event).encode(),
        Content_Type="application/json",
    )
    assert (status, json.loads(body)["detail"]) == (
        403,
        "Images are uploaded, not given by a path or an address.",
    )


@pytest.mark.parametrize(
    "path",
    [
        "/docs",
        "/openapi.json",
        "/gradio_api/info",
        "/gradio_api/openapi.json",
        "/gradio_api/proxy=http://example.com/",
        "/gradio_api/run/predict",
        "/gradio_api/call/score",
        "/gradio_api/deep_link",
        "/gradio_api/vibe-code/",
        "/gradio_api/mcp/",
        "/monitoring",
        "/login",
    ],
)
def test_route_that_the_page_does_not_need_is_closed(demo: Demo, path: str) -> None:
    assert ask(demo, "GET", path)[0] == 404
    assert ask(demo, "POST", path, b"{}")[0] == 404


@pytest.mark.parametrize("name", ["example.com", "127.0.0.1.example.com", "", "localhost.evil:80"])
def test_foreign_name_for_this_machine_is_refused(demo: Demo, name: str) -> None:
    assert ask(demo, "GET", "/config", Host=name)[0] == 403


def test_upload_beyond_the_limit_of_one_file_is_refused(demo: Demo) -> None:
    status, _ = upload(demo, PNG + bytes(32 << 20))
    assert status == 413
    left = [each for each in demo.folder.rglob("*") if each.is_file()]
    assert sum(each.stat().st_size for each in left) < 32 << 20


def test_request_without_its_length_or_too_long_is_refused_before_its_body(demo: Demo) -> None:
    assert ask(demo, "POST", "/gradio_api/upload", Content_Length=str(257 << 20))[0] == 413
    assert ask(demo, "POST", "/gradio_api/queue/join", Content_Length=str(2 << 20))[0] == 413
    assert ask(demo, "POST", "/gradio_api/upload", Transfer_Encoding="chunked")[0] == 411
    assert ask(demo, "POST", "/gradio_api/queue/join", b"[" * 5000)[0] == 400


def test_every_answer_forbids_foreign_assets(demo: Demo) -> None:
    for path in ("/", "/config", "/docs"):
        policy = ask(demo, "GET", path)[2]["content-security-policy"]
        assert "default-src 'self'" in policy


def test_port_that_is_taken_is_named(start_demo: Callable[..., Any]) -> None:
    from typer.testing import CliRunner

    from visreward.cli.main import app

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["demo", "--model", "hp-mini", "--port", str(port)])
    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use." in result.stderr
    assert "Choose another --host or --port." in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_the_page_and_deletes_all_uploads(
    start_demo: Callable[..., Any], number: signal.Signals
) -> None:
    with start_demo("hp-mini") as running:
        assert upload(running, PNG)[0] == 200
        assert any(running.folder.iterdir())
        status, rest = running.stop(number)
        assert (status, rest) == (0, "Stopped; all uploads are deleted.\n")
        assert list(running.folder.iterdir()) == []
