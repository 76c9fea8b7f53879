"""What a frozen vision tower says of every image of a data set, computed once and kept on disk.

Nothing augments the images, so where no weight of the tower is trained its features are constants.

Shape letters: M images, V tokens of an image, L sets of features, D width of the language model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from visreward.models.vlm.backbone import ImageFeatures
from visreward.models.vlm.reward import VLMReward
from visreward.training.data.feeds import Feed
from visreward.training.data.frozen import cache_key, tensors_digest
from visreward.training.data.pixels import one_builder, require_disk

ROWS_PER_CHUNK: Final = 16
FEATURES, INDEX = "features.bin", "index.json"


class FeatureCache:
    """Features of M images, in the order of a feed's files; (V, D) each, and as many deep ones."""

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        self._dtype: torch.dtype = getattr(torch, index["dtype"])
        self._shape: tuple[int, int] = (index["num_sets"], index["width"])
        self._starts = np.concatenate([[0], np.cumsum(index["num_tokens"])])
        self._bytes = np.memmap(folder / FEATURES, dtype=np.uint8, mode="r")

    def __getitem__(self, place: int) -> ImageFeatures:
        """Return the features of an image that could be read."""
        size = self._shape[0] * self._shape[1] * self._dtype.itemsize
        start, stop = (int(each) * size for each in self._starts[place : place + 2])
        values = torch.from_numpy(np.array(self._bytes[start:stop])).view(self._dtype)
        first, *deep = values.view(self._shape[0], -1, self._shape[1])
        return ImageFeatures(tokens=first, deep=tuple(deep))


def features_gb(model: VLMReward, feed: Feed) -> float:
    """Return how many GB of disk the features of all images take, in float32."""
    assert feed.cache is not None, "the sizes of images are known where their pixels are kept"
    tokens = sum(model.inputs.placed(0, shape).num_tokens for shape in feed.cache.shapes)
    return tokens * model.backbone.num_feature_sets * model.backbone.width * 4 / 1e9


@torch.no_grad()
def frozen_features(
    model: VLMReward,
    feed: Feed,
    *,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureCache:
    """Return the features of all images of a feed, kept on disk in the precision of the run.

    Args:
        model: The model, whose vision tower is not trained.
        feed: Rows of the split, with a cache of pixels.
        folder: Where features are kept, one folder for each tower and set of files.
        progress: Called with (rows done, rows).

    Raises:
        UsageError: if the disk has no room for them.
    """
    digest = tensors_digest(model.backbone.model.visual.state_dict().values())
    place = folder / f"features-{cache_key(feed, model, digest)}"
    with one_builder(place):
        if not place.is_dir():
            require_disk(
                folder,
                int(features_gb(model, feed) * 1e9),
                what=f"The features of {len(feed.files())} images",
                instead="set objective.cache_frozen=false",
            )
            building = place.with_name(f"{place.name}.building")
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            was_training = model.training
            _write(model.eval(), feed, building, progress)
            model.train(was_training)
            building.rename(place)
    return FeatureCache(place)


def _write(
    model: VLMReward,
    feed: Feed,
    folder: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write the features of all images, one behind the other, and how to take them apart."""
    num_tokens = [0] * len(feed.files())
    shape, dtype = (1, 0), torch.float32
    ordered = feed.in_order(ROWS_PER_CHUNK)
    done = 0
    with (folder / FEATURES).open("wb") as file:
        for batch in ordered.steps(0, ordered.batches_per_epoch):
            assert batch.pixels is not None, "features are made of pixels"
            found = iter(model.image_features([image for row in batch.pixels for image in row]))
            for row_id in batch.row_ids.tolist():
                for place in feed.places(row_id):
                    values = _stacked(next(found)).cpu()
                    num_tokens[place] = values.shape[1]
                    shape, dtype = (values.shape[0], values.shape[2]), values.dtype
                    file.write(values.contiguous().view(torch.uint8).numpy().tobytes())
            done += len(batch.row_ids)
            if progress is not None:
                progress(done, len(ordered.usable))
    index = {
        "dtype": str(dtype).removeprefix("torch."),
        "num_sets": shape[0],
        "width": shape[1],
        "num_tokens": num_tokens,
    }
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


def _stacked(features: ImageFeatures) -> Tensor:
    """Return (L, V, D) features of one image."""
    return torch.stack([features.tokens, *features.deep])
