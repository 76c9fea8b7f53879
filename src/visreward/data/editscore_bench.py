"""Read EditScore's EditReward-Bench: pairs of edited images, the preferred one first.

It shares nothing but its name with the EditReward-Bench of `editreward_tables`. Columns of its
Parquet tables: key (a name for each of the two images), instruction, input_image, output_images (a
list of two), task_type, and dimension: prompt_following, consistency or overall, which is what the
pair was judged on. The category of a row is `dimension/task_type`.
"""

from __future__ import annotations

from typing import Final

from visreward.data.preference_files import PreferenceFormat
from visreward.data.preference_table import PreferenceCells
from visreward.data.row import Row

JUDGED_ON: Final = ("prompt_following", "consistency", "overall")


def _parse(row: Row) -> PreferenceCells:
    keys, dimension = row.get("key"), row.text("dimension")
    if dimension not in JUDGED_ON:
        raise row.error(f"has {dimension!r} in 'dimension', expected {', '.join(JUDGED_ON)}")
    if not isinstance(keys, list | tuple) or len(keys) != 2:
        raise row.error(f"has {keys!r:.100} in 'key', expected two names")
    names = tuple(Row({"key": key}, file=row.file, number=row.number).text("key") for key in keys)
    if names[0] == names[1]:
        raise row.error(f"has {names[0]!r} twice in 'key', expected two images")
    return PreferenceCells(
        prompt=row.text("instruction"),
        images=names,
        ranks=(1, 2),
        sources=(f"{names[0]}, before",),
        category=f"{dimension}/{row.text('task_type')}",
    )


EDITSCORE_BENCH: Final = PreferenceFormat(
    name="editscore-bench",
    kind="parquet",
    splits=("train", "test"),  # the release calls its only split train
    parse=_parse,
    columns=("key", "instruction", "task_type", "dimension"),
    image_columns=("output_images[0]", "output_images[1]"),
    source_columns=("input_image",),
)
