"""`history`: show which revision changed which of our keys, when, and by which workflow run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from sophia_sync.console.screen import Mark, Row, Screen
from sophia_sync.console.session import Session, look_and_show, session
from sophia_sync.console.times import counted, moment
from sophia_sync.runtime.tasks import side_by_side
from sophia_sync.sync import history as esc_history
from sophia_sync.sync.bundle import SENTRY_KEYS
from sophia_sync.sync.history import Entry, How, WorkflowRun

_MARKS = {
    How.ADDED: Mark.ADD,
    How.CHANGED: Mark.CHANGE,
    How.ENCRYPTED: Mark.CHANGE,
    How.DECRYPTED: Mark.WARNING,
    How.REMOVED: Mark.BAD,
}


def history(screen: Screen, given: Mapping[str, str], *, keys: Sequence[str], limit: int, everything: bool) -> int:
    """Show the newest `limit` revisions, newest first. Without `everything`, show only those that changed the keys."""

    async def look() -> tuple[Session, dict[str, list[Entry]]]:
        wanted = keys or list(SENTRY_KEYS)
        async with session(screen, given) as looking:
            screen.progress(f"Reading up to {counted(limit, 'revision')} of {', '.join(looking.environments)} …")
            read = [partial(_entries, looking, name, wanted, limit) for name in looking.environments]
            found = dict(zip(looking.environments, await side_by_side(read), strict=True))
        return looking, found

    def show(seen: tuple[Session, dict[str, list[Entry]]]) -> int:
        looking, found = seen
        for at, (name, entries) in enumerate(found.items()):
            if at:
                screen.line()
            _show(looking, name, entries, everything)
        screen.json({"environments": [_json(looking, *item) for item in found.items()], "error": None}, hidden=True)
        return 0

    return look_and_show(screen, look, show)


async def _entries(looking: Session, environment: str, keys: Sequence[str], limit: int) -> list[Entry]:
    pulumi = await looking.pulumi(environment)
    return [entry async for entry in esc_history.entries(pulumi, environment, keys, limit)]


def _show(looking: Session, environment: str, entries: Sequence[Entry], everything: bool) -> None:
    screen = looking.screen
    screen.heading(environment)
    shown = [entry for entry in entries if everything or entry.changes is None or entry.changes]
    screen.table([row for entry in shown for row in _rows(looking, entry)])
    others = len(entries) - len(shown)
    screen.line(f"{counted(len(entries), 'revision')} looked at; {_left_out(others)}")


def _left_out(others: int) -> str:
    if not others:
        return "all are shown."
    return f"{others} of them changed none of these keys, and --all shows them too."


def _rows(looking: Session, entry: Entry) -> list[Row]:
    """Return a row for each changed key. The first shows the revision, the last its author."""
    revision = entry.revision
    first = (str(revision.number), moment(revision.created))
    done: list[tuple[Mark, str]] = [(_MARKS[how], f"{key} {how}") for key, how in (entry.changes or {}).items()]
    if not done:
        unknown = entry.changes is None
        done = [(Mark.OPEN, "empty, or it can't be evaluated" if unknown else "none of these keys")]
    by = f"by {revision.author}"
    if entry.run is not None:
        by += f" in {_url(looking, entry.run) or f'workflow run {entry.run.id}, attempt {entry.run.attempt}'}"
    cells = [first, *[("", "")] * (len(done) - 1)]
    return [
        Row(mark, (*cell, text), note=by if number == len(done) else "")
        for number, (cell, (mark, text)) in enumerate(zip(cells, done, strict=True), 1)
    ]


def _url(looking: Session, run: WorkflowRun) -> str | None:
    """Return the address of the run; None if its repository isn't known."""
    repository = looking.access.deploy_repository
    if repository is None:
        return None
    return f"{looking.context.server_url}/{repository}/actions/runs/{run.id}/attempts/{run.attempt}"


def _json(looking: Session, environment: str, entries: Sequence[Entry]) -> dict[str, object]:
    """Return what `history --json` prints of an environment. Only the author and the tags are a service's words."""
    redact = looking.screen.redact
    return {
        "environment": environment,
        "revisions": [
            {
                "revision": entry.revision.number,
                "created": entry.revision.created,
                "author": redact(entry.revision.author),
                "tags": [redact(tag) for tag in entry.revision.tags],
                "changes": None if entry.changes is None else {key: how.value for key, how in entry.changes.items()},
                "run": None
                if entry.run is None
                else {"id": entry.run.id, "attempt": entry.run.attempt, "url": _url(looking, entry.run)},
            }
            for entry in entries
        ],
    }
