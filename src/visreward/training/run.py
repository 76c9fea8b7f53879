"""One call from a configuration to a finished model folder."""

from __future__ import annotations

import time
from typing import NamedTuple

from accelerate import Accelerator
from rich.console import Console

from visreward.core.errors import DataError, UsageError
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.models.loading import load_model
from visreward.models.vlm.reward import VLMReward
from visreward.training.checkpoints.fingerprint import rows_fingerprint, weights_fingerprints
from visreward.training.checkpoints.keeper import storing_run
from visreward.training.checkpoints.record import (
    record,
    refuse_other_rows,
    refuse_other_run,
    refuse_other_weights,
    versions,
    write_json,
)
from visreward.training.config import TrainConfig
from visreward.training.data.feeds import Feed
from visreward.training.data.preparation import Preparation
from visreward.training.data.reading import read_splits
from visreward.training.data.rows import Rows
from visreward.training.distributed.processes import check_shares, make_accelerator, with_precision
from visreward.training.modeling.cpu_attention import take_attention
from visreward.training.modeling.fitting_parts import check_parts, wanted_rows
from visreward.training.modeling.freezing import frozen_vision_layers
from visreward.training.modeling.trained_model import trained_model
from visreward.training.objectives.base import Objective
from visreward.training.objectives.contrastive import ContrastiveObjective
from visreward.training.objectives.distillation import DistillationObjective
from visreward.training.objectives.hp import HPObjective
from visreward.training.objectives.ict import ICTObjective
from visreward.training.objectives.pairwise import PairwiseObjective
from visreward.training.options.objective_config import (
    ContrastiveConfig,
    DistillationConfig,
    HPConfig,
    ICTConfig,
    PairwiseConfig,
)
from visreward.training.reporting.card import RunResult, write_card
from visreward.training.reporting.summary import RunSummary, say_summary
from visreward.training.schedule import with_steps
from visreward.training.trainer import Trainer


def train(
    config: TrainConfig, *, console: Console | None = None, recipe: str | None = None
) -> dict[str, float]:
    """Run a configuration, from its last checkpoint if it has one.

    Writes into `config.output`: `recipe.yaml`, `versions.json`, `log.jsonl`, `tensorboard/`, the
    last checkpoints in `checkpoints/`, the best model so far in `best/`, the finished model with
    its card in `model/`, `metrics.json`, in `skipped.json` which rows could not be read, and at
    each validation `curves.png` and `validation.html`.

    Args:
        config: What to train.
        console: Where progress is shown; None is standard error.
        recipe: Name of the recipe for the model card; None takes the model's name.

    Returns:
        The validation metrics after the last step.

    Raises:
        UsageError: if parts of the configuration contradict each other, or the output folder
            holds another run, or one on other rows or other frozen weights.
        DataError: if the data cannot be used.
        NonFiniteError: if a loss or gradient is not finite.
        StorageError: if the disk takes no more; the last checkpoint is intact.
        StoppedError: if SIGTERM or SIGINT asked for it; the state is saved.
        UnsafePickleError: if a pickle lies where checkpoints are.
    """
    console = console or Console(stderr=True)
    config = with_precision(config)
    check_parts(config)
    refuse_other_run(config)
    accelerator = make_accelerator(config)
    check_shares(config, accelerator.num_processes)
    splits = read_splits(config.data, wanted=wanted_rows(config.objective))
    train_rows, validation_rows = splits.train, splits.validation
    fingerprints = {
        split: rows_fingerprint(rows, config.data.path)
        for split, rows in (("train", train_rows), ("val", validation_rows))
    }
    refuse_other_rows(config, fingerprints)
    if isinstance(config.objective, ICTConfig):
        _require_labels(config, train_rows)
    frozen = _frozen_models(config, accelerator)
    model = trained_model(config, (prompt for row in train_rows for prompt in row.prompts))
    weights = weights_fingerprints(model, {f"objective.{frozen.key}": frozen.models})
    refuse_other_weights(config, weights)
    if accelerator.device.type == "cpu":
        take_attention(model, config)
    if accelerator.is_main_process:
        with storing_run(config):
            record(config, rows=fingerprints, weights=weights)
    accelerator.wait_for_everyone()
    preparation = Preparation(config=config, accelerator=accelerator, console=console)
    feeds = {
        "train": preparation.feed(train_rows, model, split="train"),
        "val": preparation.feed(validation_rows, model, split="val"),
    }
    config = with_steps(config, feeds["train"].batches_per_epoch)
    trainer = Trainer(
        config,
        _objective(preparation, model, feeds, frozen.models),
        train_feed=feeds["train"],
        validation_feed=feeds["val"],
        accelerator=accelerator,
        console=console,
    )
    first_step, started = trainer.state.step, time.monotonic()
    metrics = trainer.run()
    trainer.save_model(config.output / "model")
    if accelerator.is_main_process:
        with storing_run(config):
            _finish(config, trainer, feeds, metrics, recipe or config.model.name)
        summary = RunSummary(
            seconds=time.monotonic() - started,
            num_steps=config.optim.steps - first_step,
            metrics=metrics,
            primary=trainer.objective.primary,
            best=trainer.state.best,
            skipped={split: len(feed.skipped) for split, feed in feeds.items()},
        )
        say_summary(console, config, summary)
    return metrics


