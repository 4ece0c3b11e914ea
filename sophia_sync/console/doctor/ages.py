"""`doctor --max-age`: compare the age of each secret with a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sophia_sync.console.diagnosis import Check, bad, good
from sophia_sync.console.times import length, now
from sophia_sync.esc.cli import Pulumi
from sophia_sync.esc.definition import Held, Name
from sophia_sync.sync.bundle import SENTRY_KEYS
from sophia_sync.sync.history import NEW_VALUE, LastChange, last_changes

_REPLACE = "Make a new one, put it into GitHub's organization secrets, sync, and revoke the old one."
_LOOK_FURTHER = "Look at more revisions with --limit."


async def checks(
    pulumi: Pulumi, environment: str, keys: Sequence[str], held: Mapping[Name, Held], limit: int, max_age: timedelta
) -> list[Check]:
    """Return a check for each secret that the environment holds.

    Raises:
        EscError: The revisions can't be read.
    """
    secrets = [key for key in keys if key in held and SENTRY_KEYS.get(key, held[key].encrypted)]
    changes = await last_changes(pulumi, environment, secrets, limit, NEW_VALUE) if secrets else {}
    return [judge(key, changes[key], max_age, now()) for key in secrets if key in changes]


def judge(key: str, change: LastChange, max_age: timedelta, at: datetime) -> Check:
    """Return whether a secret is younger than `max_age`. One of unknown age is bad."""
    name, revision, age = f"age of {key}", change.revision, at - change.revision.created
    since = "set" if change.how else "unchanged at least since"
    what = f"{length(age)}, {since} {revision.created:%Y-%m-%d} (revision {revision.number})"
    if age >= max_age:
        return bad(name, f"{what}; it may be {length(max_age)} old at most", _REPLACE)
    if change.how is None:
        return bad(name, f"{what}; older revisions were not looked at", _LOOK_FURTHER)
    return good(name, what)
