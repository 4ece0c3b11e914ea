"""Where the programs that stand around the action begin and end: one place that turns their errors into exit codes."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TextIO

from sophia_sync import interrupts
from sophia_sync.commands import Runner
from sophia_sync.errors import EndedBySignalError, SyncError
from sophia_sync.inputs import RunContext, run_context
from sophia_sync.interrupts import Interrupted
from sophia_sync.redact import Redactor


def run(
    program: str,
    work: Callable[[Runner, Redactor, RunContext], None],
    after_signal: str,
    stream: TextIO | None,
    *,
    summarise: bool = True,
) -> int:
    """Do the work of one command; returns the exit code.

    Args:
        program: Its name in the text of a defect.
        work: What is given the way to print, what hides secrets in it, and what is known of the run.
        after_signal: What a person should know and do after a signal.
        stream: Where it prints; None is standard output.
        summarise: Whether a failure becomes the step's summary, where the work itself writes none.
    """
    context = run_context()
    redact = Redactor()
    runner = Runner.of(context, redact, stream)

    def fail(error: SyncError) -> int:
        runner.error(str(error), error.title)
        if summarise:
            runner.summary(f"## {error.title}\n\n{error.what}\n\n{error.todo}\n")
        return error.exit_code

    with interrupts.raised():
        try:
            work(runner, redact, context)
        except SyncError as error:
            return fail(error)
        except Interrupted as by:
            return fail(EndedBySignalError(f"{by} ended the run.", after_signal, by.signal_number))
        except Exception:  # noqa: BLE001 - a defect of ours: told as one, with a trace that passes the redactor
            runner.line(traceback.format_exc())
            return fail(SyncError(f"A defect of the {program}.", "Please report it with its trace."))
    return 0
