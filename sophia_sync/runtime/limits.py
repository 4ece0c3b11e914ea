"""Time limits for blocking work, which runs in a thread and can't be cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable


class TimeLimit:
    """A moment by which blocking work must be done.

    Args:
        seconds: Time allowed from now.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def remaining(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self._end - self._clock())

    def part(self, seconds: float) -> TimeLimit:
        """Return an earlier limit for a part of the work."""
        return TimeLimit(min(seconds, self.remaining()), self._clock)

    def sleep(self, seconds: float) -> None:
        """Wait in the calling thread."""
        time.sleep(seconds)
