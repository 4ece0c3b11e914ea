"""Find which revision of an environment changed which keys. Only names leave this module.

A revision that a sync saved carries the tag `github-run-<run id>-<attempt>`, which names the workflow run.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from sophia_sync.esc import shown
from sophia_sync.esc.cli import Pulumi
from sophia_sync.esc.definition import Held, HeldKind, Name
from sophia_sync.esc.revisions import Revision
from sophia_sync.runtime.errors import DefinitionError
from sophia_sync.runtime.tasks import AT_ONCE, side_by_side
from sophia_sync.sync.plan import same

_RUN = re.compile(r"github-run-(\d+)-(\d+)")
_ABSENT = Held(HeldKind.ABSENT)


class How(StrEnum):
    """What a revision did to one key."""

    ADDED = "added"
    CHANGED = "changed"
    ENCRYPTED = "encrypted"
    DECRYPTED = "decrypted"
    REMOVED = "removed"


NEW_VALUE = frozenset({How.ADDED, How.CHANGED})
"""The changes that give a key another value, and not just another form."""


@dataclass(frozen=True)
class WorkflowRun:
    """The workflow run that saved a revision."""

    id: int
    attempt: int


@dataclass(frozen=True)
class Entry:
    """One revision of the history.

    Attributes:
        revision: Its number, time, author and tags.
        previous: The revision that it was compared with; None for the first one of the environment.
        changes: What it did to each key that it changed; None if it is empty or can't be evaluated.
    """

    revision: Revision
    previous: Revision | None
    changes: Mapping[str, How] | None

    @property
    def run(self) -> WorkflowRun | None:
        return run_of(self.revision)


@dataclass(frozen=True)
class LastChange:
    """The last change of a key.

    Attributes:
        revision: The revision that changed it. If that isn't known, the oldest one that was read: the key hasn't
            changed since.
        how: What that revision did; None if that isn't known.
    """

    revision: Revision
    how: How | None


def run_of(revision: Revision) -> WorkflowRun | None:
    """Return the workflow run that a revision's tags name."""
    found = filter(None, map(_RUN.fullmatch, revision.tags))
    return next((WorkflowRun(int(match[1]), int(match[2])) for match in found), None)


async def entries(pulumi: Pulumi, environment: str, keys: Sequence[str], limit: int) -> AsyncIterator[Entry]:
    """Yield the newest `limit` revisions, newest first. They are read on demand, eight at a time.

    Retracted revisions can't be read and are left out. An expression holds no value of its own: it counts as
    unchanged while it is there.

    Raises:
        EscError: They can't be read.
    """
    revisions = [revision for revision in await pulumi.revisions(environment) if not revision.retracted]
    number = 0
    async for entry in _entries(pulumi, environment, keys, revisions[: limit + 1]):
        if number == limit:
            return
        number += 1
        yield entry


async def _entries(
    pulumi: Pulumi, environment: str, keys: Sequence[str], revisions: Sequence[Revision]
) -> AsyncIterator[Entry]:
    newer: tuple[Revision, Mapping[Name, Held]] | None = None
    unreadable: list[Entry] = []
    async for revision, held in _states(pulumi, environment, keys, revisions):
        if held is None:
            unreadable.append(Entry(revision, None, None))
            continue
        if newer is not None:
            yield Entry(newer[0], revision, compare(held, newer[1], keys))
        for entry in unreadable:
            yield entry
        unreadable.clear()
        newer = revision, held
    if newer is not None and newer[0].number == 1:
        yield Entry(newer[0], None, compare({}, newer[1], keys))
    for entry in unreadable:
        yield entry


async def _states(
    pulumi: Pulumi, environment: str, keys: Sequence[str], revisions: Sequence[Revision]
) -> AsyncIterator[tuple[Revision, Mapping[Name, Held] | None]]:
    """Yield what each revision holds of the keys; None if it can't be parsed or evaluated."""

    async def state(revision: Revision) -> Mapping[Name, Held] | None:
        try:
            text = await pulumi.read(environment, str(revision.number))
            if not text.strip() and revision.number > 1:
                return None  # only the first revision can be empty; a later one that seems so has errors
            found = shown.holding(shown.parse(text), keys)
            for secret in found.secrets:
                pulumi.redact.add(secret)
            return found.entries
        except (DefinitionError, shown.UnknownOutputError):
            return None

    for start in range(0, len(revisions), AT_ONCE):
        batch = revisions[start : start + AT_ONCE]
        read = await side_by_side([partial(state, revision) for revision in batch])
        for revision, held in zip(batch, read, strict=True):
            yield revision, held


def compare(before: Mapping[Name, Held], after: Mapping[Name, Held], keys: Sequence[str]) -> dict[str, How]:
    """Return what happened to each of the keys that changed. Pure."""
    compared = {key: _how(before.get(key, _ABSENT), after.get(key, _ABSENT)) for key in keys}
    return {key: how for key, how in compared.items() if how is not None}


def _how(before: Held, after: Held) -> How | None:
    if HeldKind.ABSENT in (before.kind, after.kind):
        if before.kind is after.kind:
            return None
        return How.ADDED if before.kind is HeldKind.ABSENT else How.REMOVED
    if not _same_value(before, after):
        return How.CHANGED
    if before.encrypted == after.encrypted:
        return None
    return How.ENCRYPTED if after.encrypted else How.DECRYPTED


def _same_value(before: Held, after: Held) -> bool:
    if before.value is None or after.value is None:
        return before.kind is after.kind
    return same(before.value.get_secret_value(), after.value.get_secret_value())


async def last_changes(
    pulumi: Pulumi, environment: str, keys: Sequence[str], limit: int, kinds: Collection[How] = frozenset(How)
) -> dict[str, LastChange]:
    """Return the last change of each key among the newest `limit` revisions. A key that never existed is left out.

    Args:
        pulumi: The CLI.
        environment: `organization/project/environment`.
        keys: The keys.
        limit: Maximum number of revisions to read.
        kinds: Which changes count.

    Raises:
        EscError: They can't be read.
    """
    found: dict[str, LastChange] = {}
    oldest: Revision | None = None
    async for entry in entries(pulumi, environment, keys, limit):
        if entry.changes is None:
            continue
        for key, how in entry.changes.items():
            if how in kinds and key not in found:
                found[key] = LastChange(entry.revision, how)
        oldest = entry.previous
        if found.keys() >= set(keys):
            break
    if oldest is not None:
        for key in keys:
            found.setdefault(key, LastChange(oldest, None))
    return found
