"""One environment: read → plan → write → read back. The write is one revision or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sophia_sync.bundle import Bundle
from sophia_sync.errors import ConflictError, VerificationError
from sophia_sync.esc import definition
from sophia_sync.esc.cli import Pulumi
from sophia_sync.esc.definition import Change, Held, HeldKind
from sophia_sync.plan import Action, Plan, make_plan, same

# How often a sync starts afresh when others change the environment under its hands.
ATTEMPTS = 5


class Result(StrEnum):
    """How the sync of an environment ended."""

    SYNCED = "synced"
    UNCHANGED = "unchanged"
    PLANNED = "planned"


@dataclass(frozen=True)
class Synced:
    """What a sync did to one environment. The revisions are known where one was written."""

    environment: str
    result: Result
    plan: Plan
    revision: int | None = None
    previous_revision: int | None = None


def sync(pulumi: Pulumi, environment: str, bundle: Bundle, *, dry_run: bool) -> Synced:
    """Bring one environment to hold `bundle`, and prove that it does.

    Raises:
        EscError: It can't be read or written; the definition is as it was.
        VerificationError: It was written, and what ESC holds then differs from what was sent.
    """
    for attempt in range(1, ATTEMPTS + 1):
        held = read(pulumi, environment)
        plan = make_plan(bundle, held)
        if dry_run:
            return Synced(environment, Result.PLANNED, plan)
        if not plan.changed_keys:
            return Synced(environment, Result.UNCHANGED, plan)
        try:
            revision = pulumi.edit(environment, lambda text: change(text, held, bundle, plan))  # noqa: B023
        except ConflictError:
            if attempt == ATTEMPTS:
                raise
            continue
        verify(bundle, read(pulumi, environment))
        # The write was conditional on the revision that it was made from, and ESC counts them one by one.
        return Synced(environment, Result.SYNCED, plan, revision, revision - 1)
    raise AssertionError("every attempt returns or raises")


def read(pulumi: Pulumi, environment: str, version: str = "") -> dict[str, Held]:
    """What an environment (or a version of it) holds, by key."""
    return definition.parse(pulumi.read(environment, version)).held()


def change(text: str, held: Mapping[str, Held], bundle: Bundle, plan: Plan) -> str:
    """Make the plan's changes in the text that ESC stores (secrets as ciphertext).

    Raises:
        ConflictError: Our keys are not as the plan saw them: the text is newer than the plan.
        DefinitionError: The changes can't be made safely.
    """
    document = definition.parse(text)
    stored = document.held()
    if not held and stored:
        # Either somebody filled an empty environment just now, or the CLI shows nothing of it for ever.
        raise ConflictError(
            "ESC can't evaluate this environment, so what it holds can't be compared.",
            "Nothing was changed. `pulumi env open` shows what is wrong with its definition (an import that is "
            "gone, a reference to nothing, a secret with `${` in it); repair that and run again.",
        )
    if any(not _agree(held.get(key), stored.get(key)) for key in bundle.keys):
        raise ConflictError(
            "The environment was changed between our read and our write.", "Nothing was changed; run again."
        )
    changed = set(plan.changed_keys)
    return definition.merge(
        document,
        [Change(entry.key, entry.value, entry.secret) for entry in bundle.entries if entry.key in changed],
    )


def _agree(read: Held | None, stored: Held | None) -> bool:
    """Whether a key as it was read, decrypted, can be the key as it is stored, encrypted."""
    read, stored = read or Held(HeldKind.ABSENT), stored or Held(HeldKind.ABSENT)
    if read.kind is HeldKind.SECRET:
        return stored.encrypted
    if read.kind is not stored.kind:
        return False
    if read.value is None or stored.value is None:
        return True
    return same(read.value.get_secret_value(), stored.value.get_secret_value())


_WRONG = {
    Action.ADD: "missing",
    Action.CHANGE: "another value",
    Action.ENCRYPT: "not encrypted",
    Action.DECRYPT: "encrypted",
}


def verify(bundle: Bundle, held: Mapping[str, Held]) -> None:
    """Prove that ESC holds every key of `bundle`, with its exact value, encrypted or in plain text as it should be.

    Raises:
        VerificationError: Naming the keys that differ, and how, without any value.
    """
    wrong = [f"{step.key} ({_WRONG[step.action]})" for step in make_plan(bundle, held).steps if step.action in _WRONG]
    if wrong:
        raise VerificationError(
            f"ESC saved a revision, but what it holds then isn't what was sent: {', '.join(wrong)}.",
            "Nothing was deployed. See the environment's history for who else writes to it, and run again.",
        )
