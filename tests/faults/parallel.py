"""Run many cases at a time: most of them only wait."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tools import pulumi_cli

WORKERS = 14
"""Number of runs at a time, if they mostly wait. Each is a program, three services and sometimes a CLI."""

T = TypeVar("T", bound=Hashable)
R = TypeVar("R")


@contextlib.contextmanager
def begun(run: Callable[[T], R], cases: Iterable[T], workers: int = WORKERS) -> Iterator[dict[T, Future[R]]]:
    """Run all cases in order, `workers` at a time; yield their futures."""
    pulumi_cli.ensure()
    with ThreadPoolExecutor(workers, "case") as pool:
        try:
            yield {case: pool.submit(run, case) for case in cases}
        finally:
            pool.shutdown(cancel_futures=True)
