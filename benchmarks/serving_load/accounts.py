"""What became of every request: by its id, in the clients' answers and in the server's log."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serving_load.clients import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How many requests ended how; all of it should add up.

    Attributes:
        num_sent: Requests that clients sent.
        by_status: How many answers had which status; 0 for none.
        num_unanswered: Requests without an answer.
        num_crossed: Answers that name another request.
        num_logged_twice: Ids that the log has more than once.
        num_not_logged: Ids that it lacks.
    """

    num_sent: int
    by_status: dict[str, int]
    num_unanswered: int
    num_crossed: int
    num_logged_twice: int
    num_not_logged: int

    @property
    def is_whole(self) -> bool:
        """Return whether every request was answered once."""
        return not (
            self.num_unanswered + self.num_crossed + self.num_logged_twice + self.num_not_logged
        )


def account(replies: Sequence[Reply], log: Sequence[dict[str, Any]]) -> Account:
    """Return what became of some requests.

    Args:
        replies: One for each request.
        log: The server's lines of kind `request`, of these requests and of others.
    """
    logged = Counter(line["request_id"] for line in log)
    counts = [logged[reply.request_id] for reply in replies]
    return Account(
        num_sent=len(replies),
        by_status={
            str(status): count
            for status, count in sorted(Counter(reply.status for reply in replies).items())
        },
        num_unanswered=sum(reply.status == 0 for reply in replies),
        num_crossed=sum(
            reply.status != 0 and reply.answered_id != reply.request_id for reply in replies
        ),
        num_logged_twice=sum(count > 1 for count in counts),
        num_not_logged=sum(count == 0 for count in counts),
    )


def milliseconds(log: Sequence[dict[str, Any]], *, status: int) -> dict[str, float]:
    """Return how long the server took for answers of one status: median, 99th per cent, most."""
    found = sorted(line["milliseconds"] for line in log if line["status"] == status)
    if not found:
        return {}
    return {
        "median": statistics.median(found),
        "p99": found[min(len(found) - 1, int(0.99 * len(found)))],
        "most": found[-1],
    }
