"""Write a study as preference data, in the JSON layouts of HPDv3 and of EditReward."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from visreward.core.errors import DataError, UsageError
from visreward.core.images import content_key
from visreward.core.whole_files import whole_file
from visreward.data.scenes.annotators import confidence_of
from visreward.demo.annotate.pairs import JudgedPair, judged_pairs
from visreward.demo.annotate.records import Answer, Kind

JsonRow: TypeAlias = "dict[str, str | float | bool | list[int] | list[str] | None]"


class Layout(StrEnum):
    """Layouts that a study can be written in."""

    HPDV3 = "hpdv3"
    EDITREWARD = "editreward"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """What was written.

    Attributes:
        num_rows: Pairs in the file, ties among them.
        num_ties: Ties in the file.
        num_left_out: Ties that the layout has no word for.
    """

    num_rows: int
    num_ties: int
    num_left_out: int


def export(
    kind: Kind,
    answers: Sequence[Answer],
    *,
    layout: Layout,
    output: Path,
    copy_images: bool = False,
) -> ExportSummary:
    """Write every pair that was judged, the better image first.

    `choice_dist` counts the annotators who put either image first, `confidence` is
    `confidence_of` these votes; both are null where nobody did. With `scores` a row of EditReward
    also has the mean scores. A tie has `tie_case` in EditReward's layout; HPDv3's has no ties, so
    there they are left out. Images are named relative to the output's folder. Deterministic.

    Args:
        kind: What was asked.
        answers: All answers of the study.
        layout: Of the file. HPDv3's has no source images, EditReward's needs them.
        output: The JSON file to write; it appears whole or not at all.
        copy_images: Whether images outside the output's folder are copied into
            `{name}_images` beside it, under names that are digests of their content.

    Raises:
        DataError: if nothing was judged, or the layout does not fit the questions.
        UsageError: if an image lies outside the output's folder and is not to be copied.
        ImageError: if an image that is to be copied is not there.
    """
    pairs = judged_pairs(kind, answers)
    if not pairs:
        raise DataError("No question has an answer yet. Answer some, then export.")
    _require_fit(pairs, layout)
    is_left_out = [pair.is_tie and layout is Layout.HPDV3 for pair in pairs]
    kept = [pair for pair, is_out in zip(pairs, is_left_out, strict=True) if not is_out]
    output.parent.mkdir(parents=True, exist_ok=True)
    images = _Images(output, copy=copy_images)
    rows = [_row(pair, layout, images) for pair in kept]
    with whole_file(output) as part:
        part.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return ExportSummary(
        num_rows=len(rows),
        num_ties=sum(pair.is_tie for pair in kept),
        num_left_out=sum(is_left_out),
    )


def _require_fit(pairs: Sequence[JudgedPair], layout: Layout) -> None:
    for pair in pairs:
        is_edit = bool(pair.question.sources)
        if is_edit != (layout is Layout.EDITREWARD):
            other = Layout.EDITREWARD if is_edit else Layout.HPDV3
            has = "has a source image" if is_edit else "has no source image"
            raise DataError(
                f"The question '{pair.question.name}' {has}, which does not fit the layout "
                f"'{layout}'. Use --format {other}, and keep edits and generated images in "
                "studies of their own."
            )


class _Images:
    """Names of images relative to the output, and copies of those that lie elsewhere."""

    def __init__(self, output: Path, *, copy: bool) -> None:
        self._folder = Path(os.path.abspath(output.parent))  # noqa: PTH100 - links stay
        self._copies = output.with_name(f"{output.stem}_images")
        self._copy = copy
        self._names: dict[Path, str] = {}

    def name(self, path: Path) -> str:
        if path not in self._names:
            self._names[path] = self._named(path)
        return self._names[path]

    def _named(self, path: Path) -> str:
        if path.is_relative_to(self._folder):
            return path.relative_to(self._folder).as_posix()
        if not self._copy:
            raise UsageError(
                f"The image '{path}' lies outside '{self._folder}', and a data set names images "
                "relative to its file. Write the output above the images, or add --copy-images."
            )
        self._copies.mkdir(exist_ok=True)
        copy = self._copies / f"{content_key(path)[:32]}{path.suffix.lower()}"
        if not copy.exists():
            with whole_file(copy) as part:
                shutil.copyfile(path, part)
        return f"{self._copies.name}/{copy.name}"


def _row(pair: JudgedPair, layout: Layout, images: _Images) -> JsonRow:
    is_voted = sum(pair.votes) > 0
    row: JsonRow = {
        "prompt": pair.question.prompt,
        "choice_dist": list(pair.votes) if is_voted else None,
        "confidence": confidence_of(*pair.votes) if is_voted and not pair.is_tie else None,
        "path1": images.name(pair.better.image),
        "path2": images.name(pair.worse.image),
        "model1": pair.better.generator,
        "model2": pair.worse.generator,
    }
    if layout is Layout.EDITREWARD:
        sources = [images.name(source) for source in pair.question.sources]
        row["path_src"] = sources[0] if len(sources) == 1 else sources
        row["tie_case"] = pair.is_tie
        for number, scores in enumerate(pair.scores or (), start=1):
            for dimension, score in enumerate(scores, start=1):
                row[f"model{number}_dim{dimension}_score"] = score
            row[f"model{number}_overall_score"] = sum(scores) / len(scores)
    return row
