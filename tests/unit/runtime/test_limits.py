"""Time limits of blocking work."""

from __future__ import annotations

from sophia_sync.runtime.limits import TimeLimit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_counts_down_to_nothing() -> None:
    clock = Clock()
    limit = TimeLimit(5, clock)
    clock.now += 3
    assert (limit.seconds, limit.remaining()) == (5, 2)
    clock.now += 3
    assert limit.remaining() == 0


def test_a_part_ends_no_later_than_the_whole() -> None:
    clock = Clock()
    whole = TimeLimit(5, clock)
    clock.now += 3
    assert (whole.part(1).remaining(), whole.part(4).remaining()) == (1, 2)
