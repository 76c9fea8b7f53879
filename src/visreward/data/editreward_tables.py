"""Read the Parquet tables of EditReward-Data and EditReward-Bench: pairs with their images.

EditReward-Data: `train` tables with the columns instruction, source_img, left_output_image,
right_output_image, left_model, right_model, {left,right}_{overall,instruction_following,
quality_aesthetic}_score, left_img_rel, right_img_rel, and others that are not read. Who is
preferred is read from the overall scores, equal ones being a tie; the meaning of vote_type is not
published with the columns, so it is left alone.

EditReward-Bench: one row per comparison, with the columns id, instruction, source_image,
candidate_1, candidate_2, ranking (`A>B`, `C>A`, `A=B`), comparison_type (`AvsC`: the letter of
either candidate), score_1, score_2, model_1, model_2. Its images have no names; here they are
named by a digest of their bytes, so that the same picture under two ids is found.

Image columns hold encoded images, or structs with the field `bytes`.
"""

from __future__ import annotations

import re
from typing import Final

from visreward.data.editreward_data import DIMENSIONS
from visreward.data.preference_files import PreferenceFormat
from visreward.data.preference_table import PreferenceCells
from visreward.data.row import Row

_SIDES: Final = ("left", "right")
_DIMENSION_COLUMNS: Final = ("instruction_following", "quality_aesthetic")  # in our order
_RANKS: Final = {">": (1, 2), "<": (2, 1), "=": (1, 1)}
_COMPARISON: Final = re.compile(r"([A-D])vs([A-D])")
_RANKING: Final = re.compile(r"([A-D])\s*([>=<])\s*([A-D])")


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
        images=(row.image_digest("candidate_1"), row.image_digest("candidate_2")),
        ranks=_bench_ranks(row),
        sources=(row.image_digest("source_image"),),
        overall=None if scores == (None, None) else scores,
        generators=(row.optional_text("model_1"), row.optional_text("model_2")),
    )


def _bench_ranks(row: Row) -> tuple[int, int]:
    ranking, comparison = row.text("ranking"), row.text("comparison_type")
    compared = _COMPARISON.fullmatch(comparison)
    judged = _RANKING.fullmatch(ranking)
    if compared is None or judged is None:
        raise row.error(
            f"has {ranking!r} in 'ranking' and {comparison!r} in 'comparison_type', expected the "
            "like of 'A>B' and 'AvsB'"
        )
    letters = compared.groups()
    better, sign, worse = judged.groups()
    if {better, worse} != set(letters) or better == worse:
        raise row.error(f"ranks {ranking!r}, but compares {comparison!r}")
    ranks = _RANKS[sign]
    return ranks if better == letters[0] else (ranks[1], ranks[0])


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
