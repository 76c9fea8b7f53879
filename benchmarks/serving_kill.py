"""SIGKILL of the model's process under load, again and again.

Every request must be answered, with a score or with 503; /ready must turn false and come back as
soon as the model can be loaded. Clients wait for their answers and send the next request at once.

Run: python benchmarks/serving_kill.py [--model NAME] [--kills N] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import sys
import time
from dataclasses import asdict
from typing import Any

import uvloop

from record import write_run
from serving_load.accounts import account
from serving_load.clients import Reply, closed_loop
from serving_load.server import Server, holds_within, running_server, wait_for
from serving_load.workload import Plan, add_options

GRACE_S = 5.0


def kill(server: Server) -> dict[str, float]:
    """Kill the model's process; return seconds until /ready is false, and true again."""
    starts = len(server.events("model ready"))
    pid = int(server.events("model ready")[-1]["model_pid"])
    begin = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    not_ready_s = wait_for(lambda: not server.is_ready())
    wait_for(lambda: len(server.events("model ready")) > starts)
    wait_for(server.is_ready)
    return {"not_ready_s": not_ready_s, "ready_again_s": time.monotonic() - begin}


async def kills_under_load(
    server: Server, options: argparse.Namespace
) -> tuple[list[Reply], list[dict[str, float]]]:
    """Kill while clients ask; return their answers and the times."""
    bodies = Plan.of(options, server).bodies("kill")
    is_over = asyncio.Event()
    load = asyncio.create_task(
        closed_loop(
            server.port,
            bodies,
            num_clients=options.clients,
            is_over=is_over.is_set,
            tag="kill",
        )
    )
    found = []
    for _ in range(options.kills):
        await asyncio.sleep(options.pause_s)
        found.append(await asyncio.to_thread(kill, server))
    await asyncio.sleep(options.pause_s)
    is_over.set()
    return await load, found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return every figure of the run."""
    more = ["--max-queue-items", "4096"]
    with running_server([options.model], more, threads=options.threads) as server:
        starts = [server.events("model ready")[0]["load_s"]]
        replies, kills = uvloop.run(kills_under_load(server, options))
        holds_within(lambda: len(requests_of(server)) >= len(replies), timeout_s=10)
        found = account(replies, requests_of(server))
        starts += [line["load_s"] for line in server.events("model ready")[1:]]
        restarts = server.metric(f'visreward_model_restarts_total{{model="{options.model}"}}')
    for each, load_s in zip(kills, starts[1:], strict=True):
        each["load_s"] = load_s
        each["beyond_load_s"] = each["ready_again_s"] - load_s
    codes = sorted({reply.code for reply in replies if reply.code is not None})
    return {
        "kills": kills,
        "restarts": restarts,
        "account": asdict(found),
        "codes": codes,
        "is_whole": found.is_whole and set(found.by_status) <= {"200", "503"},
        "num_in_flight_failed": sum(reply.code == "model_restarted" for reply in replies),
    }


def requests_of(server: Server) -> list[dict[str, Any]]:
    """Return the log's lines of the load."""
    return [line for line in server.events("request") if line["request_id"].startswith("kill-")]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write; exit status 1 where a request was lost or the model came late."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, distinct=32)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--pause-s", type=float, default=3.0, help="between a start and a kill")
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args(arguments)
    results = measure(options)
    for key in ("not_ready_s", "load_s", "ready_again_s", "beyond_load_s"):
        values = [each[key] for each in results["kills"]]
        print(f"{key:16} median {statistics.median(values):6.2f}  most {max(values):6.2f}")
    print(f"Answers: {results['account']}, {results['codes']}")
    settings = {key: value for key, value in vars(options).items() if key != "output"}
    write_run(options.output, settings=settings, results=results)
    if not results["is_whole"]:
        sys.exit("A request was lost, or answered with something else than 200 or 503.")
    if max(each["beyond_load_s"] for each in results["kills"]) > GRACE_S:
        sys.exit(f"The model was ready again later than its load time and {GRACE_S} s.")


if __name__ == "__main__":
    main()
