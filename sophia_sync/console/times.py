"""Format times and ages for a person. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sophia_sync.sync.history import LastChange, run_of


def now() -> datetime:
    return datetime.now(UTC)


def moment(time: datetime) -> str:
    """Return a time to the minute, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def counted(number: int, thing: str) -> str:
    """Return a number with its noun: `1 day`, `2 days`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def length(time: timedelta) -> str:
    """Return a duration in days, hours or minutes: the largest unit that fits in it twice."""
    minutes = int(time.total_seconds() // 60)
    for size, unit in ((1440, "day"), (60, "hour")):
        if minutes >= 2 * size:
            return counted(minutes // size, unit)
    return counted(max(0, minutes), "minute")


def ago(time: datetime, at: datetime) -> str:
    """Return how long ago a time was."""
    return f"{length(at - time)} ago" if at - time >= timedelta(minutes=1) else "just now"


def changed(change: LastChange, at: datetime) -> str:
    """Return when a key last changed, and by what."""
    revision, run = change.revision, run_of(change.revision)
    if change.how is None:
        return f"unchanged since before revision {revision.number}, {ago(revision.created, at)}"
    by = f"workflow run {run.id}" if run else revision.author
    return f"{change.how} {ago(revision.created, at)} in revision {revision.number} by {by}"
