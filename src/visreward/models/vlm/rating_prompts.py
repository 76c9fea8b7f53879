"""What a vision-language reward model is asked about an image, and how it is tokenised.

The user's words are never read as markup: special tokens inside a prompt are plain text.

Shape letters: L tokens.
"""

from __future__ import annotations

import functools
import hashlib
import json
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from jinja2 import TemplateError
from transformers import AddedToken, PreTrainedTokenizerBase, Qwen2Tokenizer

from visreward.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

REWARD_TOKEN: Final = "<|Reward|>"  # noqa: S105  a token of the vocabulary
FIELD: Final = "text_prompt"
MAX_KNOWN_PROMPTS: Final = 1024
"""How many conversations are remembered as tokens."""

_SENTINEL: Final = "\ue000the user's words\ue001"
_IMAGE: Final = "<|image_pad|>"


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingPrompts:
    """The rating prompts of a model.

    Attributes:
        templates: By dimension, text with the field `{text_prompt}`.
        suffix: What follows every template; holds the reward token where the model has one.
    """

    templates: Mapping[str, str]
    suffix: str

    def __post_init__(self) -> None:
        if not self.templates:
            raise UsageError("There are no rating prompts. Give at least one template.")
        for name, template in self.templates.items():
            fields = {part[1] for part in string.Formatter().parse(template)} - {None}
            if fields != {FIELD}:
                raise UsageError(
                    f"The rating prompt '{name}' has the fields {sorted(map(str, fields))}. "
                    f"It must have one: {{{FIELD}}}."
                )

    @property
    def digest(self) -> str:
        """Return the SHA-256 of all texts, as hexadecimal digits."""
        listed = json.dumps([dict(sorted(self.templates.items())), self.suffix])
        return hashlib.sha256(listed.encode()).hexdigest()

    def text(self, dimension: str, prompt: str) -> str:
        """Return what is asked about one dimension."""
        return self.templates[dimension].format(**{FIELD: prompt}) + self.suffix

    def to_dict(self) -> dict[str, Any]:  # JSON values
        """Return the texts and their digest as JSON values."""
        return {
            "templates": dict(self.templates),
            "suffix": self.suffix,
            "sha256": self.digest,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RatingPrompts:  # JSON values
        """Build from `to_dict` output.

        Raises:
            UsageError: if the texts are not those that the digest was taken of.
        """
        prompts = cls(templates=values["templates"], suffix=values["suffix"])
        if prompts.digest != values["sha256"]:
            raise UsageError(
                f"The rating prompts have the SHA-256 {prompts.digest}, expected "
                f"{values['sha256']}: they were changed. Import the model again."
            )
        return prompts


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPieces:
    """A conversation with images, as the tokens around its images.

    Attributes:
        pieces: Token ids before the first image, between images, after the last one.
        reward_at: Index of the reward token within the last piece, or None where there is none.
    """

    pieces: tuple[tuple[int, ...], ...]
    reward_at: int | None


class ChatInputs:
    """Tokenise a rating prompt as one turn of a conversation.

    Args:
        tokenizer: With the backbone's chat template; it must know the reward token where the
            rating prompts have one.
        prompts: The rating prompts.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompts: RatingPrompts) -> None:
        if tokenizer.chat_template is None:
            raise UsageError(
                "The tokenizer has no chat template. Bring the backbone's chat_template.jinja or "
                "chat_template.json beside its tokenizer files."
            )
        self.tokenizer = tokenizer
        self.prompts = prompts
        self.image_id = tokenizer.get_vocab()[_IMAGE]
        self.reward_id: int | None = None
        if REWARD_TOKEN in prompts.suffix:
            known = tokenizer.get_vocab()
            if REWARD_TOKEN not in known:
                raise UsageError(
                    f"The tokenizer does not know {REWARD_TOKEN}, which the rating prompts end "
                    "with. Give the tokenizer of the reward model."
                )
            self.reward_id = known[REWARD_TOKEN]
        self._frames: dict[int, tuple[str, str]] = {}
        # All candidates of one instruction ask the same.
        self._tokens = functools.lru_cache(maxsize=MAX_KNOWN_PROMPTS)(self._tokenise)

    def _frame(self, num_images: int) -> tuple[str, str]:
        """Return what the chat template puts before and after the user's words."""
        if num_images not in self._frames:
            content = [{"type": "image"}] * num_images + [{"type": "text", "text": _SENTINEL}]
            turns: Any = [{"role": "user", "content": content}]  # its type there has text alone
            try:
                rendered = self.tokenizer.apply_chat_template(
                    turns, tokenize=False, add_generation_prompt=True
                )
            except TemplateError as error:
                raise UsageError(
                    f"The chat template cannot be used: {str(error).rstrip('.')}. "
                    "Give the chat template of the backbone."
                ) from error
            before, _, after = str(rendered).partition(_SENTINEL)
            if before.count(_IMAGE) != num_images:
                raise UsageError(
                    f"The chat template puts {before.count(_IMAGE)} images before the text, "
                    f"expected {num_images}. Give the chat template of the backbone."
                )
            self._frames[num_images] = (before, after)
        return self._frames[num_images]

    def _ids(self, text: str, *, is_markup: bool) -> list[int]:
        found = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=not is_markup, verbose=False
        )["input_ids"]
        return list(found)

    def words(self, dimension: str, prompt: str) -> tuple[list[int], int | None]:
        """Return the token ids of what is asked, and where among them the reward token stands."""
        text = self.prompts.text(dimension, prompt)
        if self.reward_id is None:
            return self._ids(text, is_markup=False), None
        # The last one is that of the suffix: the user's words stand before it.
        asked, _, rest = text.rpartition(REWARD_TOKEN)
        before = self._ids(asked, is_markup=False)
        return [*before, self.reward_id, *self._ids(rest, is_markup=False)], len(before)

    def tokens(self, dimension: str, prompt: str, *, num_images: int) -> TokenPieces:
        """Return a whole conversation, cut at its images; those asked for last are remembered."""
        return self._tokens(dimension, prompt, num_images)

    def _tokenise(self, dimension: str, prompt: str, num_images: int) -> TokenPieces:
        before, after = self._frame(num_images)
        *heads, last = (self._ids(part, is_markup=True) for part in before.split(_IMAGE))
        asked, reward_at = self.words(dimension, prompt)
        pieces = [*heads, [*last, *asked, *self._ids(after, is_markup=True)]]
        return TokenPieces(
            pieces=tuple(tuple(piece) for piece in pieces),
            reward_at=None if reward_at is None else len(last) + reward_at,
        )


def load_tokenizer(folder: Path) -> Qwen2Tokenizer:
    """Return a folder's tokenizer with the reward token and the chat template.

    The reward token gets the next free number where it is new, as in the releases.
    """
    tokenizer: Qwen2Tokenizer = Qwen2Tokenizer.from_pretrained(folder)
    if REWARD_TOKEN not in tokenizer.get_vocab():
        tokenizer.add_tokens([AddedToken(REWARD_TOKEN, special=True)], special_tokens=True)
    template = folder / "chat_template.json"
    if tokenizer.chat_template is None and template.is_file():
        tokenizer.chat_template = json.loads(template.read_text(encoding="utf-8"))["chat_template"]
    return tokenizer
