"""How a program runs and ends: errors, signals at any moment, and the exit code."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Awaitable, Callable

import anyio
import pytest

from sophia_sync.runtime.errors import EscError, SyncError
from sophia_sync.runtime.run import SIGNALS, Program, conduct
from sophia_sync.runtime.tasks import finish_within, in_thread


class Small(Program):
    name = "small"

    def __init__(self, work: Callable[[], Awaitable[object]]) -> None:
        self._work = work
        self.traces: list[str] = []
        self.error: SyncError | None = None
        self.on_report: Callable[[], object] = lambda: None

    async def work(self) -> None:
        await self._work()

    def state(self) -> str:
        return "Half of it was done."

    def trace(self, text: str) -> None:
        self.traces.append(text)

    def report(self, error: SyncError | None) -> int:
        self.on_report()
        self.error = error
        return error.exit_code if error else 0


async def nothing() -> None:
    """Do nothing."""


def strike(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def test_all_went_well() -> None:
    left: list[int] = []
    assert conduct(Small(nothing), left.append) == 0
    assert left == [0]


def test_an_error_is_reported_as_it_is() -> None:
    async def fail() -> None:
        raise EscError("It failed.", "Run again.")

    program = Small(fail)
    assert conduct(program) == 4
    assert (str(program.error), program.traces) == ("It failed. Run again.", [])


def test_a_defect_is_told_with_its_trace() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    program = Small(fail)
    assert conduct(program) == 70
    assert str(program.error).startswith("A defect of small stopped the run. Half of it was done.")
    assert "ZeroDivisionError" in program.traces[0]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_work(number: signal.Signals) -> None:
    async def work() -> None:
        strike(number)
        await anyio.sleep_forever()

    program = Small(work)
    assert conduct(program) == 128 + number
    assert str(program.error) == f"{number.name} ended the run. Half of it was done. Run again."


def test_a_signal_is_told_also_where_the_work_fails_because_of_it() -> None:
    async def work() -> None:
        strike()
        try:
            await anyio.sleep_forever()
        finally:
            raise EscError("It was torn apart.", "")

    assert conduct(Small(work)) == 143


def test_a_signal_waits_for_what_must_be_finished_and_leaves_a_thread_behind() -> None:
    release = threading.Event()
    done = []

    async def finish() -> None:
        strike()
        await anyio.sleep(0.05)
        done.append(True)

    async def work() -> None:
        await finish_within(60, finish)
        await in_thread(lambda: release.wait(60))
        done.append(False)

    assert conduct(Small(work)) == 143
    release.set()
    assert done == [True]


def test_a_second_signal_does_not_tear_the_report_apart() -> None:
    async def work() -> None:
        strike()
        await anyio.sleep_forever()

    program = Small(work)
    program.on_report = strike
    left: list[int] = []

    def leave(code: int) -> None:
        strike()
        left.append(code)

    assert conduct(program, leave) == 143
    assert left == [143]


@pytest.mark.full
def test_a_signal_at_any_moment_of_much_work() -> None:
    """Run 200 rounds with 100 tasks each. In each round, a thread sends the signal a little later."""
    for number in range(200):
        started = threading.Event()

        def fire(started: threading.Event = started, number: int = number) -> None:
            started.wait(60)
            for _ in range(number * 20):
                pass
            strike()

        async def work(started: threading.Event = started) -> None:
            async with anyio.create_task_group() as group:
                started.set()
                for _ in range(100):
                    group.start_soon(anyio.sleep, 0)
                await anyio.sleep_forever()

        thread = threading.Thread(target=fire)
        thread.start()
        assert conduct(Small(work)) == 143
        thread.join(60)
