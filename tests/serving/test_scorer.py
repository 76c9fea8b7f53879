"""What a model's process makes of a batch, without a process around it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from visreward.serving.workers.scorer import OpenBatch, Scorer, work_facts
from visreward.serving.workers.shared_pixels import SharedPixels


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


@dataclass(frozen=True)
class Shown:
    """A picture as decoders bring it, of one colour."""

    red: int
    width: int = 2
    height: int = 2

    @property
    def message(self) -> dict[str, Any]:
        return {"key": f"{self}", "width": self.width, "height": self.height}

    @property
    def pixels(self) -> SharedPixels:
        return SharedPixels.holding(bytes((self.red, 0, 0)) * (self.width * self.height))


def opened(scorer: Scorer, images: Sequence[Shown], items: list[dict[str, Any]]) -> OpenBatch:
    message = {"id": 7, "images": [shown.message for shown in images], "items": items}
    return scorer.open_batch(message, [shown.pixels for shown in images])


def results(scorer: Scorer, *prompts: str, images: Sequence[Shown] | None = None) -> list[Any]:
    shown = images or [Shown(number) for number in range(len(prompts))]
    items = [
        {"prompt": prompt, "image": number, "sources": []} for number, prompt in enumerate(prompts)
    ]
    answer = scorer.answer(opened(scorer, shown, items))
    assert answer["id"] == 7
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
    images = [Shown(5), Shown(6, width=101), Shown(7)]
    found = results(Scorer(TroubledModel()), "a", "b", "c", images=images)
    assert found == [5.0, "image_refused_by_model", 7.0]


def test_answer_picture_with_too_few_pixels_fails_alone() -> None:
    items: list[dict[str, Any]] = [
        {"prompt": "a", "image": number, "sources": []} for number in (0, 1)
    ]
    scorer = Scorer(TroubledModel())
    message = {"id": 7, "images": [Shown(5).message, Shown(6).message], "items": items}
    batch = scorer.open_batch(message, [SharedPixels.holding(bytes(11)), Shown(6).pixels])
    short, whole = scorer.answer(batch)["results"]
    assert short == {"error": "image_refused_by_model"}
    assert whole["value"] == 6.0


def test_answer_batch_that_does_not_fit_is_halved_and_counted() -> None:
    model = TroubledModel()
    model.max_batch = 3
    scorer = Scorer(model)
    assert results(scorer, *"abcdefgh") == [float(number) for number in range(8)]
    assert scorer.num_out_of_memory == 3


def test_answer_nothing_is_nothing() -> None:
    scorer = Scorer(TroubledModel())
    assert scorer.answer(opened(scorer, [], []))["results"] == []


def test_stages_of_a_vlm_count_vision_and_language() -> None:
    scorer = Scorer(load_model("hpsv3-mini"))
    items: list[dict[str, Any]] = [{"prompt": "a ball", "image": 0, "sources": []}]
    stages = scorer.answer(opened(scorer, [Shown(0, 64, 64)], items))["stages"]
    assert min(stages["vision"], stages["language"]) > 0


@pytest.mark.parametrize(("cache_bytes", "hits"), [(None, 1), (1 << 20, 1), (100, 0)])
def test_cache_holds_what_it_may(cache_bytes: int | None, hits: int) -> None:
    scorer = Scorer(load_model("hpsv3-mini"), cache_bytes=cache_bytes)
    for prompt in ("a ball", "a cube"):
        items: list[dict[str, Any]] = [{"prompt": prompt, "image": 0, "sources": []}]
        answer = scorer.answer(opened(scorer, [Shown(9, 64, 64)], items))
    assert (answer["cache_hits"], answer["cache_misses"]) == (hits, 2 - hits)


@pytest.mark.parametrize("name", ["editreward-mini", "ict-hp-mini"])
def test_answers_side_by_side_are_those_of_one_after_the_other(name: str) -> None:
    has_source = name == "editreward-mini"
    scorer = Scorer(load_model(name), cache_bytes=100_000)

    def answer(number: int) -> list[float]:
        images = [Shown(number * 9 + place, 64, 48) for place in range(4)]
        items: list[dict[str, Any]] = [
            {"prompt": f"ball {number % 3}", "image": place, "sources": [3] if has_source else []}
            for place in range(3)
        ]
        found = scorer.answer(opened(scorer, images, items))
        assert found["stages"]["vision"] > 0
        return [result["value"] for result in found["results"]]

    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(answer, range(12)))
    assert together == [pytest.approx(answer(number), abs=1e-5) for number in range(12)]


def test_stages_are_those_of_a_thread_s_own_batch() -> None:
    scorer = Scorer(load_model("hpsv3-mini"))

    def stages(num: int) -> dict[str, float]:
        images = [Shown(number, 96, 96) for number in range(num)]
        items: list[dict[str, Any]] = [
            {"prompt": "a ball", "image": number, "sources": []} for number in range(num)
        ]
        start = time.perf_counter()
        found: dict[str, float] = scorer.answer(opened(scorer, images, items))["stages"]
        assert 0 < sum(found.values()) <= time.perf_counter() - start
        return found

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(stages, [1, 9, 1, 1, 9, 1]))


def test_work_facts_of_a_clip_are_constant_and_of_a_vlm_grow_within_the_budget() -> None:
    clip = work_facts(load_model("clip-mini"))
    assert clip.image_tokens(1) == clip.image_tokens(10**7)
    model = load_model("editreward-mini")
    vlm = work_facts(model)
    assert vlm.image_tokens(1) <= vlm.image_tokens(vlm.max_pixels) == vlm.image_tokens(10**7)
    assert vlm.text_tokens("a" * 400) == vlm.text_tokens("") + 100
