"""One request to an endpoint: within its deadline, and what each way of failing means."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from visreward.evaluation.judges.completions import Answer, read_completion
from visreward.evaluation.judges.waits import seconds_asked_for
from visreward.scoring.records import printable

if TYPE_CHECKING:
    import httpx2

    from visreward.evaluation.judges.account import Account

MAX_RESPONSE_BYTES: Final = 8 << 20
"""A response longer than this is garbled."""

_STOPPING: Final = {
    401: "Check the key in the environment variable that api_key_env names.",
    402: "Check the account.",
    404: "Check base_url and model.",
}
_MAX_SHOWN: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A try that brought no answer.

    Attributes:
        reason: Why.
        may_pass: Whether another try may bring one.
        asked_for_s: Seconds that the endpoint asks to wait, or None.
        stop: What to do about it where no question can be answered, or "".
    """

    reason: str
    may_pass: bool
    asked_for_s: float | None = None
    stop: str = ""


async def try_once(http: httpx2.AsyncClient, account: Account, body: bytes) -> Answer | Trouble:
    """Send one request, and return its answer or why there is none.

    Args:
        http: The pool of connections.
        account: Where to ask.
        body: The request as JSON.
    """
    import httpx2

    endpoint = account.endpoint
    url = f"{endpoint.base_url}/chat/completions"
    try:
        async with (
            asyncio.timeout(endpoint.timeout_s),
            http.stream("POST", url, content=body) as response,
        ):
            received = await _read_capped(response)
    except TimeoutError:
        reason = f"No whole response within {endpoint.timeout_s:g} s."
        return Trouble(reason=reason, may_pass=True)
    except httpx2.RequestError as error:
        reason = f"The connection failed: {type(error).__name__} {error}."
        return Trouble(reason=reason, may_pass=True)
    if response.status_code != 200:
        return _refused(response, account.without_key(received.decode("utf-8", "replace")))
    answer = read_completion(received)
    if isinstance(answer, str):
        return Trouble(reason=f"Not a chat completion: {answer}.", may_pass=True)
    refusal = None if answer.refusal is None else account.without_key(answer.refusal)
    return replace(answer, text=account.without_key(answer.text), refusal=refusal)


async def _read_capped(response: httpx2.Response) -> bytes:
    received = bytearray()
    async for chunk in response.aiter_bytes():
        received += chunk
        if len(received) > MAX_RESPONSE_BYTES:
            break
    return bytes(received)


def _refused(response: httpx2.Response, text: str) -> Trouble:
    """Say what a status other than 200 means."""
    status = response.status_code
    shown = printable(" ".join(text[: 4 * _MAX_SHOWN].split())[:_MAX_SHOWN])
    return Trouble(
        reason=f"Status {status} {response.reason_phrase}: {shown or 'no text'}.",
        may_pass=status == 429 or status >= 500,
        asked_for_s=seconds_asked_for(response.headers.get("Retry-After"), now=datetime.now(UTC)),
        stop=_STOPPING.get(status, ""),
    )
