"""Read the JSON files that EditReward's evaluation takes: lists of edits that people scored.

Pairs, of GenAI-Bench and AURORA-Bench: prompt, path_src, path1, path2, model1, model2, and
model1_dim1_score and model2_dim1_score, of which the higher is better and equal ones are a tie.
The other keys of such files are not read: in the published file of GenAI-Bench the overall
scores contradict the first dimension in half of the rows.

Single edits, of AURORA-Bench (prompt, input, gen) and ImagenHub (instruction, input_path,
output_path): each with score, by people, and model, what made it; as in the released code, edits
without one are of one editing model, "unknown".

Pairs of AURORA-Bench also as ADIEE's code takes them: prompt, input, gens (two paths), models (two
names), and winner, which is one of the models or "tie".

Images are named relative to the file, or to the folder that is given for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from visreward.data.preference_files import PreferenceFormat
from visreward.data.preference_table import PreferenceCells
from visreward.data.row import Row

_TIE: Final = "tie"


def ranks_by_score(first: float, second: float) -> tuple[int, int]:
    """Return the ranks of two images by what people scored them."""
    return (1, 1) if first == second else (1, 2) if first > second else (2, 1)


def _parse_pair(row: Row) -> PreferenceCells:
    first, second = (row.number_at(f"model{place}_dim1_score") for place in (1, 2))
    return PreferenceCells(
        prompt=row.text("prompt"),
        images=(row.image_name("path1"), row.image_name("path2")),
        ranks=ranks_by_score(first, second),
        sources=row.image_names("path_src"),
        overall=(first, second),
        generators=(row.optional_text("model1"), row.optional_text("model2")),
    )


def _parse_aurora_pair(row: Row) -> PreferenceCells:
    if row.get("gens") is None:
        return _parse_pair(row)
    images, models, winner = row.image_names("gens"), row.get("models"), row.text("winner")
    if len(images) != 2 or not isinstance(models, list) or len(models) != 2:
        raise row.error(f"has {len(images)} images and the models {models!r:.100}, expected two")
    ranks = {models[1]: (2, 1), models[0]: (1, 2), _TIE: (1, 1)}
    if winner not in ranks:
        raise row.error(f"has {winner!r:.100} in 'winner', expected one of its models or a tie")
    return PreferenceCells(
        prompt=row.text("prompt"),
        images=images,
        ranks=ranks[winner],
        sources=row.image_names("input"),
        generators=(models[0], models[1]),
    )


def _single_edit(*, prompt: str, source: str, image: str) -> Callable[[Row], PreferenceCells]:
    """Return the reader of a file of single edits with some names for its keys."""

    def parse(row: Row) -> PreferenceCells:
        return PreferenceCells(
            prompt=row.text(prompt),
            images=(row.image_name(image),),
            ranks=None,
            sources=row.image_names(source),
            overall=(row.number_at("score"),),
            generators=(row.optional_text("model"),),
        )

    return parse


GENAI_BENCH_PAIRS: Final = PreferenceFormat(
    name="genai-bench-pairs",
    kind="json",
    splits=("valid_set2_full", "genai_bench_edit_valid"),
    parse=_parse_pair,
)

AURORA_PAIRS: Final = PreferenceFormat(
    name="aurora-bench",
    kind="json",
    splits=(
        "valid_human_ratings_pairwise_with_scores_revise",
        "valid_human_ratings_pairwise_with_scores_revise_20250923",
        "valid_aurora_human_ratings_pairwise",
        "human_ratings_pairwise",
    ),
    parse=_parse_aurora_pair,
)

AURORA_POINTWISE: Final = PreferenceFormat(
    name="aurora-bench-pointwise",
    kind="json",
    splits=("valid_aurora_human_ratings_pointwise", "human_ratings_updated_prompt"),
    parse=_single_edit(prompt="prompt", source="input", image="gen"),
)

IMAGENHUB: Final = PreferenceFormat(
    name="imagenhub",
    kind="json",
    splits=("valid_imagenhub_processed",),
    parse=_single_edit(prompt="instruction", source="input_path", image="output_path"),
)
