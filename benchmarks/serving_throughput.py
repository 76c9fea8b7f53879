"""How much of the library's throughput is left behind the server, and what a request waits more.

Both sides score the same edits with the same model on the same cores, and take turns in one run:
the library as a stream of files in batches of the size that the server makes, the server under many
clients that each wait for their answer. All images differ, so that no cache helps; the clients run
on the same cores too. `share` compares candidates per second. `share_by_cpu` compares what a
candidate takes of the cores, which is the same where both sides fill them, and which other programs
on the machine disturb less. Then single requests come at random, at a tenth of that rate, and the
library scores the same ones in its process, which come at the same times and may wait for each
other.

Run: python benchmarks/serving_throughput.py [--model NAME] [--threads N] [--repeats N]
     [--output FILE.json]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

import uvloop

from record import write_run
from serving_load.clients import open_loop, press, scored_per_s
from serving_load.library import Library, beside
from serving_load.server import Server, running_server
from serving_load.workload import Plan, add_options, random_times

ROLES = ("http", "decoder", "model")


def served_turn(
    server: Server, options: argparse.Namespace, plan: Plan, tag: str
) -> dict[str, Any]:
    """Return rate, batch size and CPU time by process of one turn of the server."""
    name = options.model
    sums = [f'visreward_batch_items_{part}{{model="{name}"}}' for part in ("sum", "count")]
    before, batches_before = server.cpu_seconds(), [server.metric(each) for each in sums]
    replies = press(
        server.port, plan.bodies(tag), num_clients=options.clients, seconds=options.seconds, tag=tag
    )
    after, batches_after = server.cpu_seconds(), [server.metric(each) for each in sums]
    num_scored = sum(reply.num_scored for reply in replies)
    if not num_scored:
        codes = sorted({str(reply.code) for reply in replies})
        sys.exit(f"The server scored nothing: {', '.join(codes)}. Give it longer turns.")
    items, batches = (b - a for a, b in zip(batches_before, batches_after, strict=True))
    return {
        "per_s": scored_per_s(replies),
        "num_scored": num_scored,
        "failed": [reply.code for reply in replies if reply.status != 200],
        "items_per_batch": items / batches,
        "cpu_ms_per_candidate": {
            role: 1000 * (after[role] - before[role]) / num_scored for role in ROLES
        },
        "median_latency_s": statistics.median(reply.seconds for reply in replies),
    }


def throughput(
    server: Server, library: Library, options: argparse.Namespace, plan: Plan
) -> dict[str, Any]:
    """Return the rates of both sides, turn by turn."""
    warm = served_turn(server, options, plan, "warm")
    batch_size = max(1, round(warm["items_per_batch"]))
    per_turn = max(1, round(warm["per_s"] * options.seconds / options.candidates))
    library.stream(num=min(per_turn, 8), batch_size=batch_size, tag="warm")
    turns = []
    for number in range(options.repeats):
        before = library.stream(num=per_turn // 2 + 1, batch_size=batch_size, tag=f"a{number}")
        served = served_turn(server, options, plan, f"s{number}")
        after = library.stream(num=per_turn // 2 + 1, batch_size=batch_size, tag=f"b{number}")
        num_scored = before["num_scored"] + after["num_scored"]
        library_per_s = num_scored / (before["seconds"] + after["seconds"])
        server_cpu_ms = sum(served["cpu_ms_per_candidate"].values())
        library_cpu_ms = 1000 * (before["cpu_s"] + after["cpu_s"]) / num_scored
        turns.append(
            {
                "served": served,
                "library_per_s": library_per_s,
                "library_cpu_ms": library_cpu_ms,
                "share": served["per_s"] / library_per_s,
                "share_by_cpu": library_cpu_ms / server_cpu_ms,
            }
        )
    return {"batch_size": batch_size, "turns": turns}


def added_latency(
    server: Server,
    library: Library,
    options: argparse.Namespace,
    plan: Plan,
    *,
    peak_per_s: float,
) -> dict[str, Any]:
    """Return the median seconds of single requests at a tenth of the peak, both sides in turn."""
    rate = 0.1 * peak_per_s / options.candidates
    times = random_times(rate=rate, seconds=options.requests / rate)
    queue = [
        f'visreward_stage_seconds_{part}{{model="{options.model}",stage="queue"}}'
        for part in ("sum", "count")
    ]
    before = [server.metric(each) for each in queue]
    served: list[float] = []
    in_process: list[float] = []
    for number in range(options.repeats):
        replies = uvloop.run(
            open_loop(server.port, plan.bodies(f"l{number}"), times=times, tag=f"l{number}")
        )
        served += [reply.seconds for reply in replies if reply.status == 200]
        in_process += library.one(times=times, tag=f"p{number}")
    waited_s, waits = (server.metric(each) - b for each, b in zip(queue, before, strict=True))
    medians = [1000 * statistics.median(each) for each in (served, in_process)]
    return {
        "requests_per_s": rate,
        "served_ms": medians[0],
        "in_process_ms": medians[1],
        "added_ms": medians[0] - medians[1],
        "mean_queue_ms": 1000 * waited_s / waits,
        "num_requests": len(served),
    }


def report(results: dict[str, Any]) -> None:
    """Print the figures as Markdown."""
    print("| turn | library/s | served/s | share | batch | library ms | http | decoder | model |")
    print("|---|---|---|---|---|---|---|---|---|")
    for number, turn in enumerate(results["throughput"]["turns"]):
        served = turn["served"]
        costs = " | ".join(f"{served['cpu_ms_per_candidate'][role]:.1f}" for role in ROLES)
        print(
            f"| {number} | {turn['library_per_s']:.1f} | {served['per_s']:.1f} | "
            f"{turn['share']:.1%} | {served['items_per_batch']:.0f} | "
            f"{turn['library_cpu_ms']:.1f} | {costs} |"
        )
    found = results["latency"]
    print(f"\nShare of the library's throughput, median: {results['share']:.1%};")
    print(f"by the CPU time that a candidate takes: {results['share_by_cpu']:.1%}.")
    print(
        f"At {found['requests_per_s']:.2f} requests/s: {found['served_ms']:.1f} ms served, "
        f"{found['in_process_ms']:.1f} ms in process, {found['added_ms']:+.1f} ms; "
        f"{found['mean_queue_ms']:.2f} ms in the queue, mean."
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, distinct=64)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0, help="of one turn")
    parser.add_argument("--requests", type=int, default=40, help="of one turn of latency")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--serve-options", default="", help="more options of visreward serve")
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args(arguments)
    more = options.serve_options.split()
    with running_server([options.model], more, threads=options.threads) as server:
        plan = Plan.of(options, server)
        with beside(plan, threads=options.threads) as library:
            found = throughput(server, library, options, plan)
            peak = statistics.median(turn["served"]["per_s"] for turn in found["turns"])
            latency = added_latency(server, library, options, plan, peak_per_s=peak)
    shares = {
        name: statistics.median(turn[name] for turn in found["turns"])
        for name in ("share", "share_by_cpu")
    }
    results = {**shares, "throughput": found, "latency": latency}
    report(results)
    settings = {key: value for key, value in vars(options).items() if key != "output"}
    write_run(options.output, settings=settings, results=results)


if __name__ == "__main__":
    main()
