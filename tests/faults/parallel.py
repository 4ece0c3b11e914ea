"""Many runs at a time: most of them only wait."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tools import pulumi_cli

WORKERS = 14
"""For runs that mostly wait. Each is a program, three services and now and then a CLI."""

T = TypeVar("T", bound=Hashable)
R = TypeVar("R")


@contextlib.contextmanager
def begun(run: Callable[[T], R], cases: Iterable[T], workers: int = WORKERS) -> Iterator[dict[T, Future[R]]]:
    """Run all the cases, in their order, so many at a time."""
    pulumi_cli.ensure()
    with ThreadPoolExecutor(workers, "case") as pool:
        try:
            yield {case: pool.submit(run, case) for case in cases}
        finally:
            pool.shutdown(cancel_futures=True)
