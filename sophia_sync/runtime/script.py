"""Run a synchronous program: a step of a deploy or a release.

It works in the main thread, where a signal raises an exception, as Ctrl-C does. So the program can undo what it began.
"""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn, TextIO

from sophia_sync.runtime.context import run_context
from sophia_sync.runtime.errors import EndedBySignalError, SyncError
from sophia_sync.runtime.redact import Redactor
from sophia_sync.runtime.run import SIGNALS
from sophia_sync.runtime.runner import Runner


class Stopped(BaseException):  # like KeyboardInterrupt: no `except Exception` may swallow it
    """A signal asked the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    for each in SIGNALS:  # a second signal must not interrupt the clean-up
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


def run(
    program: str,
    work: Callable[[Runner], None],
    *,
    after_signal: str,
    stream: TextIO | None = None,
) -> int:
    """Do the work of one command. Return the exit code.

    Args:
        program: Its name, for the report of a defect.
        work: Does the work and prints through the runner that it gets. Raises `SyncError` for foreseen failures.
        after_signal: What a person should do after a signal.
        stream: Where to print; None is standard output.
    """
    runner = Runner.of(run_context(), Redactor(), stream)

    def fail(error: SyncError) -> int:
        runner.error(str(error), error.title)
        parts = (f"## {error.title}", error.what, error.changed, error.todo)
        runner.summary("\n\n".join(filter(None, parts)) + "\n")
        return error.exit_code

    before = {number: signal.signal(number, _stop) for number in SIGNALS}
    try:
        work(runner)
    except SyncError as error:
        return fail(error)
    except Stopped as by:
        return fail(EndedBySignalError(f"{by} ended the run.", after_signal, by.number))
    except Exception:  # noqa: BLE001 - a defect of ours: told as one, with a trace that passes the redactor
        runner.line(traceback.format_exc())
        return fail(SyncError(f"A defect of the {program}.", "Please report it with its trace."))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0
