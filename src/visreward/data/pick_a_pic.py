"""Read Pick-a-Pic v2: pairs of generated images, which the Parquet tables hold themselves.

Columns read: caption, image_0_uid, image_1_uid, model_0, model_1, has_label, label_0 and label_1
(1 for the preferred image, 0 for the other, 0.5 for a tie), and the encoded images jpg_0 and jpg_1
when they are asked for. A row whose has_label is false has no ranks.
"""

from __future__ import annotations

from typing import Final

from visreward.data.preference_files import PreferenceFormat
from visreward.data.preference_table import PreferenceCells
from visreward.data.row import Row

_RANKS: Final = {(1.0, 0.0): (1, 2), (0.0, 1.0): (2, 1), (0.5, 0.5): (1, 1)}


def _parse(row: Row) -> PreferenceCells:
    return PreferenceCells(
        prompt=row.text("caption"),
        images=(row.text("image_0_uid"), row.text("image_1_uid")),
        ranks=_ranks(row),
        generators=(row.optional_text("model_0"), row.optional_text("model_1")),
    )


def _ranks(row: Row) -> tuple[int, int] | None:
    if row.get("has_label") is not None and not row.flag("has_label"):
        return None
    labels = (row.number_at("label_0"), row.number_at("label_1"))
    if labels not in _RANKS:
        raise row.error(
            f"has {labels[0]:g} and {labels[1]:g} in 'label_0' and 'label_1', expected 1 and 0, "
            "0 and 1, or 0.5 twice"
        )
    return _RANKS[labels]


_SPLITS: Final = ("train", "validation", "test")

PICK_A_PIC: Final = PreferenceFormat(
    name="pick-a-pic",
    kind="parquet",
    splits=(*_SPLITS, *(f"{split}_unique" for split in _SPLITS)),
    parse=_parse,
    nested=tuple(frozenset({split, f"{split}_unique"}) for split in _SPLITS),
    columns=(
        "caption",
        "image_0_uid",
        "image_1_uid",
        "model_0",
        "model_1",
        "has_label",
        "label_0",
        "label_1",
    ),
    image_columns=("jpg_0", "jpg_1"),
)
