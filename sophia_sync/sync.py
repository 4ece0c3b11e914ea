"""One environment: read → plan → write → read back. The write is one revision or none; a wrong one is set back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sophia_sync.bundle import Bundle
from sophia_sync.errors import ConflictError, DefinitionError, EscError, TransientError, VerificationError
from sophia_sync.esc import definition, messages, shown
from sophia_sync.esc.cli import Pulumi
from sophia_sync.esc.definition import Document, Name
from sophia_sync.esc.editor import Stored
from sophia_sync.esc.merge import Change, merge, restore
from sophia_sync.esc.shown import Holding
from sophia_sync.plan import OVERRIDDEN, Plan, agree, differing, listed, make_plan, same_entries
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


def read(pulumi: Pulumi, environment: str, names: Collection[Name], version: str = "") -> Holding:
    """Return what an environment, or a version of it, holds of `names`: one CLI call.

    Raises:
        EscError: It can't be read, or its definition makes no sense.
    """
    return _holding(pulumi.read(environment, version), names)


def _holding(printed: str, names: Collection[Name]) -> Holding:
    try:
        return shown.holding(shown.parse(printed), names)
    except shown.UnknownOutputError as error:
        raise EscError(
            f"The Pulumi CLI's `env get` printed something unknown: {error}.",
            "Use the release of the CLI that the action's image has.",
        ) from None


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
        self.warnings: list[str] = []  # what ESC warned of when it saved
        self._written: Plan | None = None  # sent to ESC, perhaps saved, not yet verified
        self._held: Holding | None = None  # what the environment held when that was sent
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
            held = self._read()
        except EscError:
            return None
        plan = make_plan(self._bundle, held)
        if not plan.changed:
            return self._settled(plan)
        if self._held is not None and same_entries(held, self._held, self._bundle.names):
            self.state = "Nothing was saved, as a read after the last try shows."
        return None

    def _attempt(self, *, dry_run: bool) -> Synced:
        found = self._first_read() or self._read()
        if not found.is_evaluated:
            self._refuse_what_can_not_be_evaluated()
        plan = make_plan(self._bundle, found)
        if dry_run:
            return Synced(self._environment, Result.PLANNED, plan)
        if not plan.changed:
            return self._settled(plan)
        self._before_write()
        sent = self._write(found, plan)
        self._verify(sent)
        return self._settled(plan)

    def _refuse_what_can_not_be_evaluated(self) -> None:
        """Find out by an edit that saves nothing why the CLI showed nothing, and raise ESC's own diagnostic.

        Raises:
            DefinitionError: ESC can't evaluate the environment.
            ConflictError: It can now.
        """

        def look(stored: Stored) -> str:
            if stored.problems:
                raise DefinitionError(*messages.not_evaluated(self._environment, stored.problems))
            if definition.parse(stored.text).keys:
                raise ConflictError("The environment was changed while it was read.", "Run again.")
            raise _LookedError

        with contextlib.suppress(_LookedError):
            self._pulumi.edit(self._environment, look)

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
        sent = _Sent(names, found)
        earlier = self._written, self.revision, self.state

        def change(stored: Stored) -> str:
            sent.before = stored.text
            sent.text = merge(as_planned(stored, found, self._bundle, self._environment), changes)
            # From here on the CLI may save it, whatever becomes of us.
            self._written, self._held, self.revision = plan, found, None
            self.state = "Whether the new revision was saved isn't known; the next run finds out."
            return sent.text

        try:
            saved = self._pulumi.edit(self._environment, change, self._saved)
        except TransientError:
            raise
        except EscError:  # nothing was saved by this attempt; perhaps by an earlier one
            self._written, self.revision, self.state = earlier
            raise
        sent.warnings = saved.warnings
        self.warnings += saved.warnings
        return sent

    def _saved(self, revision: int) -> None:
        self.revision = revision
        self.state = f"Revision {revision} was saved whole; it was not verified yet."
        self._on_saved(revision)

    def _verify(self, sent: _Sent) -> None:
        """Prove by one CLI call that ESC holds every key, with its exact value, encrypted or plain as it should be."""
        wrong = differing(self._bundle, self._read_back())
        if not wrong:
            return
        ours = self._read_back(str(self.revision))
        wrong_in_ours = differing(self._bundle, ours)
        if not wrong_in_ours:
            raise VerificationError(
                f"Revision {self.revision} is as it was sent, but somebody else has changed our keys since: "
                f"{listed(wrong)}.",
                "Nothing was deployed, and their change was left alone. See the environment's history for who writes "
                "these keys, and run again.",
            )
        if not wrong_in_ours.keys() & set(sent.names):
            # A key that we left alone was changed between our read and our write: write all of them together.
            self._complete = True
            raise ConflictError(
                f"Others keep changing our keys in {self._environment}: {listed(wrong_in_ours)}.", "Run again."
            )
        outcome = self._roll_back(sent, ours)
        what, todo = why_wrong(wrong_in_ours, sent.warnings)
        raise VerificationError(
            f"ESC saved revision {self.revision}, but {what} {outcome}", f"Nothing was deployed. {todo}"
        )

    def _read_back(self, version: str = "") -> Holding:
        found = self._read(version)
        if not found.is_evaluated:  # any more: an import changed, or somebody else saved it
            raise TransientError(*messages.not_evaluated(self._environment, ()))
        return found

    def _roll_back(self, sent: _Sent, ours: Holding) -> str:
        """Set our keys back to exactly what they were, safe against other writers; tells how that went."""

        def change(stored: Stored) -> str:
            return restore(
                definition.parse(stored.text), definition.parse(sent.before), definition.parse(sent.text), sent.names
            )

        def attempt() -> int | None:
            now = self._read()
            if same_entries(now, sent.held, sent.names):
                return None  # by an attempt whose answer was lost
            if not same_entries(now, ours, sent.names):
                raise EscError("somebody else has changed them since.", "")
            return self._pulumi.edit(self._environment, change).revision

        def may_pass(error: BaseException) -> bool:
            return isinstance(error, ConflictError | TransientError)

        self.state = f"Revision {self.revision} was saved and is wrong; whether our keys were set back isn't known."
        try:
            revision = retrying(self._pulumi.deadline, may_pass)(attempt)
            now = self._read()
        except EscError as error:
            self.state = f"Revision {self.revision} was saved, is wrong, and could not be set back."
            return f"Our keys could not be set back to revision {(self.revision or 1) - 1}: {error}".strip()
        where = "" if revision is None else f", in revision {revision}"
        if not same_entries(now, sent.held, sent.names):
            self.state = f"Our keys were set back{where}, and still differ."
        else:
            self.state = f"Our keys were set back to what they were{where}."
        return self.state


class _LookedError(Exception):
    """Raised to end an edit that only looks: nothing is saved."""


@dataclass
class _Sent:
    """One write: the entries that it changed, what they held, the stored text before it, the text that was sent."""

    names: tuple[Name, ...]
    held: Holding
    before: str = ""
    text: str = ""
    warnings: tuple[str, ...] = ()


def as_planned(stored: Stored, found: Holding, bundle: Bundle, environment: str) -> Document:
    """Return the stored definition, parsed. Pure.

    Raises:
        DefinitionError: ESC can't evaluate it, or it makes no sense.
        ConflictError: Our entries are no longer as they were when they were read.
    """
    if stored.problems:
        raise DefinitionError(*messages.not_evaluated(environment, stored.problems))
    document = definition.parse(stored.text)
    now = document.held(bundle.names)
    if any(not agree(found.entries.get(name), now.get(name)) for name in bundle.names):
        raise ConflictError("The environment was changed between our read and our write.", "Run again.")
    return document


def why_wrong(wrong: Mapping[Name, str], warnings: Collection[str]) -> tuple[str, str]:
    """Return what is wrong with a revision that was saved, and what to do about it. Pure."""
    if OVERRIDDEN in wrong.values() and messages.FINAL in warnings:
        what = f"consumers don't get what was sent: {listed(wrong)}. ESC warned: {messages.FINAL}."
        return what, "An import declares these keys `fn::final`: change them there, or take that away, and run again."
    what = f"what it holds isn't what was sent: {listed(wrong)}."
    return what, "See the environment's history, and run again."
