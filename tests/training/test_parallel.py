"""Two processes against one, as trainings of the command line: DDP and FSDP2, and going on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from visreward.models.loading import load_model

STEPS = 6
KINDS = ("edits", "captions")
STRATEGIES: dict[str, dict[str, Any]] = {
    "ddp": {"strategy": "ddp"},
    "fsdp2": {"strategy": "fsdp2"},
    "zero-2": {"strategy": "deepspeed"},
    "zero-3": {"strategy": "deepspeed", "zero_stage": 3},
}


class Trainings:
    """Runs of one recipe, in one folder."""

    def __init__(self, server: Any, values: dict[str, Any], folder: Path) -> None:
        self.server = server
        self.values = values
        self.folder = folder

    def run(
        self, name: str, num: int, *, strategy: str = "ddp", steps: int = STEPS
    ) -> list[dict[str, float]]:
        """Train, or go on; return what was logged of the steps."""
        environment = {}
        if strategy.startswith("zero"):
            pytest.importorskip("deepspeed")
            if self.values["model"]["kind"] == "clipscore":
                pytest.skip("DeepSpeed takes no single numbers, such as CLIP's temperature")
            environment = {"WITH_DEEPSPEED": "1"}
        output = self.folder / name
        values = {
            **self.values,
            "output": str(output),
            "parallel": STRATEGIES[strategy],
            "optim": {**self.values["optim"], "steps": steps},
        }
        recipe = self.folder / f"{name}.yaml"
        recipe.write_text(yaml.safe_dump(values))
        log = self.folder / f"{name}.{steps}.log"
        together = self.server.start_many(num, [str(recipe)], log=log, **environment)
        statuses = [each.wait() for each in together]
        assert statuses == [0] * num, "\n".join(each.log.read_text() for each in together)
        assert f"{num} process(es) on cpu" in together[0].log.read_text()
        entries = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        return [entry for entry in entries if entry["kind"] == "train"]


@pytest.fixture(scope="module", params=KINDS)
def trainings(
    request: pytest.FixtureRequest,
    train_server: Any,
    recipe_values: Callable[[str], dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Trainings:
    """Return runs of a vision-language model with pairs, or of a CLIP model without batch norm."""
    kind = request.param
    values = recipe_values(kind)
    values["optim"] |= {"batch_size": 4, "learning_rate": 1e-4, "schedule": "constant"}
    values |= {"save_every": 2, "validate_every": 3}
    return Trainings(train_server, values, tmp_path_factory.mktemp(kind))


@pytest.fixture(scope="module")
def alone(trainings: Trainings) -> list[dict[str, float]]:
    return trainings.run("alone", 1)


def assert_same_losses(found: list[dict[str, float]], alone: list[dict[str, float]]) -> None:
    assert [entry["step"] for entry in found] == [entry["step"] for entry in alone]
    for name in ("loss", "accuracy"):
        expected = [entry[name] for entry in alone]
        assert [entry[name] for entry in found] == pytest.approx(expected, abs=1e-5), name
    norms = [entry["grad_norm"] for entry in alone]
    assert [entry["grad_norm"] for entry in found] == pytest.approx(norms, rel=1e-3)
    assert len({entry["loss"] for entry in alone}) == STEPS


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_processes_have_the_losses_of_one(
    trainings: Trainings, alone: list[dict[str, float]], strategy: str
) -> None:
    assert_same_losses(trainings.run(strategy, 2, strategy=strategy), alone)
    whole = load_file(trainings.folder / "alone" / "model" / "model.safetensors")
    found = load_file(trainings.folder / strategy / "model" / "model.safetensors")
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in whole.items()
    }
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=STEPS * 2.5e-4)
    load_model(str(trainings.folder / strategy / "model"))


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ((2, "fsdp2"), (1, "ddp")),
        ((1, "ddp"), (2, "fsdp2")),
        ((2, "zero-2"), (2, "zero-3")),
        ((2, "zero-3"), (1, "ddp")),
        ((1, "ddp"), (2, "zero-2")),
    ],
    ids=["fsdp2-to-one", "one-to-fsdp2", "zero-2-to-3", "zero-3-to-one", "one-to-zero-2"],
)
def test_run_gone_on_with_other_processes_has_the_losses_of_one(
    trainings: Trainings,
    alone: list[dict[str, float]],
    first: tuple[int, str],
    then: tuple[int, str],
) -> None:
    name = "-".join(str(part) for part in (*first, *then))
    trainings.run(name, first[0], strategy=first[1], steps=4)
    assert_same_losses(trainings.run(name, then[0], strategy=then[1]), alone)
