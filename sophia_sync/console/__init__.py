"""The program on the command line, `sophia-sync`. Needs the extra `cli`; the action doesn't import it."""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """The console script `sophia-sync`; returns the exit code."""
    # Until a command takes over nothing has been done: end at once, and not by an exception, which could get lost in
    # what is being imported.
    for number in (signal.SIGINT, signal.SIGTERM):
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

    return run()
