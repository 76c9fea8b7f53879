"""The typed configuration of a judge: one small YAML or TOML file."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    Field,
    JsonValue,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from visreward.core.strict import Strict

Ties: TypeAlias = Literal["always", "groups_of_two", "never"]
"""Where a tie is among the answers: EditReward-Bench has ties in groups of two only."""

Orders: TypeAlias = Literal["both", "given"]
"""Whether candidates are shown in the order of the data only, or swapped as well."""

_TOKEN_LIMITS = ("max_completion_tokens", "max_tokens")
_OWN_PARAMETERS = {"model", "messages", "stream", "n"}


class PricesConfig(Strict):
    """What tokens cost, in any currency.

    Attributes:
        input_per_million: Price of a million prompt tokens.
        output_per_million: Price of a million completion tokens.
    """

    input_per_million: NonNegativeFloat
    output_per_million: NonNegativeFloat


class RetryConfig(Strict):
    """What happens after 429, 5xx, a timeout, a broken connection or a garbled response.

    The wait before try k + 1 is drawn from [w / 2, w], w = min(max_wait_s, first_wait_s * 2^(k-1)),
    and is never shorter than what the endpoint asks for in Retry-After.

    Attributes:
        max_attempts: How often one question is asked at most.
        first_wait_s: Seconds after the first try.
        max_wait_s: The longest wait in seconds that is drawn.
        max_retry_after_s: An endpoint that asks for a longer wait than this, in seconds, has
            failed.
    """

    max_attempts: PositiveInt = 6
    first_wait_s: NonNegativeFloat = 1.0
    max_wait_s: NonNegativeFloat = 60.0
    max_retry_after_s: NonNegativeFloat = 300.0


class EndpointConfig(Strict):
    """Where to ask: any server of OpenAI's chat completions.

    Attributes:
        base_url: What stands before `/chat/completions`, such as `http://localhost:8000/v1`.
        model: As the endpoint calls it.
        api_key_env: Name of the environment variable that holds the key, in upper case, so that
            nobody puts the key itself there; None sends none.
        parameters: Sent as they are beside model and messages, instead of the defaults.
        concurrency: How many requests are open at once.
        timeout_s: Seconds from the start of a request to the end of its response.
        retry: What happens when a request fails for a reason that may pass.
        stop_after_failures: So many failed questions in a row stop the run.
        prices: What tokens cost; None counts tokens only.
        max_cost: A run stops before it spends more than this; None has no cap.
    """

    base_url: str
    model: str
    api_key_env: str | None = Field(default=None, pattern="^[A-Z_][A-Z0-9_]*$")
    parameters: dict[str, JsonValue] = Field(default={"temperature": 0, "max_tokens": 1024})
    concurrency: PositiveInt = 8
    timeout_s: PositiveFloat = 120.0
    retry: RetryConfig = RetryConfig()
    stop_after_failures: PositiveInt = 20
    prices: PricesConfig | None = None
    max_cost: PositiveFloat | None = None

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, base_url: str) -> str:
        """Stop where it is no plain URL. What it holds is written to the cache."""
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it is no http or https URL. Give one such as https://HOST/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("it holds a user, a password or a query. Keys go into api_key_env")
        return base_url.rstrip("/")

    @field_validator("parameters")
    @classmethod
    def _check_parameters(cls, parameters: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """Stop where one would change what is asked, or how the answer comes."""
        taken = sorted(_OWN_PARAMETERS & parameters.keys())
        if taken:
            raise ValueError(f"{', '.join(taken)} cannot be set here. Leave it out")
        return parameters

    @model_validator(mode="after")
    def _check_cap(self) -> Self:
        """Stop where a cap could not be kept."""
        if self.max_cost is None:
            return self
        if self.prices is None:
            raise ValueError("max_cost needs prices. Give input_per_million and output_per_million")
        if self.max_completion_tokens is None:
            raise ValueError("max_cost needs parameters.max_tokens or max_completion_tokens")
        return self

    @property
    def max_completion_tokens(self) -> int | None:
        """Return how long an answer can be, or None where nothing says so."""
        limits = [self.parameters.get(name) for name in _TOKEN_LIMITS]
        return next((limit for limit in limits if isinstance(limit, int)), None)


class ImagesConfig(Strict):
    """How images are sent.

    Attributes:
        max_side: Longest side in pixels; larger images are shrunk to it, smaller ones kept.
        encoding: How they are compressed; PNG loses nothing and is several times larger.
        quality: Of JPEG and WebP.
    """

    max_side: PositiveInt = 1024
    encoding: Literal["jpeg", "webp", "png"] = "jpeg"
    quality: int = Field(default=95, ge=1, le=100)


class ScaleConfig(Strict):
    """Which scores there are: low, low + step, ..., high. Higher is better."""

    low: float = 1
    high: float = 10
    step: PositiveFloat = 1

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        """Stop where there are not two scores or more, or the last step is another."""
        steps = (self.high - self.low) / self.step
        if steps < 1 - 1e-9 or not math.isclose(steps, round(steps), abs_tol=1e-9):
            raise ValueError("high must lie one or more whole steps above low")
        return self


class JudgeConfig(Strict):
    """What every judge that asks an endpoint has.

    Attributes:
        name: What results call it; None takes the endpoint's name of the model.
        cache: File of all answers, relative to the configuration's folder; None keeps none, and
            an interrupted run starts again.
    """

    name: str | None = None
    endpoint: EndpointConfig
    images: ImagesConfig = ImagesConfig()
    cache: Path | None = None


Dimension: TypeAlias = Annotated[str, Field(pattern=re.compile(r"^[a-z][a-z0-9_]*$"))]


class ScoresConfig(JudgeConfig):
    """A judge that scores each image alone.

    Attributes:
        scale: Which scores there are.
        dimensions: What is judged.
        ask: A request for each dimension, or all of them in one.
        template: File of a rating prompt, or one per dimension; None takes ours.
        fusion: How the dimensions become one score.
    """

    kind: Literal["scores"] = "scores"
    scale: ScaleConfig = ScaleConfig()
    dimensions: tuple[Dimension, ...] = Field(default=("overall",), min_length=1)
    ask: Literal["each", "together"] = "each"
    template: Path | dict[str, Path] | None = None
    fusion: Literal["mean", "min", "sum"] = "mean"

    @model_validator(mode="after")
    def _check_dimensions(self) -> Self:
        """Stop where dimensions and templates do not go together."""
        if len(set(self.dimensions)) < len(self.dimensions):
            raise ValueError("a dimension stands twice among dimensions. Name each once")
        if isinstance(self.template, dict):
            if self.ask == "together":
                raise ValueError("one request for all dimensions takes one template, not several")
            others = sorted(self.template.keys() - set(self.dimensions))
            if others:
                raise ValueError(f"template has {', '.join(others)}, which is no dimension here")
        return self


class PairsConfig(JudgeConfig):
    """A judge that compares two candidates at a time.

    Attributes:
        dimension: What is judged.
        template: File of a rating prompt; None takes ours.
        answer: `last-line`: the last line is the label. `genai-bench`: one of its four labels
            stands somewhere in the answer, once.
        orders: In which order the candidates are shown.
        ties: Where a tie is among the answers.
    """

    kind: Literal["pairs"] = "pairs"
    dimension: Dimension = "overall"
    template: Path | None = None
    answer: Literal["last-line", "genai-bench"] = "last-line"
    orders: Orders = "both"
    ties: Ties = "always"


class RankingConfig(JudgeConfig):
    """A judge that ranks all candidates of a group at once.

    Attributes:
        dimension: What is judged.
        template: File of a rating prompt; None takes ours.
        orders: In which order the candidates are shown; `both` adds the reverse.
        ties: Where candidates may share a rank.
    """

    kind: Literal["ranking"] = "ranking"
    dimension: Dimension = "overall"
    template: Path | None = None
    orders: Orders = "both"
    ties: Ties = "always"


class RandomConfig(Strict):
    """A judge that draws each verdict, all outcomes being equally likely.

    Attributes:
        name: What results call it.
        seed: Of the draws.
        ties: Where a tie is among the outcomes.
    """

    kind: Literal["random"] = "random"
    name: str = "random"
    seed: int = 0
    ties: Ties = "always"


class HumansConfig(Strict):
    """An annotator as a judge, to be held against the other annotators.

    Attributes:
        name: What results call it; None takes the annotator's.
        annotations: JSONL, relative to the configuration's folder: an object per group with its
            `id` and `ranks`, which maps annotators to one rank per candidate, 1 = best.
        annotator: Whose verdicts are given.
    """

    kind: Literal["humans"] = "humans"
    name: str | None = None
    annotations: Path
    annotator: str


AnyConfig: TypeAlias = ScoresConfig | PairsConfig | RankingConfig | RandomConfig | HumansConfig

KINDS: dict[str, type[AnyConfig]] = {
    "scores": ScoresConfig,
    "pairs": PairsConfig,
    "ranking": RankingConfig,
    "random": RandomConfig,
    "humans": HumansConfig,
}
"""By the key `kind` of a configuration."""
