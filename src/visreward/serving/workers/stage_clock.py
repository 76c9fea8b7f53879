"""How long a model's stages take: preparing tensors, vision, language, head."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import torch

from visreward.models.base import RewardModel
from visreward.models.clip.backbone import CLIPBackbone
from visreward.models.vlm.backbone import VLMBackbone

P = ParamSpec("P")
R = TypeVar("R")

STAGES: Final = ("prepare", "vision", "language", "head")


class StageClock:
    """Time the towers of a model from outside, by wrapping the methods that run them.

    Threads that compute batches side by side have laps of their own.
    On a CUDA device it waits for the device at the end of each stage, a few times per batch.
    """

    def __init__(self, model: RewardModel) -> None:
        self._model = model
        self._laps = threading.local()
        for module in model.modules():
            if isinstance(module, CLIPBackbone):
                self._wrap(module, "image_features", "vision")
                self._wrap(module, "text_features", "language")
            elif isinstance(module, VLMBackbone):
                self._wrap(module, "image_features", "vision")
                self._wrap(module, "hidden_states", "language")

    def timed(self, stage: str, function: Callable[P, R]) -> Callable[P, R]:
        """Return a function whose time counts for a stage."""

        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            start = self._now()
            try:
                return function(*args, **kwargs)
            finally:
                self._lap()[stage] += self._now() - start

        return run

    def lap(self, total_s: float) -> dict[str, float]:
        """Return the seconds of each stage since this thread's last; the head has what is left."""
        found = self._lap()
        found["head"] = max(0.0, total_s - sum(found.values()))
        del self._laps.seconds
        return found

    def _lap(self) -> dict[str, float]:
        found: dict[str, float] = vars(self._laps).setdefault("seconds", dict.fromkeys(STAGES, 0.0))
        return found

    def _wrap(self, module: torch.nn.Module, method: str, stage: str) -> None:
        setattr(module, method, self.timed(stage, getattr(module, method)))

    def _now(self) -> float:
        if self._model.device.type == "cuda":
            torch.cuda.synchronize(self._model.device)
        return time.perf_counter()
