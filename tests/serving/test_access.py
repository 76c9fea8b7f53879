"""Who may ask, what may be asked for, and what a response may say (incidents 6, 7, 9 to 12, 17)."""

from __future__ import annotations

import ast
import base64
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import psutil
import pytest

import visreward.serving
from visreward.core.errors import UsageError
from visreward.serving.settings import ModelSetup, ServerSettings, is_loopback

if TYPE_CHECKING:
    from tests.core.bad_files import BadFile
    from tests.serving.conftest import Server

IMAGE_MODEL = "hp-mini"
MODELS = (ModelSetup(name=IMAGE_MODEL),)
LEAKS = re.compile(
    r"0x[0-9a-f]{6}|Traceback|/work|/home|/tmp|site-packages|\.py\b|<.* object|Pillow"
)


def routes(http: httpx2.Client) -> list[tuple[str, str]]:
    paths = http.get("/openapi.json").json()["paths"]
    found = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    return [*found, ("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/nowhere")]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong-wrong-wrong-wrong"},
        {"authorization": "Bearer"},
        {"authorization": "Basic YTpi"},
        {"x-api-key": "a-key-of-the-tests-012345678"},
        {"x-api-key": "\u00e9".encode("latin-1").decode("latin-1")},
    ],
)
def test_every_route_but_live_and_ready_needs_the_key(
    server: Server, http: httpx2.Client, headers: dict[str, str]
) -> None:
    known = routes(http)
    assert len(known) > 10
    encoded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    with httpx2.Client(base_url=server.url, timeout=60) as stranger:
        for method, path in known:
            response = stranger.request(method, path, headers=encoded)
            if path in ("/live", "/ready"):
                assert response.status_code == 200
            else:
                assert response.status_code == 401, path
                assert response.json()["error"]["code"] == "unauthorised"
                assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_key_is_taken_in_either_header(server: Server, header: str) -> None:
    value = f"Bearer {server.api_key}" if header == "authorization" else str(server.api_key)
    with httpx2.Client(base_url=server.url, headers={header: value}, timeout=60) as http:
        assert http.get("/v1/models").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", "127.0.0.1.evil"])
def test_settings_open_host_without_key_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="API key"):
        ServerSettings(models=MODELS, host=host)
    assert ServerSettings(models=MODELS, host=host, api_key="k" * 16).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_settings_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    assert ServerSettings(models=MODELS, host=host).api_key is None


def test_settings_short_key_is_refused_and_a_key_is_not_shown() -> None:
    with pytest.raises(UsageError, match="15 characters"):
        ServerSettings(models=MODELS, api_key="k" * 15)
    assert "kkkk" not in repr(ServerSettings(models=MODELS, api_key="k" * 16))


@pytest.mark.parametrize(
    "image",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "../../etc/passwd",
        "~/x.png",
        "http://127.0.0.1:1/a.png",
        "https://good.example\\@evil.example/a.png",
        "http://[::1]/a.png",
        "http://0x7f.1/a.png",
        "http://169.254.169.254/latest/meta-data",
        "gopher://127.0.0.1/_x",
        "ftp://127.0.0.1/a.png",
        "data:text/plain,hello",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "\\\\host\\share\\a.png",
    ],
)
def test_path_or_url_is_never_an_image(http: httpx2.Client, image: str) -> None:
    response = http.post("/v1/score", json={"model": IMAGE_MODEL, "candidates": [image]})
    assert response.status_code in (400, 415)
    codes = {"url_not_allowed", "image_not_base64", "image_format_unsupported"}
    assert response.json()["error"]["code"] in codes
    assert image[:8] not in response.text


def test_pickle_is_refused_on_every_route_and_never_loaded(
    http: httpx2.Client, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"

    class Poison:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (canary,)

    body = pickle.dumps({"images": [Poison()], "prompts": ["x"]})
    for method, path in routes(http):
        if method == "POST":
            for kind in ("application/octet-stream", "application/x-pickle"):
                response = http.post(path, content=body, headers={"content-type": kind})
                assert response.status_code == 415
            for kind in ("application/json", "application/msgpack"):
                response = http.post(path, content=body, headers={"content-type": kind})
                assert response.status_code in (400, 422)
    asked = {"model": IMAGE_MODEL, "candidates": [base64.b64encode(body).decode()]}
    assert http.post("/v1/score", json=asked).status_code == 415
    assert not canary.exists()


def test_serving_code_loads_no_pickle_and_runs_no_text() -> None:
    assert visreward.serving.__file__ is not None
    banned = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "multiprocessing"}
    for path in sorted(Path(visreward.serving.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not banned & {alias.name.partition(".")[0] for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] not in banned, path
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile", "__import__"}, path


def test_only_the_http_port_listens_and_on_loopback_only(server: Server) -> None:
    main = psutil.Process(server.process.pid)
    listening = [
        connection.laddr
        for process in (main, *main.children(recursive=True))
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert [(place.ip, place.port) for place in listening] == [("127.0.0.1", server.port)]


def test_child_processes_see_no_key(server: Server) -> None:
    assert server.api_key is not None
    for child in psutil.Process(server.process.pid).children(recursive=True):
        assert server.api_key not in str(child.environ())
        assert server.api_key not in str(child.cmdline())


def test_bad_file_gets_a_code_of_the_catalogue_and_no_detail(
    http: httpx2.Client, bad_file: BadFile
) -> None:
    image = base64.b64encode(bad_file.make()).decode()
    response = http.post("/v1/score", json={"model": IMAGE_MODEL, "candidates": [image]})
    if response.status_code != 200:
        error = response.json()["error"]
        assert response.status_code in (400, 413, 415, 422), error
        assert error["code"].startswith(("image_", "body_too_large"))
    assert not LEAKS.search(response.text), response.text


def test_model_name_that_is_a_folder_is_unknown(
    http: httpx2.Client, png: Callable[..., bytes]
) -> None:
    image = base64.b64encode(png(8, 8)).decode()
    for name in ("/etc", "../hp-mini", "hp-mini/"):
        response = http.post("/v1/score", json={"model": name, "candidates": [image]})
        assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_model")
        assert name not in response.text
