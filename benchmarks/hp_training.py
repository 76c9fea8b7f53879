"""HP training with and without the frozen part computed once, side by side in one run.

Random weights; every variant has the same first weights, the same rows and the same dropout, and
takes turns with the others at every step.

Run: python benchmarks/hp_training.py [--size vit-b-32] [--steps N] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer

from record import write_run
from visreward.data.scenes.write import write_pick_high
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.training.config import DataConfig, ModelConfig
from visreward.training.data.feeds import Feed
from visreward.training.data.frozen import HIDDEN, ICT_SCORES, frozen_ict_scores, frozen_states
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.reading import read_rows
from visreward.training.modeling.build import build_model
from visreward.training.modeling.freezing import freeze, frozen_layers
from visreward.training.objectives.hp import HPObjective
from visreward.training.optim import make_optimizer
from visreward.training.options.freeze_config import FreezeConfig
from visreward.training.options.objective_config import HPConfig
from visreward.training.options.optim_config import OptimConfig

T = TypeVar("T")

SIZES: dict[str, dict[str, Any]] = {
    "vit-b-32": {
        "projection_dim": 512,
        "vision": {"patch_size": 32},
        "text": {"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8},
    },
    "vit-h-14": {
        "projection_dim": 1024,
        "vision": {
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_attention_heads": 16,
            "patch_size": 14,
            "hidden_act": "gelu",
        },
        "text": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "hidden_act": "gelu",
        },
    },
}
IMAGE_SIZE = 224
VISION_RATE = 0.5  # ICT & HP release, train_hp.yaml, fix_rate
AS_RELEASED, ICT_CACHED, ALL_CACHED = "as released", "ICT cached", "ICT and lower half cached"
TOLERANCES = {"float32": 1e-3, "bfloat16": 1e-2}
"""How far two losses may differ, as a share: rounding depends on which images share a batch."""


@dataclass(kw_only=True)
class Variant:
    """One way to train: its own copy of the model, and what it has measured."""

    objective: HPObjective
    feed: Feed
    optimizer: Optimizer
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where and in which precision everything runs."""

    device: torch.device
    precision: str

    def autocast(self) -> torch.autocast:
        """Return the context in which models run."""
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        )

    def timed(self, work: Callable[[], T]) -> tuple[T, float]:
        """Return a result and the seconds until the device had it."""
        self._wait()
        started = time.perf_counter()
        result = work()
        self._wait()
        return result, time.perf_counter() - started

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def random_model(kind: str, size: str, prompts: list[str]) -> CLIPRewardModel:
    """Return a model of a real size with random weights."""
    backbone = copy.deepcopy(SIZES[size])
    values: dict[str, Any] = {"kind": kind, "name": f"random-{kind}", "image_size": IMAGE_SIZE}
    if kind == "hp":
        del backbone["text"]
    else:
        values["tokenizer"] = {"vocab_size": 1200}
    model = build_model(
        ModelConfig.model_validate({**values, "backbone": backbone}), prompts, seed=1
    )
    assert isinstance(model, CLIPRewardModel)
    model.describe(revision="random")
    return model


def make_feed(model: CLIPRewardModel, data: DataConfig, batch_size: int) -> Feed:
    """Return the feed of the training split, its pixels decoded once."""
    rows = read_rows(data, "train", data.num_train)
    reader = pixel_reader(model)
    return Feed(rows, reader, config=data, batch_size=batch_size, seed=0)


def make_variant(name: str, hp: HP, ict: CLIPRewardModel, feed: Feed) -> Variant:
    """Return a variant with its own copy of the model; what it caches is added later."""
    model = copy.deepcopy(hp)
    freeze(
        model,
        FreezeConfig(
            vision_rate=VISION_RATE, vision_embeddings=name == ALL_CACHED, projections=True
        ),
    )
    num_frozen = frozen_layers(VISION_RATE, len(model.backbone.clip.vision_model.encoder.layers))
    objective = HPObjective(
        model,
        HPConfig(name="hp", fidelity="released"),
        ict=ict if name == AS_RELEASED else None,
        frozen_layers=num_frozen,
    )
    objective.train()
    own = copy.copy(feed)
    own.extra = {}
    config = OptimConfig(steps=1, batch_size=feed.batch_size, learning_rate=3e-5)
    return Variant(objective=objective, feed=own, optimizer=make_optimizer(objective, config))


