"""`plan`: show what a sync would change."""

from __future__ import annotations

from collections.abc import Mapping

from sophia_sync.console.pipeline import ConsoleRun
from sophia_sync.console.screen import Screen
from sophia_sync.runtime.run import conduct
from sophia_sync.settings import inputs

CHANGES = 10
"""The exit code if a sync would change something."""


def plan(screen: Screen, given: Mapping[str, str]) -> int:
    """Show what a sync would change. Write nothing, and ask Sentry nothing. Return the exit code."""
    inputs.give({**given, "dry-run": "true", "preflight": "off"})
    if not any(map(inputs.is_given, ("github-token", "github-app-id"))):
        inputs.give({"deploy": "never"})  # the deploy's workflow can't be checked
    run = ConsoleRun(screen, agree=None)
    return conduct(run) or (CHANGES if run.changes else 0)
