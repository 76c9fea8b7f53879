"""Where data is: paths, and data sets from a small hub on this machine's loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub.utils._paths import filter_repo_objects

from visreward.core.errors import DataError
from visreward.evaluation.benchmarks.registry import find_benchmark
from visreward.evaluation.benchmarks.sources import DataSource, find_data

COMMIT = "c0ffee" + "0" * 34

FIND = """
import sys
from visreward.core.errors import VisrewardError
from visreward.evaluation.benchmarks.sources import find_data
try:
    files = sys.argv[3:] or ('*.json', '*.md')
    found = find_data(sys.argv[1], revision=sys.argv[2] or None, files=files)
    print(found.name, *sorted(path.name for path in found.path.iterdir()))
except VisrewardError as error:
    print(f"{type(error).__name__}: {error}")
"""


@dataclass(frozen=True)
class Hub:
    address: str
    requests: list[str]
    home: Path

    def run(self, *command: str, **environment: str) -> str:
        """Run Python in a process that knows this hub; return what it prints."""
        kept = {
            name: os.environ[name]
            for name in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
            if name in os.environ
        }
        done = subprocess.run(
            [sys.executable, *command],
            env={
                **kept,
                "HF_ENDPOINT": self.address,
                "HF_HOME": str(self.home),
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "OMP_NUM_THREADS": "1",
                "NO_PROXY": "127.0.0.1",
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class DatasetHub(BaseHTTPRequestHandler):
    """The part of the hub's interface that fetching a data set uses."""

    files: dict[str, bytes]
    requests: list[str]

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.requests.append(f"{self.command} {path}")
        if path.startswith("api/datasets/team/pairs/revision/"):
            known = path.rsplit("/", 1)[1] in ("main", "v1", COMMIT)
            siblings = [{"rfilename": name} for name in self.files]
            document = {"id": "team/pairs", "sha": COMMIT, "siblings": siblings}
            self.send(json.dumps(document).encode() if known else None)
        elif path.startswith("api/datasets/team/pairs/tree/"):
            listed = [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in self.files.items()
            ]
            self.send(json.dumps(listed).encode())
        elif path.startswith("datasets/team/pairs/resolve/"):
            name = path.split("/", 5)[5]
            marks = {"ETag": f'"{len(name)}{name}"', "X-Repo-Commit": COMMIT}
            self.send(self.files.get(name), marks)
        else:
            self.send(None)

    def send(self, content: bytes | None, headers: dict[str, str] | None = None) -> None:
        self.send_response(404 if content is None else 200)
        fields = {"X-Error-Code": "RevisionNotFound"} if content is None else headers or {}
        for key, value in {**fields, "Content-Length": str(len(content or b""))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content or b"")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Serve six pairs in the layout of HPDv3 as the data set team/pairs."""
    rows = [{"prompt": f"p{n}", "path1": f"{n}.png", "path2": f"{n + 1}.png"} for n in range(6)]
    files = {"test.json": json.dumps(rows).encode(), "README.md": b"six pairs"}
    files["data/train-00000-of-09999.parquet"] = b"much"
    requests: list[str] = []
    handler = type("Handler", (DatasetHub,), {"files": files, "requests": requests})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    yield Hub(address=address, requests=requests, home=tmp_path_factory.mktemp("hf-home"))
    server.shutdown()
    server.server_close()


def test_bench_data_set_of_the_hub_is_fetched_at_a_revision_and_kept(
    hub: Hub, tmp_path: Path
) -> None:
    hub.run(
        "-W", "error", "-m", "visreward", "bench", "hpdv3", "--data", "team/pairs",
        "--revision", "v1", "--model", "random", "--output", str(tmp_path),
    )  # fmt: skip
    assert any(line.endswith("/revision/v1") for line in hub.requests)
    document = json.loads((tmp_path / "random" / "results.json").read_text())
    assert document["configs"]["hpdv3"]["run"]["data"] == f"team/pairs at {COMMIT}"
    assert document["n-samples"]["hpdv3"]["original"] == 6
    asked = len(hub.requests)
    found = hub.run("-c", FIND, "team/pairs", "v1", HF_HUB_OFFLINE="1")
    assert found.split() == ["team/pairs", "at", COMMIT, "README.md", "data", "test.json"]
    assert len(hub.requests) == asked


def test_find_data_only_the_files_that_are_asked_for_are_fetched(hub: Hub) -> None:
    before = len(hub.requests)
    found = hub.run("-c", FIND, "team/pairs", "", "*test*", HF_HOME=str(hub.home / "other"))
    assert found.split() == ["team/pairs", "at", COMMIT, "test.json"]
    assert not [line for line in hub.requests[before:] if "train" in line or "README" in line]


def test_bench_files_of_the_hub_leave_out_training_splits() -> None:
    names = ["data/train-00000-of-00645.parquet", "data/test-00000-of-00015.parquet"]
    kept = filter_repo_objects(names, allow_patterns=list(find_benchmark("pick-a-pic").hub_files))
    assert list(kept) == names[1:]
    names = ["video_generation/test_v1-0.parquet", "image_edition/test_v1-00000-of-00001.parquet"]
    patterns = list(find_benchmark("genai-bench-edit").hub_files)
    assert list(filter_repo_objects(names, allow_patterns=patterns)) == names[1:]
    names = ["reasoning/test-0.parquet", "t2i/test-0.parquet", "edit/test-0.parquet"]
    patterns = list(find_benchmark("mmrb2").hub_files)
    assert list(filter_repo_objects(names, allow_patterns=patterns)) == names[1:]


def test_find_data_unknown_revision_or_data_set_is_one_sentence(hub: Hub) -> None:
    for name, revision in (("team/pairs", "no-such"), ("team/others", "")):
        found = hub.run("-c", FIND, name, revision)
        assert found.startswith(f"DataError: There is no path '{name}', and no data set")
        assert found.count("\n") == 1


def test_find_data_path_is_taken_as_it_is(tmp_path: Path) -> None:
    assert find_data(str(tmp_path)) == DataSource(path=tmp_path, name=str(tmp_path))
    with pytest.raises(DataError, match="has no revision 'v1'"):
        find_data(str(tmp_path), revision="v1")


@pytest.mark.parametrize("given", ["nowhere", "a/b/c", "./a/b", "a b/c"])
def test_find_data_neither_path_nor_hub_id_is_refused(given: str) -> None:
    with pytest.raises(DataError, match="Give a file, a folder, or a data set"):
        find_data(given)
