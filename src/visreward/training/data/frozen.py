"""What an HP training computes once because it never changes.

Nothing augments the images, so whatever lies below the first trained parameter is a constant of
the data set: the scores of the frozen ICT model (three numbers per triplet), and the hidden
states below the first trained layer of the HP tower.

Shape letters: T triplets, B some of them, M images, L tokens, W width, D features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor
from torch.nn import functional

from visreward.core.errors import NonFiniteError
from visreward.models.base import RewardModel
from visreward.models.clip.backbone import CLIPBackbone, first_tokens
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.training.data.feeds import Feed, FrozenStates
from visreward.training.data.pixels import fingerprint, one_builder, require_disk

ICT_SCORES = "ict_scores"
HIDDEN = "hidden"
ROWS_PER_CHUNK = 64


def hidden_states(backbone: CLIPBackbone, pixel_values: Tensor, *, num_layers: int) -> Tensor:
    """Return (M, L, W) states of the vision tower after its first `num_layers` layers."""
    tower = backbone.clip.vision_model
    hidden = tower.pre_layrnorm(tower.embeddings(pixel_values.to(backbone.clip.dtype)))
    for layer in tower.encoder.layers[:num_layers]:
        hidden = layer(hidden, None)
    return hidden  # type: ignore[no-any-return]


def features_from_hidden(backbone: CLIPBackbone, hidden: Tensor, *, num_layers: int) -> Tensor:
    """Return (M, D) projected features from (M, L, W) states after `num_layers` layers."""
    tower = backbone.clip.vision_model
    hidden = hidden.to(backbone.clip.dtype)
    for layer in tower.encoder.layers[num_layers:]:
        hidden = layer(hidden, None, pooled=first_tokens(hidden))
    return backbone.clip.visual_projection(tower.post_layernorm(hidden[:, 0]))  # type: ignore[no-any-return]


@torch.no_grad()
def ict_scores(ict: CLIPRewardModel, pixels: Tensor, prompts: Sequence[str]) -> Tensor:
    """Return (B, N) float32 cosines of (B, N, 3, H, W) uint8 pixels with their B prompts."""
    images = functional.normalize(ict.encode_images(pixels.flatten(0, 1)), dim=-1)
    features, _ = ict.encode_prompts(prompts)
    texts = functional.normalize(features, dim=-1).unsqueeze(1)
    scores: Tensor = (images.unflatten(0, pixels.shape[:2]) * texts).sum(dim=-1)
    return scores


def frozen_ict_scores(
    ict: CLIPRewardModel,
    feed: Feed,
    *,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return (T, 3) float32 ICT scores of all rows under their basic prompts, kept on disk.

    Args:
        ict: The frozen model, in its own resolution: `feed` reads the pixels for it.
        feed: Rows of the split, read at the ICT model's image size.
        folder: Where the scores are kept, one file for each model and set of rows.
        progress: Called with (rows done, T).

    Returns:
        Scores, NaN in rows that cannot be read.

    Raises:
        NonFiniteError: if the model gives a score that is not finite; names the rows.
    """
    assert ict.facts.revision, "weights without a revision cannot be told apart"
    prompts = "|".join(row.prompts[0] for row in feed.rows)
    place = folder / f"{ICT_SCORES}-{cache_key(feed, ict, ict.facts.revision, prompts)}.npy"
    with one_builder(place):
        if not place.is_file():
            scores = np.full((len(feed.rows), 3), np.nan, dtype=np.float32)
            for row_ids, pixels in _chunks(feed, ict, progress):
                texts = [feed.rows[index].prompts[0] for index in row_ids]
                scores[row_ids] = _finite(ict_scores(ict, pixels, texts), row_ids)
            building = place.with_suffix(".building.npy")
            np.save(building, scores)
            building.replace(place)
    return torch.from_numpy(np.load(place))


def states_gb(hp: HP, feed: Feed) -> float:
    """Return how many GB of disk the hidden states of all rows take."""
    return float(np.prod(_states_shape(hp, feed), dtype=np.float64)) * 2 / 1e9


