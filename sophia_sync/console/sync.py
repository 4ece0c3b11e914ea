"""`sync`: show the plan, ask the person, and write."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click

from sophia_sync.console.pipeline import ConsoleRun, outcome_json
from sophia_sync.console.screen import Screen
from sophia_sync.outcome import Outcome
from sophia_sync.runtime.errors import InputError
from sophia_sync.runtime.run import conduct
from sophia_sync.settings import inputs


def sync(screen: Screen, given: Mapping[str, str], *, yes: bool) -> int:
    """Sync, but ask before anything is written. Return the exit code."""
    inputs.give(given)
    if not inputs.is_given("deploy"):
        inputs.give({"deploy": "never"})  # the command line deploys only if asked to
    if not yes and (screen.as_json or not on_a_terminal()):
        error = InputError(["Nobody can be asked whether to write: that takes a terminal, and no --json. Pass --yes."])
        screen.failure(error)
        screen.json(outcome_json(Outcome(error=error)))
        return error.exit_code
    return conduct(ConsoleRun(screen, agree=None if yes else agreed))


def on_a_terminal() -> bool:
    """Return whether there is a person who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agreed(question: str) -> bool:
    """Ask on standard error and read a line of standard input. Return True for a yes only."""
    click.echo(f"{question} [y/N] ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        click.echo(err=True)
    return answer.strip().lower() in ("y", "yes")
