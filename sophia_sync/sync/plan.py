"""Compare what ESC holds with what it should hold. Pure.

An entry is as it should be if consumers get exactly its string, and if it is written as a literal, encrypted or in
plain text as asked.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import SecretStr

from sophia_sync.esc.definition import Exported, Held, HeldKind, Name
from sophia_sync.esc.shown import Holding
from sophia_sync.sync.bundle import Bundle, Entry


class Action(StrEnum):
    """What a sync does to one key."""

    ADD = "add"  # ESC has no such key
    CHANGE = "change"  # another value, or an expression
    ENCRYPT = "encrypt"  # the right value, but in plain text
    DECRYPT = "decrypt"  # the right value, but encrypted where plain text is asked for
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Step:
    """The plan for one entry. It holds no value, so that reports can show it."""

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
        """The names of the changed entries, as text."""
        return tuple(map(str, self.changed))


def same(left: str, right: str) -> bool:
    """Compare two values in time that doesn't depend on where they differ."""
    return hmac.compare_digest(left.encode(errors="surrogatepass"), right.encode(errors="surrogatepass"))


_ABSENT = Held(HeldKind.ABSENT)
_LITERALS = (HeldKind.PLAIN, HeldKind.SECRET, HeldKind.CIPHERTEXT)


def make_plan(bundle: Bundle, holding: Holding) -> Plan:
    """Plan what to do about every entry of `bundle`."""
    return Plan(tuple(Step(entry.name, _action(entry, holding), entry.secret) for entry in bundle.entries))


def _action(entry: Entry, holding: Holding) -> Action:
    held = holding.entries.get(entry.name, _ABSENT)
    if held.kind is HeldKind.ABSENT:
        return Action.ADD
    if not (_is_written(entry, held) and _arrives(entry, held, holding)):
        return Action.CHANGE
    if held.encrypted == entry.secret:
        return Action.UNCHANGED
    return Action.ENCRYPT if entry.secret else Action.DECRYPT


def _is_written(entry: Entry, held: Held) -> bool:
    """Return whether an entry is written as it should be, whatever consumers get."""
    literals = (HeldKind.REFERENCES,) if isinstance(entry.name, Exported) else _LITERALS
    return held.kind in literals and (held.value is None or _same(held.value, entry.value))


def _arrives(entry: Entry, held: Held, holding: Holding) -> bool:
    """Return whether consumers get what an entry says."""
    if isinstance(entry.name, Exported):
        wanted = holding.consumed.get(entry.name.key)
    elif held.kind is HeldKind.SECRET:
        # The CLI asks ESC to evaluate the *decrypted* definition, where `$$` is an escape. The stored secret is
        # encrypted, so its consumers get it as it is.
        wanted = SecretStr(entry.value.get_secret_value().replace("$$", "$"))
    else:
        wanted = entry.value
    got = holding.consumed.get(entry.name)
    return got is not None and wanted is not None and _same(got, wanted)


_WRONG = {
    Action.ADD: "missing",
    Action.CHANGE: "another value",
    Action.ENCRYPT: "not encrypted",
    Action.DECRYPT: "encrypted",
}


def differing(bundle: Bundle, holding: Holding) -> dict[Name, str]:
    """Return the entries that aren't as they should be, each with how it differs. No value is quoted."""
    wrong: dict[Name, str] = {}
    for entry, step in zip(bundle.entries, make_plan(bundle, holding).steps, strict=True):
        if step.action is Action.UNCHANGED:
            continue
        overridden = step.action is Action.CHANGE and _is_written(entry, holding.entries[entry.name])
        wrong[entry.name] = OVERRIDDEN if overridden else _WRONG[step.action]
    return wrong


OVERRIDDEN = "it is written, but consumers get another value"


def same_entries(left: Holding, right: Holding, names: Collection[Name]) -> bool:
    """Return whether two states of an environment are equal in `names`: as written, and for consumers."""
    return all(
        equal(left.entries.get(name), right.entries.get(name))
        and _same_or_none(left.consumed.get(name), right.consumed.get(name))
        for name in names
    )


def agree(read: Held | None, stored: Held | None) -> bool:
    """Return whether `read`, a decrypted entry, can be the same as `stored`, an encrypted one."""
    read, stored = read or _ABSENT, stored or _ABSENT
    if read.kind is HeldKind.SECRET:
        return stored.encrypted
    if read.value is not None and not read.value.get_secret_value() and stored.kind is HeldKind.OTHER:
        return True  # the CLI shows a key that has no value, in flow style, as ''
    return equal(read, stored)


def equal(left: Held | None, right: Held | None) -> bool:
    """Return whether two entries are written alike."""
    left, right = left or _ABSENT, right or _ABSENT
    return left.kind is right.kind and _same_or_none(left.value, right.value)


def _same_or_none(left: SecretStr | None, right: SecretStr | None) -> bool:
    return left is right if left is None or right is None else _same(left, right)


def _same(left: SecretStr, right: SecretStr) -> bool:
    return same(left.get_secret_value(), right.get_secret_value())


def listed(wrong: Mapping[Name, str]) -> str:
    """Return the findings of `differing` in words."""
    return ", ".join(f"{name} ({how})" for name, how in wrong.items())
