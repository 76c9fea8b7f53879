"""Incidents 6 to 8, 17 and 18: what comes over the wire, and who may send it."""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import pickle
import random
import re
import select
import socket
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import psutil
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from visreward.core.errors import VisrewardError
from visreward.models.vlm.release import HPSV3, read_release

if TYPE_CHECKING:
    from tests.serving.conftest import Server
    from tests.serving.incidents.conftest import Poison

IMAGE_MODEL = "hp-mini"
BODY_BYTES = 400_000
JSON = {"content-type": "application/json"}


def routes(http: httpx2.Client) -> list[tuple[str, str]]:
    """Return every route, and some that are none."""
    paths = http.get("/openapi.json").json()["paths"]
    found = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    assert len(found) >= 10
    return [*found, ("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/nowhere"), ("POST", "/")]


def test_incident_06_pickle_is_refused_on_every_route_and_never_loaded(
    http: httpx2.Client, poison: Poison, canary: Path
) -> None:
    body = pickle.dumps({"images": [poison], "prompts": ["x"]})
    for method, path in routes(http):
        if method == "POST" and path != "/":
            for kind in ("application/octet-stream", "application/x-pickle", ""):
                response = http.post(path, content=body, headers={"content-type": kind})
                assert response.status_code == 415
            for kind in ("application/json", "application/msgpack"):
                response = http.post(path, content=body, headers={"content-type": kind})
                assert response.status_code in (400, 422)
    asked = {"model": IMAGE_MODEL, "candidates": [base64.b64encode(body).decode()]}
    assert http.post("/v1/score", json=asked).status_code == 415
    assert http.post("/", content=body).status_code == 404
    pickle.loads(body)
    assert canary.exists()
    canary.unlink()


BANNED_MODULES = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle"}
BANNED_IN_SERVING = {*BANNED_MODULES, "multiprocessing", "pickletools"}
ALLOWED = {
    "models/pickles.py": {"pickle"},  # weights of a release, in a process of its own
    "data/frame_pickle.py": {"pickle"},  # data frames, every global refused or a plain record
}
"""The modules that open pickles. Serving has none: its pickles have a reader of their own."""


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the first part of each module's name that a source imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def dangerous(node: ast.AST) -> str | None:
    """Return what a call does that can run what it reads, or None."""
    if not isinstance(node, ast.Call):
        return None
    name = ast.unparse(node.func)
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    is_loose = (
        name in {"eval", "exec", "compile", "__import__", "yaml.load", "yaml.unsafe_load"}
        or (name == "torch.load" and keywords.get("weights_only") != "True")
        or (name.endswith("np.load") and keywords.get("allow_pickle", "False") != "False")
        or keywords.get("shell", "False") != "False"
    )
    return name if is_loose else None


def test_incident_06_no_source_reads_what_can_run(project_dir: Path) -> None:
    root = project_dir / "src" / "visreward"
    found = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        banned = BANNED_IN_SERVING if name.startswith("serving/") else BANNED_MODULES
        used = banned.intersection(imported(tree)) - ALLOWED.get(name, set())
        calls = {call for call in map(dangerous, ast.walk(tree)) if call is not None}
        found += [f"{name}: {what}" for what in sorted(used | calls)]
    assert found == []


def test_incident_07_only_the_http_port_listens_and_on_loopback_only(server: Server) -> None:
    main = psutil.Process(server.process.pid)
    processes = (main, *main.children(recursive=True))
    assert len(processes) > 3
    listening = [
        connection.laddr
        for process in processes
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM
    ]
    assert [(place.ip, place.port) for place in listening] == [("127.0.0.1", server.port)]
    named = [
        connection.laddr
        for process in processes
        for connection in process.net_connections(kind="unix")
        if connection.laddr
    ]
    assert named == []


def test_incident_07_child_processes_see_no_key(server: Server) -> None:
    assert server.api_key is not None
    for child in psutil.Process(server.process.pid).children(recursive=True):
        assert server.api_key not in str(child.environ())
        assert server.api_key not in str(child.cmdline())


