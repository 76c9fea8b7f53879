"""Read ImageRewardDB's rankings: several generated images of one prompt, ranked by people.

Layout: `{train,validation,test}.json`, a list of objects with the keys prompt, generations (image
names relative to the file) and ranking (a rank per image: 1 is best, equal ranks are ties, and
ranks may be left out). The key id is not read; rows are named by file and number.
"""

from __future__ import annotations

from typing import Final

from visreward.data.preference_files import PreferenceFormat
from visreward.data.preference_table import PreferenceCells
from visreward.data.row import Row

_MAX_RANK: Final = 2**15 - 1


def _parse(row: Row) -> PreferenceCells:
    images = row.image_names("generations")
    if len(images) < 2:
        raise row.error(f"has {len(images)} image in 'generations', expected two or more")
    ranks = row.counts("ranking", num=len(images))
    if ranks is None or min(ranks) < 1 or max(ranks) > _MAX_RANK:
        raise row.error(f"has {row.get('ranking')!r} in 'ranking', expected ranks from 1 up")
    return PreferenceCells(prompt=row.text("prompt"), images=images, ranks=ranks)


IMAGEREWARDDB: Final = PreferenceFormat(
    name="imagerewarddb",
    kind="json",
    splits=("train", "validation", "test"),
    parse=_parse,
)
