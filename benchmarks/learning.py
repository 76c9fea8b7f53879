"""Show that training learns what it should: four experiments on synthetic edits, over seeds.

Run: python benchmarks/learning.py {ablation,noise,ties,filtering} [--seeds 3] [--steps N]

Every run begins with the vision tower of a model that is trained already, frozen, and a new
language model, and learns from a few hundred edits. A finished run is not repeated, so that a
stopped command goes on where it was. Intervals are Student's t over the seeds, 95 %. Writes
benchmarks/results/learning-NAME.json, and a chart beside it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from experiments.arms import EXPERIMENTS
from experiments.plan import Plan
from experiments.start import Start
from experiments.summary import draw, summed_up, table
from record import write_run

RESULTS = Path(__file__).resolve().parent / "results"


def main(arguments: list[str] | None = None) -> None:
    """Run one experiment, print its table, and write it as JSON and as a chart."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", choices=sorted(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--batch-size", type=int, default=8, help="edits of a step")
    parser.add_argument("--num-edits", type=int, default=1200, help="to learn from")
    parser.add_argument("--num-held-out", type=int, default=200, help="edits to measure on")
    parser.add_argument(
        "--wrong-labels", type=float, nargs="+", default=[0, 0.1, 0.2, 0.3], help="shares, of noise"
    )
    parser.add_argument("--num-layers", type=int, default=2, help="of the language model")
    parser.add_argument(
        "--init", default="editreward-mini", help="folder or name; its vision tower is taken"
    )
    parser.add_argument("--work", type=Path, default=Path("work/learning"))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)
    plan = Plan(
        work=options.work,
        start=Start(
            init=options.init, num_layers=options.num_layers, folder=options.work / "starts"
        ),
        num_seeds=options.seeds,
        steps=options.steps,
        batch_size=options.batch_size,
        num_edits=options.num_edits,
        num_held_out=options.num_held_out,
        num_workers=options.workers,
        wrong_labels=tuple(options.wrong_labels),
    )
    rows = summed_up(EXPERIMENTS[options.experiment](plan))
    print("\n".join(table(options.experiment, rows)))
    output = options.output or RESULTS / f"learning-{options.experiment}.json"
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name not in ("output", "workers")
    }
    write_run(output, settings=settings, results={"arms": rows})
    draw(options.experiment, rows, output.with_suffix(".png"))


if __name__ == "__main__":
    main()
