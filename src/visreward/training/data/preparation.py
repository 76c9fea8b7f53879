"""Make the feeds of a run: pixels, and what frozen parts say, computed once.

Of several processes, one computes and the others wait for its files. They wait at a file's lock,
because a barrier gives up after minutes where this may take hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelerate import Accelerator
from rich.console import Console

from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.data.batches import Row
from visreward.training.data.feeds import Feed
from visreward.training.data.frozen import (
    HIDDEN,
    ICT_SCORES,
    frozen_ict_scores,
    frozen_states,
    states_gb,
    unreadable_rows,
)
from visreward.training.data.pixels import pixel_reader
from visreward.training.data.vision_features import features_gb, frozen_features
from visreward.training.modeling.freezing import frozen_vision_layers
from visreward.training.options.objective_config import FrozenPartsConfig, HPConfig, PairwiseConfig
from visreward.training.reporting.journal import say, shown

VALIDATION_ROWS = 64


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What the feeds of a run are made from.

    Attributes:
        config: The run.
        accelerator: This process and its device.
        console: Where progress is shown.
    """

    config: TrainConfig
    accelerator: Accelerator
    console: Console

    def feed(self, rows: Sequence[Row], model: CLIPRewardModel | VLMReward, *, split: str) -> Feed:
        """Return the feed of a split; the first process fills the cache, the others find it."""
        config, accelerator = self.config, self.accelerator
        is_train = split == "train"
        title = f"pixels of {split}"
        with shown(self.console, title) as progress:
            return Feed(
                rows,
                pixel_reader(model),
                config=config.data,
                batch_size=config.optim.batch_size if is_train else VALIDATION_ROWS,
                seed=config.seed,
                shard=(accelerator.process_index, accelerator.num_processes)
                if is_train
                else (0, 1),
                shuffle=is_train,
                progress=progress,
            )

    def add_ict_scores(self, feed: Feed, ict: CLIPRewardModel) -> None:
        """Give a feed the frozen ICT scores, seen at the ICT model's own image size."""
        seen = self.feed(feed.rows, ict, split="ICT")
        with self.accelerator.autocast(), shown(self.console, "ICT scores") as progress:
            scores = frozen_ict_scores(
                ict, seen, folder=self.config.data.cache_folder, progress=progress
            )
        feed.extra[ICT_SCORES] = scores
        feed.leave_out({**unreadable_rows(scores), **seen.skipped})

    def add_hidden_states(self, feeds: Sequence[Feed], model: HP, objective: HPConfig) -> None:
        """Give feeds the states below the first trained layer, where all below is frozen."""
        layers = model.backbone.clip.vision_model.encoder.layers
        num_frozen = frozen_vision_layers(self.config.freeze, len(layers))
        if num_frozen == 0 or not self.config.freeze.vision_embeddings:
            return
        needed = sum(states_gb(model, feed) for feed in feeds)
        if not self._has_room("hidden states", needed, objective):
            return
        model.to(self.accelerator.device)
        for feed in feeds:
            with self.accelerator.autocast(), shown(self.console, "hidden states") as progress:
                states = frozen_states(
                    model,
                    feed,
                    num_layers=num_frozen,
                    folder=self.config.data.cache_folder,
                    progress=progress,
                )
            feed.extra[HIDDEN] = states
            feed.leave_out(unreadable_rows(states))
            feed.with_pixels = False

    def add_vision_features(
        self, feeds: Sequence[Feed], model: VLMReward, objective: PairwiseConfig
    ) -> None:
        """Give feeds what the vision tower says of their images, where it is frozen whole."""
        is_trained = any(weight.requires_grad for weight in model.backbone.vision_weights())
        if is_trained or not all(feed.cache and feed.usable for feed in feeds):
            return
        needed = sum(features_gb(model, feed) for feed in feeds)
        if not self._has_room("features of the vision tower", needed, objective):
            return
        model.to(self.accelerator.device)
        for feed in feeds:
            with self.accelerator.autocast(), shown(self.console, "features") as progress:
                feed.features = frozen_features(
                    model, feed, folder=self.config.data.cache_folder, progress=progress
                )

    def _has_room(self, what: str, needed_gb: float, objective: FrozenPartsConfig) -> bool:
        """Return whether something may be kept on disk; say so where it may not."""
        if needed_gb > objective.max_cache_gb:
            say(
                self.console,
                f"The {what} would take {needed_gb:.1f} GB, more than objective.max_cache_gb "
                f"{objective.max_cache_gb:g}: they are computed at every step.",
            )
        return needed_gb <= objective.max_cache_gb
