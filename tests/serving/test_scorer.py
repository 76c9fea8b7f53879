"""What a model's process makes of a batch, without a process around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from visreward.core.errors import ImageError, PromptError
from visreward.models.base import RewardModel
from visreward.models.facts import ModelFacts
from visreward.models.loaded import LoadedSample
from visreward.models.loading import load_model
from visreward.models.output import RewardOutput
from visreward.serving.workers.scorer import Scorer, work_facts


class TroubledModel(RewardModel):
    """Scores the red of the first pixel; fails in the ways that prompts ask for."""

    kind = "troubled"
    max_batch = 1000

    def __init__(self) -> None:
        super().__init__(ModelFacts(name="troubled", dimensions=("red",), fidelity="paper"))
        self.weight = nn.Parameter(torch.ones(()))

    def prepare(self, image: Any) -> Any:
        if image.width > 100:
            raise ImageError("Too wide.")
        return image

    def preprocess(self, samples: Sequence[LoadedSample]) -> Tensor:
        if any(sample.prompt == "too long" for sample in samples):
            raise PromptError("Too long.")
        if len(samples) > self.max_batch or any(each.prompt == "too big" for each in samples):
            raise torch.OutOfMemoryError("No room.")
        values = [float(np.asarray(sample.image)[0, 0, 0]) for sample in samples]
        holes = [float("nan") if sample.prompt == "nan" else 0.0 for sample in samples]
        return torch.tensor(values) + torch.tensor(holes)

    def forward(self, batch: Tensor) -> RewardOutput:
        return RewardOutput(mu=batch * self.weight, dimensions=batch[:, None])

    def config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any], facts: ModelFacts, folder: Path) -> TroubledModel:
        return cls()

    def save_processors(self, folder: Path) -> None:
        pass


def image(red: int, width: int = 2) -> dict[str, Any]:
    pixels = bytes((red, 0, 0)) * (2 * width)
    return {"key": f"{red}-{width}", "width": width, "height": 2, "pixels": pixels}


def results(scorer: Scorer, *prompts: str, images: list[dict[str, Any]] | None = None) -> list[Any]:
    shown = images or [image(number) for number in range(len(prompts))]
    items = [
        {"prompt": prompt, "image": number, "sources": []} for number, prompt in enumerate(prompts)
    ]
    answer = scorer.answer(scorer.open_batch({"images": shown, "items": items}))
    assert set(answer["stages"]) == {"prepare", "vision", "language", "head"}
    assert min(answer["stages"].values()) >= 0
    return [result.get("error", result.get("value")) for result in answer["results"]]


def test_answer_keeps_the_order_of_the_items() -> None:
    assert results(Scorer(TroubledModel()), "a", "b", "c") == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("too long", "prompt_too_long"),
        ("nan", "score_not_finite"),
        ("too big", "out_of_memory"),
    ],
)
def test_answer_item_that_fails_fails_alone(prompt: str, code: str) -> None:
    found = results(Scorer(TroubledModel()), "a", prompt, "c", "d", prompt)
    assert found == [0.0, code, 2.0, 3.0, code]


def test_answer_picture_that_the_model_refuses_fails_alone() -> None:
    images = [image(5), image(6, width=101), image(7)]
    found = results(Scorer(TroubledModel()), "a", "b", "c", images=images)
    assert found == [5.0, "image_refused_by_model", 7.0]


def test_answer_batch_that_does_not_fit_is_halved_and_counted() -> None:
    model = TroubledModel()
    model.max_batch = 3
    scorer = Scorer(model)
    assert results(scorer, *"abcdefgh") == [float(number) for number in range(8)]
    assert scorer.num_out_of_memory == 3


def test_answer_nothing_is_nothing() -> None:
    scorer = Scorer(TroubledModel())
    assert scorer.answer(scorer.open_batch({"images": [], "items": []}))["results"] == []


def test_stages_of_a_vlm_count_vision_and_language() -> None:
    scorer = Scorer(load_model("hpsv3-mini"))
    picture = {"key": "k", "width": 64, "height": 64, "pixels": bytes(3 * 64 * 64)}
    batch = {"images": [picture], "items": [{"prompt": "a ball", "image": 0, "sources": []}]}
    stages = scorer.answer(scorer.open_batch(batch))["stages"]
    assert min(stages["vision"], stages["language"]) > 0


def test_work_facts_of_a_clip_are_constant_and_of_a_vlm_grow_within_the_budget() -> None:
    clip = work_facts(load_model("clip-mini"))
    assert clip.image_tokens(1) == clip.image_tokens(10**7)
    model = load_model("editreward-mini")
    vlm = work_facts(model)
    assert vlm.image_tokens(1) <= vlm.image_tokens(vlm.max_pixels) == vlm.image_tokens(10**7)
    assert vlm.text_tokens("a" * 400) == vlm.text_tokens("") + 100