def _require_labels(config: TrainConfig, rows: Rows) -> None:
    """Stop where triplets have no labels, before any image is decoded."""
    missing = sum(row.labels is None for row in rows)
    if missing:
        raise DataError(
            f"{missing} of {len(rows)} triplets of {config.data.path} have no labels E1, E2, R1, "
            f"R2. Make them with: visreward data label pick-high {config.data.path} --model NAME"
        )


class _Frozen(NamedTuple):
    """Models that a training asks and does not change, and which key of `objective` names them."""

    key: str
    models: list[CLIPRewardModel]


def _frozen_models(config: TrainConfig, accelerator: Accelerator) -> _Frozen:
    """Return the models that a training asks and does not change.

    Raises:
        UsageError: if one is no CLIP model, or reads no prompts where it has to.
    """
    chosen = config.objective
    if isinstance(chosen, DistillationConfig):
        key, names = "teachers", chosen.teachers
    else:
        ict = chosen.ict if isinstance(chosen, HPConfig) else None
        key, names = "ict", [] if ict is None else [ict]
    found = []
    for name in names:
        loaded = load_model(name)
        if not isinstance(loaded, CLIPRewardModel):
            raise UsageError(
                f"objective.{key} '{name}' is a '{loaded.kind}'. Give a model with CLIP's towers."
            )
        if key == "ict" and loaded.text_inputs is None:
            raise UsageError(
                f"objective.ict '{name}' is a '{loaded.kind}', which reads no prompts. "
                "Give an ICT model."
            )
        found.append(loaded.eval().to(accelerator.device).requires_grad_(requires_grad=False))
    return _Frozen(key, found)


def _objective(
    preparation: Preparation,
    model: CLIPRewardModel | VLMReward,
    feeds: dict[str, Feed],
    frozen: list[CLIPRewardModel],
) -> Objective:
    chosen = preparation.config.objective
    if isinstance(model, VLMReward):
        if isinstance(chosen, PairwiseConfig):
            if chosen.cache_frozen:
                preparation.add_vision_features([*feeds.values()], model, chosen)
            return PairwiseObjective(model, chosen)
        return DistillationObjective(model, teachers=frozen)
    if isinstance(chosen, ContrastiveConfig):
        return ContrastiveObjective(model, chosen)
    if isinstance(chosen, ICTConfig):
        return ICTObjective(model, chosen)
    assert isinstance(model, HP)
    assert isinstance(chosen, HPConfig)
    ict = frozen[0] if frozen else None
    num_layers = len(model.backbone.clip.vision_model.encoder.layers)
    num_frozen = frozen_vision_layers(preparation.config.freeze, num_layers)
    if not chosen.cache_frozen:
        return HPObjective(model, chosen, ict=ict, frozen_layers=num_frozen)
    if ict is not None:
        for feed in feeds.values():
            preparation.add_ict_scores(feed, ict)
    preparation.add_hidden_states([*feeds.values()], model, chosen)
    return HPObjective(model, chosen, frozen_layers=num_frozen)


def _finish(
    config: TrainConfig,
    trainer: Trainer,
    feeds: dict[str, Feed],
    metrics: dict[str, float],
    recipe: str,
) -> None:
    """Write the finished model's card, its metrics and the rows that were left out."""
    result = RunResult(
        recipe=recipe,
        metrics=metrics,
        num_rows={split: len(feed.rows) - len(feed.skipped) for split, feed in feeds.items()},
        versions=versions(),
    )
    facts = trainer.objective.model.facts
    write_card(config.output / "model", config, facts=facts, result=result)
    write_json(config.output / "metrics.json", metrics)
    write_json(
        config.output / "skipped.json", {split: feed.skipped for split, feed in feeds.items()}
    )
