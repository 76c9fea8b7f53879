"""Time the metrics on 10^3 to 10^6 pairs, with the resamples of their intervals.

Run: python benchmarks/metrics_speed.py --output benchmarks/results/metrics-speed.json
CPU seconds of one core; where nothing else runs, wall seconds are the same. `growth` is the power
of the number of pairs that the time grows with from the second largest size to the largest: 1
is linear. "Lone pairs" makes each pair a cluster with a number of its own: nothing can be drawn by
kind, which is the slowest case there is.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from record import write_run
from visreward.evaluation.metrics.correlation import kendall, spearman
from visreward.evaluation.metrics.intervals import cluster_interval, paired_difference
from visreward.evaluation.metrics.pairs import (
    accuracy_with_ties,
    accuracy_without_ties,
    fit_tie_threshold,
    right_pairs,
)

PAIRS_PER_CLUSTER = 6  # all pairs of four candidates
SHARE_OF_TIES = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Pairs as two models judge them; M pairs.

    Attributes:
        label: (M,) what people say.
        margin: (M,) of a model.
        other: (M,) of another model.
        clusters: (M,) prompts.
    """

    label: NDArray[np.int64]
    margin: NDArray[np.float64]
    other: NDArray[np.float64]
    clusters: NDArray[np.int64]


def draw_pairs(num: int) -> Pairs:
    """Return pairs whose margins are the label and noise."""
    rng = np.random.default_rng(num)
    label = rng.choice(
        [-1, 0, 1], size=num, p=[(1 - SHARE_OF_TIES) / 2, SHARE_OF_TIES, (1 - SHARE_OF_TIES) / 2]
    )
    return Pairs(
        label=label,
        margin=label + rng.normal(size=num),
        other=label + 1.1 * rng.normal(size=num),
        clusters=np.arange(num) // PAIRS_PER_CLUSTER,
    )


def jobs(pairs: Pairs, *, num_resamples: int) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name."""
    right, other = (
        right_pairs(margin, pairs.label, tie_threshold=0.5)
        for margin in (pairs.margin, pairs.other)
    )
    return {
        "fit_tie_threshold": lambda: fit_tie_threshold(pairs.margin, pairs.label),
        "accuracy_with_ties, held out": lambda: accuracy_with_ties(
            pairs.margin, pairs.label, clusters=pairs.clusters
        ),
        "accuracy_without_ties": lambda: accuracy_without_ties(
            pairs.margin, pairs.label, clusters=pairs.clusters
        ),
        "paired_difference of accuracies": lambda: paired_difference(
            right, other, pairs.clusters, num_resamples=num_resamples
        ),
        "cluster_interval, margins": lambda: cluster_interval(
            pairs.margin, pairs.clusters, num_resamples=num_resamples
        ),
        "cluster_interval, margins, lone pairs": lambda: cluster_interval(
            pairs.margin, None, num_resamples=num_resamples
        ),
        "paired_difference, margins, lone pairs": lambda: paired_difference(
            pairs.margin, pairs.other, None, num_resamples=num_resamples
        ),
        "spearman": lambda: spearman(pairs.margin, pairs.other),
        "kendall": lambda: kendall(pairs.margin, pairs.other),
    }


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Measure every metric at every size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[10**3, 10**4, 10**5, 10**6], help="two or more"
    )
    parser.add_argument("--num-resamples", type=int, default=10_000)
    parser.add_argument("--output")
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    for num in options.sizes:
        for name, work in jobs(draw_pairs(num), num_resamples=options.num_resamples).items():
            found.setdefault(name, {})[str(num)] = round(cpu_seconds(work), 4)
    print(f"{'CPU seconds':40}" + "".join(f"{num:>12,}" for num in options.sizes) + "  growth")
    growth = {}
    for name, seconds in found.items():
        values = list(seconds.values())
        steps = math.log(options.sizes[-1] / options.sizes[-2])
        growth[name] = round(math.log(max(values[-1], 1e-4) / max(values[-2], 1e-4)) / steps, 2)
        print(f"{name:40}" + "".join(f"{each:12.3f}" for each in values), f"{growth[name]:7}")
    settings = {key: value for key, value in vars(options).items() if key != "output"}
    write_run(options.output, settings=settings, results={"cpu_seconds": found, "growth": growth})


if __name__ == "__main__":
    main()
