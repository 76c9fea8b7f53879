"""The labels E1, E2, R1, R2 of triplets, built from a CLIP model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from visreward.core.errors import UsageError
from visreward.data.containment import LabelSource, containment_labels, write_labels
from visreward.data.pick_high import PickHigh
from visreward.models.clip.family import CLIPRewardModel
from visreward.training.data.pixels import pixel_cache, pixel_reader

ROWS_PER_CHUNK = 64
DEFAULT_THETA_QUANTILE = 0.95


@dataclass(frozen=True, kw_only=True)
class Cosines:
    """Cosines of T triplets under a CLIP model, (T,) float32 each.

    Attributes:
        losing: Losing image and basic prompt.
        winning: Winning image and basic prompt.
        prompts: Basic and refined prompt.
    """

    losing: np.ndarray
    winning: np.ndarray
    prompts: np.ndarray


@torch.no_grad()
def triplet_cosines(
    model: CLIPRewardModel,
    path: Path,
    split: str,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Cosines:
    """Return the cosines that the labels of one split are made of.

    Args:
        model: A model with image and text tower; it is put into evaluation mode.
        path: Pick-High folder.
        split: train, val or test.
        progress: Called with (rows done, rows).
    """
    triplets = PickHigh(path).split(split)
    reader = pixel_reader(model)
    images = [image for t in triplets for image in (t.losing_image, t.winning_image)]
    cache = pixel_cache(images, reader, folder=path / ".cache")
    if cache.failed:
        first = next(iter(cache.failed.values()))
        raise UsageError(
            f"{len(cache.failed)} image(s) of split '{split}' cannot be read, so they cannot be "
            f"labelled. Correct them first. One of them: {first}"
        )
    model.eval()
    columns: list[list[torch.Tensor]] = [[], [], []]
    for start in range(0, len(triplets), ROWS_PER_CHUNK):
        rows = triplets[start : start + ROWS_PER_CHUNK]
        pixels = torch.stack([cache[2 * start + place] for place in range(2 * len(rows))])
        features = functional.normalize(model.encode_images(pixels), dim=-1)
        losing, winning = features.unflatten(0, (-1, 2)).unbind(dim=1)
        basic, _ = model.encode_prompts([t.basic_prompt for t in rows])
        refined, _ = model.encode_prompts([t.refined_prompt for t in rows])
        basic = functional.normalize(basic, dim=-1)
        refined = functional.normalize(refined, dim=-1)
        for column, other in zip(columns, (losing, winning, refined), strict=True):
            column.append((basic * other).sum(dim=-1).cpu())
        if progress is not None:
            progress(start + len(rows), len(triplets))
    losing_all, winning_all, prompts_all = (torch.cat(column).numpy() for column in columns)
    return Cosines(losing=losing_all, winning=winning_all, prompts=prompts_all)


def label_pick_high(
    path: Path,
    model: CLIPRewardModel,
    *,
    theta: float | None = None,
    splits: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Write the labels of all splits beside their tables; return the theta that was used.

    Args:
        path: Pick-High folder.
        model: The CLIP model whose cosines are saturated.
        theta: Cosine that counts as fully contained, above 0. None takes the cosine that
            95 % of the winning images of the first split stay below, so that nearly every plain
            right image keeps a label below 1. The paper's value is not published.
        splits: Which splits; None labels all that there are.
        progress: Called with (rows done, rows) of each split.

    Raises:
        UsageError: if theta is not above 0, or images cannot be read.
    """
    if theta is not None and not theta > 0:
        raise UsageError(f"theta is {theta}. Give a cosine above 0, such as 0.3.")
    for split in splits or PickHigh(path).splits:
        cosines = triplet_cosines(model, path, split, progress=progress)
        if theta is None:
            theta = float(np.quantile(cosines.winning, DEFAULT_THETA_QUANTILE))
        labels = containment_labels(
            cosines.losing,
            clip_winning=cosines.winning,
            clip_prompts=cosines.prompts,
            theta=theta,
        )
        source = LabelSource(model=model.facts.name, theta=theta)
        write_labels(path, split=split, labels=labels, source=source)
    assert theta is not None
    return theta
