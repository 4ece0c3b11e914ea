"""Times and ages, for a person. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sophia_sync.sync.history import LastChange, run_of


def now() -> datetime:
    return datetime.now(UTC)


def moment(time: datetime) -> str:
    """A time to the minute."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def counted(number: int, thing: str) -> str:
    """`1 day`, `2 days`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def length(time: timedelta) -> str:
    """A length of time in the largest unit of which it has two or more, down to minutes."""
    minutes = int(time.total_seconds() // 60)
    for size, unit in ((1440, "day"), (60, "hour")):
        if minutes >= 2 * size:
            return counted(minutes // size, unit)
    return counted(max(0, minutes), "minute")


def ago(time: datetime, at: datetime) -> str:
    """How long ago a time was."""
    return f"{length(at - time)} ago" if at - time >= timedelta(minutes=1) else "just now"


def changed(change: LastChange, at: datetime) -> str:
    """When and by what a key last changed."""
    revision, run = change.revision, run_of(change.revision)
    if change.how is None:
        return f"unchanged since before revision {revision.number}, {ago(revision.created, at)}"
    by = f"workflow run {run.id}" if run else revision.author
    return f"{change.how} {ago(revision.created, at)} in revision {revision.number} by {by}"
