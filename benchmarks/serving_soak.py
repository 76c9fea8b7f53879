"""Minutes of steady load: does the memory of any process grow?

Requests come at random, at a share of the peak. Once a second the memory that each process has for
itself is read, and that of decoded pictures, which no process has for itself. All images differ, so
that their features fill the cache, which is small here, before the first reading. The slope of a
straight line through it, after a warm-up, is given with its 95 % interval. Readings of one process
hang together, so that the interval comes from batches of them.

Run: python benchmarks/serving_soak.py [--minutes N] [--load SHARE] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import uvloop
from numpy.typing import NDArray

from record import write_run
from serving_load.accounts import account
from serving_load.clients import open_loop, press, scored_per_s
from serving_load.server import Server, holds_within, running_server
from serving_load.workload import Plan, add_options, random_times
from visreward.core.extras import require_extra

NUM_BLOCKS = 12


def block_medians(mib: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of each of a few equal blocks of readings, in order."""
    parts = np.array_split(mib, min(NUM_BLOCKS, len(mib)))
    return np.array([np.median(part) for part in parts])


def slope_per_hour(seconds: NDArray[np.float64], mib: NDArray[np.float64]) -> dict[str, float]:
    """Return the slope of memory over time in MiB per hour, with its 95 % interval.

    The line goes through the medians of equal blocks of readings, whose errors are nearly
    independent; the interval is Student's, with two degrees of freedom fewer than blocks.

    Args:
        seconds: (N,) when memory was read.
        mib: (N,) MiB.
    """
    from scipy import stats

    parts = min(NUM_BLOCKS, len(mib))
    x = np.array([part.mean() for part in np.array_split(seconds, parts)]) / 3600
    y = block_medians(mib)
    if not np.ptp(y):
        return {"slope": 0.0, "low": 0.0, "high": 0.0}
    found = stats.linregress(x, y)
    half = float(stats.t.ppf(0.975, parts - 2)) * float(found.stderr)
    slope = float(found.slope)
    return {"slope": slope, "low": slope - half, "high": slope + half}


def soak(server: Server, options: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    """Return memory and answers of the steady load."""
    bodies = plan.bodies("soak")
    warm = press(server.port, bodies, num_clients=32, seconds=options.warm_seconds, tag="warm")
    peak_per_s = scored_per_s(warm)
    times: list[float] = []
    memory: list[dict[str, float]] = []

    def read() -> None:
        times.append(time.monotonic())
        memory.append(server.memory_mib())

    replies = uvloop.run(
        open_loop(
            server.port,
            bodies,
            times=random_times(
                rate=options.load * peak_per_s / options.candidates, seconds=60 * options.minutes
            ),
            tag="soak",
            read=read,
        )
    )

    def logged() -> list[dict[str, Any]]:
        return [e for e in server.events("request") if e["request_id"].startswith("soak-")]

    # The account says which requests never came there.
    holds_within(lambda: len(logged()) >= len(replies), timeout_s=10)
    skip = len(times) // 10
    seconds = np.array(times)[skip:]
    steady = {role: np.array([each[role] for each in memory])[skip:] for role in memory[0]}
    return {
        "peak_per_s": peak_per_s,
        "slopes_mib_per_hour": {role: slope_per_hour(seconds, mib) for role, mib in steady.items()},
        "memory_mib": {
            role: [mib[0], mib[-1], max(each[role] for each in memory)]
            for role, mib in steady.items()
        },
        "block_medians_mib": {
            role: block_medians(mib).round(1).tolist() for role, mib in steady.items()
        },
        "account": asdict(account(replies, logged())),
        "is_whole": account(replies, logged()).is_whole,
        "median_ms": 1000 * statistics.median(reply.seconds for reply in replies),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write; exit status 1 where a request was lost or a process was replaced."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, distinct=64)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--load", type=float, default=0.5, help="share of the peak")
    parser.add_argument("--warm-seconds", type=float, default=60.0)
    parser.add_argument("--cache-mib", type=int, default=64, help="of the model's process")
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args(arguments)
    require_extra("bench", "scipy")
    more = ["--cache-mib", str(options.cache_mib)]
    with running_server([options.model], more, threads=options.threads) as server:
        plan = Plan.of(options, server)
        before = server.pids()
        results = soak(server, options, plan)
        results["restarted"] = len(server.pids() - before)
    for role, found in results["slopes_mib_per_hour"].items():
        first, last, most = results["memory_mib"][role]
        print(
            f"{role:8} {first:7.1f} to {last:7.1f} MiB, most {most:7.1f}; "
            f"{found['slope']:+.1f} ({found['low']:+.1f} to {found['high']:+.1f}) MiB/h"
        )
    print(f"Answers: {results['account']}, median {results['median_ms']:.0f} ms")
    settings = {key: value for key, value in vars(options).items() if key != "output"}
    write_run(options.output, settings=settings, results=results)
    if not results["is_whole"] or results["restarted"]:
        sys.exit("A request was lost or answered twice, or a process was replaced.")


if __name__ == "__main__":
    main()
