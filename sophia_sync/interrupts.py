"""SIGINT, SIGTERM and the run's time limit: how they end what is under way.

What works in several threads is done under a `Watch`: a signal cuts its deadline, and no exception comes out of
nowhere. A program that does everything in its main thread has them `raised` there, but for `shielded` sections.

Process-wide by nature: signal handlers are. Source: Python's `signal` documentation (handlers run in the main thread).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import TypeVar

from sophia_sync.process import Beside, Deadline

T = TypeVar("T")

# How long a write that is under way may go on after a signal, so that its outcome is known. We end within 5 seconds.
GRACE = 3.0
# Seconds for what was cut to come to its end, beyond those that its processes have.
_MOMENT = 1.0
# What the end of the work says in the pipe in which signals say their number.
_END = 0
# How soon a signal comes again whose exception was lost, or would have torn apart what Python loads.
_AGAIN = 0.005
# Where Python's own code for `import` stands, by the names of its frames.
_IMPORTING = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")


class Interrupted(BaseException):  # like KeyboardInterrupt: no `except Exception` may swallow it
    """A signal asked us to end, or, with SIGALRM, the time limit has passed."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


class Watch:
    """Signals while this is entered: each is noted, and tears nothing apart. Main thread only.

    What a handler raises comes anywhere: where a lock is taken and not yet to be given back, or where a module is
    loaded by half. So the work is done in a thread of its own, and the main thread does nothing but wait. It waits on a
    pipe: a lock may sleep on when another thread got the signal (`signal.set_wakeup_fd`).
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._reader = self._writer = -1

    def __enter__(self) -> Watch:
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            self._stack.callback(os.close, end)
        os.set_blocking(self._writer, False)
        self._stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False))
        for each in _SIGNALS:
            self._stack.callback(signal.signal, each, signal.signal(each, lambda *_: None))
        self._stack.callback(signal.setitimer, signal.ITIMER_REAL, 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._writer = -1  # for work that is left behind: the number may become another file's
        self._stack.close()

    def over(self, work: Callable[[], T], cut: Callable[[float], None]) -> T:
        """Do the work in a thread, and wait for its end or for a signal; what it raises is raised.

        Args:
            work: What is done.
            cut: Called after a signal with the seconds that remain for what must not be torn apart; makes the work end.

        Raises:
            Interrupted: A signal came first. The work has ended, or is left behind if it doesn't heed the cut.
        """

        def tell() -> None:
            with contextlib.suppress(OSError):  # nobody waits any more
                os.write(self._writer, bytes([_END]))

        beside = Beside(work, tell)
        said = os.read(self._reader, 1)[0]
        if said == _END:
            return beside.result(Deadline(0))
        cut(GRACE)
        rest = Deadline(_MOMENT)
        while select.select([self._reader], [], [], rest.remaining())[0]:
            if os.read(self._reader, 1)[0] == _END:  # and no other signal: one is enough
                break
        raise Interrupted(said)


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
