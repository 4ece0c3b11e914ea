"""One environment: read → plan → write → read back. The write is one revision or none; a wrong one is set back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sophia_sync.bundle import Bundle
from sophia_sync.errors import ConflictError, EscError, TransientError, VerificationError
from sophia_sync.esc import definition
from sophia_sync.esc.cli import Pulumi
from sophia_sync.esc.definition import Change, Held, HeldKind, Name
from sophia_sync.plan import Action, Plan, make_plan, same
from sophia_sync.process import Beside
from sophia_sync.retries import retrying


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


@dataclass(frozen=True)
class Holding:
    """What an environment holds of the entries that were asked for; `is_empty` if it has no keys at all."""

    entries: Mapping[Name, Held]
    is_empty: bool


def read(pulumi: Pulumi, environment: str, names: Collection[Name], version: str = "") -> Holding:
    """What an environment (or a version of it) holds of `names`: one CLI call."""
    return _holding(pulumi.read(environment, version), names)


def _holding(text: str, names: Collection[Name]) -> Holding:
    document = definition.parse(text)
    return Holding(document.held(names), not document.value_pairs)


def set_tag(pulumi: Pulumi, environment: str, name: str, revision: int | None) -> None:
    """Make or move a revision tag (None: to the latest); tried again where that may help, as it can be repeated.

    Raises:
        EscError: It could not be set.
    """
    # No more than a quarter of the time: a tag that can't be set shall not cost the deploy.
    deadline = pulumi.deadline.part(pulumi.deadline.seconds / 4)
    retrying(deadline, lambda error: isinstance(error, TransientError))(pulumi.tag, environment, name, revision)


class Sync:
    """The sync of one environment. `state` says at any moment, for a person, what it has done to ESC.

    Args:
        pulumi: The CLI.
        environment: `organisation/project/environment`.
        bundle: What ESC should hold.
        before_write: Called before anything is written; what it raises stops the sync.
        on_saved: Told the number of each revision that was saved, at once.
        begun: The first read of the environment, if it has been begun already.
    """

    def __init__(
        self,
        pulumi: Pulumi,
        environment: str,
        bundle: Bundle,
        before_write: Callable[[], object] = lambda: None,
        on_saved: Callable[[int], None] = lambda _: None,
        begun: Beside[str] | None = None,
    ) -> None:
        self.state = "Nothing was written."
        self.revision: int | None = None
        self._pulumi = pulumi
        self._environment = environment
        self._bundle = bundle
        self._before_write = before_write
        self._on_saved = on_saved
        self._begun = begun
        self._written: Plan | None = None  # sent to ESC, perhaps saved, not yet verified
        self._held: Mapping[Name, Held] = {}  # what the environment held when that was sent
        self._complete = False  # write every key, also those that seem unchanged

    def run(self, *, dry_run: bool) -> Synced:
        """Bring the environment to hold the bundle, and prove that it does.

        Raises:
            EscError: It can't be read or written; the definition is as it was, or whole as it should be.
            VerificationError: It was written, and what ESC holds then differs from what was sent.
        """

        def may_pass(error: BaseException) -> bool:
            return isinstance(error, ConflictError | TransientError)

        try:
            return retrying(self._pulumi.deadline, may_pass)(self._attempt, dry_run=dry_run)
        except EscError as error:
            found = self._find_lost_write()
            if found is not None:
                return found
            raise type(error)(f"{error.what} {self.state}", error.todo) from None

    def _find_lost_write(self) -> Synced | None:
        """After the last try: find out by reading whether a write whose answer was lost went through."""
        if self._written is None or self.revision is not None:
            return None
        try:
            held = self._read().entries
        except EscError:
            return None
        plan = make_plan(self._bundle, held)
        if not plan.changed:
            return self._settled(plan)
        if _same_entries(held, self._held, self._bundle.names):
            self.state = "Nothing was saved, as a read after the last try shows."
        return None

    def _attempt(self, *, dry_run: bool) -> Synced:
        found = self._first_read() or self._read()
        plan = make_plan(self._bundle, found.entries)
        if dry_run:
            return Synced(self._environment, Result.PLANNED, plan)
        if not plan.changed:
            return self._settled(plan)
        self._before_write()
        sent = self._write(found, plan)
        self._verify(sent)
        return self._settled(plan)

    def _first_read(self) -> Holding | None:
        """What the read that was begun before has found; None where there was none, and for every further attempt."""
        begun, self._begun = self._begun, None
        return None if begun is None else _holding(begun.wait(self._pulumi.deadline), self._bundle.names)

    def _read(self, version: str = "") -> Holding:
        return read(self._pulumi, self._environment, self._bundle.names, version)

    def _settled(self, plan: Plan) -> Synced:
        """ESC holds the bundle: because it did from the start, or because of a write of ours."""
        if self._written is None:
            return Synced(self._environment, Result.UNCHANGED, plan)
        if self.revision is None:  # the answer to the write was lost, and reading shows that it went through
            with contextlib.suppress(EscError):  # what was read is the proof, the number is not
                self.revision = self._pulumi.latest_revision(self._environment)
            self.state = "A new revision was saved and verified."
            return Synced(self._environment, Result.SYNCED, self._written, self.revision)
        self.state = f"Revision {self.revision} was saved and verified."
        # The write was conditional on the revision that it was made from, and ESC counts them one by one.
        return Synced(self._environment, Result.SYNCED, self._written, self.revision, self.revision - 1)

    def _write(self, found: Holding, plan: Plan) -> _Sent:
        names = self._bundle.names if self._complete else plan.changed
        entries = [entry for entry in self._bundle.entries if entry.name in names]
        changes = [Change(entry.name, entry.value, entry.secret) for entry in entries]
        sent = _Sent(names, found.entries)
        earlier = self._written, self.revision, self.state

        def change(stored: str) -> str:
            sent.before = stored
            sent.text = definition.merge(_as_planned(stored, found, self._bundle), changes)
            # From here on the CLI may save it, whatever becomes of us.
            self._written, self._held, self.revision = plan, found.entries, None
            self.state = "Whether the new revision was saved isn't known; the next run finds out."
            return sent.text

        try:
            self._pulumi.edit(self._environment, change, self._saved)
        except TransientError:
            raise
        except EscError:  # nothing was saved by this attempt; perhaps by an earlier one
            self._written, self.revision, self.state = earlier
            raise
        return sent

    def _saved(self, revision: int) -> None:
        self.revision = revision
        self.state = f"Revision {revision} was saved whole; it was not verified yet."
        self._on_saved(revision)

    def _verify(self, sent: _Sent) -> None:
        """Prove by one CLI call that ESC holds every key, with its exact value, encrypted or plain as it should be."""
        wrong = _differing(self._bundle, self._read_back())
        if not wrong:
            return
        ours = self._read_back(str(self.revision))
        wrong_in_ours = _differing(self._bundle, ours)
        if not wrong_in_ours:
            raise VerificationError(
                f"Revision {self.revision} is as it was sent, but somebody else has changed our keys since: "
                f"{_listed(wrong)}.",
                "Nothing was deployed, and their change was left alone. See the environment's history for who writes "
                "these keys, and run again.",
            )
        if not wrong_in_ours.keys() & set(sent.names):
            # A key that we left alone was changed between our read and our write: write all of them together.
            self._complete = True
            raise ConflictError(
                f"Others keep changing our keys in {self._environment}: {_listed(wrong_in_ours)}.", "Run again."
            )
        outcome = self._roll_back(sent, ours)
        raise VerificationError(
            f"ESC saved revision {self.revision}, but what it holds isn't what was sent: {_listed(wrong_in_ours)}. "
            f"{outcome}",
            "Nothing was deployed. See the environment's history, and run again.",
        )

    def _read_back(self, version: str = "") -> Mapping[Name, Held]:
        found = self._read(version)
        if found.is_empty:  # there are our keys at least: the CLI shows nothing of what can't be evaluated any more
            raise TransientError("ESC can't evaluate this environment any more.", _CAN_NOT_EVALUATE)
        return found.entries

    def _roll_back(self, sent: _Sent, ours: Mapping[Name, Held]) -> str:
        """Set our keys back to exactly what they were, safe against other writers; tells how that went."""

        def change(stored: str) -> str:
            return definition.restore(
                definition.parse(stored), definition.parse(sent.before), definition.parse(sent.text), sent.names
            )

        def attempt() -> int | None:
            now = self._read().entries
            if _same_entries(now, sent.held, sent.names):
                return None  # by an attempt whose answer was lost
            if not _same_entries(now, ours, sent.names):
                raise EscError("somebody else has changed them since.", "")
            return self._pulumi.edit(self._environment, change)

        def may_pass(error: BaseException) -> bool:
            return isinstance(error, ConflictError | TransientError)

        self.state = f"Revision {self.revision} was saved and is wrong; whether our keys were set back isn't known."
        try:
            revision = retrying(self._pulumi.deadline, may_pass)(attempt)
            now = self._read().entries
        except EscError as error:
            self.state = f"Revision {self.revision} was saved, is wrong, and could not be set back."
            return f"Our keys could not be set back to revision {(self.revision or 1) - 1}: {error}".strip()
        where = "" if revision is None else f", in revision {revision}"
        if not _same_entries(now, sent.held, sent.names):
            self.state = f"Our keys were set back{where}, and still differ."
        else:
            self.state = f"Our keys were set back to what they were{where}."
        return self.state


@dataclass
class _Sent:
    """One write: the entries that it changed, what they held, and the stored text before and after our change."""

    names: tuple[Name, ...]
    held: Mapping[Name, Held]
    before: str = ""
    text: str = ""


def _as_planned(stored: str, found: Holding, bundle: Bundle) -> definition.Document:
    """Parse the stored text (secrets as ciphertext), and refuse it if our keys are not as the plan saw them."""
    document = definition.parse(stored)
    now = document.held(bundle.names)
    if found.is_empty and document.value_pairs:
        # Either somebody filled an empty environment just now, or the CLI shows nothing of it for ever.
        raise ConflictError(
            "ESC can't evaluate this environment, so what it holds can't be compared.",
            _CAN_NOT_EVALUATE,
        )
    if any(not _agree(found.entries.get(name), now.get(name)) for name in bundle.names):
        raise ConflictError("The environment was changed between our read and our write.", "Run again.")
    return document


_CAN_NOT_EVALUATE = (
    "`pulumi env open` shows what is wrong with its definition (an import that is gone, a reference to nothing, a "
    "secret with `${` in it); repair that and run again."
)
_ABSENT = Held(HeldKind.ABSENT)


def _agree(read: Held | None, stored: Held | None) -> bool:
    """Whether a key as it was read, decrypted, can be the key as it is stored, encrypted."""
    read, stored = read or _ABSENT, stored or _ABSENT
    if read.kind is HeldKind.SECRET:
        return stored.encrypted
    if read.value is not None and not read.value.get_secret_value() and stored.kind is HeldKind.OTHER:
        return True  # the CLI shows a key without a value in flow style as ''
    return _equal(read, stored)


def _same_entries(left: Mapping[Name, Held], right: Mapping[Name, Held], names: Iterable[Name]) -> bool:
    return all(_equal(left.get(name), right.get(name)) for name in names)


def _equal(left: Held | None, right: Held | None) -> bool:
    left, right = left or _ABSENT, right or _ABSENT
    if left.kind is not right.kind or left.value is None or right.value is None:
        return left.kind is right.kind
    return same(left.value.get_secret_value(), right.value.get_secret_value())


_WRONG = {
    Action.ADD: "missing",
    Action.CHANGE: "another value",
    Action.ENCRYPT: "not encrypted",
    Action.DECRYPT: "encrypted",
}


def _differing(bundle: Bundle, held: Mapping[Name, Held]) -> dict[Name, str]:
    """The entries that don't hold what they should, and how they differ, without any value."""
    return {step.name: _WRONG[step.action] for step in make_plan(bundle, held).steps if step.action in _WRONG}


def _listed(wrong: Mapping[Name, str]) -> str:
    return ", ".join(f"{name} ({how})" for name, how in wrong.items())
