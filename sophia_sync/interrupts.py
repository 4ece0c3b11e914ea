"""SIGINT, SIGTERM and the run's time limit, as exceptions in the main thread, and one section that they can't cut.

Process-wide by nature: signal handlers are. Source: Python's `signal` documentation (handlers run in the main thread).
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType

# How long a write that is under way may go on after a signal, so that its outcome is known. We end within 5 seconds.
GRACE = 3.0
# How soon a signal comes again whose exception was lost, or would have torn apart what Python loads.
_AGAIN = 0.005
# Where Python's own code for `import` stands, by the names of its frames.
_IMPORTING = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")


class Interrupted(BaseException):  # like KeyboardInterrupt: no `except Exception` may swallow it
    """A signal asked us to end, or, with SIGALRM, the time limit has passed."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


class _State:
    def __init__(self) -> None:
        self.hurry: Callable[[float], None] | None = None
        self.pending: int | None = None
        self.lost: int | None = None


_STATE = _State()
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


def _handle(signal_number: int, frame: FrameType | None) -> None:
    if _STATE.hurry is not None:
        if _STATE.pending is None:
            _STATE.pending = signal_number
            _STATE.hurry(GRACE)
        return
    if _is_importing(frame):  # what is loaded by half can't always be loaded again, and the report needs some of it
        _raise_later(signal_number)
        return
    ignore()  # one is enough: what ends the run must not be cut itself
    raise Interrupted(signal_number)


def _raise_again(hook: Callable[[sys.UnraisableHookArgs], object], unraisable: sys.UnraisableHookArgs) -> None:
    """Where Python runs a finaliser or a weak reference's callback it drops what is raised there: raise it again."""
    if not isinstance(unraisable.exc_value, Interrupted):
        hook(unraisable)
        return
    _raise_later(unraisable.exc_value.signal_number)


def _raise_later(signal_number: int) -> None:
    _STATE.lost = signal_number
    signal.signal(signal.SIGALRM, _handle_lost)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename in _IMPORTING:
            return True
        frame = frame.f_back
    return False


def _handle_lost(_: int, frame: FrameType | None) -> None:
    if _STATE.lost is not None:
        _handle(_STATE.lost, frame)


def ignore() -> None:
    """Let no signal cut what follows, until `raised` is left: it must be short."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raise `Interrupted` for signals while this is entered; main thread only."""
    before = {each: signal.signal(each, _handle) for each in _SIGNALS}
    hook = sys.unraisablehook
    sys.unraisablehook = partial(_raise_again, hook)
    _STATE.pending = _STATE.lost = None
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = hook
        for each, handler in before.items():
            signal.signal(each, handler)


def limit(seconds: float) -> None:
    """Raise `Interrupted` with SIGALRM after so many seconds; 0: never."""
    if _STATE.lost is None:  # else the clock is needed for the signal that comes again
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
