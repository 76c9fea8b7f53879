"""The server under five times the load that it can bear.

First as many clients as it likes, for its peak; then requests at five times that rate, whatever it
answers. It should go on at its peak, refuse the rest at once with 429, hold its memory, and answer
every request once: ids are followed through the answers and the log. All images differ; the cache
of their features is small here, so that it is full before memory is read. The load comes from the
same machine, and what it takes there the server lacks; `cores` says how much that is.

Run: python benchmarks/serving_overload.py [--model NAME] [--seconds S] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import uvloop

from record import write_run
from serving_load.accounts import account, milliseconds
from serving_load.clients import Reply, open_loop, press, scored_per_s
from serving_load.server import Server, holds_within, running_server
from serving_load.workload import Plan, add_options, random_times
from visreward.serving.workers.stage_clock import STAGES


def requests_logged(server: Server, tag: str) -> list[dict[str, Any]]:
    """Return the log's lines of the requests of one phase."""
    return [line for line in server.events("request") if line["request_id"].startswith(tag)]


@contextmanager
def observed(server: Server, model: str) -> Iterator[dict[str, Any]]:
    """Fill a map with what the block takes: cores by process, batches, the model's time."""
    sums = [
        *(f'visreward_batch_items_{part}{{model="{model}"}}' for part in ("sum", "count")),
        *(f'visreward_stage_seconds_sum{{model="{model}",stage="{stage}"}}' for stage in STAGES),
    ]
    found: dict[str, Any] = {}
    sums_before, cpu = [server.metric(each) for each in sums], server.cpu_seconds()
    load_cpu, start = time.process_time(), time.perf_counter()
    yield found
    wall = time.perf_counter() - start
    after = server.cpu_seconds()
    items, count, *stages = (
        server.metric(each) - old for each, old in zip(sums, sums_before, strict=True)
    )
    cores = {role: (after[role] - seconds) / wall for role, seconds in cpu.items()}
    found["cores"] = {"load": (time.process_time() - load_cpu) / wall, **cores}
    found["items_per_batch"] = items / max(1, count)
    found["model_busy"] = sum(stages) / wall
    found["model_ms_per_candidate"] = 1000 * sum(stages) / max(1, items)


def peak(server: Server, options: argparse.Namespace, plan: Plan, tag: str) -> dict[str, Any]:
    """Return candidates per second when every client waits for its answer."""
    with observed(server, options.model) as found:
        replies = press(
            server.port,
            plan.bodies(tag),
            num_clients=options.clients,
            seconds=options.peak_seconds,
            tag=tag,
        )
    return {"per_s": scored_per_s(replies), **found}


def overload(
    server: Server, options: argparse.Namespace, plan: Plan, *, peak_per_s: float
) -> dict[str, Any]:
    """Return what the server does when more comes than it can do."""
    memory: list[dict[str, float]] = []
    with observed(server, options.model) as found:
        replies: list[Reply] = uvloop.run(
            open_loop(
                server.port,
                plan.bodies("over"),
                times=random_times(
                    rate=options.times * peak_per_s / options.candidates, seconds=options.seconds
                ),
                tag="over",
                num_clients=options.clients,
                read=lambda: memory.append(server.memory_mib()),
            )
        )
    holds_within(lambda: len(requests_logged(server, "over-")) >= len(replies), timeout_s=10)
    log = requests_logged(server, "over-")
    goodput = scored_per_s(replies, only_under_load=True)
    totals = [sum(each.values()) for each in memory]
    settled = totals[len(totals) // 5 :]
    half = max(1, len(settled) // 4)
    return {
        "asked_per_s": options.times * peak_per_s,
        "goodput_per_s": goodput,
        "account": asdict(account(replies, log)),
        "is_whole": account(replies, log).is_whole,
        "refusal_ms_at_server": milliseconds(log, status=429),
        "memory_mib": memory,
        "memory_growth": sum(settled[-half:]) / sum(settled[:half]) - 1,
        **found,
    }


def report(results: dict[str, Any]) -> None:
    """Print the figures."""
    found = results["overload"]
    for each in results["peaks"]:
        print(f"Peak: {each['per_s']:.1f}/s, {_costs(each)}")
    print(f"Asked {found['asked_per_s']:.1f}/s, scored {found['goodput_per_s']:.1f}/s.")
    print(f"Goodput: {results['goodput_share']:.1%} of the peak.")
    print(f"429 at the server, ms: {found['refusal_ms_at_server']}")
    print(f"Memory: {found['memory_growth']:+.1%}. Answers: {found['account']}")
    print(f"Overload: {_costs(found)}")


def _costs(found: dict[str, Any]) -> str:
    cores = ", ".join(f"{role} {each:.2f}" for role, each in found["cores"].items())
    return (
        f"cores: {cores}; {found['items_per_batch']:.1f} candidates per batch, model busy "
        f"{found['model_busy']:.0%}, {found['model_ms_per_candidate']:.1f} ms per candidate"
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write; exit status 1 where a request was lost or answered twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, distinct=64)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--times", type=float, default=5.0, help="of the peak")
    parser.add_argument("--peak-seconds", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload")
    parser.add_argument("--max-queue-items", type=int, default=256)
    parser.add_argument("--cache-mib", type=int, default=64, help="of the model's process")
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args(arguments)
    more = ["--max-queue-items", str(options.max_queue_items)]
    more += ["--cache-mib", str(options.cache_mib)]
    with running_server([options.model], more, threads=options.threads) as server:
        plan = Plan.of(options, server)
        peak(server, options, plan, "warm")
        before = peak(server, options, plan, "before")
        found = overload(server, options, plan, peak_per_s=before["per_s"])
        peaks = [before, peak(server, options, plan, "after")]
    results = {
        "peaks": peaks,
        "goodput_share": found["goodput_per_s"] / statistics.mean(p["per_s"] for p in peaks),
        "overload": found,
    }
    report(results)
    settings = {key: value for key, value in vars(options).items() if key != "output"}
    write_run(options.output, settings=settings, results=results)
    if not found["is_whole"]:
        sys.exit("A request was lost or answered twice. See account.")


if __name__ == "__main__":
    main()
