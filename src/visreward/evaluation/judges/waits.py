"""How long to wait before a question is asked again."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visreward.evaluation.judges.config import RetryConfig


def seconds_asked_for(header: str | None, *, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header, 0 or more; None where there is none to read.

    Args:
        header: Seconds, or a date as HTTP writes it (RFC 9110, section 10.2.3).
        now: What a date is held against.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            moment = parsedate_to_datetime(header)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def wait_s(
    num_tries: int, *, asked_for_s: float | None, retry: RetryConfig, drawn: float
) -> float | None:
    """Return the seconds to wait after a try that failed, or None where that is too long.

    Args:
        num_tries: How often the question was asked, 1 or more.
        asked_for_s: What the endpoint asked for, or None.
        retry: The rule.
        drawn: A random number in [0, 1], so that many clients do not come back at once.
    """
    # 2^60 s is beyond every limit, and far from what a float holds.
    longest: float = min(retry.max_wait_s, retry.first_wait_s * 2.0 ** min(num_tries - 1, 60))
    backoff = longest * (1 + drawn) / 2
    if asked_for_s is None:
        return backoff
    return None if asked_for_s > retry.max_retry_after_s else max(backoff, asked_for_s)
