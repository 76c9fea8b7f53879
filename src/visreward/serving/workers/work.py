"""How much work an image is for a model, in tokens, before it is prepared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_CHARS_PER_TOKEN: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFacts:
    """What a model's work depends on.

    Attributes:
        pixels_per_token: Pixels that become one token.
        prompt_tokens: Tokens that the model adds to each prompt.
        min_pixels: Fewest pixels of an image when the model sees it.
        max_pixels: Most; equal to the fewest for a model that sees one square of every image.
    """

    pixels_per_token: int
    prompt_tokens: int
    min_pixels: int
    max_pixels: int

    def image_tokens(self, num_pixels: int) -> int:
        """Return the tokens of one image of width x height pixels; at least 1."""
        seen = min(max(num_pixels, self.min_pixels), self.max_pixels)
        return max(1, round(seen / self.pixels_per_token))

    def text_tokens(self, prompt: str) -> int:
        """Return about how many tokens a prompt has, the model's own words included."""
        return self.prompt_tokens + len(prompt) // _CHARS_PER_TOKEN
