"""`sophia-sync`, the command line of sentry-esc-sync. It needs the extra `cli`; the action doesn't import it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> int:
    """Run the console script `sophia-sync` and end the process. Return only if click or rich is missing."""
    # Nothing has been done until a command begins: end at once.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda number, _frame: os._exit(128 + number))
    try:
        import click  # noqa: F401, PLC0415
        import rich  # noqa: F401, PLC0415
    except ModuleNotFoundError:
        sys.stderr.write(
            "error: the command line needs click and rich: install this package with its extra, sentry-esc-sync[cli].\n"
        )
        return 2
    from sophia_sync.console.program import run  # noqa: PLC0415 - imports take a while

    code = run()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):  # the disk is full, or the stream was closed from the start
            stream.flush()
    os._exit(code)  # a thread that a cancelled command left behind would keep the process alive
