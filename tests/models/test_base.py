"""What every reward model does around its own arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from visreward.core.errors import ImageError, InputError, NonFiniteError, PromptError, UsageError
from visreward.core.images import AS_RELEASED, UPRIGHT, read_image
from visreward.core.types import DimensionScore, Sample, Score
from visreward.models.base import RewardModel
from visreward.models.facts import ModelFacts
from visreward.models.loaded import LoadedSample, group_by_image, load_sample
from visreward.models.output import RewardOutput
from visreward.models.ranked import order

if TYPE_CHECKING:
    from visreward.core.images import ReadingRule

FACTS = ModelFacts(name="mean red", revision="abc", dimensions=("red", "length"))


class MeanRed(RewardModel):
    """Mean of the red channel times a weight, plus the prompt's length; counts its batches."""

    kind = "mean-red"

    def __init__(self, facts: ModelFacts = FACTS) -> None:
        super().__init__(facts)
        self.weight = nn.Parameter(torch.ones(1))
        self.batches: list[int] = []

    def preprocess(self, samples: Sequence[LoadedSample]) -> torch.Tensor:
        self.batches.append(len({sample.image_key for sample in samples}))
        return torch.tensor(
            [
                [float(np.asarray(sample.image)[..., 0].mean()), len(sample.prompt)]
                for sample in samples
            ]
        )

    def forward(self, batch: torch.Tensor) -> RewardOutput:
        return RewardOutput(
            mu=batch[:, 0] * self.weight + batch[:, 1],
            log_sigma=batch[:, 1].log(),
            dimensions=batch,
            notes=tuple((f"{int(length)} letters",) for length in batch[:, 1]),
        )

    def config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any], facts: ModelFacts, folder: Path) -> MeanRed:
        return cls(facts)

    def save_processors(self, folder: Path) -> None: ...


class PlainMeanRed(MeanRed):
    """The same, with a score and nothing else."""

    def forward(self, batch: torch.Tensor) -> RewardOutput:
        return RewardOutput(mu=super().forward(batch).mu)


def red(level: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (level, 0, 0))


