"""`rotate-check`: the age of each secret, against the longest that it may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from sophia_sync.bundle import OPTIONAL_KEYS, SENTRY_KEYS
from sophia_sync.console.screen import Mark, Row, Screen
from sophia_sync.console.session import Session, conduct, session
from sophia_sync.console.times import counted, length, now
from sophia_sync.environments import side_by_side
from sophia_sync.history import NEW_VALUE, LastChange, last_changes
from sophia_sync.process import Deadline
from sophia_sync.sync import read

NOT_ALL_ARE_YOUNG = 1
"""The exit code of `rotate-check` where a secret is too old, missing, or of unknown age."""
_SECRETS = tuple(key for key, secret in SENTRY_KEYS.items() if secret)


class State(StrEnum):
    """What a secret's age is against the longest that it may have."""

    YOUNG = "young"
    OLD = "old"
    UNKNOWN = "unknown"  # older than the revisions that were looked at
    MISSING = "missing"


_MARKS = {State.YOUNG: Mark.GOOD, State.OLD: Mark.BAD, State.UNKNOWN: Mark.WARNING, State.MISSING: Mark.BAD}


@dataclass(frozen=True)
class Secret:
    """One secret in one environment.

    Attributes:
        environment: `organisation/project/environment`.
        key: Its key.
        state: What is to be said of its age.
        change: What gave it its value, or since when at least it has it; None: there is none.
        age: How long it has had its value; at least, where the state is `unknown` or the change isn't known.
    """

    environment: str
    key: str
    state: State
    change: LastChange | None = None
    age: timedelta | None = None

    @property
    def exact(self) -> bool:
        return self.change is not None and self.change.how is not None

    @property
    def words(self) -> str:
        """Its age for a person."""
        if self.change is None or self.age is None:
            return "ESC doesn't hold it"
        revision, what = self.change.revision, "set" if self.exact else "unchanged at least since"
        return f"{length(self.age)}, {what} {revision.created:%Y-%m-%d} (revision {revision.number})"


def rotate_check(
    screen: Screen, given: Mapping[str, str], *, keys: Sequence[str], limit: int, max_age: timedelta
) -> int:
    """Show the age of each secret; the exit code tells whether all are young."""

    def look(whole: Deadline) -> dict[str, list[Secret]]:
        with session(screen, given, whole) as looking:
            screen.progress(f"Looking for the last change of each secret in {', '.join(looking.environments)} …")
            at = now()
            work = [partial(_secrets, looking, name, keys, limit, max_age, at) for name in looking.environments]
            return dict(zip(looking.environments, side_by_side(looking.deadline, work), strict=True))

    def show(found: dict[str, list[Secret]]) -> int:
        for name, secrets in found.items():
            screen.heading(name)
            screen.table([_row(secret) for secret in secrets])
            screen.line()
        every = [secret for secrets in found.values() for secret in secrets]
        all_young = all(secret.state is State.YOUNG for secret in every)
        screen.line(_summary(every, max_age))
        _annotate(screen, every, max_age)
        screen.json(_json(every, max_age, all_young))
        return 0 if all_young else NOT_ALL_ARE_YOUNG

    return conduct(screen, look, show)


def _secrets(
    looking: Session, environment: str, keys: Sequence[str], limit: int, max_age: timedelta, at: datetime
) -> list[Secret]:
    pulumi = looking.pulumi(environment)
    wanted = keys or _SECRETS
    held = read(pulumi, environment, wanted).entries
    there = [key for key in wanted if key in held]
    changes = last_changes(pulumi, environment, there, limit, NEW_VALUE) if there else {}
    return [
        judge(environment, key, changes.get(key), max_age, at)
        for key in wanted
        if key in held or keys or key not in OPTIONAL_KEYS
    ]


def judge(environment: str, key: str, change: LastChange | None, max_age: timedelta, at: datetime) -> Secret:
    """What is to be said of a secret's age. Pure."""
    if change is None:
        return Secret(environment, key, State.MISSING)
    age = at - change.revision.created
    if age >= max_age:
        return Secret(environment, key, State.OLD, change, age)
    return Secret(environment, key, State.YOUNG if change.how else State.UNKNOWN, change, age)


def _row(secret: Secret) -> Row:
    return Row(_MARKS[secret.state], (secret.key, secret.state.value, secret.words), _TODO.get(secret.state, ""))


def _summary(secrets: Sequence[Secret], max_age: timedelta) -> str:
    wrong = [secret for secret in secrets if secret.state is not State.YOUNG]
    if not wrong:
        return f"{counted(len(secrets), 'secret')}, all younger than {length(max_age)}."
    return f"{len(wrong)} of {counted(len(secrets), 'secret')} not younger than {length(max_age)}, or not known to be."


_TODO = {
    State.OLD: "Make a new one, put it into GitHub's organisation secrets, sync, and revoke the old one.",
    State.UNKNOWN: "Look at more revisions with --limit.",
    State.MISSING: "Sync it.",
}


def _annotate(screen: Screen, secrets: Sequence[Secret], max_age: timedelta) -> None:
    """On a GitHub runner: say what is wrong where a person sees it."""
    for secret in secrets if screen.on_runner else ():
        if secret.state is State.YOUNG:
            continue
        tell = screen.runner.warning if secret.state is State.UNKNOWN else screen.runner.error
        longest = f" It may be {length(max_age)} old at most." if secret.state is State.OLD else ""
        what = f"{secret.key} in {secret.environment}: {secret.words}.{longest} {_TODO[secret.state]}"
        tell(what, f"Secret {secret.state}")


def _json(secrets: Sequence[Secret], max_age: timedelta, ok: bool) -> dict[str, object]:
    return {
        "ok": ok,
        "max_age_days": max_age / timedelta(days=1),
        "secrets": [
            {
                "environment": secret.environment,
                "key": secret.key,
                "state": secret.state.value,
                "age_days": None if secret.age is None else round(secret.age / timedelta(days=1), 2),
                "exact": secret.exact,
                "revision": secret.change.revision.number if secret.change else None,
                "since": secret.change.revision.created if secret.change else None,
            }
            for secret in secrets
        ],
        "error": None,
    }
