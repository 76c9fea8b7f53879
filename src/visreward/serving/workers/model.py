"""The child process that holds one model: batches of pictures in, scores out.

One thread reads requests and starts preparing their pictures, others compute, and the main thread
sends the answers.
"""

from __future__ import annotations

import queue
import socket
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from threading import Thread
from typing import TYPE_CHECKING

from visreward.core.errors import VisrewardError
from visreward.serving.workers.frames import Message, begin, receive, send

if TYPE_CHECKING:
    from visreward.serving.workers.scorer import Scorer


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
    answers: queue.SimpleQueue[Future[Message] | None] = queue.SimpleQueue()

    def read_ahead() -> None:
        with ThreadPoolExecutor(scorer.streams.num, thread_name_prefix="stream") as streams:
            while (request := receive(connection)) is not None:
                batch = scorer.open_batch(request.message, request.files)
                streams.submit(scorer.answer, batch).add_done_callback(answers.put)
            streams.shutdown(cancel_futures=True)
        answers.put(None)

    Thread(target=read_ahead, name="read-ahead", daemon=True).start()
    while (done := answers.get()) is not None:
        try:
            send(connection, done.result())  # what no answer foresees ends the process
        except (ConnectionError, CancelledError):
            return


if __name__ == "__main__":
    main()
