"""Read the test split of HPDv2: rankings of several generated images of one prompt.

Layout: `test.json`, a list of objects with the keys prompt, image_path (image names) and rank (a
number per image, the average of the annotators' rankings; the lowest is best, and the scale starts
at 0 or 1). The key raw_annotations, with each annotator's ranking, is not read.
"""

from __future__ import annotations

from typing import Final

from visreward.data.preference_files import PreferenceFormat
from visreward.data.preference_table import PreferenceCells
from visreward.data.row import Row

_MAX_RANK: Final = 1000


def _parse(row: Row) -> PreferenceCells:
    images = row.image_names("image_path")
    if len(images) < 2:
        raise row.error(f"has {len(images)} image in 'image_path', expected two or more")
    ranks = row.counts("rank", num=len(images))
    if ranks is None or max(ranks) > _MAX_RANK:
        raise row.error(f"has {row.get('rank')!r:.100} in 'rank', expected a rank per image")
    return PreferenceCells(
        prompt=row.text("prompt"),
        images=images,
        ranks=tuple(rank - min(ranks) + 1 for rank in ranks),
    )


HPDV2_TEST: Final = PreferenceFormat(name="hpdv2-test", kind="json", splits=("test",), parse=_parse)