def samples(*levels: int) -> list[Sample]:
    return [Sample(prompt="abc", image=red(level)) for level in levels]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was decoded, in order."""
    seen: list[Any] = []

    def watched(source: Any, *, rule: ReadingRule) -> Image.Image:
        seen.append(source)
        return read_image(source, rule=rule)

    monkeypatch.setattr("visreward.models.loaded.read_image", watched)
    return seen


def test_score_carries_everything_that_the_model_says() -> None:
    score = MeanRed().score([Sample(prompt="four", image=red(7))])[0]
    assert score.sigma == pytest.approx(4.0)
    assert replace(score, sigma=None) == Score(
        value=11.0,
        dimensions={"red": DimensionScore(mu=7.0), "length": DimensionScore(mu=4.0)},
        model="mean red",
        revision="abc",
        notes=("4 letters",),
    )


def test_score_plain_model_has_no_sigma_dimensions_or_notes() -> None:
    score = PlainMeanRed(ModelFacts(name="plain")).score(samples(5))[0]
    assert score == Score(value=8.0, model="plain")


@pytest.mark.parametrize("batch_size", [1, 2, 3, 50])
def test_score_any_batch_size_keeps_order(batch_size: int) -> None:
    levels = (9, 3, 200, 3, 50, 9, 0)
    scores = MeanRed().score(samples(*levels), batch_size=batch_size)
    assert [score.value - 3 for score in scores] == list(levels)


def test_score_batch_size_counts_distinct_images() -> None:
    model = MeanRed()
    model.score(samples(1, 2, 1, 1, 3, 2), batch_size=2)
    assert model.batches == [2, 1]


def test_score_generator_is_read_once() -> None:
    assert len(MeanRed().score(sample for sample in samples(1, 2))) == 2


def test_score_nothing_gives_nothing() -> None:
    assert MeanRed().score([]) == []


def test_score_image_with_several_prompts_is_decoded_once(decoded: list[Any]) -> None:
    one, other = red(1), red(2)
    pairs = [Sample(prompt=prompt, image=image) for prompt in ("a", "bb") for image in (one, other)]
    scores = MeanRed().score(pairs)
    assert [score.value for score in scores] == [2.0, 3.0, 3.0, 4.0]
    # Threads decode; either may come first.
    assert sorted(map(id, decoded)) == sorted(map(id, [one, other]))


@pytest.mark.parametrize("batch_size", [0, -3])
def test_score_batch_size_below_one_is_refused(batch_size: int) -> None:
    with pytest.raises(UsageError, match=f"batch_size is {batch_size}"):
        MeanRed().score(samples(1), batch_size=batch_size)


def test_score_unreadable_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.png"):
        MeanRed().score([Sample(prompt="a", image=path)])


def test_score_later_sample_of_a_shared_image_is_checked_too() -> None:
    image = red(1)
    with pytest.raises(PromptError, match="prompt is empty"):
        MeanRed().score([Sample(prompt="a", image=image), Sample(prompt=" ", image=image)])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_score_not_finite_names_the_items(bad: float) -> None:
    model = MeanRed()
    model.weight.data.fill_(bad)
    with pytest.raises(NonFiniteError, match=r"'mean red' .* item\(s\) \[0, 1\]"):
        model.score(samples(1, 2))


def test_score_builds_no_graph() -> None:
    model = MeanRed()
    model.score(samples(1))
    assert model.weight.grad is None
    assert not torch.is_inference_mode_enabled()


def test_load_sample_source_image_missing_is_refused() -> None:
    facts = ModelFacts(name="edits", needs_source=True)
    with pytest.raises(InputError, match="No source image"):
        load_sample(Sample(prompt="a", image=red(1)), facts)


def test_load_sample_source_image_is_decoded_and_named() -> None:
    facts = ModelFacts(name="edits", needs_source=True)
    loaded = load_sample(Sample(prompt="a", image=red(1), source_image=red(2)), facts)
    [source], [key] = loaded.source_images, loaded.source_keys
    assert source.getpixel((0, 0)) == (2, 0, 0)
    assert key != loaded.image_key


def test_load_sample_keeps_several_source_images_in_order() -> None:
    facts = ModelFacts(name="edits", needs_source=True)
    loaded = load_sample(Sample(prompt="a", image=red(1), source_image=(red(2), red(3))), facts)
    assert [source.getpixel((0, 0)) for source in loaded.source_images] == [(2, 0, 0), (3, 0, 0)]
    assert len({*loaded.source_keys, loaded.image_key}) == 3


def test_load_sample_source_image_unwanted_is_refused() -> None:
    with pytest.raises(InputError, match="scores single images"):
        load_sample(Sample(prompt="a", image=red(1), source_image=red(2)), FACTS)


def test_load_sample_shared_picture_is_taken_over(decoded: list[Any]) -> None:
    first = load_sample(Sample(prompt="a", image=red(1)), FACTS)
    second = load_sample(Sample(prompt="b", image=red(1)), FACTS, shared=first)
    assert second.image is first.image
    assert (second.prompt, second.image_key) == ("b", first.image_key)
    assert len(decoded) == 1


@pytest.mark.parametrize("prompt", ["", " \t\n"])
def test_load_sample_blank_prompt_is_refused_where_it_counts(prompt: str) -> None:
    with pytest.raises(PromptError, match="Give a prompt"):
        load_sample(Sample(prompt=prompt, image=red(1)), FACTS)
    image_only = ModelFacts(name="image", needs_prompt=False)
    assert load_sample(Sample(prompt=prompt, image=red(1)), image_only).prompt == prompt


def test_facts_reading_follows_fidelity() -> None:
    assert ModelFacts(name="a", fidelity="released").reading == AS_RELEASED
    assert ModelFacts(name="a", fidelity="paper").reading == UPRIGHT


def test_group_by_image_keeps_repeats_together() -> None:
    assert group_by_image(["a", "b", "a", "c", "b", "a"], 2) == [[0, 2, 5, 1, 4], [3]]
    assert group_by_image([], 3) == []


def test_order_ties_share_the_better_rank_and_keep_their_order() -> None:
    ranked = order([Score(value=value) for value in (1.0, 3.0, 2.0, 3.0, 2.0)])
    assert [(place.rank, place.index) for place in ranked] == [
        (1, 1),
        (1, 3),
        (3, 2),
        (3, 4),
        (5, 0),
    ]


def test_rank_best_image_comes_first() -> None:
    ranked = MeanRed().rank(prompt="abc", images=[red(5), red(90), red(40)], batch_size=1)
    assert [place.index for place in ranked] == [1, 2, 0]
    assert ranked[0].score.value == 93.0


def test_describe_replaces_facts_of_this_model_only() -> None:
    model = MeanRed()
    model.describe(name="other", note="small")
    assert (model.facts.name, model.facts.note, model.facts.revision) == ("other", "small", "abc")
    assert FACTS.name == "mean red"


def test_device_is_that_of_the_weights() -> None:
    assert MeanRed().to("meta").device == torch.device("meta")
    assert MeanRed().parts() == {}
