"""Run the blocking work of a program that stands around the action: a step of a deploy or a release."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TextIO

from sophia_sync.commands import Runner
from sophia_sync.errors import SyncError
from sophia_sync.inputs import RunContext, run_context
from sophia_sync.redact import Redactor
from sophia_sync.runtime.program import Program, conduct
from sophia_sync.runtime.tasks import in_thread


class _Step(Program):
    def __init__(
        self,
        name: str,
        work: Callable[[Runner, Redactor, RunContext], None],
        after_signal: str,
        stream: TextIO | None,
        *,
        summarise: bool,
    ) -> None:
        self.name = name
        self._work = work
        self._after_signal = after_signal
        self._summarise = summarise
        self._context = run_context()
        self._redact = Redactor()
        self._runner = Runner.of(self._context, self._redact, stream)

    async def work(self) -> None:
        await in_thread(partial(self._work, self._runner, self._redact, self._context))

    def state(self) -> str:
        return self._after_signal

    def trace(self, text: str) -> None:
        self._runner.line(text)

    def report(self, error: SyncError | None) -> int:
        if error is None:
            return 0
        self._runner.error(str(error), error.title)
        if self._summarise:
            parts = (f"## {error.title}", error.what, error.changed, error.todo)
            self._runner.summary("\n\n".join(filter(None, parts)) + "\n")
        return error.exit_code


def run(
    program: str,
    work: Callable[[Runner, Redactor, RunContext], None],
    after_signal: str,
    stream: TextIO | None,
    *,
    summarise: bool = True,
) -> int:
    """Do the blocking work of one command, in a thread that a signal leaves behind. Return the exit code.

    Args:
        program: Its name in the text of a defect.
        work: Gets the way to print, what hides secrets in it, and what is known of the run.
        after_signal: What a person should know and do after a signal.
        stream: Where it prints; None is standard output.
        summarise: Whether a failure becomes the step's summary, where the work itself writes none.
    """
    return conduct(_Step(program, work, after_signal, stream, summarise=summarise))
