"""Where the programs of this repository's workflows begin and end: one place that turns errors into exit codes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import TextIO

from sophia_sync import interrupts
from sophia_sync.commands import Runner
from sophia_sync.errors import EndedBySignalError, SyncError
from sophia_sync.inputs import run_context
from sophia_sync.interrupts import Interrupted
from sophia_sync.redact import Redactor


def run(program: str, work: Callable[[Runner, Redactor], None], after_signal: str, stream: TextIO | None) -> int:
    """Do the work of one command; returns the exit code.

    Args:
        program: Its name in the text of a defect.
        work: What is given the way to print, and what hides secrets in it.
        after_signal: What a person should know and do after a signal.
        stream: Where it prints; None is standard output.
    """
    context = run_context()
    redact = Redactor()
    runner = Runner(
        stream or sys.stdout,
        redact,
        on_runner=context.on_runner,
        output_path=context.output_path,
        summary_path=context.summary_path,
    )
    with interrupts.raised():
        try:
            work(runner, redact)
        except SyncError as error:
            return _fail(runner, error)
        except Interrupted as by:
            return _fail(runner, EndedBySignalError(f"{by} ended the run.", after_signal, by.signal_number))
        except Exception:  # noqa: BLE001 - a defect of ours: told as one, with a trace that passes the redactor
            runner.line(traceback.format_exc())
            return _fail(runner, SyncError(f"A defect of the {program}.", "Please report it with its trace."))
    return 0


def _fail(runner: Runner, error: SyncError) -> int:
    runner.error(str(error), error.title)
    runner.summary(f"## {error.title}\n\n{error.what}\n\n{error.todo}\n")
    return error.exit_code
