"""The child process that holds one model: batches of pictures in, scores out.

A thread reads requests and starts preparing their pictures, while the main thread computes.
"""

from __future__ import annotations

import queue
import socket
from threading import Thread
from typing import TYPE_CHECKING

from visreward.core.errors import VisrewardError
from visreward.serving.workers.frames import Message, begin, receive, send

if TYPE_CHECKING:
    from visreward.serving.workers.scorer import OpenBatch, Scorer


def main() -> None:
    """Load the model, say hello, and answer requests until the connection ends."""
    begun = begin()
    if begun is None:
        return
    connection, setup = begun
    try:
        scorer, hello = _started(setup)
    except VisrewardError as error:
        # This text is for whoever runs the server; it goes into no response.
        send(connection, {"failure": str(error)})
        return
    send(connection, hello)
    _serve(connection, scorer)


def _started(setup: Message) -> tuple[Scorer, Message]:
    from visreward.models.loading import load_model
    from visreward.serving.workers.scorer import Scorer

    model = load_model(
        setup["name"],
        device=setup["device"],
        dtype=setup["dtype"],
        batch_invariant=setup["batch_invariant"],
        attention=setup["attention"],
    )
    scorer = Scorer(model, cache_bytes=setup["cache_mib"] << 20)
    return scorer, scorer.hello()


def _serve(connection: socket.socket, scorer: Scorer) -> None:
    from visreward.serving.workers.scorer import vision_cache_counts

    waiting: queue.SimpleQueue[tuple[int, OpenBatch] | None] = queue.SimpleQueue()

    def read_ahead() -> None:
        while (request := receive(connection)) is not None:
            waiting.put((request.message["id"], scorer.open_batch(request.message, request.files)))
        waiting.put(None)

    Thread(target=read_ahead, name="read-ahead", daemon=True).start()
    while (next_up := waiting.get()) is not None:
        number, batch = next_up
        answer = scorer.answer(batch)
        hits, misses = vision_cache_counts(scorer.model)
        try:
            send(connection, {"id": number, **answer, "cache_hits": hits, "cache_misses": misses})
        except ConnectionError:
            return


if __name__ == "__main__":
    main()
