"""One process of the data-parallel test: gradients of each objective, then a whole short run.

Run as: python ddp_worker.py TRIPLETS CAPTIONS DAMAGED_TRIPLETS OUTPUT, with the environment
variables of a torch launcher.
"""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn

from visreward.core.types import Fidelity
from visreward.models.clip.hp import HP
from visreward.training.modeling.freezing import freeze
from visreward.training.objectives.base import Objective
from visreward.training.objectives.contrastive import ContrastiveObjective
from visreward.training.objectives.hp import HPObjective
from visreward.training.objectives.ict import ICTObjective
from visreward.training.options.freeze_config import FreezeConfig
from visreward.training.options.objective_config import ContrastiveConfig, HPConfig, ICTConfig
from visreward.training.run import train

if TYPE_CHECKING:
    from visreward.training.config import TrainConfig

CASES = ("contrastive", "ict-released", "ict-paper", "hp-released", "hp-paper")


def load_tiny() -> Any:  # the module of fixtures, which is no package
    """Return the module that makes tiny models and feeds."""
    spec = importlib.util.spec_from_file_location(
        "tiny_training", Path(__file__).with_name("conftest.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_objective(tiny: Any, case: str) -> Objective:
    """Return a random model with its loss; no dropout and no batch statistics, which are local."""
    kind, _, fidelity_name = case.partition("-")
    fidelity: Fidelity = "released" if fidelity_name == "released" else "paper"
    if kind == "contrastive":
        model = tiny.build_tiny("clipscore", stem=False)
        return ContrastiveObjective(model, ContrastiveConfig(name="contrastive"))
    model = tiny.build_tiny(kind, stem=False)
    freeze(model, FreezeConfig(vision_rate=0.5))
    if kind == "ict":
        return ICTObjective(model, ICTConfig(name="ict", fidelity=fidelity))
    assert isinstance(model, HP)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    ict = tiny.build_tiny("ict", stem=False, seed=5).eval()
    return HPObjective(model, HPConfig(name="hp", fidelity=fidelity), ict=ict)


def run_case(
    tiny: Any, case: str, folder: Path, accelerator: Accelerator | None = None
) -> dict[str, Tensor]:
    """Return loss and gradients of one batch, as one process of the accelerator or alone."""
    objective = make_objective(tiny, case)
    shard = (0, 1)
    wrapped: nn.Module = objective
    if accelerator is not None:
        shard = (accelerator.process_index, accelerator.num_processes)
        wrapped = accelerator.prepare(objective)
    feed = tiny.build_feed(objective.model, folder, shard=shard)
    output = wrapped(feed[1])
    torch.autograd.backward(output.loss)
    found = {"loss": output.loss.detach()}
    for name, parameter in objective.named_parameters():
        if parameter.grad is not None:
            found[name] = parameter.grad
    return found


def damaged_recipe(tiny: Any, folder: Path, output: Path) -> TrainConfig:
    """Return a run on images of which some cannot be read, decoded at every step."""
    config: TrainConfig = tiny.build_recipe(
        "ict",
        folder=folder,
        output=output / "run",
        data={"cache_pixels": False, "max_skip_fraction": 0.2},
        optim={"steps": 4},
        save_every=4,
        validate_every=4,
    )
    return config


def main(triplets: Path, captions: Path, damaged: Path, output: Path) -> None:
    """Take part in all cases and write down what this process saw."""
    torch.set_num_threads(1)
    tiny = load_tiny()
    accelerator = Accelerator(cpu=True)
    results: dict[str, dict[str, Tensor]] = {}
    for case in CASES:
        folder = captions if case == "contrastive" else triplets
        results[case] = run_case(tiny, case, folder, accelerator)
    torch.save(results, output / f"{accelerator.process_index}.pt")
    console = Console(file=io.StringIO())
    metrics = train(damaged_recipe(tiny, damaged, output), console=console)
    torch.save(metrics, output / f"metrics-{accelerator.process_index}.pt")
    accelerator.end_training()


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:5]))
