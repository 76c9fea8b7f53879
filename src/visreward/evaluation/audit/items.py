"""What a model is audited on: the synthetic world, or a user's own pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visreward.core.errors import DataError, UsageError
from visreward.core.types import Sample
from visreward.data.scenes.edits import CANDIDATE_KINDS, plan_edit, render_edit
from visreward.data.scenes.triplets import TripletPlan, plan_triplet, render_triplet
from visreward.evaluation.audit.records import ItemFailure
from visreward.evaluation.scenes import Drawing
from visreward.models.facts import ModelFacts
from visreward.scoring.records import RowError, sample_name
from visreward.scoring.rows import read_rows

MAX_PER_PROMPT: Final = 8
"""How many pictures of one prompt of a user are audited."""

CLEAR_SEVERITY: Final = 3
"""From this severity on, people see a flaw at once."""

_ENDINGS: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")

_EDITS_USED: Final = ("right", "half done", "flawed")

Fault: TypeAlias = Literal["", "following", "quality"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditItem:
    """One picture under its own prompt.

    Attributes:
        sample: The picture, with an id.
        group: Number of its prompt; pictures of one prompt compete.
        is_right: Whether it shows what was asked for; assumed of a user's pictures.
        fault: What alone is clearly worse than in the right picture of its group, or "".
    """

    sample: Sample
    group: int
    is_right: bool = True
    fault: Fault = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSet:
    """What a model is audited on.

    Attributes:
        items: Pictures of one prompt stand together.
        words: What it is, in words.
        drawing: How more of the world is drawn; None for a user's pictures, whose right answers
            nobody knows.
        failures: Rows that hold no sample.
    """

    items: tuple[AuditItem, ...]
    words: str
    drawing: Drawing | None = None
    failures: tuple[ItemFailure, ...] = ()


def scene_set(facts: ModelFacts, drawing: Drawing) -> AuditSet:
    """Return pictures of the synthetic world for a model: triplets, or edits.

    Args:
        facts: Of the model.
        drawing: How many prompts, of which seed.
    """
    make = _edit_items if facts.needs_source else _triplet_items
    items = tuple(item for index in range(drawing.num) for item in make(index, drawing))
    kind = "edit instructions" if facts.needs_source else "prompts"
    words = f"{len(items)} pictures for {drawing.num} {kind} of the synthetic world"
    return AuditSet(items=items, words=words, drawing=drawing)


def picture_of(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return pixels, (H, W, 3), as a picture."""
    return Image.fromarray(pixels)


def _triplet_items(index: int, drawing: Drawing) -> list[AuditItem]:
    plan = plan_triplet(seed=drawing.seed, split=drawing.split, index=index)
    triplet = render_triplet(plan, size=drawing.size)
    shown: tuple[tuple[str, NDArray[np.uint8], bool, Fault], ...] = (
        ("winning", triplet.winning_image, True, ""),
        ("refined", triplet.refined_image, True, ""),
        ("losing", triplet.losing_image, False, _fault_of(plan)),
    )
    return [
        AuditItem(
            sample=Sample(
                prompt=plan.basic_prompt, image=picture_of(pixels), id=f"scene {index} {name}"
            ),
            group=index,
            is_right=is_right,
            fault=fault,
        )
        for name, pixels, is_right, fault in shown
    ]


def _fault_of(plan: TripletPlan) -> Fault:
    if not plan.flaws:
        return "following"
    is_clear = plan.severity is not None and plan.severity >= CLEAR_SEVERITY
    # A rich loser differs from the winning picture in more than its flaws.
    return "quality" if is_clear and not plan.losing_scene.rich else ""


def _edit_items(index: int, drawing: Drawing) -> list[AuditItem]:
    plan = plan_edit(seed=drawing.seed, split=drawing.split, index=index)
    edit = render_edit(plan, size=drawing.size)
    source = picture_of(edit.source_image)
    items = []
    for candidate, pixels in zip(plan.candidates, edit.images, strict=True):
        if candidate.kind not in _EDITS_USED:
            continue
        fault: Fault = ""
        if candidate.kind == "half done" and not candidate.state.is_ghost:
            fault = "following"
        elif candidate.kind == "flawed" and candidate.severity >= CLEAR_SEVERITY:
            fault = "quality"
        sample = Sample(
            prompt=plan.instruction,
            image=picture_of(pixels),
            source_image=source,
            id=f"edit {index} {candidate.kind}",
        )
        items.append(
            AuditItem(
                sample=sample,
                group=index,
                is_right=candidate.kind == CANDIDATE_KINDS[0],
                fault=fault,
            )
        )
    return items


def own_set(path: Path, facts: ModelFacts, *, num: int, seed: int) -> AuditSet:
    """Return a user's pictures.

    Args:
        path: Rows as `visreward score --input` takes them, or a folder of pictures for a model
            that takes no prompt.
        facts: Of the model.
        num: How many prompts; drawn at random where there are more.
        seed: Of the draw.

    Raises:
        DataError: if there is no such file, or nothing in it.
        UsageError: if a folder is given and the model needs a prompt or a source image.
    """
    entries = _folder_samples(path, facts) if path.is_dir() else read_rows(path)
    groups: dict[tuple[str, str], list[Sample]] = {}
    failures = []
    for number, entry in enumerate(entries):
        if isinstance(entry, RowError):
            failures.append(ItemFailure(name=entry.name, reason=entry.reason))
            continue
        sources = repr([os.fspath(source) for source in _paths(entry)])
        named = Sample(
            prompt=entry.prompt,
            image=entry.image,
            source_image=entry.source_image,
            id=sample_name(entry, number),
        )
        key = (entry.prompt.strip() or named.id or "", sources)
        groups.setdefault(key, []).append(named)
    chosen = _chosen(list(groups.values()), num=num, seed=seed)
    items = tuple(
        AuditItem(sample=sample, group=group)
        for group, samples in enumerate(chosen)
        for sample in samples[:MAX_PER_PROMPT]
    )
    num_all = sum(map(len, groups.values()))
    left_out = f", {num_all - len(items)} more left out" if num_all > len(items) else ""
    words = f"{len(items)} pictures for {len(chosen)} prompts of {path.name}{left_out}"
    return AuditSet(items=items, words=words, failures=tuple(failures))


def _paths(sample: Sample) -> Iterable[str]:
    return (source for source in sample.sources if isinstance(source, str))


def _chosen(groups: list[list[Sample]], *, num: int, seed: int) -> list[list[Sample]]:
    if len(groups) <= num:
        return groups
    drawn = np.random.default_rng(seed).choice(len(groups), size=num, replace=False)
    return [groups[index] for index in sorted(drawn.tolist())]


def _folder_samples(folder: Path, facts: ModelFacts) -> list[Sample]:
    if facts.needs_prompt or facts.needs_source:
        wanted = "prompts and source images" if facts.needs_source else "prompts"
        raise UsageError(
            f"'{folder}' is a folder of pictures, but '{facts.name}' needs {wanted}. "
            'Give a file of rows instead: {"prompt": "...", "image": "..."}'
        )
    files = sorted(each for each in folder.iterdir() if each.suffix.lower() in _ENDINGS)
    if not files:
        raise DataError(
            f"'{folder}' holds no picture. Give a folder with files that end in "
            f"{', '.join(_ENDINGS)}."
        )
    return [Sample(prompt="", image=str(file), id=file.name) for file in files]