@torch.no_grad()
def frozen_states(
    hp: HP,
    feed: Feed,
    *,
    num_layers: int,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> FrozenStates:
    """Return the hidden states of all rows after the frozen layers, kept on disk in float16.

    Args:
        hp: The model, whose embeddings and first `num_layers` layers are not trained.
        feed: Rows of the split.
        num_layers: How many layers are frozen.
        folder: Where the states are kept.
        progress: Called with (rows done, T).

    Returns:
        States, NaN in rows that cannot be read.

    Raises:
        NonFiniteError: if a state does not fit into float16; names the rows.
        UsageError: if the disk has no room for them.
    """
    key = cache_key(feed, hp, _frozen_digest(hp, num_layers), str(num_layers))
    place = folder / f"{HIDDEN}-{key}.npy"
    with one_builder(place):
        if not place.is_file():
            require_disk(
                folder,
                int(states_gb(hp, feed) * 1e9),
                what=f"The hidden states of {len(feed.rows)} rows",
                instead="lower objective.max_cache_gb",
            )
            building = place.with_suffix(".building.npy")
            _write_states(building, hp, feed, num_layers, progress)
            building.replace(place)
    return FrozenStates(place)


def _write_states(
    path: Path,
    hp: HP,
    feed: Feed,
    num_layers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    states = open_memmap(path, mode="w+", dtype=np.float16, shape=_states_shape(hp, feed))
    was_training = hp.training
    hp.eval()
    for row_ids, pixels in _chunks(feed, hp, progress):
        values = hidden_states(
            hp.backbone, hp.pixel_inputs.normalise(pixels.flatten(0, 1)), num_layers=num_layers
        )
        states[row_ids] = _finite(values.unflatten(0, pixels.shape[:2]).half(), row_ids)
    hp.train(was_training)
    states[sorted(feed.skipped)] = np.nan
    states.flush()


def _states_shape(hp: HP, feed: Feed) -> tuple[int, int, int, int]:
    vision = hp.backbone.clip.vision_model.config
    tokens = (vision.image_size // vision.patch_size) ** 2 + 1
    return len(feed.rows), feed.images_per_row, tokens, vision.hidden_size


def _chunks(
    feed: Feed, model: CLIPRewardModel, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield row numbers and (B, N, 3, H, W) uint8 pixels of all rows that can be read."""
    ordered = feed.in_order(ROWS_PER_CHUNK)
    done = 0
    for batch in ordered.steps(0, ordered.batches_per_epoch):
        feed.count_skipped(batch.skipped)
        if batch.rows:
            yield batch.row_ids.tolist(), batch.stacked().to(model.device)
        done += len(batch.row_ids) + len(batch.skipped)
        if progress is not None:
            progress(done, len(ordered.usable))


def _finite(values: Tensor, row_ids: list[int]) -> np.ndarray:
    """Return values as an array if all are finite."""
    bad = ~torch.isfinite(values).flatten(1).all(dim=1).cpu()
    if bad.any():
        rows = [row for row, is_bad in zip(row_ids, bad.tolist(), strict=True) if is_bad]
        raise NonFiniteError(
            f"What is computed once for rows {rows} is not finite in {values.dtype}. "
            "Check the weights, or set objective.cache_frozen=false."
        )
    return values.cpu().numpy()


def unreadable_rows(values: Tensor | FrozenStates) -> dict[int, str]:
    """Return the rows that have no values, with a reason."""
    firsts = values.states[:, 0, 0, 0] if isinstance(values, FrozenStates) else values[:, 0].numpy()
    reason = "an image could not be read when the frozen part was computed"
    return dict.fromkeys(np.flatnonzero(np.isnan(firsts)).tolist(), reason)


def cache_key(feed: Feed, model: RewardModel, *parts: str) -> str:
    """Return a digest of files, how they are read, precision, and what else matters."""
    device = model.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else "full"
    digest = hashlib.sha256(f"{fingerprint(feed.files(), feed.reader)}{precision}".encode())
    for part in parts:
        digest.update(f"|{part}".encode())
    return digest.hexdigest()[:16]


def _frozen_digest(hp: HP, num_layers: int) -> str:
    """Return a digest of the weights and batch statistics below the first trained layer."""
    tower = hp.backbone.clip.vision_model
    below = (tower.embeddings, tower.pre_layrnorm, *tower.encoder.layers[:num_layers])
    return tensors_digest(value for module in below for value in module.state_dict().values())


def tensors_digest(values: Iterable[Tensor]) -> str:
    """Return a digest of some weights."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(value.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
