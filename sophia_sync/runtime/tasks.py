"""Run tasks with results, threads, and work that may finish after a cancellation.

Built on anyio. A run is one tree of tasks: cancelling its root ends everything below it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Generic, TypeVar, cast

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from sophia_sync.runtime.limits import TimeLimit

T = TypeVar("T")

AT_ONCE = 8
"""Maximum number of environments, revisions or requests at the same time."""


class Task(Generic[T]):
    """Work that runs concurrently with the task that started it."""

    def __init__(self) -> None:
        self._done = anyio.Event()
        self._result: T | None = None
        self._error: Exception | None = None

    async def result(self) -> T:
        """Wait for the work. Return what it returned, or raise what it raised."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return cast(T, self._result)

    async def run(self, work: Callable[[], Awaitable[T]]) -> None:
        """Do the work, and keep its error for whoever asks for the result."""
        try:
            self._result = await work()
        except Exception as error:  # noqa: BLE001 - raised in `result`
            self._error = error
        self._done.set()


class Tasks:
    """The tasks of one group, which end when the group is left."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group

    def start(self, work: Callable[[], Awaitable[T]]) -> Task[T]:
        """Start work that runs concurrently with the calling task."""
        task: Task[T] = Task()
        self._group.start_soon(task.run, work)
        return task

    def cancel(self) -> None:
        """End all tasks of the group that still run."""
        self._group.cancel_scope.cancel()


@asynccontextmanager
async def task_group() -> AsyncIterator[Tasks]:
    """Enter a group of tasks. Leaving it waits for all of them; an error in the body cancels them.

    An error reaches the caller as itself, not wrapped in a group of exceptions.
    """
    try:
        async with anyio.create_task_group() as group:
            yield Tasks(group)
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def time_left() -> TimeLimit:
    """Return the time that the calling task has until it is cancelled."""
    return TimeLimit(anyio.current_effective_deadline() - anyio.current_time())


async def side_by_side(work: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Do all of `work`, up to `AT_ONCE` at a time. Return the results in the order of `work`.

    An error in one cancels the others.
    """
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def limited(each: Callable[[], Awaitable[T]]) -> T:
        async with limiter:
            return await each()

    async with task_group() as tasks:
        started = [tasks.start(partial(limited, each)) for each in work]
        return [await task.result() for task in started]


async def in_thread(call: Callable[[], T]) -> T:
    """Call a blocking function in a thread. Abandon the thread if the calling task is cancelled."""
    return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)


async def finish_within(seconds: float, work: Callable[[], Awaitable[T]]) -> T:
    """Do work that may go on for `seconds` after a cancellation.

    The work is over when this returns or raises. If the caller was cancelled, it gets the cancellation then.
    """
    async with task_group() as beside:
        with anyio.CancelScope(shield=True) as shield:

            async def hurry() -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    shield.deadline = anyio.current_time() + seconds

            beside.start(hurry)
            result = await work()
        beside.cancel()
    if shield.cancelled_caught:
        await anyio.lowlevel.checkpoint()  # raises the caller's cancellation, which came first
    return result
