"""Read Multimodal RewardBench 2: pairs of generated (`t2i.json`) and edited (`edit.json`) images.

A file holds {"pairs": [...]}. A pair has id, prompt_content (a list of ["text", ...] and
["image", name]; the images are those before the edit), response_a and response_b (with model_name
and response_content, such a list too), chosen ("A", "B" or "tie") and prompt_source. The two other
tasks, whose responses are text with images in between, have no single image to score and are not
read. Texts of a prompt are joined by line breaks. Text beside a response's image is left out, as
reward models of images cannot take it.

On the hub (rl-research/multimodal-rewardbench-2), from which the released `build_from_hf.py` makes
those files, the same stands in Parquet tables `t2i/*.parquet` and `edit/*.parquet`: pair_id,
prompt_text, in which <image_N> stands for an image, prompt_images, response_a_images and
response_b_images (lists of encoded images), response_a_model, response_b_model, chosen, and
prompt_source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from visreward.data.preference_files import PreferenceFormat
from visreward.data.preference_table import PreferenceCells
from visreward.data.row import Row

_RANKS: Final = {"a": (1, 2), "b": (2, 1), "tie": (1, 1)}
_SIDES: Final = ("response_a", "response_b")
_PLACE: Final = re.compile(r"<image_\d+>")

MAX_SOURCES: Final = 16
"""Images before an edit that a row of a table may have; the release has up to three."""


def _parse(row: Row) -> PreferenceCells:
    chosen = row.text("chosen")
    if chosen.lower() not in _RANKS:
        raise row.error(f"has {chosen!r} in 'chosen', expected A, B or tie")
    prompt = _content(row, row, "prompt_content")
    responses = [_inner(row, side) for side in _SIDES]
    contents = [_content(row, response, "response_content") for response in responses]
    for side, content in zip(_SIDES, contents, strict=True):
        if len(content["image"]) != 1:
            raise row.error(f"has {len(content['image'])} images in '{side}', expected one")
    if not prompt["text"]:
        raise row.error("has no text in 'prompt_content'")
    return PreferenceCells(
        prompt="\n".join(prompt["text"]),
        images=tuple(content["image"][0] for content in contents),
        ranks=_RANKS[chosen.lower()],
        sources=tuple(prompt["image"]),
        generators=tuple(
            response.optional_text("model_name") or response.optional_text("model")
            for response in responses
        ),
        category=row.optional_text("prompt_source"),
    )


def _inner(row: Row, key: str) -> Row:
    value = row.get(key)
    if not isinstance(value, Mapping):
        raise row.error(f"has {value!r:.100} in '{key}', expected an object")
    return Row(value, file=row.file, number=row.number)


def _content(row: Row, holder: Row, key: str) -> dict[str, list[str]]:
    """Return the texts and the names of images in a list of kinds and values."""
    found: dict[str, list[str]] = {"text": [], "image": []}
    parts = holder.get(key)
    for part in parts if isinstance(parts, list) else [parts]:
        if not isinstance(part, list | tuple) or len(part) != 2 or part[0] not in found:
            raise row.error(f"has {part!r:.100} in '{key}', expected text and image parts")
        kind, value = part
        own = Row({key: value}, file=row.file, number=row.number)
        found[kind].append(own.image_name(key) if kind == "image" else own.text(key))
    return found


def _parse_table(row: Row) -> PreferenceCells:
    chosen, name = row.text("chosen"), row.text("pair_id")
    if chosen.lower() not in _RANKS:
        raise row.error(f"has {chosen!r} in 'chosen', expected A, B or tie")
    for side in _SIDES:
        num = _num_images(row, f"{side}_images")
        if num != 1:
            raise row.error(f"has {num} images in '{side}_images', expected one")
    texts = [part.strip() for part in _PLACE.split(row.text("prompt_text"))]
    prompt = "\n".join(part for part in texts if part)
    if not prompt:
        raise row.error("has no text in 'prompt_text'")
    num_sources = _num_images(row, "prompt_images")
    if num_sources > MAX_SOURCES:
        raise row.error(f"has {num_sources} images in 'prompt_images', {MAX_SOURCES} is the most")
    return PreferenceCells(
        prompt=prompt,
        images=tuple(f"{name}, {side}" for side in _SIDES),
        ranks=_RANKS[chosen.lower()],
        sources=tuple(f"{name}, image {number + 1}" for number in range(num_sources)),
        generators=tuple(row.optional_text(f"{side}_model") for side in _SIDES),
        category=row.optional_text("prompt_source"),
    )


def _num_images(row: Row, key: str) -> int:
    held = row.get(key)
    return len(held) if isinstance(held, list | tuple) else 0


MMRB2: Final = PreferenceFormat(
    name="mmrb2", kind="json", splits=("t2i", "edit"), parse=_parse, member="pairs"
)

MMRB2_TABLES: Final = PreferenceFormat(
    name="mmrb2-tables",
    kind="parquet",
    splits=("t2i", "edit"),
    parse=_parse_table,
    folders=("{split}",),
    columns=(
        "pair_id",
        "prompt_text",
        "chosen",
        "prompt_source",
        "response_a_model",
        "response_b_model",
        "prompt_images[].path",
        "response_a_images[].path",
        "response_b_images[].path",
    ),
    image_columns=("response_a_images[0]", "response_b_images[0]"),
    source_columns=tuple(f"prompt_images[{place}]" for place in range(MAX_SOURCES)),
)
