"""One environment: read → plan → write → read back. The write is one revision or none; a wrong one is set back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sophia_sync.bundle import Bundle
from sophia_sync.errors import ConflictError, EscError, TransientError, VerificationError
from sophia_sync.esc import definition
from sophia_sync.esc.cli import Pulumi
from sophia_sync.esc.definition import Change, Held, HeldKind
from sophia_sync.plan import Action, Plan, make_plan, same
from sophia_sync.process import Deadline
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


def read(pulumi: Pulumi, environment: str, version: str = "") -> dict[str, Held]:
    """What an environment (or a version of it) holds, by key: one CLI call."""
    return definition.parse(pulumi.read(environment, version)).held()


def set_tag(pulumi: Pulumi, environment: str, name: str, revision: int | None) -> None:
    """Make or move a revision tag (None: to the latest); tried again where that may help, as it can be repeated.

    Raises:
        EscError: It could not be set.
    """
    # No more than a quarter of the time: a tag that can't be set shall not cost the deploy.
    deadline = Deadline(min(pulumi.deadline.seconds / 4, pulumi.deadline.remaining()))
    retrying(deadline, lambda error: isinstance(error, TransientError))(pulumi.tag, environment, name, revision)


class Sync:
    """The sync of one environment. `state` says at any moment, for a person, what it has done to ESC.

    Args:
        pulumi: The CLI.
        environment: `organisation/project/environment`.
        bundle: What ESC should hold.
        before_write: Called before anything is written; what it raises stops the sync.
    """

    def __init__(
        self,
        pulumi: Pulumi,
        environment: str,
        bundle: Bundle,
        before_write: Callable[[], None] = lambda: None,
    ) -> None:
        self.state = "Nothing was written."
        self.revision: int | None = None
        self._pulumi = pulumi
        self._environment = environment
        self._bundle = bundle
        self._before_write = before_write
        self._written: Plan | None = None  # sent to ESC, perhaps saved, not yet verified
        self._held: Mapping[str, Held] = {}  # what the environment held when that was sent
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
            held = read(self._pulumi, self._environment)
        except EscError:
            return None
        plan = make_plan(self._bundle, held)
        if not plan.changed_keys:
            return self._settled(plan)
        if _same_entries(held, self._held, self._bundle.keys):
            self.state = "Nothing was saved, as a read after the last try shows."
        return None

    def _attempt(self, *, dry_run: bool) -> Synced:
        held = read(self._pulumi, self._environment)
        plan = make_plan(self._bundle, held)
        if dry_run:
            return Synced(self._environment, Result.PLANNED, plan)
        if not plan.changed_keys:
            return self._settled(plan)
        self._before_write()
        sent = self._write(held, plan)
        self._verify(sent)
        return self._settled(plan)

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

    def _write(self, held: Mapping[str, Held], plan: Plan) -> _Sent:
        keys = self._bundle.keys if self._complete else plan.changed_keys
        changes = [Change(entry.key, entry.value, entry.secret) for entry in self._bundle.entries if entry.key in keys]
        sent = _Sent(keys, held)
        earlier = self._written, self.revision, self.state

        def change(stored: str) -> str:
            sent.before = stored
            sent.text = definition.merge(_as_planned(stored, held, self._bundle), changes)
            # From here on the CLI may save it, whatever becomes of us.
            self._written, self._held, self.revision = plan, held, None
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
        if not wrong_in_ours.keys() & set(sent.keys):
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

    def _read_back(self, version: str = "") -> dict[str, Held]:
        held = read(self._pulumi, self._environment, version)
        if not held:  # there are our keys at least: the CLI shows nothing of what can't be evaluated any more
            raise TransientError("ESC can't evaluate this environment any more.", _CAN_NOT_EVALUATE)
        return held

    def _roll_back(self, sent: _Sent, ours: Mapping[str, Held]) -> str:
        """Set our keys back to exactly what they were, safe against other writers; tells how that went."""

        def change(stored: str) -> str:
            return definition.restore(
                definition.parse(stored), definition.parse(sent.before), definition.parse(sent.text), sent.keys
            )

        def attempt() -> int | None:
            now = read(self._pulumi, self._environment)
            if _same_entries(now, sent.held, sent.keys):
                return None  # by an attempt whose answer was lost
            if not _same_entries(now, ours, sent.keys):
                raise EscError("somebody else has changed them since.", "")
            return self._pulumi.edit(self._environment, change)

        def may_pass(error: BaseException) -> bool:
            return isinstance(error, ConflictError | TransientError)

        self.state = f"Revision {self.revision} was saved and is wrong; whether our keys were set back isn't known."
        try:
            revision = retrying(self._pulumi.deadline, may_pass)(attempt)
            now = read(self._pulumi, self._environment)
        except EscError as error:
            self.state = f"Revision {self.revision} was saved, is wrong, and could not be set back."
            return f"Our keys could not be set back to revision {(self.revision or 1) - 1}: {error}".strip()
        where = "" if revision is None else f", in revision {revision}"
        if not _same_entries(now, sent.held, sent.keys):
            self.state = f"Our keys were set back{where}, and still differ."
        else:
            self.state = f"Our keys were set back to what they were{where}."
        return self.state


@dataclass
class _Sent:
    """One write: the keys that it changed, what they held, and the stored text before and after our change."""

    keys: tuple[str, ...]
    held: Mapping[str, Held]
    before: str = ""
    text: str = ""


def _as_planned(stored: str, held: Mapping[str, Held], bundle: Bundle) -> definition.Document:
    """Parse the stored text (secrets as ciphertext), and refuse it if our keys are not as the plan saw them."""
    document = definition.parse(stored)
    now = document.held()
    if not held and now:
        # Either somebody filled an empty environment just now, or the CLI shows nothing of it for ever.
        raise ConflictError(
            "ESC can't evaluate this environment, so what it holds can't be compared.",
            _CAN_NOT_EVALUATE,
        )
    if any(not _agree(held.get(key), now.get(key)) for key in bundle.keys):
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


def _same_entries(left: Mapping[str, Held], right: Mapping[str, Held], keys: Iterable[str]) -> bool:
    return all(_equal(left.get(key), right.get(key)) for key in keys)


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


def _differing(bundle: Bundle, held: Mapping[str, Held]) -> dict[str, str]:
    """The keys that don't hold what they should, and how they differ, without any value."""
    return {step.key: _WRONG[step.action] for step in make_plan(bundle, held).steps if step.action in _WRONG}


def _listed(wrong: Mapping[str, str]) -> str:
    return ", ".join(f"{key} ({how})" for key, how in wrong.items())
