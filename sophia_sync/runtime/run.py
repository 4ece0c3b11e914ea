"""Conduct a program from its start to its exit code: signals, errors, and the report.

The action and the command line run here. `runtime.script` runs the synchronous programs of the deploy and release.
"""

from __future__ import annotations

import signal
import traceback
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable

import anyio

from sophia_sync.runtime.errors import EndedBySignalError, SyncError
from sophia_sync.runtime.tasks import task_group

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""The signals that end a run in good order, within 5 seconds."""

GRACE = 3.0
"""Grace period of a write under way after a signal, in seconds, so that its outcome is known."""


class Program(ABC):
    """A program as `conduct` runs it."""

    name: str
    """Its name, for the report of a defect."""

    @abstractmethod
    async def work(self) -> None:
        """Do everything. Raise a `SyncError` for what fails."""

    @abstractmethod
    def state(self) -> str:
        """Return what was done so far, in words for a person; it may be empty."""

    @abstractmethod
    def trace(self, text: str) -> None:
        """Print the trace of a defect."""

    @abstractmethod
    def report(self, error: SyncError | None) -> int:
        """Report how the program ended. Return its exit code."""


def conduct(program: Program, leave: Callable[[int], object] = lambda _: None) -> int:
    """Run a program to its end and report it. Return the exit code.

    A signal cancels the work. Later signals are ignored, so that the run ends in good order.

    Args:
        program: What to run.
        leave: Called with the exit code while signals are still ignored; may end the process.
    """
    return anyio.run(_conduct, program, leave)


async def _conduct(program: Program, leave: Callable[[int], object]) -> int:
    with anyio.open_signal_receiver(*SIGNALS) as signals:
        code = program.report(await _failure(program, signals))
        leave(code)
    return code


async def _failure(program: Program, signals: AsyncIterator[signal.Signals]) -> SyncError | None:
    """Do the work. Return the error that ended it, or None."""
    came: list[signal.Signals] = []
    failure: SyncError | None = None
    async with task_group() as tasks:

        async def watch() -> None:
            async for number in signals:
                came.append(number)
                tasks.cancel()
                return

        tasks.start(watch)
        try:
            await program.work()
        except SyncError as error:
            failure = error
        except Exception:  # noqa: BLE001 - a defect of ours: told as one, with a trace that passes the redactor
            program.trace(traceback.format_exc())
            what = f"A defect of {program.name} stopped the run."
            failure = SyncError(what, "Please report it with its trace.", program.state())
        tasks.cancel()
    if not came:
        return failure
    return EndedBySignalError(f"{came[0].name} ended the run.", "Run again.", came[0], program.state())
