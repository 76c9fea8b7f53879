"""One call from a configuration to a finished model folder."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import yaml
from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from visreward import __version__
from visreward.core.errors import UsageError
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.models.loading import load_model
from visreward.training.build import build_model
from visreward.training.config import (
    ContrastiveConfig,
    HPConfig,
    ICTConfig,
    TrainConfig,
)
from visreward.training.feeds import Feed, Row, read_rows
from visreward.training.frozen import (
    HIDDEN,
    ICT_SCORES,
    frozen_ict_scores,
    frozen_states,
    states_gb,
)
from visreward.training.objectives import (
    ContrastiveObjective,
    HPObjective,
    ICTObjective,
    Objective,
)
from visreward.training.optim import freeze, frozen_layers
from visreward.training.pixels import PixelReader
from visreward.training.trainer import Trainer, make_accelerator

Shown = Callable[[int, int], None]


def train(config: TrainConfig, *, console: Console | None = None) -> dict[str, float]:
    """Run a configuration, from its last checkpoint if it has one.

    Writes into `config.output`: `recipe.yaml`, `versions.json`, `log.jsonl`, `tensorboard/`, the
    checkpoint `last/`, the best model so far in `best/`, and the finished model in `model/`.

    Args:
        config: What to train.
        console: Where progress is shown; None is standard error.

    Returns:
        The validation metrics after the last step.

    Raises:
        UsageError: if parts of the configuration contradict each other, or the output folder
            holds another run.
        DataError: if the data cannot be used.
        NonFiniteError: if a loss or gradient is not finite.
    """
    console = console or Console(stderr=True)
    accelerator = make_accelerator(config)
    train_rows = read_rows(config.data, "train", config.data.num_train)
    validation_rows = read_rows(config.data, "val", config.data.num_validation)
    model = build_model(
        config.model, (prompt for row in train_rows for prompt in row.prompts), seed=config.seed
    )
    freeze(model, config.freeze)
    if accelerator.is_main_process:
        _record(config)
    accelerator.wait_for_everyone()
    feeds = [
        _feed(config, rows, model, accelerator, console, split)
        for rows, split in ((train_rows, "train"), (validation_rows, "val"))
    ]
    objective = _objective(config, model, feeds, accelerator, console)
    trainer = Trainer(
        config,
        objective,
        train_feed=feeds[0],
        validation_feed=feeds[1],
        accelerator=accelerator,
        console=console,
    )
    metrics = trainer.run()
    if accelerator.is_main_process:
        trainer.save_model(config.output / "model")
        (config.output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def _feed(
    config: TrainConfig,
    rows: list[Row],
    model: CLIPRewardModel,
    accelerator: Accelerator,
    console: Console,
    split: str,
) -> Feed:
    is_train = split == "train"
    reader = PixelReader(inputs=model.pixel_inputs, rule=model.facts.reading)
    # The main process fills the cache of pixels, the others then find it.
    with accelerator.main_process_first(), shown(console, f"pixels of {split}") as progress:
        return Feed(
            rows,
            reader,
            config=config.data,
            batch_size=config.optim.batch_size if is_train else 64,
            seed=config.seed,
            shard=(accelerator.process_index, accelerator.num_processes) if is_train else (0, 1),
            shuffle=is_train,
            progress=progress,
        )


def _objective(
    config: TrainConfig,
    model: CLIPRewardModel,
    feeds: list[Feed],
    accelerator: Accelerator,
    console: Console,
) -> Objective:
    chosen = config.objective
    if isinstance(chosen, ContrastiveConfig):
        return ContrastiveObjective(model, chosen)
    if isinstance(chosen, ICTConfig):
        return ICTObjective(model, chosen)
    if not isinstance(model, HP):
        raise UsageError(f"The objective 'hp' trains a model of kind hp, not '{model.kind}'.")
    return _hp_objective(config, chosen, model, feeds, accelerator, console)


def _hp_objective(
    config: TrainConfig,
    chosen: HPConfig,
    model: HP,
    feeds: list[Feed],
    accelerator: Accelerator,
    console: Console,
) -> HPObjective:
    ict = None
    if chosen.ict is not None:
        loaded = load_model(chosen.ict)
        if not isinstance(loaded, CLIPRewardModel) or loaded.text_inputs is None:
            raise UsageError(f"objective.ict '{chosen.ict}' is a '{loaded.kind}', expected ICT.")
        ict = loaded.eval().to(accelerator.device).requires_grad_(requires_grad=False)
    vision = model.backbone.clip.vision_model
    num_frozen = frozen_layers(config.freeze.vision_rate, len(vision.encoder.layers))
    objective = HPObjective(model, chosen, ict=ict, frozen_layers=num_frozen)
    if not chosen.cache_frozen:
        return objective
    folder = config.data.path / ".cache"
    if ict is not None:
        for feed in feeds:
            _cache_ict(ict, feed, config, folder, accelerator, console)
    everything_below = config.freeze.vision_embeddings and num_frozen > 0
    if everything_below and sum(states_gb(model, feed) for feed in feeds) <= chosen.max_cache_gb:
        model.to(accelerator.device)
        for feed in feeds:
            with accelerator.main_process_first(), shown(console, "hidden states") as progress:
                feed.extra[HIDDEN] = frozen_states(
                    model, feed, num_layers=num_frozen, folder=folder, progress=progress
                )
            feed.with_pixels = False
    return objective


def _cache_ict(
    ict: CLIPRewardModel,
    feed: Feed,
    config: TrainConfig,
    folder: Path,
    accelerator: Accelerator,
    console: Console,
) -> None:
    """Give a feed the frozen ICT scores, seen at the ICT model's own image size."""
    reader = PixelReader(inputs=ict.pixel_inputs, rule=ict.facts.reading)
    with accelerator.main_process_first():
        with shown(console, "pixels for ICT") as progress:
            seen = Feed(
                feed.rows,
                reader,
                config=config.data,
                batch_size=1,
                seed=config.seed,
                shuffle=False,
                progress=progress,
            )
        with shown(console, "ICT scores") as progress:
            feed.extra[ICT_SCORES] = frozen_ict_scores(ict, seen, folder=folder, progress=progress)


def _record(config: TrainConfig) -> None:
    """Write recipe and versions; refuse a folder that holds a run of another recipe.

    Raises:
        UsageError: if the folder's recipe differs in more than the number of steps.
    """
    config.output.mkdir(parents=True, exist_ok=True)
    place = config.output / "recipe.yaml"
    values = config.model_dump(mode="json")
    if place.is_file():
        known = yaml.safe_load(place.read_text(encoding="utf-8"))
        changed = sorted(key for key in values if key != "optim" and values[key] != known.get(key))
        if changed:
            raise UsageError(
                f"{config.output} holds a run with other settings in: {', '.join(changed)}. "
                "Give another output=FOLDER, or delete that run."
            )
    place.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    packages = ("torch", "transformers", "accelerate", "pillow", "numpy")
    versions = {name: version(name) for name in packages}
    versions |= {"visreward": __version__, "python": platform.python_version()}
    (config.output / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


@contextmanager
def shown(console: Console, title: str) -> Iterator[Shown]:
    """Show a progress bar for one piece of preparation."""
    with Progress(
        TextColumn(title),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
