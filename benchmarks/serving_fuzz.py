"""Damaged images and requests drawn from the server's own schema: no 5xx, no restart, no detail.

Every image is sent to /v1/score in its bytes. The requests are drawn by Hypothesis from the schemas
of /openapi.json, some with fields changed, some with bytes changed, to every route that takes a
body. A request whose own `timeout_s` is too short gets a 408.

Run: python benchmarks/serving_fuzz.py [--images N] [--requests N] [--seed N] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import re
import sys
from collections import Counter
from contextlib import closing
from typing import Any

import msgpack
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from record import write_run
from serving_load.damaged_images import damaged_images
from serving_load.schema_bodies import JSON, MSGPACK, from_schema, raw_bodies
from serving_load.server import Server, running_server
from serving_load.workload import Plan

DETAIL = re.compile(
    rb"Traceback|\b0x[0-9a-f]{4,}|/(?:usr|home|work|tmp|etc|root)/|site-packages|\.py\b"
)


class Prober:
    """Send requests one after the other, and keep what should not have come back."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: http.client.HTTPConnection | None = None
        self.statuses: Counter[int] = Counter()
        self.codes: Counter[str] = Counter()
        self.faults: list[str] = []

    def send(self, path: str, kind: str, body: bytes) -> None:
        """Send one body, and judge the answer."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                "127.0.0.1", self._server.port, timeout=90
            )
        try:
            self._connection.request("POST", path, body, {"content-type": kind})
            response = self._connection.getresponse()
            content = response.read()
        except (http.client.HTTPException, OSError) as error:
            self.faults.append(f"{path}: no answer, {type(error).__name__}")
            self.close()
            self._connection = None
            return
        self.statuses[response.status] += 1
        if response.status >= 400:
            code = json.loads(content)["error"]["code"]
            self.codes[code] += 1
        if response.status >= 500:
            self.faults.append(f"{path}: {response.status} for {body[:200]!r}")
        if found := DETAIL.search(content):
            self.faults.append(f"{path}: the answer holds {found.group()!r} for {body[:200]!r}")

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def results(self) -> dict[str, Any]:
        """Return what came back."""
        return {
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "codes": dict(self.codes.most_common()),
            "faults": self.faults[:20],
            "num_faults": len(self.faults),
        }


def send_images(prober: Prober, images: list[bytes], model: str) -> None:
    """Send damaged images, one to a request, as raw bytes."""
    for image in images:
        body = msgpack.packb({"model": model, "prompt": "a cup", "candidates": [image]})
        prober.send("/v1/score", MSGPACK, body)


def send_requests(prober: Prober, server: Server, options: argparse.Namespace) -> None:
    """Send requests that are drawn from the schemas."""
    document = json.loads(server.get("/openapi.json")[1])
    plan = Plan(model=options.models[0], candidates=2, side=64, distinct=1, has_source=False)
    pictures = [*plan.works()[0].candidates, *damaged_images(80, seed=options.seed)[-20:]]
    texts = [base64.b64encode(picture).decode() for picture in pictures]
    known = {
        "candidates": texts,
        "source_images": texts,
        "documents": texts,
        "image_b64": texts,
        "url": [f"data:image/png;base64,{text}" for text in texts],
        "model": options.models,
        "required_rewards": options.models,
        "query": ["a red cup"],
    }
    routes = st.one_of(
        [
            st.tuples(st.just(path), raw_bodies(from_schema(schema, document, known)))
            for path, schema in body_schemas(document).items()
        ]
    )

    @seed(options.seed)
    @settings(
        max_examples=options.requests,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(routes)
    def fuzz(drawn: tuple[str, tuple[str, bytes]]) -> None:
        path, (kind, body) = drawn
        prober.send(path, kind, body)

    fuzz()


def body_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of each route that takes a body."""
    return {
        path: operations["post"]["requestBody"]["content"][JSON]["schema"]
        for path, operations in document["paths"].items()
        if "post" in operations
    }


def main(arguments: list[str] | None = None) -> None:
    """Send, print, write; exit status 1 where something came back that should not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["hp-mini", "editreward-mini"])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, help="of torch; default: its choice")
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {}
    with running_server(options.models, threads=options.threads) as server:
        before = server.pids()
        with closing(Prober(server)) as prober:
            images = damaged_images(options.images, seed=options.seed)
            send_images(prober, images, options.models[0])
            results["images"] = prober.results()
        with closing(Prober(server)) as prober:
            send_requests(prober, server, options)
            results["requests"] = prober.results()
        results["restarted"] = len(server.pids() - before)
        results["is_ready"] = server.is_ready()
    for kind in ("images", "requests"):
        found = results[kind]
        print(f"{kind}: {sum(found['statuses'].values())} answers, {found['statuses']}")
        print(f"  codes {found['codes']}\n  faults {found['faults']}")
    print(f"Processes that were replaced: {results['restarted']}.")
    settings_given = {key: value for key, value in vars(options).items() if key != "output"}
    write_run(options.output, settings=settings_given, results=results)
    faults = results["images"]["num_faults"] + results["requests"]["num_faults"]
    if faults or results["restarted"] or not results["is_ready"]:
        sys.exit("An answer or a restart should not have been. See faults.")


if __name__ == "__main__":
    main()
