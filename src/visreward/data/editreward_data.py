"""Read EditReward's training JSON: pairs of edited images, the preferred one first.

Layout: `{split}.json`, a list of pairs with the keys prompt, path_src, path1 (the preferred one),
path2, model1, model2, choice_dist, confidence, tie_case and, where images were scored,
model{1,2}_dim{1,2}_score (instruction following, visual quality) and model{1,2}_overall_score.
Images are named relative to the file. The release trains on a tie as if path1 were better, once in
each direction; here a row with tie_case is a tie. Its loader keeps visual quality alone of the two
scores; here both are kept.
"""

from __future__ import annotations

from typing import Final

from visreward.data.preference_files import PreferenceFormat
from visreward.data.preference_table import PreferenceCells
from visreward.data.row import Row

DIMENSIONS: Final = ("instruction_following", "visual_quality")


def _parse(row: Row) -> PreferenceCells:
    scores = _scores(row)
    overall = tuple(row.optional_number(f"model{place}_overall_score") for place in (1, 2))
    return PreferenceCells(
        prompt=row.text("prompt"),
        images=(row.image_name("path1"), row.image_name("path2")),
        ranks=(1, 1) if row.flag("tie_case") else (1, 2),
        sources=row.image_names("path_src"),
        votes=row.counts("choice_dist", num=2),
        dimensions=None if set(scores) == {None} else scores,
        overall=None if set(overall) == {None} else overall,
        generators=(row.optional_text("model1"), row.optional_text("model2")),
        confidence=row.share("confidence"),
    )


def _scores(row: Row) -> tuple[float | None, ...]:
    """Return the scores of both images, each of which is there for both or for none."""
    names = [f"dim{number}_score" for number in range(1, len(DIMENSIONS) + 1)]
    found = [row.optional_number(f"model{place}_{name}") for place in (1, 2) for name in names]
    for number, name in enumerate(names):
        one, other = found[number], found[number + len(names)]
        if (one is None) != (other is None):
            raise row.error(
                f"has None in 'model{1 if one is None else 2}_{name}', but a score for the other "
                "image"
            )
    return tuple(found)


EDITREWARD: Final = PreferenceFormat(
    name="editreward",
    kind="json",
    splits=("train", "val", "test"),
    parse=_parse,
    dimensions=DIMENSIONS,
)
