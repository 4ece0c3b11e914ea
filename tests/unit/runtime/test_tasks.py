"""Tasks with results, threads that can be abandoned, and work that is finished despite a cancellation."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import anyio
import pytest

from sophia_sync.runtime.tasks import AT_ONCE, finish_within, in_thread, side_by_side, task_group, time_left

pytestmark = pytest.mark.anyio


class TestTask:
    async def test_returns_what_the_work_returns(self) -> None:
        async def work() -> int:
            await anyio.sleep(0)
            return 17

        async with task_group() as tasks:
            task = tasks.start(work)
            assert await task.result() == 17
            assert await task.result() == 17

    async def test_raises_what_the_work_raises_where_the_result_is_asked_for(self) -> None:
        async def work() -> None:
            raise KeyError("x")

        async with task_group() as tasks:
            task = tasks.start(work)
            with pytest.raises(KeyError):
                await task.result()

    async def test_an_error_in_the_body_reaches_the_caller_as_itself_and_ends_the_tasks(self) -> None:
        ended = False

        async def work() -> None:
            nonlocal ended
            try:
                await anyio.sleep_forever()
            finally:
                ended = True

        async def fail() -> None:
            async with task_group() as tasks:
                tasks.start(work)
                await anyio.lowlevel.checkpoint()
                raise KeyError

        with pytest.raises(KeyError):
            await fail()
        assert ended

    async def test_leaving_waits_for_the_tasks_unless_they_are_cancelled(self) -> None:
        done = []

        async def work() -> None:
            await anyio.sleep(0.01)
            done.append(True)

        async with task_group() as tasks:
            tasks.start(work)
        assert done == [True]
        async with task_group() as tasks:
            tasks.start(work)
            tasks.cancel()
        assert done == [True]


class TestSideBySide:
    async def test_returns_the_results_in_order_and_keeps_to_the_limit(self) -> None:
        running = most = 0

        def work(number: int) -> Callable[[], Awaitable[int]]:
            async def one() -> int:
                nonlocal running, most
                running += 1
                most = max(most, running)
                await anyio.sleep(0.001 * (10 - number))
                running -= 1
                return number

            return one

        assert await side_by_side([work(number) for number in range(10)]) == list(range(10))
        assert most == AT_ONCE

    async def test_an_error_ends_the_others(self) -> None:
        async def fail() -> None:
            raise KeyError

        with pytest.raises(KeyError):
            await side_by_side([fail, anyio.sleep_forever])


class TestThread:
    async def test_returns_and_raises(self) -> None:
        assert await in_thread(lambda: 17) == 17
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 // 0)

    async def test_is_left_behind_when_the_time_is_over(self) -> None:
        started, release, ended = threading.Event(), threading.Event(), threading.Event()

        def block() -> None:
            started.set()
            release.wait(60)
            ended.set()

        async def end() -> None:
            await in_thread(lambda: started.wait(60))
            scope.cancel()

        async with task_group() as tasks:
            tasks.start(end)
            with anyio.CancelScope() as scope:
                await in_thread(block)
        assert scope.cancelled_caught
        assert not ended.is_set()
        release.set()
        assert ended.wait(60)


class TestFinishWithin:
    async def test_returns_what_the_work_returns(self) -> None:
        async def work() -> int:
            return 17

        assert await finish_within(3, work) == 17

    async def test_an_error_is_raised_as_itself(self) -> None:
        async def work() -> None:
            raise KeyError

        with pytest.raises(KeyError):
            await finish_within(3, work)

    async def test_work_under_way_goes_on_after_a_cancellation(self) -> None:
        done = []

        async def work() -> None:
            scope.cancel()
            await anyio.sleep(0.01)
            done.append(True)

        with anyio.CancelScope() as scope:
            await finish_within(60, work)
            await anyio.lowlevel.checkpoint()
            done.append(False)
        assert done == [True]

    async def test_but_not_for_longer_than_its_grace(self) -> None:
        done = []

        async def work() -> None:
            scope.cancel()
            await anyio.sleep_forever()

        with anyio.CancelScope() as scope:
            await finish_within(0.01, work)
            done.append(False)
        assert done == []
        assert scope.cancelled_caught


async def test_the_time_that_is_left_is_that_of_the_nearest_limit() -> None:
    assert time_left().remaining() == float("inf")
    with anyio.move_on_after(100), anyio.move_on_after(50):
        assert 0 < time_left().remaining() <= 50
