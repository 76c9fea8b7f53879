"""Rating prompts: text with placeholders in angle brackets, ours or from a file.

The placeholders are those of GenAI-Bench's templates (arXiv 2406.04485, appendix A.6) and a few
of ours. An unknown one is refused; `<<` stands for a plain `<`, so that `<<answer>` is text. What
is put in is never searched for placeholders, whatever words a prompt has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final, Literal, TypeAlias

from visreward.core.errors import InputError, UsageError
from visreward.core.registry import closest_name
from visreward.core.types import ImageSource

Kind: TypeAlias = Literal["scores", "pairs", "ranking"]
"""What a rating prompt asks for."""

Part: TypeAlias = "str | Picture"
"""A piece of a message, in order."""

_PLACEHOLDER: Final = re.compile(r"<<|<([a-z][a-z0-9_]*)>")
_FOLDER: Final = "texts"

# GenAI-Bench's names, and ours for the same thing.
_ALIASES: Final = {
    "instruct_prompt": "prompt",
    "output_image": "image",
    "left_output_image": "left_image",
    "right_output_image": "right_image",
}
# GenAI-Bench has captions of the images before and after an edit. Other data sets have none, and
# the code released with EditReward puts nothing there.
_EMPTY: Final = ("source_prompt", "target_prompt")
_TEXTS: Final = ("prompt", "criteria", "answer_form", *_EMPTY)
_CANDIDATES: Final[Mapping[Kind, tuple[str, ...]]] = {
    "scores": ("image",),
    "pairs": ("left_image", "right_image"),
    "ranking": ("images",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image in a message.

    Attributes:
        source: Path, bytes or picture.
        name: What error messages call it, or None for its path.
    """

    source: ImageSource
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingPrompt:
    """A rating prompt that is ready to be filled.

    Attributes:
        texts: What stands before, between and after the placeholders.
        placeholders: Their names, one fewer than texts.
        name: What error messages call it.
    """

    texts: tuple[str, ...]
    placeholders: tuple[str, ...]
    name: str

    def fill(
        self, texts: Mapping[str, str], images: Mapping[str, Sequence[Picture]]
    ) -> tuple[Part, ...]:
        """Return the message's parts; neighbouring texts are one.

        Args:
            texts: What to put for `prompt`, `criteria` and `answer_form`.
            images: What to put for the placeholders of images. Several are numbered.

        Raises:
            InputError: if a placeholder has nothing to stand for.
        """
        parts: list[Part] = [self.texts[0]]
        for placeholder, text in zip(self.placeholders, self.texts[1:], strict=True):
            parts += self._filled(placeholder, texts, images)
            parts.append(text)
        joined: list[Part] = []
        for part in parts:
            if isinstance(part, str) and joined and isinstance(joined[-1], str):
                joined[-1] += part
            elif part != "":
                joined.append(part)
        return tuple(joined)

    def _filled(
        self,
        placeholder: str,
        texts: Mapping[str, str],
        images: Mapping[str, Sequence[Picture]],
    ) -> list[Part]:
        if placeholder in _EMPTY:
            return []
        if placeholder in texts:
            return [texts[placeholder]]
        pictures = images.get(placeholder, ())
        if not pictures:
            raise InputError(
                f"The rating prompt {self.name} shows <{placeholder}>, and there is none. "
                "Give edits with their source images, or a rating prompt without it."
            )
        if placeholder != "images":
            return list(pictures)
        numbered: list[Part] = []
        for number, picture in enumerate(pictures, start=1):
            numbered += [f"Image {number}:\n", picture, "\n"]
        return numbered


def parse_rating_prompt(text: str, *, kind: Kind, name: str) -> RatingPrompt:
    """Return a rating prompt from its text.

    Args:
        text: With placeholders.
        kind: What it asks for, which decides the images that it must show.
        name: What error messages call it.

    Raises:
        UsageError: if a placeholder is unknown, or a candidate is not shown exactly once.
    """
    known = {*_TEXTS, "source_image", *_CANDIDATES[kind]}
    texts, placeholders, start = [""], [], 0
    for match in _PLACEHOLDER.finditer(text):
        texts[-1] += text[start : match.start()]
        start = match.end()
        if match[1] is None:
            texts[-1] += "<"
            continue
        placeholder = _ALIASES.get(match[1], match[1])
        if placeholder not in known:
            raise _unknown_placeholder(match[1], known, name)
        placeholders.append(placeholder)
        texts.append("")
    texts[-1] += text[start:]
    for candidate in _CANDIDATES[kind]:
        num = placeholders.count(candidate)
        if num != 1:
            raise UsageError(
                f"The rating prompt {name} shows <{candidate}> {num} times. Show it once."
            )
    return RatingPrompt(texts=tuple(texts), placeholders=tuple(placeholders), name=name)


def builtin_text(name: str) -> str:
    """Return a text that ships with the package, such as `pairs_edited`.

    Raises:
        UsageError: if there is none of that name.
    """
    place = resources.files("visreward.evaluation.judges") / _FOLDER / f"{name}.txt"
    if not place.is_file():
        raise UsageError(
            f"There is no rating prompt of ours for '{name}'. Give a template of your own."
        )
    return place.read_text(encoding="utf-8")


def criteria(dimensions: Sequence[str], *, is_edit: bool) -> str:
    """Return what each dimension means, one paragraph each.

    Raises:
        UsageError: if there is a dimension of no text of ours.
    """
    suffix = "edited" if is_edit else "generated"
    return "\n".join(
        f"{dimension}: {builtin_text(f'criteria/{dimension}_{suffix}').strip()}"
        for dimension in dimensions
    )


def _unknown_placeholder(placeholder: str, known: set[str], name: str) -> UsageError:
    names = {*known, *(alias for alias, ours in _ALIASES.items() if ours in known)}
    closest = closest_name(placeholder, names)
    hint = f"Did you mean <{closest}>?" if closest else f"Known: {', '.join(sorted(names))}."
    return UsageError(
        f"The rating prompt {name} has the unknown placeholder <{placeholder}>. {hint} "
        f"For the words themselves, write <<{placeholder}>."
    )
