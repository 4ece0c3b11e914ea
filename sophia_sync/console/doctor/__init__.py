"""`doctor`: check every part, and give the next step for each that is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial

import anyio

from sophia_sync.console.diagnosis import Check, Diagnosis, Section, State, summary
from sophia_sync.console.doctor import esc, github, mcp
from sophia_sync.console.screen import Mark, Row, Screen
from sophia_sync.console.session import Session, look_and_show, session
from sophia_sync.runtime.tasks import in_thread, side_by_side
from sophia_sync.sync.bundle import SENTRY_KEYS

SOMETHING_IS_BAD = 1
"""The exit code of `doctor` if something is bad."""

_MARKS = {
    State.GOOD: Mark.GOOD,
    State.WARNING: Mark.WARNING,
    State.BAD: Mark.BAD,
    State.NOT_CHECKED: Mark.OPEN,
}


def doctor(
    screen: Screen,
    given: Mapping[str, str],
    *,
    keys: Sequence[str],
    limit: int,
    sync_workflow: str,
    mcp_url: str | None,
    max_age: timedelta | None,
) -> int:
    """Check everything, and show what was found and what to do. Return the exit code: 1 if something is bad."""

    async def look() -> Diagnosis:
        async with session(screen, given) as looking:
            screen.progress("Looking at Pulumi ESC, Sentry, GitHub and the MCP server …")
            return await diagnose(looking, keys or list(SENTRY_KEYS), limit, max_age, sync_workflow, mcp_url)

    def show(diagnosis: Diagnosis) -> int:
        _show(screen, diagnosis)
        _annotate(screen, diagnosis)
        screen.json(diagnosis.json(screen.redact), hidden=True)
        return 0 if diagnosis.ok else SOMETHING_IS_BAD

    return look_and_show(screen, look, show)


async def diagnose(
    looking: Session,
    keys: Sequence[str],
    limit: int,
    max_age: timedelta | None,
    sync_workflow: str,
    mcp_url: str | None,
) -> Diagnosis:
    """Check all places side by side."""
    places: list[Callable[[], Awaitable[list[Section]]]] = [
        partial(esc.sections, looking, keys, limit, max_age),
        partial(_github, looking, sync_workflow),
        partial(mcp.sections, mcp_url),
    ]
    found = await side_by_side(places)
    return Diagnosis(tuple(section for sections in found for section in sections))


async def _github(looking: Session, sync_workflow: str) -> list[Section]:
    """Check GitHub in a thread that can be abandoned: a signal must not wait for its answers."""
    with anyio.move_on_after(looking.deadline.remaining()):
        return await in_thread(partial(github.sections, looking, sync_workflow))
    return github.unchecked("GitHub gives no answer in time.", "Run it again later, or with a larger --timeout.")


def _show(screen: Screen, diagnosis: Diagnosis) -> None:
    width = max(len(check.name) for section in diagnosis.sections for check in section.checks)
    shown: list[State] = []
    for section in diagnosis.sections:
        rows = _alike(section.checks)
        screen.heading(section.name)
        screen.table([_row(checks, width) for checks in rows])
        screen.line()
        shown += [checks[0].state for checks in rows]
    screen.line(summary(shown))


def _annotate(screen: Screen, diagnosis: Diagnosis) -> None:
    """Show each bad check as an annotation on a GitHub runner."""
    for section in diagnosis.sections if screen.on_runner else ():
        for check in section.checks:
            if check.state is State.BAD:
                screen.runner.error(f"{section.name}: {check.name}: {check.what}. {check.todo}", "Doctor found a fault")


def _alike(checks: Sequence[Check]) -> list[list[Check]]:
    """Group adjacent checks that could not be made for the same reason. Keep the order."""
    groups: list[list[Check]] = []
    for check in checks:
        if groups and check.state is State.NOT_CHECKED and check.what == groups[-1][0].what:
            groups[-1].append(check)
        else:
            groups.append([check])
    return groups


def _row(checks: Sequence[Check], width: int) -> Row:
    first, *more = checks
    below = f"The same for {', '.join(check.name for check in more)}." if more else ""
    return Row(_MARKS[first.state], (f"{first.name:<{width}}", f"{first.what} {below}".strip()), first.todo)
