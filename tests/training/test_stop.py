"""Signals are noted, not obeyed at once, and only where they should be."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from visreward.core.errors import StoppedError
from visreward.training.checkpoints.stop import IMPATIENCE_S, SIGNALS, StopSignals, stopped_error


@pytest.mark.parametrize("number", SIGNALS)
def test_stop_signals_note_the_first_and_give_the_handlers_back(number: int) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    told: list[str] = []
    with StopSignals(told.append) as signals:
        assert signals.asked == 0
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.asked == number
    assert told == [f"{signal.Signals(number).name}: stopping after the current step."]
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_stop_signals_second_interrupt_stops_at_once_when_it_is_meant() -> None:
    with StopSignals(list[str]().append) as signals:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        assert signals.asked == signal.SIGINT
        signals._since -= 2 * IMPATIENCE_S
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_stop_signals_in_another_thread_change_nothing() -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    seen: list[object] = []

    def enter() -> None:
        with StopSignals(list[str]().append):
            seen.extend(signal.getsignal(each) for each in SIGNALS)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == before


def test_stopped_error_has_the_exit_status_of_its_signal() -> None:
    error = stopped_error(signal.SIGTERM, step=7)
    assert isinstance(error, StoppedError)
    assert error.exit_status == 143
    assert str(error).startswith("Stopped by SIGTERM after step 7; the checkpoint is saved. ")
    assert stopped_error(signal.SIGINT, step=7).exit_status == 130
