"""Time limits for blocking work, which runs in a thread and can't be cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TimeLimit:
    """A moment by which blocking work must be done.

    Args:
        seconds: Time allowed from now.
        clock: A monotonic clock, in seconds.
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_end", self.clock() + self.seconds)

    def remaining(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self._end - self.clock())

    def part(self, seconds: float) -> TimeLimit:
        """Return an earlier limit for a part of the work."""
        return TimeLimit(min(seconds, self.remaining()), self.clock)
