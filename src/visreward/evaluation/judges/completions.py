"""What comes back from an endpoint of chat completions."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a judge said.

    Attributes:
        text: The answer; empty where there is only a refusal.
        finish_reason: Why it ended: `stop`, `length` where it was cut, or the endpoint's word.
        refusal: The refusal that the endpoint marked as such, or None.
        prompt_tokens: What the question took, or None where the endpoint did not say.
        completion_tokens: What the answer took, or None.
        served_by: Model as the response names it, or "".
    """

    text: str
    finish_reason: str
    refusal: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    served_by: str = ""

    @property
    def has_usage(self) -> bool:
        """Whether the endpoint said what it took."""
        return self.prompt_tokens is not None and self.completion_tokens is not None

    @property
    def is_refusal(self) -> bool:
        """Whether the endpoint says that the judge or a filter refused."""
        return self.refusal is not None or self.finish_reason == "content_filter"

    @property
    def trouble(self) -> str | None:
        """Return why the text is not to be read, or None."""
        if self.is_refusal:
            return f"the judge refused: {self.refusal or self.finish_reason}"
        if self.finish_reason == "length":
            return "the answer was cut at the limit of tokens. Raise parameters.max_tokens"
        return None


def read_completion(body: bytes) -> Answer | str:
    """Return the answer in a response, or why there is none.

    Counts of tokens that are no whole numbers of 0 or more count as not given.
    """
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return f"the response is no JSON ({len(body)} bytes)"
    choice = _first(_entry(payload, "choices"))
    message = _entry(choice, "message")
    text, refusal = _entry(message, "content"), _entry(message, "refusal")
    refusal = refusal if isinstance(refusal, str) and refusal else None
    finish_reason = _entry(choice, "finish_reason")
    finish_reason = finish_reason if isinstance(finish_reason, str) else ""
    if not isinstance(text, str):
        if refusal is None and finish_reason not in ("content_filter", "length"):
            return "the response has no choices[0].message.content"
        text = ""
    usage = _entry(payload, "usage")
    served_by = _entry(payload, "model")
    return Answer(
        text=text,
        finish_reason=finish_reason,
        refusal=refusal,
        prompt_tokens=_count(_entry(usage, "prompt_tokens")),
        completion_tokens=_count(_entry(usage, "completion_tokens")),
        served_by=served_by if isinstance(served_by, str) else "",
    )


def _entry(holder: object, key: str) -> object:
    return holder.get(key) if isinstance(holder, dict) else None


def _first(holder: object) -> object:
    return holder[0] if isinstance(holder, list) and holder else None


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count and isinstance(value, int) else None