HPSV3_CONFIG = (
    "use_special_tokens: true\nrm_head_type: default\noutput_dim: 2\nmin_pixels: 1\nmax_pixels: 2\n"
)


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped/hpsv3/dataset/data_collator_qwen.py",
        "/tmp/hpsv3/dataset/data_collator_qwen.py",
        "hpsv3/../../dataset/data_collator_qwen.py",
        "hpsv3/dataset/data_collator_qwen.py",
    ],
)
@pytest.mark.parametrize("is_symlink", [True, False])
def test_incident_08_release_archive_writes_nothing_and_follows_no_link(
    name: str, is_symlink: bool, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.py"
    secret.write_text("INSTRUCTION = 'the secret'\n", encoding="utf-8")
    archive = tmp_path / "inside" / "release.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("hpsv3/config/a.yaml", HPSV3_CONFIG)
        info = zipfile.ZipInfo(name)
        info.external_attr = (0o120777 if is_symlink else 0o100644) << 16
        file.writestr(info, str(secret) if is_symlink else "import os\nos.abort()\n")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(VisrewardError) as caught:
        read_release(archive, HPSV3, model_type="qwen2_vl")
    assert "the secret" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_incident_08_release_archive_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "release.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("hpsv3/config/a.yaml", HPSV3_CONFIG)
        file.writestr("hpsv3/dataset/data_collator_qwen.py", "#" * (8 << 20))
    with pytest.raises(VisrewardError, match="over 1 MB"):
        read_release(archive, HPSV3, model_type="qwen2_vl")


def test_incident_08_no_source_unpacks_an_archive(project_dir: Path) -> None:
    banned = re.compile(r"\btarfile\b|\.extractall\(|(?<!propagator)\.extract\(|unpack_archive")
    found = [
        str(path)
        for path in sorted((project_dir / "src").rglob("*.py"))
        if banned.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def multipart_bodies() -> Iterator[tuple[str, bytes]]:
    """Yield boundaries and bodies that have held up parsers, and random ones."""
    head = b'Content-Disposition: form-data; name="candidates"; filename="a.png"\r\n\r\n'
    yield "b" * 70, b"--" + b"b" * 70 + b"-" * 300_000
    yield "b", b"--b\r\n" + b"\r\n" * 150_000
    yield "b", b"--b" * 100_000
    yield "b", b"--b\r\n" + head + b"\r\n--" * 90_000
    yield "b", b"--b\r\nX: " + b"a" * 300_000
    yield "b", b"--b\r\n" + b"X: a\r\n" * 50_000 + b"\r\n"
    yield "b", (b"--b\r\n" + head + b"\r\n") * 3000 + b"--b--\r\n"
    yield "b", b"\r\n" * 150_000 + b"--b--"
    yield "b", b"--b\r\nContent-Disposition: form-data; name=\xff\xfe\r\n\r\nx\r\n--b--\r\n"
    yield "b; charset=\x01", b"--b--\r\n"
    yield "a" * 8000, b"--" + b"a" * 8000 + b"\r\n"
    rng = random.Random(8)
    parts = (b"--b", b"\r\n", head, b"--", b"\0", b"\xff", b"x" * 50, b'name="prompt"', b";", b"b")
    for _ in range(60):
        yield "b", b"".join(rng.choices(parts, k=rng.randrange(2, 30)))


def test_incident_08_multipart_of_any_boundary_is_answered(
    http: httpx2.Client, server: Server
) -> None:
    for boundary, body in multipart_bodies():
        kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
        response = http.post("/v1/score", content=body, headers=kind)
        assert 400 <= response.status_code < 500, (boundary[:20], response.text)
        assert set(response.json()) == {"error", "request_id", "results"}
    used = psutil.Process(server.process.pid).memory_info().rss
    assert used < 1 << 30


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
def test_incident_17_every_route_but_live_and_ready_needs_the_key(
    server: Server, http: httpx2.Client, headers: dict[str, str]
) -> None:
    encoded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    with httpx2.Client(base_url=server.url, timeout=60) as stranger:
        for method, path in routes(http):
            response = stranger.request(method, path, headers=encoded)
            if path in ("/live", "/ready"):
                assert response.status_code == 200
            else:
                assert response.status_code == 401, path
                assert response.json()["error"]["code"] == "unauthorised"
                assert response.headers["www-authenticate"] == "Bearer"


def test_incident_17_path_in_another_spelling_needs_the_key_too(server: Server) -> None:
    paths = ("//metrics", "/live/../metrics", "/live%2f..%2fmetrics", "/METRICS", "/live/", "/%6c")
    for path in (*paths, "/live;x/metrics", "/ready?x=/metrics", "http://127.0.0.1/metrics"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert b"visreward_requests" not in answer
        is_open = path.startswith("/ready?")
        assert answer.split(b" ", 2)[1] == (b"200" if is_open else b"401"), path


@pytest.mark.parametrize("is_chunked", [False, True])
def test_incident_17_body_at_the_limit_is_read_and_one_byte_more_is_refused(
    http: httpx2.Client, png: Callable[..., bytes], is_chunked: bool
) -> None:
    image = base64.b64encode(png(8, 8)).decode()
    body = json.dumps({"model": IMAGE_MODEL, "candidates": [image]}).encode()

    def sent(size: int) -> bytes | Iterator[bytes]:
        content = body.ljust(size)
        pieces = (content[start : start + 10_000] for start in range(0, size, 10_000))
        return pieces if is_chunked else content

    at = http.post("/v1/score", content=sent(BODY_BYTES), headers=JSON)
    assert at.status_code == 200
    beyond = http.post("/v1/score", content=sent(BODY_BYTES + 1), headers=JSON)
    assert (beyond.status_code, beyond.json()["error"]["code"]) == (413, "body_too_large")


def test_incident_17_endless_chunks_are_cut_off_at_the_limit(server: Server) -> None:
    head = "POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {server.api_key}\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:

        def send_on() -> None:
            nonlocal answer
            while True:
                connection.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
                if not answer and select.select([connection], [], [], 0)[0]:
                    answer = connection.recv(65_536)

        connection.sendall(head.encode())
        with pytest.raises(ConnectionError):
            send_on()
    assert b" 413 " in answer[:20]


def test_incident_17_slow_headers_close_the_connection_and_others_are_served(
    server: Server, http: httpx2.Client
) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        assert http.get("/v1/models").status_code == 200
        connection.settimeout(120)
        assert connection.recv(100) == b""


@pytest.mark.parametrize(
    ("start", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nX: \0\r\n\r\n", 400, "not_http"),
        (b"no HTTP at all\r\n\r\n", 400, "not_http"),
        (b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 10_000_000, 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 1_000_000, 431, "headers_too_large"),
        (b"GET /" + b"a" * 10_000_000, 431, "headers_too_large"),
    ],
)
def test_incident_17_what_is_no_request_is_refused_before_it_ends(
    server: Server, until: Callable[..., Any], start: bytes, status: int, code: str
) -> None:
    refused = f'visreward_rejections_total{{reason="{code}"}}'
    before = server.metric(refused)
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        with contextlib.suppress(ConnectionError):  # it closes what goes on too long
            for place in range(0, len(start), 10_000):
                connection.sendall(start[place : place + 10_000])
                if select.select([connection], [], [], 0.01)[0]:
                    break
        with contextlib.suppress(ConnectionError):
            answer = connection.recv(65_536)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    said = json.loads(body)
    assert said["error"]["code"] == code
    told = {"request_id": said["request_id"], "code": code}
    # The log comes by another way than the answer.
    until(lambda: any(told.items() <= line.items() for line in server.events("connection refused")))
    assert server.metric(refused) == before + 1


FLOORS = {
    "torch": "2.6",  # incident 1
    "transformers": "5.3",  # incidents 3 and 4
    "pillow": "12.2",  # incident 12
    "safetensors": "0.6",  # incident 20
    "python-multipart": "0.0.27",  # incident 18, also the ReDoS of GHSA-2jv5-9r88-3w3p
    "starlette": "0.49.1",  # incident 18, also the ranges of CVE-2025-62727
    "httptools": "0.7",  # incident 17: llhttp 9.3, strict about the ends of chunks
    "gradio": "6.27",  # incident 19
}


def test_incident_18_no_version_before_the_repair_is_allowed(project_dir: Path) -> None:
    project = tomllib.loads((project_dir / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = [Requirement(text) for group in groups for text in group]
    for name, floor in FLOORS.items():
        before = f"{floor}.dev0"
        found = [requirement for requirement in wanted if requirement.name == name]
        assert found, name
        assert not any(each.specifier.contains(before, prereleases=True) for each in found), name
        if name != "gradio":
            assert Version(version(name)) >= Version(floor)


@pytest.mark.parametrize(
    "start",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 18,
        b"POST /v1/score HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXX2\r\n",
        b"GET /live HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
        b"GET /live HTTP/9.9\r\n\r\n",
        b"A" * 100_000,
    ],
)
def test_incident_18_broken_http_gets_no_5xx_and_harms_nobody(
    server: Server, http: httpx2.Client, start: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(120)
        try:
            connection.sendall(start)
            answer = connection.recv(100)
        except ConnectionError:
            answer = b""
        assert b" 5" not in answer[:13]
    assert http.get("/v1/models").status_code == 200


def test_incident_18_content_type_of_any_shape_is_answered(http: httpx2.Client) -> None:
    rng = random.Random(18)
    alphabet = [";", "=", '"', "\\", " ", "/", ",", "boundary", "multipart/form-data", "a", "\t"]
    kinds = ["".join(rng.choices(alphabet, k=rng.randrange(1, 40))) for _ in range(60)]
    kinds += ["multipart/form-data; boundary=" + '"\\' * 3000, "multipart/form-data" + ";a" * 4000]
    for kind in kinds:
        headers = {"content-type": kind.strip() or "x"}
        response = http.post("/v1/score", content=io.BytesIO(b"--a--").read(), headers=headers)
        assert response.status_code in (400, 415, 422), kind
