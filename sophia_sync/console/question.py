"""A question to the person at the terminal, which a signal ends at once."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator

import click


def agreed(question: str) -> bool:
    """Ask on standard error, wait for a line on standard input; only a yes is one, an end of input isn't.

    Raises:
        Interrupted: A signal came. Python's own `input` could miss one that comes just before it waits, and wait on.
    """
    click.echo(f"{question} [y/N] ", nl=False, err=True)
    with _signals() as signals:
        select.select([sys.stdin, signals], [], [])
    # Had it been a signal, its handler would have raised by now.
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        click.echo(err=True)
    return answer.strip().lower() in ("y", "yes")


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A file descriptor that can be read from as soon as a signal has come, also before somebody waits for it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
