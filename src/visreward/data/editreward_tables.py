"""Read the Parquet tables of EditReward-Data and EditReward-Bench: pairs with their images.

EditReward-Data: `train` tables with the columns instruction, source_img, left_output_image,
right_output_image, left_model, right_model, {left,right}_{overall,instruction_following,
quality_aesthetic}_score, left_img_rel, right_img_rel, and others that are not read. Who is
preferred is read from the overall scores, equal ones being a tie; the meaning of vote_type is not
published with the columns, so it is left alone.

EditReward-Bench: one row per comparison, with the columns id, instruction, source_image,
candidate_1, candidate_2, ranking (`A>B`, `C>A`, `A=B=Good`), comparison_type (`AvsC`: the letter of
either candidate), score_1, score_2, model_1, model_2. Its images have no names; here they are
named by a digest of their bytes, so that the same picture under two ids is found.

Image columns hold encoded images, or structs with the field `bytes`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from visreward.data.editreward_data import DIMENSIONS
from visreward.data.preference_files import PreferenceFormat
from visreward.data.preference_table import PreferenceCells
from visreward.data.rankings import read_ranking
from visreward.data.row import Row

_SIDES: Final = ("left", "right")
_DIMENSION_COLUMNS: Final = ("instruction_following", "quality_aesthetic")  # in our order
_RANKS: Final = {">": (1, 2), "<": (2, 1), "=": (1, 1)}
_COMPARISON: Final = re.compile(r"([A-D])vs([A-D])")


def _parse_data(row: Row) -> PreferenceCells:
    left, right = (row.number_at(f"{side}_overall_score") for side in _SIDES)
    return PreferenceCells(
        prompt=row.text("instruction"),
        images=(row.image_name("left_img_rel"), row.image_name("right_img_rel")),
        ranks=_RANKS["=" if left == right else ">" if left > right else "<"],
        sources=("source_img",),
        dimensions=tuple(
            row.number_at(f"{side}_{name}_score") for side in _SIDES for name in _DIMENSION_COLUMNS
        ),
        overall=(left, right),
        generators=(row.optional_text("left_model"), row.optional_text("right_model")),
    )


def _parse_bench(row: Row) -> PreferenceCells:
    scores = (row.optional_number("score_1"), row.optional_number("score_2"))
    return PreferenceCells(
        prompt=row.text("instruction"),
        images=(_digest(row, "candidate_1"), _digest(row, "candidate_2")),
        ranks=bench_comparison(row).ranks,
        sources=(_digest(row, "source_image"),),
        overall=None if scores == (None, None) else scores,
        generators=(row.optional_text("model_1"), row.optional_text("model_2")),
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two candidates of a group of EditReward-Bench.

    Attributes:
        letters: Of candidate_1 and candidate_2 in their group.
        ranks: Of both, 1 = better, equal for a tie.
    """

    letters: tuple[str, str]
    ranks: tuple[int, int]


def bench_comparison(row: Row) -> Comparison:
    """Return what a row of EditReward-Bench compares, and who is better.

    Raises:
        DataError: if the row does not say it.
    """
    ranking, comparison = row.text("ranking"), row.text("comparison_type")
    compared = _COMPARISON.fullmatch(comparison)
    if compared is None or compared[1] == compared[2]:
        raise row.error(f"has {comparison!r} in 'comparison_type', expected the like of 'AvsB'")
    letters = (compared[1], compared[2])
    try:
        first, second = read_ranking(ranking, letters)
    except ValueError as error:
        raise row.error(
            f"has {ranking!r:.100} in 'ranking' and {comparison!r} in 'comparison_type': {error}"
        ) from error
    return Comparison(letters, (first, second))


def _digest(row: Row, key: str) -> str:
    return hashlib.blake2b(row.image_bytes(key), digest_size=16).hexdigest()


EDITREWARD_DATA: Final = PreferenceFormat(
    name="editreward-data",
    kind="parquet",
    splits=("train", "validation", "test"),
    parse=_parse_data,
    dimensions=DIMENSIONS,
    columns=(
        "instruction",
        *(f"{side}_img_rel" for side in _SIDES),
        *(f"{side}_model" for side in _SIDES),
        *(f"{side}_{name}_score" for side in _SIDES for name in ("overall", *_DIMENSION_COLUMNS)),
    ),
    image_columns=("left_output_image", "right_output_image"),
    source_columns=("source_img",),
)

EDITREWARD_BENCH: Final = PreferenceFormat(
    name="editreward-bench",
    kind="parquet",
    splits=("train", "test"),  # the release calls its only split train
    parse=_parse_bench,
    columns=(
        "instruction",
        "ranking",
        "comparison_type",
        "source_image",
        "candidate_1",
        "candidate_2",
        "score_1",
        "score_2",
        "model_1",
        "model_2",
    ),
    image_columns=("candidate_1", "candidate_2"),
    source_columns=("source_image",),
)
