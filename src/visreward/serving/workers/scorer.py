"""Score what the server sends: pictures prepared in threads, failures kept apart.

Import this in the model's process only; it needs torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import torch
from PIL import Image

from visreward.core.errors import ImageError, InputError, NonFiniteError, PromptError
from visreward.core.types import Score
from visreward.models.base import RewardModel
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.loaded import LoadedSample
from visreward.models.streams import Streams
from visreward.models.vlm.reward import VLMReward
from visreward.serving.problems import Code
from visreward.serving.workers.frames import Message
from visreward.serving.workers.shared_pixels import SharedPixels
from visreward.serving.workers.stage_clock import StageClock
from visreward.serving.workers.work import WorkFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

_WARM_UP_SIDE: Final = 96
_WARM_UP_PROMPT: Final = "a round red thing before a blue wall"


class Scorer:
    """One model and the threads that prepare its pictures.

    Args:
        model: The model.
        cache_bytes: Memory for the features of recent images; None takes the model's own choice.

    Attributes:
        model: The model.
        streams: How many threads may call `answer` at once.
        num_out_of_memory: How often a batch did not fit into memory and was halved.
    """

    def __init__(self, model: RewardModel, *, cache_bytes: int | None = None) -> None:
        if cache_bytes is not None and isinstance(model, VLMReward):
            model.vision_cache.max_bytes = cache_bytes
        self.model = model
        self.streams = Streams(model)
        self.num_out_of_memory = 0
        self._clock = StageClock(model)
        self._preprocess = self._clock.timed("prepare", model.preprocess)
        self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1))

    def open_batch(self, request: Message, files: Sequence[SharedPixels]) -> OpenBatch:
        """Start preparing the pictures of one request.

        Args:
            request: `id`: its number; `images`: maps of key, width and height; `items`: maps of
                prompt, image and sources, which are places in `images`.
            files: The RGB pixels of each image.
        """
        pictures = [
            self._threads.submit(self._prepared, image, pixels)
            for image, pixels in zip(request["images"], files, strict=True)
        ]
        return OpenBatch(
            number=request["id"],
            keys=[image["key"] for image in request["images"]],
            pictures=pictures,
            items=request["items"],
        )

    def answer(self, batch: OpenBatch) -> Message:
        """Return `id`, of the request; `results`, one map per item in order; times and counts."""
        start = time.perf_counter()
        results: list[Message] = [{} for _ in batch.items]
        loaded: dict[int, LoadedSample] = {}
        for number in range(len(batch.items)):
            try:
                loaded[number] = batch.sample(number)
            except InputError as error:
                results[number] = _failure(error)
        waited = time.perf_counter() - start
        with self.streams.one():
            for number, outcome in self._outcomes(loaded):
                results[number] = outcome
        stages = self._clock.lap(time.perf_counter() - start - waited)
        stages["prepare"] += waited
        hits, misses = _vision_cache_counts(self.model)
        return {
            "id": batch.number,
            "results": results,
            "stages": stages,
            "cache_hits": hits,
            "cache_misses": misses,
            "out_of_memory": self.num_out_of_memory,
        }

    def hello(self) -> Message:
        """Return what the server must know, after a first score that warms everything up.

        Raises:
            VisrewardError: if the model cannot score.
        """
        facts = self.model.facts
        picture = Image.linear_gradient("L").resize((_WARM_UP_SIDE, _WARM_UP_SIDE)).convert("RGB")
        prepared = self.model.prepare(picture)
        has_source = facts.needs_source
        sample = LoadedSample(
            prompt=_WARM_UP_PROMPT,
            image=prepared,
            image_key="",
            source_images=(prepared,) if has_source else (),
            source_keys=("",) if has_source else (),
        )
        score = self.model.score_batch([sample])[0]
        self._clock.lap(0)
        return {
            "facts": asdict(facts),
            "kind": self.model.kind,
            "work": asdict(work_facts(self.model)),
            "warm_up": score.value,
            "streams": self.streams.num,
        }

    def _prepared(self, image: Mapping[str, Any], pixels: SharedPixels) -> Image.Image:
        size = width, height = image["width"], image["height"]
        try:
            content = pixels.read(3 * width * height)
        except EOFError:
            raise ImageError("A decoder brought fewer pixels than it said.") from None
        return self.model.prepare(Image.frombytes("RGB", size, content))

    def _outcomes(self, loaded: Mapping[int, LoadedSample]) -> Iterator[tuple[int, Message]]:
        """Yield the outcome of each sample; a batch that fails is tried in halves."""
        waiting = [list(loaded)] if loaded else []
        while waiting:
            part = waiting.pop()
            try:
                scores = self._scores([loaded[number] for number in part])
            except (InputError, NonFiniteError, torch.OutOfMemoryError) as error:
                self.num_out_of_memory += isinstance(error, torch.OutOfMemoryError)
                if len(part) == 1:
                    yield part[0], _failure(error)
                else:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
            else:
                yield from zip(part, map(_success, scores), strict=True)

    @torch.inference_mode()
    def _scores(self, samples: Sequence[LoadedSample]) -> list[Score]:
        return self.model.forward(self._preprocess(samples)).scores(self.model.facts)


class OpenBatch:
    """One request on its way into the model."""

    def __init__(
        self,
        *,
        number: int,
        keys: Sequence[str],
        pictures: Sequence[Future[Image.Image]],
        items: Sequence[Message],
    ) -> None:
        self.number = number
        self.items = items
        self._keys = keys
        self._pictures = pictures

    def sample(self, number: int) -> LoadedSample:
        """Return one item, waiting for its pictures.

        Raises:
            InputError: if the model cannot take one of them.
        """
        item = self.items[number]
        return LoadedSample(
            prompt=item["prompt"],
            image=self._pictures[item["image"]].result(),
            image_key=self._keys[item["image"]],
            source_images=tuple(self._pictures[place].result() for place in item["sources"]),
            source_keys=tuple(self._keys[place] for place in item["sources"]),
        )


def work_facts(model: RewardModel) -> WorkFacts:
    """Return how much work images and prompts are for a model."""
    if isinstance(model, VLMReward):
        patches = model.inputs.patches
        budget = patches.budgets[-1]
        templates = model.inputs.chat.prompts.templates
        return WorkFacts(
            pixels_per_token=patches.factor**2,
            prompt_tokens=sum(map(len, templates.values())) // 4,
            min_pixels=budget.min_pixels,
            max_pixels=max(budget.min_pixels, min(each.max_pixels for each in patches.budgets)),
        )
    towers = [part for part in model.modules() if isinstance(part, CLIPRewardModel)]
    # Every model that is no VLM is made of CLIP towers.
    side = max(tower.pixel_inputs.size for tower in towers)
    return WorkFacts(pixels_per_token=256, prompt_tokens=1, min_pixels=side**2, max_pixels=side**2)


def _vision_cache_counts(model: RewardModel) -> tuple[int, int]:
    """Return how many images the model's cache had and had not, so far."""
    if not isinstance(model, VLMReward):
        return 0, 0
    return model.vision_cache.num_hits, model.vision_cache.num_misses


def _success(score: Score) -> Message:
    return {
        "value": score.value,
        "sigma": score.sigma,
        "dimensions": {name: [part.mu, part.sigma] for name, part in score.dimensions.items()},
        "notes": list(score.notes),
    }


def _failure(error: Exception) -> Message:
    if isinstance(error, PromptError):
        code = Code.PROMPT_TOO_LONG
    elif isinstance(error, ImageError | InputError):
        code = Code.IMAGE_REFUSED_BY_MODEL
    elif isinstance(error, NonFiniteError):
        code = Code.SCORE_NOT_FINITE
    else:
        code = Code.OUT_OF_MEMORY
    return {"error": code.value}
