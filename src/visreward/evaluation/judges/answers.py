"""What a judge is asked to answer, word for word, and whether it did.

An answer is read only if it has exactly the form that was asked for. Anything else is
`Unparsed`: no score and no verdict is ever guessed from it.

Shape letters: N candidates, K dimensions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias, TypeVar

Side: TypeAlias = Literal["A", "B", "tie"]
"""Which of the two images as they were shown is better."""

T_co = TypeVar("T_co", covariant=True)

_LABEL: Final = re.compile(r"\[\[([^\[\]]*)\]\]")
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")
_SIDES: Final[Mapping[str, Side]] = {"A>B": "A", "B>A": "B", "A=B": "tie"}
_GENAI_BENCH_SIDES: Final[Mapping[str, Side]] = {
    "A>B": "A",
    "B>A": "B",
    "A=B=Good": "tie",
    "A=B=Bad": "tie",
}
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Unparsed:
    """An answer that is not of the form asked for.

    Attributes:
        reason: What was wrong with it.
    """

    reason: str


class AnswerForm(Protocol[T_co]):
    """A form of answers: how it is asked for, and how it is read."""

    @property
    def request(self) -> str:
        """Return the sentences that ask for it."""

    def read(self, answer: str) -> T_co | Unparsed:
        """Return what the answer says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresForm:
    """The last K lines are `name: [[N]]`, one per dimension, in order; for one, `[[N]]` alone.

    Attributes:
        dimensions: K names.
        low: The lowest score.
        high: The highest.
        step: Between neighbouring scores.
    """

    dimensions: tuple[str, ...]
    low: float
    high: float
    step: float

    @property
    def request(self) -> str:
        """Return the sentences that ask for it."""
        is_whole = self.step == 1 and self.low % 1 == 0
        numbers = (
            f"where N is a {'whole number' if is_whole else 'number'} from {self.low:g} (worst) to "
            f"{self.high:g} (best){'' if is_whole else f' in steps of {self.step:g}'}"
        )
        if len(self.dimensions) == 1:
            return (
                "End your answer with one line that holds the score in double square brackets "
                f"and nothing else, {numbers}:\n[[N]]"
            )
        lines = "\n".join(f"{name}: [[N]]" for name in self.dimensions)
        return (
            "End your answer with one line for each of the following, in this order and form "
            f"and with nothing after them, {numbers}:\n{lines}"
        )

    def read(self, answer: str) -> dict[str, float] | Unparsed:
        """Return one score per dimension."""
        labels = _last_lines(answer, self._prefixes)
        if isinstance(labels, Unparsed):
            return labels
        scores = {}
        for name, label in zip(self.dimensions, labels, strict=True):
            score = self._score(label)
            if score is None:
                return Unparsed(f"{_quoted(label)} is no score from {self.low:g} to {self.high:g}")
            scores[name] = score
        return scores

    @property
    def _prefixes(self) -> tuple[str, ...]:
        if len(self.dimensions) == 1:
            return ("",)
        return tuple(f"{name}: " for name in self.dimensions)

    def _score(self, label: str) -> float | None:
        if not _NUMBER.fullmatch(label):
            return None
        score = float(label)
        steps = (score - self.low) / self.step
        is_on_scale = self.low <= score <= self.high and abs(steps - round(steps)) < 1e-6
        return score if is_on_scale else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairForm:
    """The last line is one of `[[A>B]]`, `[[B>A]]` and, where ties are allowed, `[[A=B]]`."""

    has_ties: bool

    @property
    def request(self) -> str:
        """Return the sentences that ask for it."""
        lines = ["[[A>B]] if image A is better", "[[B>A]] if image B is better"]
        if self.has_ties:
            lines.append("[[A=B]] if they are equally good")
        return (
            "End your answer with one line that holds one of these labels and nothing else:\n"
            + "\n".join(lines)
        )

    def read(self, answer: str) -> Side | Unparsed:
        """Return which side is better."""
        labels = _last_lines(answer, ("",))
        return labels if isinstance(labels, Unparsed) else _side(labels[0], _SIDES, self.has_ties)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenAIBenchForm:
    """One of the four labels of GenAI-Bench stands in the answer, and no other label does.

    Paper: GenAI Arena (arXiv 2406.04485), appendix A.6. Both sorts of tie are a tie here. The
    released code takes what stands between the first `[[` and the last `]]`.
    """

    has_ties: bool

    @property
    def request(self) -> str:
        """Return the labels; the templates of GenAI-Bench ask for them themselves."""
        return "\n".join(
            f"[[{label}]]"
            for label, side in _GENAI_BENCH_SIDES.items()
            if self.has_ties or side != "tie"
        )

    def read(self, answer: str) -> Side | Unparsed:
        """Return which side is better."""
        labels = _LABEL.findall(answer)
        if len(labels) != 1:
            return Unparsed(f"it has {len(labels)} labels in double square brackets, expected 1")
        return _side(labels[0], _GENAI_BENCH_SIDES, self.has_ties)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingForm:
    """The last line is the order of all N images, best first, such as `[[2>1=3]]`."""

    num_images: int
    has_ties: bool

    @property
    def request(self) -> str:
        """Return the sentences that ask for it."""
        order = list(range(1, self.num_images + 1))
        order = [*order[1:], order[0]]
        example = ">".join(map(str, order))
        ties = " Put = instead of > between images that are equally good." if self.has_ties else ""
        return (
            f"End your answer with one line that holds the numbers of all {self.num_images} "
            "images in double square brackets, the best image first, with > between them, and "
            f"nothing else.{ties} An example of the form:\n[[{example}]]"
        )

    def read(self, answer: str) -> tuple[int, ...] | Unparsed:
        """Return N ranks in the order in which the images were shown, 1 = best."""
        labels = _last_lines(answer, ("",))
        if isinstance(labels, Unparsed):
            return labels
        levels = [level.split("=") for level in labels[0].split(">")]
        named = [name for level in levels for name in level]
        wanted = [str(number) for number in range(1, self.num_images + 1)]
        if sorted(named) != sorted(wanted):
            return Unparsed(f"{_quoted(labels[0])} is no order of the images 1 to {len(wanted)}")
        if len(levels) < len(named) and not self.has_ties:
            return Unparsed(f"{_quoted(labels[0])} has a tie, which was not offered")
        ranks: dict[str, int] = {}
        for level in levels:
            ranks |= dict.fromkeys(level, len(ranks) + 1)
        return tuple(ranks[name] for name in wanted)


def _side(label: str, sides: Mapping[str, Side], has_ties: bool) -> Side | Unparsed:
    side = sides.get(label)
    if side is None:
        return Unparsed(f"{_quoted(label)} is no label that was offered")
    if side == "tie" and not has_ties:
        return Unparsed(f"{_quoted(label)} is a tie, which was not offered")
    return side


def _last_lines(answer: str, prefixes: Sequence[str]) -> list[str] | Unparsed:
    """Return the labels of the last lines, which must be `PREFIX[[LABEL]]` and the only ones."""
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    num = len(prefixes)
    labels = []
    for prefix, line in zip(prefixes, lines[-num:], strict=False):
        found = _LABEL.fullmatch(line.removeprefix(prefix)) if line.startswith(prefix) else None
        if found is None:
            return Unparsed(f"line {_quoted(line)} is not of the form {prefix}[[...]]")
        labels.append(found[1])
    if len(labels) < num:
        return Unparsed(f"it has {len(lines)} lines, expected {num} or more")
    num_labels = len(_LABEL.findall(answer))
    if num_labels > num:
        return Unparsed(f"it has {num_labels} labels in double square brackets, expected {num}")
    return labels


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
