"""flow_grpo's pickle protocol: `POST /`, there only where whoever runs the server asked for it.

Request: a pickled dict of `images` (bytes of image files) and of `prompts`, or `meta_datas` with a
`prompt` each; `source_images` for a model of edits, `model` for another than the first. Reply: a
pickled dict of `outputs` and `scores`, the same list of one float per image. Where one image has no
score there is neither list, but `error` and `errors`: flow_grpo's own client then fails for want of
`outputs` instead of learning from a made-up number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from visreward.core.errors import UnsafePickleError
from visreward.core.types import Score
from visreward.serving.bodies import content_type, read_body
from visreward.serving.disconnects import until_disconnected
from visreward.serving.exchange import Outcome
from visreward.serving.plain_pickle import read_plain, write_plain
from visreward.serving.problems import CATALOGUE, Code, Problem
from visreward.serving.questions import Question
from visreward.serving.schemas import error_body
from visreward.serving.service import RewardService, service_of

router = APIRouter(include_in_schema=False)

_CONTENT_TYPE: Final = "application/octet-stream"


class Metadata(BaseModel):
    """What flow_grpo says of one image; the rest of it is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    prompt: str = ""


class FlowGRPORequest(BaseModel):
    """What flow_grpo sends; `only_strict` and whatever else is in it is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    images: list[bytes] = Field(min_length=1)
    prompts: list[str] | None = None
    meta_datas: list[Metadata] | None = None
    source_images: list[bytes] | None = None
    model: str | None = None

    def prompt_of_each(self) -> list[str]:
        """Return one prompt per image; empty ones where neither field is there."""
        if self.prompts is not None:
            return self.prompts
        if self.meta_datas is not None:
            return [each.prompt for each in self.meta_datas]
        return [""] * len(self.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """The images of one prompt and one source image, by their places in the request."""

    prompt: str
    source: bytes | None
    places: tuple[int, ...]


@router.post("/")
async def flow_grpo(request: Request) -> Response:
    """Score images for flow_grpo."""
    service = service_of(request)
    if content_type(request) not in ("", _CONTENT_TYPE):
        raise Problem(Code.UNSUPPORTED_CONTENT_TYPE)
    body = await read_body(request, service.settings.limits)
    asked = await asyncio.to_thread(_asked, body)
    if len(asked.images) > service.settings.limits.images:
        raise Problem(Code.TOO_MANY_IMAGES, field="images")
    work = _outcomes(service, asked, _groups(asked), client=request.state.client)
    outcomes = await until_disconnected(request, work)
    scores = [outcome.value for outcome in outcomes if isinstance(outcome, Score)]
    failed = {n: outcome for n, outcome in enumerate(outcomes) if isinstance(outcome, Code)}
    if not failed:
        return _reply({"outputs": scores, "scores": list(scores)}, status=200)
    errors = [
        {"index": number, "code": code.value, "message": error_body(code).message}
        for number, code in failed.items()
    ]
    first, code = next(iter(failed.items()))
    sentence = f"Image {first} has no score, {code.value}: {error_body(code).message}"
    return _reply({"error": sentence, "errors": errors}, status=CATALOGUE[code].status)


def _asked(body: bytes) -> FlowGRPORequest:
    try:
        asked = FlowGRPORequest.model_validate(read_plain(body))
    except UnsafePickleError:
        raise Problem(Code.NOT_PLAIN_PICKLE) from None
    except ValidationError:
        raise Problem(Code.INVALID_REQUEST) from None
    for name, values in (
        ("prompts", asked.prompts),
        ("meta_datas", asked.meta_datas),
        ("source_images", asked.source_images),
    ):
        if values is not None and len(values) != len(asked.images):
            raise Problem(Code.INVALID_REQUEST, field=name)
    return asked


def _groups(asked: FlowGRPORequest) -> list[_Group]:
    places: dict[tuple[str, bytes | None], list[int]] = {}
    sources: Sequence[bytes | None] = asked.source_images or [None] * len(asked.images)
    for number, key in enumerate(zip(asked.prompt_of_each(), sources, strict=True)):
        places.setdefault(key, []).append(number)
    return [
        _Group(prompt=prompt, source=source, places=tuple(found))
        for (prompt, source), found in places.items()
    ]


async def _outcomes(
    service: RewardService, asked: FlowGRPORequest, groups: list[_Group], *, client: str
) -> list[Outcome]:
    """Return the outcome of each image, in the request's order."""
    answers = await asyncio.gather(
        *(
            service.score(
                Question(
                    model=asked.model,
                    prompt=group.prompt,
                    candidates=[asked.images[place] for place in group.places],
                    sources=() if group.source is None else (group.source,),
                    client=client,
                )
            )
            for group in groups
        )
    )
    by_place = {
        place: outcome
        for group, answer in zip(groups, answers, strict=True)
        for place, outcome in zip(group.places, answer.outcomes, strict=True)
    }
    return [by_place[place] for place in range(len(asked.images))]


def _reply(values: Mapping[str, object], *, status: int) -> Response:
    return Response(write_plain(dict(values)), status, media_type=_CONTENT_TYPE)
