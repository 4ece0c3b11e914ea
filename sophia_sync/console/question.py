"""A question to the person at the terminal."""

from __future__ import annotations

import sys

import click


def agreed(question: str) -> bool:
    """Ask on standard error, and wait for a line on standard input. Only a yes is one; an end of input isn't."""
    click.echo(f"{question} [y/N] ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        click.echo(err=True)
    return answer.strip().lower() in ("y", "yes")
