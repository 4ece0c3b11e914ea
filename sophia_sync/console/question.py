"""A question to the person at the terminal, which the end of the run ends at once."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator

import click

from sophia_sync.errors import EscError
from sophia_sync.process import Deadline


def agreed(question: str, deadline: Deadline) -> bool:
    """Ask on standard error, wait for a line on standard input; only a yes is one, an end of input isn't.

    Raises:
        EscError: The deadline was cut before there was an answer.
    """
    click.echo(f"{question} [y/N] ", nl=False, err=True)
    with _end_of(deadline) as end:
        ready, _, _ = select.select([sys.stdin, end], [], [])
    if end in ready:
        click.echo(err=True)
        raise EscError("The run was ended before you answered.", "Run again.")
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        click.echo(err=True)
    return answer.strip().lower() in ("y", "yes")


@contextlib.contextmanager
def _end_of(deadline: Deadline) -> Iterator[int]:
    """A file descriptor that can be read from as soon as a deadline is cut, also before somebody waits for it."""
    reader, writer = os.pipe()
    try:
        with deadline.on_cut(lambda _: os.close(writer)):
            yield reader
    finally:
        os.close(reader)
        if not deadline.is_cut:
            os.close(writer)
