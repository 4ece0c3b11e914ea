"""What ESC holds and what it should hold → what to do about each key. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sophia_sync.bundle import Bundle, Entry
from sophia_sync.esc.definition import Held, HeldKind, Name


class Action(StrEnum):
    """What a sync does to one key."""

    ADD = "add"  # ESC has no such key
    CHANGE = "change"  # another value, or an expression
    ENCRYPT = "encrypt"  # the right value, but in plain text
    DECRYPT = "decrypt"  # the right value, but encrypted where plain text is asked for
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Step:
    """One entry's part of a plan; holds no value, so that reports can be made of it."""

    name: Name
    action: Action
    secret: bool


@dataclass(frozen=True)
class Plan:
    """One step for every entry that ESC should hold, in the bundle's order."""

    steps: tuple[Step, ...]

    @property
    def changed(self) -> tuple[Name, ...]:
        return tuple(step.name for step in self.steps if step.action is not Action.UNCHANGED)

    @property
    def changed_keys(self) -> tuple[str, ...]:
        """The same as words."""
        return tuple(map(str, self.changed))


def same(left: str, right: str) -> bool:
    """Compare two values in time that doesn't depend on where they differ."""
    return hmac.compare_digest(left.encode(errors="surrogatepass"), right.encode(errors="surrogatepass"))


def _action(entry: Entry, held: Held) -> Action:
    if held.kind is HeldKind.ABSENT:
        return Action.ADD
    if held.value is None or not same(held.value.get_secret_value(), entry.value.get_secret_value()):
        return Action.CHANGE
    if (held.kind is HeldKind.SECRET) == entry.secret:
        return Action.UNCHANGED
    return Action.ENCRYPT if entry.secret else Action.DECRYPT


def make_plan(bundle: Bundle, held: Mapping[Name, Held]) -> Plan:
    """Plan the change of every entry in `bundle`, given what ESC holds for it (a missing one is absent)."""
    absent = Held(HeldKind.ABSENT)
    return Plan(
        tuple(Step(entry.name, _action(entry, held.get(entry.name, absent)), entry.secret) for entry in bundle.entries)
    )
