"""Read GenAI-Bench, image editing: pairs of edits with one vote each, images in the tables.

Columns: instruct_prompt, source_image, left_output_image, right_output_image, left_model,
right_model, and vote_type: leftvote, rightvote, tievote (both are good) or bothbad_vote (neither
is), the last two being ties. source_prompt and target_prompt, which describe the images before
and after, are not read. The tables are in `image_edition`, beside those of other tasks. The release
has two splits, `test_v1` (919 pairs, of the paper) and `test`
(983). Images have no names; here they are named by a digest of their bytes.
"""

from __future__ import annotations

from typing import Final

from visreward.data.preference_files import PreferenceFormat
from visreward.data.preference_table import PreferenceCells
from visreward.data.row import Row

_RANKS: Final = {
    "leftvote": (1, 2),
    "rightvote": (2, 1),
    "tievote": (1, 1),
    "bothbad_vote": (1, 1),
}


def _parse(row: Row) -> PreferenceCells:
    vote = row.text("vote_type")
    if vote not in _RANKS:
        raise row.error(f"has {vote!r} in 'vote_type', expected {', '.join(_RANKS)}")
    return PreferenceCells(
        prompt=row.text("instruct_prompt"),
        images=(row.image_digest("left_output_image"), row.image_digest("right_output_image")),
        ranks=_RANKS[vote],
        sources=(row.image_digest("source_image"),),
        generators=(row.optional_text("left_model"), row.optional_text("right_model")),
    )


GENAI_BENCH_EDIT: Final = PreferenceFormat(
    name="genai-bench-edit",
    kind="parquet",
    splits=("test_v1", "test"),
    parse=_parse,
    folders=(".", "data", "image_edition"),
    columns=(
        "instruct_prompt",
        "vote_type",
        "left_model",
        "right_model",
        "source_image",
        "left_output_image",
        "right_output_image",
    ),
    image_columns=("left_output_image", "right_output_image"),
    source_columns=("source_image",),
)
