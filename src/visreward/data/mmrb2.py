"""Read Multimodal RewardBench 2: pairs of generated (`t2i.json`) and edited (`edit.json`) images.

A file holds {"pairs": [...]}. A pair has id, prompt_content (a list of ["text", ...] and
["image", name]; the images are those before the edit), response_a and response_b (with model_name
and response_content, such a list too), chosen ("A", "B" or "tie") and prompt_source. The two other
tasks, whose responses are text with images in between, have no single image to score and are not
read. Texts of a prompt are joined by line breaks. Text beside a response's image is left out, as
reward models of images cannot take it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from visreward.data.preference_files import PreferenceFormat
from visreward.data.preference_table import PreferenceCells
from visreward.data.row import Row

_RANKS: Final = {"a": (1, 2), "b": (2, 1), "tie": (1, 1)}
_SIDES: Final = ("response_a", "response_b")


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


MMRB2: Final = PreferenceFormat(
    name="mmrb2", kind="json", splits=("t2i", "edit"), parse=_parse, member="pairs"
)
