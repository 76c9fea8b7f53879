"""Read HPDv3: pairs of generated images, the preferred one first.

Layout: `all.json`, `train.json`, `test.json`, and `pickapic.json` and `imagereward.json` in the
same format, whose images are those data sets' own. A list of pairs with the keys prompt, path1
(the preferred image), path2, model1, model2 and, except in `test.json`, choice_dist (votes for
both, or null) and confidence (or null). Images are named relative to the file.
"""

from __future__ import annotations

from typing import Final

from visreward.data.preference_files import PreferenceFormat
from visreward.data.preference_table import PreferenceCells
from visreward.data.row import Row

_EXTRA: Final = ("pickapic", "imagereward")


def _parse(row: Row) -> PreferenceCells:
    return PreferenceCells(
        prompt=row.text("prompt"),
        images=(row.image_name("path1"), row.image_name("path2")),
        ranks=(1, 2),
        votes=row.counts("choice_dist", num=2),
        generators=(row.optional_text("model1"), row.optional_text("model2")),
        confidence=row.share("confidence"),
    )


HPDV3: Final = PreferenceFormat(
    name="hpdv3",
    kind="json",
    splits=("all", "train", "test", *_EXTRA),
    parse=_parse,
    # `train` is drawn from `all` and from the two others: the release's readme
    nested=tuple(frozenset({"train", other}) for other in ("all", *_EXTRA)),
)
