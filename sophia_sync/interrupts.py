"""SIGINT, SIGTERM and the run's time limit, as exceptions in the main thread, and one section that they can't cut.

Process-wide by nature: signal handlers are. Source: Python's `signal` documentation (handlers run in the main thread).
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

# How long a write that is under way may go on after a signal, so that its outcome is known. We end within 5 seconds.
GRACE = 3.0


class Interrupted(BaseException):  # like KeyboardInterrupt: no `except Exception` may swallow it
    """A signal asked us to end, or, with SIGALRM, the time limit has passed."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


class _State:
    def __init__(self) -> None:
        self.hurry: Callable[[float], None] | None = None
        self.pending: int | None = None


_STATE = _State()
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


def _handle(signal_number: int, frame: FrameType | None) -> None:
    del frame
    if _STATE.hurry is not None:
        if _STATE.pending is None:
            _STATE.pending = signal_number
            _STATE.hurry(GRACE)
        return
    ignore()  # one is enough: what ends the run must not be cut itself
    raise Interrupted(signal_number)


def ignore() -> None:
    """Let no signal cut what follows, until `raised` is left: it must be short."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raise `Interrupted` for signals while this is entered; main thread only."""
    before = {each: signal.signal(each, _handle) for each in _SIGNALS}
    _STATE.pending = None
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in before.items():
            signal.signal(each, handler)


def limit(seconds: float) -> None:
    """Raise `Interrupted` with SIGALRM after so many seconds; 0: never."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


@contextlib.contextmanager
def shielded(hurry: Callable[[float], None]) -> Iterator[None]:
    """A section that a signal doesn't cut: `hurry` is told how many seconds are left for it, `Interrupted` comes after.

    When it comes, what the section did is known.
    """
    _STATE.hurry = hurry
    try:
        yield
    finally:
        _STATE.hurry = None
        if _STATE.pending is not None:
            _handle(_STATE.pending, None)
