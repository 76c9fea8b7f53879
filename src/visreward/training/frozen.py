"""What an HP training computes once because it never changes.

Nothing augments the images, so whatever lies below the first trained parameter is a constant of
the data set: the scores of the frozen ICT model (three numbers per triplet), and the hidden
states below the first trained layer of the HP tower.

Shape letters: T triplets, M images, L tokens, W width, D features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor
from torch.nn import functional

from visreward.models.clip.backbone import CLIPBackbone
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.training.feeds import Feed, FrozenStates

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
        hidden = layer(hidden, None)
    return backbone.clip.visual_projection(tower.post_layernorm(hidden[:, 0]))  # type: ignore[no-any-return]


@torch.no_grad()
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
    """
    place = folder / f"{ICT_SCORES}-{_key(ict.facts.revision, feed)}.npy"
    if place.is_file():
        return torch.from_numpy(np.load(place))
    scores = torch.full((len(feed.rows), 3), float("nan"))
    for start in range(0, len(feed.usable), ROWS_PER_CHUNK):
        row_ids = feed.usable[start : start + ROWS_PER_CHUNK]
        pixels = torch.stack([feed.row_pixels(index) for index in row_ids])
        images = functional.normalize(ict.encode_images(pixels.flatten(0, 1)), dim=-1)
        features, _ = ict.encode_prompts([feed.rows[index].prompts[0] for index in row_ids])
        texts = functional.normalize(features, dim=-1).unsqueeze(1)
        scores[row_ids] = (images.unflatten(0, (-1, 3)) * texts).sum(dim=-1).cpu()
        if progress is not None:
            progress(min(start + ROWS_PER_CHUNK, len(feed.usable)), len(feed.usable))
    folder.mkdir(parents=True, exist_ok=True)
    _save(place, scores.numpy())
    return scores


def states_gb(hp: HP, feed: Feed) -> float:
    """Return how many GB of disk the hidden states of all rows take."""
    vision = hp.backbone.clip.vision_model.config
    tokens = (vision.image_size // vision.patch_size) ** 2 + 1
    gb = len(feed.rows) * len(feed.rows[0].images) * tokens * vision.hidden_size * 2 / 1e9
    return float(gb)


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
    """
    frozen = [*hp.backbone.clip.vision_model.embeddings.parameters()]
    for layer in hp.backbone.clip.vision_model.encoder.layers[:num_layers]:
        frozen += [*layer.parameters()]
    digest = hashlib.sha256()
    for parameter in frozen:
        digest.update(parameter.detach().float().cpu().numpy().tobytes())
    place = folder / f"{HIDDEN}-{_key(digest.hexdigest(), feed)}-{num_layers}.npy"
    if place.is_file():
        return FrozenStates(place)
    folder.mkdir(parents=True, exist_ok=True)
    building = place.with_suffix(".building.npy")
    vision = hp.backbone.clip.vision_model.config
    tokens = (vision.image_size // vision.patch_size) ** 2 + 1
    shape = (len(feed.rows), len(feed.rows[0].images), tokens, vision.hidden_size)
    states = open_memmap(building, mode="w+", dtype=np.float16, shape=shape)
    for start in range(0, len(feed.usable), ROWS_PER_CHUNK):
        row_ids = feed.usable[start : start + ROWS_PER_CHUNK]
        pixels = torch.stack([feed.row_pixels(index) for index in row_ids]).to(hp.device)
        values = hidden_states(
            hp.backbone, hp.pixel_inputs.normalise(pixels.flatten(0, 1)), num_layers=num_layers
        )
        states[row_ids] = values.unflatten(0, pixels.shape[:2]).half().cpu().numpy()
        if progress is not None:
            progress(min(start + ROWS_PER_CHUNK, len(feed.usable)), len(feed.usable))
    states.flush()
    building.replace(place)
    return FrozenStates(place)


def _key(revision: str, feed: Feed) -> str:
    """Return a digest of the frozen weights and the rows that they see."""
    digest = hashlib.sha256(revision.encode())
    digest.update(str(feed.reader.inputs.processor.to_dict()).encode())
    for row in feed.rows:
        digest.update(f"{row.prompts[0]}{row.images}".encode())
    return digest.hexdigest()[:16]


def _save(path: Path, values: np.ndarray) -> None:
    """Write an array so that it is there whole or not at all."""
    building = path.with_suffix(".building.npy")
    np.save(building, values)
    building.replace(path)
