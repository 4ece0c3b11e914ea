"""`doctor`: the troubleshooting section of the documentation, as a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sophia_sync.bundle import SENTRY_KEYS
from sophia_sync.console.diagnosis import Check, Diagnosis, Section, State, summary
from sophia_sync.console.doctor import esc, github, mcp
from sophia_sync.console.screen import Mark, Row, Screen
from sophia_sync.console.session import Session, conduct, session
from sophia_sync.environments import side_by_side
from sophia_sync.process import Beside, Deadline

SOMETHING_IS_BAD = 1
"""The exit code of `doctor` where something is bad."""

# Seconds that a request to GitHub, begun before the deadline, may go on after it.
_LONGEST_REQUEST = 15.0
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
) -> int:
    """Look at everything, show what was found and what to do; the exit code tells whether something is bad."""

    def look(whole: Deadline) -> Diagnosis:
        with session(screen, given, whole) as looking:
            screen.progress("Looking at Pulumi ESC, Sentry, GitHub and the MCP server …")
            return diagnose(looking, keys or list(SENTRY_KEYS), limit, sync_workflow, mcp_url)

    def show(diagnosis: Diagnosis) -> int:
        _show(screen, diagnosis)
        screen.json(diagnosis.json())
        return 0 if diagnosis.ok else SOMETHING_IS_BAD

    return conduct(screen, look, show)


def diagnose(looking: Session, keys: Sequence[str], limit: int, sync_workflow: str, mcp_url: str | None) -> Diagnosis:
    """Look at all places at once."""
    places: list[Callable[[], list[Section]]] = [
        partial(esc.sections, looking, keys, limit),
        partial(_github, looking, sync_workflow),
        lambda: [mcp.section(mcp_url, looking.deadline)],
    ]
    found = side_by_side(looking.deadline, places)
    return Diagnosis(tuple(section for sections in found for section in sections))


def _github(looking: Session, sync_workflow: str) -> list[Section]:
    """In a thread that can be left behind: an answer of GitHub's that doesn't come shall not hold up a signal."""
    try:
        return Beside(partial(github.sections, looking, sync_workflow)).result(looking.deadline, _LONGEST_REQUEST)
    except TimeoutError:
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


def _alike(checks: Sequence[Check]) -> list[list[Check]]:
    """The checks in their order, those together that one reason kept from being made."""
    groups: list[list[Check]] = []
    for check in checks:
        if groups and check.state is State.NOT_CHECKED and check.what == groups[-1][0].what:
            groups[-1].append(check)
        else:
            groups.append([check])
    return groups


def _row(checks: Sequence[Check], width: int) -> Row:
    first, *more = checks
    below = f"Nor {', '.join(check.name for check in more)}." if more else ""
    return Row(_MARKS[first.state], (f"{first.name:<{width}}", f"{first.what} {below}".strip()), first.todo)
