"""From uploads to a ranking: read each image under its own name, then let the engine score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from visreward.core.errors import ImageError, InputError
from visreward.core.images import read_image, thumbnail_data_uri
from visreward.core.types import Sample
from visreward.models.loaded import check_given
from visreward.scoring.engine import ScoringEngine
from visreward.scoring.ranking import PromptRanking, rank_by_prompt
from visreward.scoring.records import RowError, ScoredItem

if TYPE_CHECKING:
    from PIL import Image

    from visreward.models.base import RewardModel

MAX_IMAGES: Final = 24
"""How many images are compared at once."""

MAX_PIXELS: Final = 40_000_000
"""Width x height of one image, as the reward server takes it."""

MAX_PROMPT_CHARS: Final = 4096
"""Of one prompt, as the reward server takes it."""

KEPT_S: Final = 3600
"""How long an upload stays on the disk."""

_THUMBNAIL_SIDE: Final = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An image that a visitor gave.

    Attributes:
        path: Where it lies.
        name: What the visitor calls it.
    """

    path: Path
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What came of one press of the button.

    Attributes:
        ranking: The scored images, best first; None where all failed.
        failed: The others, each with its reason.
        thumbnails: Small copies as data URIs, by the names of the items.
        source: Small copy of the source image, or None.
    """

    ranking: PromptRanking | None
    failed: tuple[ScoredItem, ...]
    thumbnails: dict[str, str] = field(default_factory=dict)
    source: str | None = None


def score_uploads(
    model: RewardModel, *, prompt: str, images: Sequence[Upload], source: Upload | None = None
) -> Scored:
    """Score images for one prompt; an image that cannot be scored is kept with its reason.

    Args:
        model: The reward model.
        prompt: The text asked for; not read by models that take none.
        images: One or more, at most `MAX_IMAGES`.
        source: The image before the edit, or None.

    Raises:
        InputError: if nothing can be scored: no image, too many, no prompt, a source image that is
            missing, not wanted or not readable.
    """
    check_form(model, prompt=prompt, num_images=len(images), has_source=source is not None)
    thumbnails: dict[str, str] = {}
    before = None if source is None else _read(model, source)
    entries: list[Sample | RowError] = []
    for name, upload in zip(_distinct_names(images), images, strict=True):
        try:
            picture = _read(model, upload)
        except ImageError as error:
            entries.append(RowError(name=name, reason=str(error)))
            continue
        thumbnails[name] = thumbnail_data_uri(picture, max_side=_THUMBNAIL_SIDE)
        # As the model's own reader would: of the same score, and small.
        prepared = model.prepare(picture)
        entries.append(Sample(prompt=prompt, image=prepared, source_image=before, id=name))
    items = list(ScoringEngine(model).run(entries))
    rankings = rank_by_prompt(items)
    return Scored(
        ranking=rankings[0] if rankings else None,
        failed=tuple(item for item in items if item.error is not None),
        thumbnails=thumbnails,
        source=None if before is None else thumbnail_data_uri(before, max_side=_THUMBNAIL_SIDE),
    )


def check_form(model: RewardModel, *, prompt: str, num_images: int, has_source: bool) -> None:
    """Refuse what cannot be scored at all, before any image is read.

    Raises:
        InputError: with what is missing or too much.
    """
    if num_images == 0:
        raise InputError("There is no image yet (0 given). Add an image to score.")
    if num_images > MAX_IMAGES:
        raise InputError(
            f"There are {num_images} images, more than the {MAX_IMAGES} that are compared at once. "
            f"Remove {num_images - MAX_IMAGES}."
        )
    if len(prompt) > MAX_PROMPT_CHARS:
        raise InputError(
            f"The prompt has {len(prompt):,} characters, more than the {MAX_PROMPT_CHARS:,} that "
            "are read. Shorten it."
        )
    check_given(model.facts, prompt, has_source=has_source)


def _read(model: RewardModel, upload: Upload) -> Image.Image:
    if not upload.path.is_file():
        raise ImageError(
            f"Image {upload.name!r} is no longer here: uploads are deleted after "
            f"{KEPT_S // 60} minutes. Add it again."
        )
    return read_image(
        upload.path, rule=model.facts.reading, max_pixels=MAX_PIXELS, name=upload.name
    )


def _distinct_names(images: Sequence[Upload]) -> list[str]:
    """Return the images' names; of several with one name, the later ones are numbered."""
    seen: dict[str, int] = {}
    names = []
    for image in images:
        seen[image.name] = seen.get(image.name, 0) + 1
        count = seen[image.name]
        names.append(image.name if count == 1 else f"{image.name} ({count})")
    return names
