"""A time limit that a test need not wait for."""

from __future__ import annotations

from sophia_sync.runtime.limits import TimeLimit


class Paced(TimeLimit):
    """A time limit whose clock only its own waits move."""

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        super().__init__(seconds, lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
