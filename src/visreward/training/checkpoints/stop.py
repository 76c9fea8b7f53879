"""A wish to stop, sent as a signal: noted at once, granted after the current step."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final

from visreward.core.errors import StoppedError

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
IMPATIENCE_S: Final = 2.0
"""How long after the first Ctrl-C another one stops at once; launchers send two in a row."""


class StopSignals:
    """Takes note of SIGTERM and SIGINT while it is entered.

    Python takes signals in its main thread only; elsewhere nothing is noted. Processes that are
    forked meanwhile, such as those which decode images, leave both to their parent.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        """Prepare; `tell` is told when a wish is noted."""
        self.tell = tell
        self.asked = 0
        self._since = 0.0
        self._owner = os.getpid()
        self._before: dict[int, Any] = {}  # handlers of any kind

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._note) for each in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            return
        now = time.monotonic()
        if not self.asked:
            self.asked, self._since = number, now
            with suppress(RuntimeError):
                # A signal may come while another line is being printed.
                self.tell(f"{signal.Signals(number).name}: stopping after the current step.")
        elif number == signal.SIGINT and now - self._since > IMPATIENCE_S:
            raise KeyboardInterrupt


def stopped_error(number: int, *, step: int) -> StoppedError:
    """Return the error that ends a run which was asked to stop and has saved its state."""
    error = StoppedError(
        f"Stopped by {signal.Signals(number).name} after step {step}; the checkpoint is saved. "
        "Run the same command again to go on."
    )
    error.exit_status = 128 + number
    return error
