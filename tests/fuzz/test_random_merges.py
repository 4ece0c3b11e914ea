"""Check thousands of random merges, corruptions and restorations on all cores.

A case depends on its number alone: `check_merge(random.Random(17))` is case 17 on every machine.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.support.examples import CASES
from tests.support.merges import check_corruption, check_merge, check_restore
from tests.support.through_esc import check_through_esc
from tools.progress import Progress, say

SHARD = 1000
# A case through ESC's engine takes a hundred times as long as one without it.
CASES_THROUGH_ESC = CASES // 10

Check = Callable[[random.Random], bool]


def run_shard(check: Check, first: int, count: int) -> int:
    """Check `count` cases from number `first` on. Return how many reached what they test."""
    reached = 0
    for number in range(first, first + count):
        try:
            reached += check(random.Random(number))  # noqa: S311 - no secret is made of it
        except Exception as error:
            raise AssertionError(f"{check.__name__}(random.Random({number})): {error!r}") from error
    return reached


def share(check: Check, cases: int) -> float:
    """Check that many cases. Return the fraction that reached what it tests."""
    shards = [(first, min(SHARD, cases - first)) for first in range(0, cases, SHARD)]
    progress = Progress()
    reached = done = 0
    # Spawned, not forked: pytest's process has threads.
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(run_shard, check, *shard): shard[1] for shard in shards}
        try:
            for shard in as_completed(running):
                reached += shard.result()
                done += running[shard]
                progress.show(f"  {check.__name__}: {done:,} of {cases:,}")
        finally:
            pool.shutdown(cancel_futures=True)
    say(f"  {check.__name__}: {cases:,} cases, {reached:,} of them counted")
    return reached / cases


def test_a_random_merge_is_right_and_can_be_taken_back() -> None:
    assert share(check_merge, CASES) > 0.9


def test_a_random_corruption_never_passes_the_proof() -> None:
    assert share(check_corruption, CASES // 2) > 0.5


def test_a_random_merge_is_taken_back_around_what_others_wrote_since() -> None:
    assert share(check_restore, CASES // 4) > 0.4


def test_a_random_merge_is_right_for_consumers_once_esc_has_stored_it() -> None:
    assert share(check_through_esc, CASES_THROUGH_ESC) > 0.6