def fill_caches(
    variants: dict[str, Variant], ict: CLIPRewardModel, folder: Path, bench: Bench
) -> dict[str, dict[str, float]]:
    """Compute what is frozen; return seconds and bytes on disk of each part."""
    whole = variants[ALL_CACHED]
    with bench.autocast():
        scores, ict_s = bench.timed(lambda: frozen_ict_scores(ict, whole.feed, folder=folder))
        states, states_s = bench.timed(
            lambda: frozen_states(
                whole.objective.hp,
                whole.feed,
                num_layers=whole.objective.frozen_layers,
                folder=folder,
            )
        )
    for name in (ICT_CACHED, ALL_CACHED):
        variants[name].feed.extra[ICT_SCORES] = scores
    whole.feed.extra[HIDDEN] = states
    whole.feed.with_pixels = False
    return {
        part: {
            "seconds": seconds,
            "bytes": sum(file.stat().st_size for file in folder.glob(f"{part}-*.npy")),
        }
        for part, seconds in ((ICT_SCORES, ict_s), (HIDDEN, states_s))
    }


def take_step(variant: Variant, step: int, bench: Bench) -> None:
    """Take one training step and write down its loss and its seconds."""
    torch.manual_seed(step)

    def work() -> float:
        batch = variant.feed[step].to(bench.device)
        variant.optimizer.zero_grad()
        with bench.autocast():
            loss = variant.objective(batch).loss
        torch.autograd.backward(loss)
        variant.optimizer.step()
        return float(loss.detach())

    loss, seconds = bench.timed(work)
    variant.losses.append(loss)
    variant.seconds.append(seconds)


def largest_difference(left: list[float], right: list[float]) -> float:
    """Return the largest difference of two series of losses, as a share of the loss."""
    return max(abs(a - b) / abs(a) for a, b in zip(left, right, strict=True))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return every figure of the run."""
    bench = Bench(device=torch.device(options.device), precision=options.precision)
    num_rows = options.rows
    # 90 % of the triplets are the training split.
    write_pick_high(folder / "data", num=-(-num_rows * 10 // 9) + 10, seed=3, size=IMAGE_SIZE)
    data = DataConfig(format="pick-high", path=folder / "data", num_train=num_rows)
    prompts = [row.prompts[0] for row in read_rows(data, "train", num_rows)]
    ict = random_model("ict", options.size, prompts).eval().to(bench.device)
    ict.requires_grad_(requires_grad=False)
    hp = random_model("hp", options.size, prompts)
    assert isinstance(hp, HP)
    feed, pixels_s = bench.timed(lambda: make_feed(hp, data, options.batch_size))
    hp.to(bench.device)
    names = (AS_RELEASED, ICT_CACHED, ALL_CACHED)
    variants = {name: make_variant(name, hp, ict, feed) for name in names}
    caches = fill_caches(variants, ict, folder / "caches", bench)
    for step in range(options.steps + 1):
        first = step % len(names)
        for name in (*names[first:], *names[:first]):
            take_step(variants[name], step, bench)
    # The first step of each variant also fills memory pools; its time is left out.
    medians = {name: statistics.median(each.seconds[1:]) for name, each in variants.items()}
    losses = {name: each.losses for name, each in variants.items()}
    return {
        "seconds_per_step": medians,
        "speed_up": {name: medians[AS_RELEASED] / seconds for name, seconds in medians.items()},
        "losses": losses,
        "difference_ict_cached": largest_difference(losses[AS_RELEASED], losses[ICT_CACHED]),
        "difference_all_cached_first_step": largest_difference(
            losses[AS_RELEASED][:1], losses[ALL_CACHED][:1]
        ),
        "caches": caches,
        "pixels_s": pixels_s,
    }


def report(results: dict[str, Any], num_rows: int) -> None:
    """Print the figures as Markdown."""
    print("| variant | seconds per step | speed-up |\n|---|---|---|")
    for name, seconds in results["seconds_per_step"].items():
        print(f"| {name} | {seconds:.3f} | {results['speed_up'][name]:.2f}x |")
    print(f"\nOne-off cost for {num_rows} triplets, beside {results['pixels_s']:.1f} s for pixels:")
    for part, cost in results["caches"].items():
        print(f"- {part}: {cost['seconds']:.1f} s, {cost['bytes'] / 1e6:.2f} MB")
    print(
        f"\nLargest difference of a loss: {results['difference_ict_cached']:.2e} with ICT cached; "
        f"{results['difference_all_cached_first_step']:.2e} at the first step with all cached."
    )


def main() -> None:
    """Measure, print, write; exit status 1 where the cached losses are not the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="vit-b-32")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each variant")
    parser.add_argument("--batch-size", type=int, default=8, help="triplets in a step")
    parser.add_argument("--rows", type=int, default=32, help="triplets in the data set")
    parser.add_argument("--precision", choices=sorted(TOLERANCES), default="float32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options, Path(folder))
    report(results, options.rows)
    settings = {key: value for key, value in vars(options).items() if key != "output"}
    write_run(options.output, settings=settings, results=results)
    tolerance = TOLERANCES[options.precision]
    if results["difference_ict_cached"] > tolerance:
        sys.exit(f"The losses with ICT cached differ by more than {tolerance} of the loss.")


if __name__ == "__main__":
    main()
