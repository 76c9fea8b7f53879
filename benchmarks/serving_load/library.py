"""The library without a server, in a process of its own that takes turns with the server.

Run as a script it is that process: one JSON line for each turn, in and out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from serving_load.server import environment
from serving_load.workload import Plan, Work, endless


@dataclass
class Library:
    """The other process."""

    process: subprocess.Popen[str]

    def turn(self, **order: Any) -> dict[str, Any]:  # noqa: ANN401  JSON values
        """Let the library do one turn."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def stream(self, *, num: int, batch_size: int, tag: str) -> dict[str, Any]:
        """Score some requests as a stream; returns `seconds`, `cpu_s` and `num_scored`."""
        return self.turn(do="stream", num=num, batch_size=batch_size, tag=tag)

    def one(self, *, times: Sequence[float], tag: str) -> list[float]:
        """Return the seconds of single requests from their times on; one that is early waits."""
        seconds: list[float] = self.turn(do="one", times=list(times), tag=tag)["seconds"]
        return seconds


@contextmanager
def beside(plan: Plan, *, threads: int | None) -> Iterator[Library]:
    """Start the process, and end it after the block."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "serving_load.library", plan.model),
            *map(str, (plan.candidates, plan.side, plan.distinct, int(plan.has_source))),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(threads),
        cwd=Path(__file__).parents[1],
    ) as process:
        yield Library(process)  # the end of its input is the end of the process


def main() -> None:
    """Take turns until the input ends."""
    from visreward.core.types import Sample
    from visreward.models.loading import load_model
    from visreward.scoring.engine import ScoringEngine

    model_name, *numbers = sys.argv[1:]
    candidates, side, distinct, has_source = map(int, numbers)
    plan = Plan(
        model=model_name,
        candidates=candidates,
        side=side,
        distinct=distinct,
        has_source=bool(has_source),
    )
    model, works = load_model(model_name, device="cpu"), plan.works()

    def samples(work: Work) -> list[Sample]:
        return [
            Sample(prompt=work.prompt, image=image, source_image=work.source)
            for image in work.candidates
        ]

    def stream(order: dict[str, Any]) -> dict[str, Any]:
        chosen = list(islice(endless(works, order["tag"]), order["num"]))
        engine = ScoringEngine(model, batch_size=order["batch_size"])
        wall, cpu = time.perf_counter(), time.process_time()
        scored = list(engine.run(sample for work in chosen for sample in samples(work)))
        return {
            "seconds": time.perf_counter() - wall,
            "cpu_s": time.process_time() - cpu,
            "num_scored": sum(item.score is not None for item in scored),
        }

    def one(order: dict[str, Any]) -> dict[str, Any]:
        seconds = []
        start = time.perf_counter()
        for due, work in zip(order["times"], endless(works, order["tag"]), strict=False):
            early_s = start + due - time.perf_counter()
            time.sleep(max(0.0, early_s))
            begin = time.perf_counter() if early_s > 0 else start + due
            model.score(samples(work))
            seconds.append(time.perf_counter() - begin)
        return {"seconds": seconds}

    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps({"stream": stream, "one": one}[order["do"]](order)), flush=True)


if __name__ == "__main__":
    main()
