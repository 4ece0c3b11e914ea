"""Read, write and read back one environment. The write is one revision or none; a wrong one is set back."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

import anyio

from sophia_sync.esc import approvals, definition, messages, shown
from sophia_sync.esc.approvals import ChangeRequest
from sophia_sync.esc.cli import Pulumi
from sophia_sync.esc.definition import Document, Name
from sophia_sync.esc.editor import Stored
from sophia_sync.esc.merge import Change, merge, restore
from sophia_sync.esc.shown import Holding
from sophia_sync.outcome import Ended, Result, Synced
from sophia_sync.runtime.errors import (
    ApprovalError,
    ConflictError,
    DefinitionError,
    EscError,
    SyncError,
    TransientError,
    VerificationError,
)
from sophia_sync.runtime.retries import retrying_async
from sophia_sync.runtime.tasks import Task, Tasks, time_left
from sophia_sync.sync.bundle import Bundle
from sophia_sync.sync.plan import OVERRIDDEN, Plan, agree, differing, listed, make_plan, same_entries

# Source: pulumi.com/pricing, "Version tags and import by tags".
_WITHOUT_TAGS = "Pulumi's Free edition has no version tags: `tag-revision: false` leaves them out."


@dataclass
class Sent:
    """One write: the entries that it changed, what they held, the stored text before it, the text that was sent."""

    names: tuple[Name, ...]
    held: Holding
    before: str = ""
    text: str = ""
    warnings: tuple[str, ...] = ()


async def read(pulumi: Pulumi, environment: str, names: Collection[Name], version: str = "") -> Holding:
    """Read what an environment, or a version of it, holds for `names`. One CLI call.

    The CLI shows the whole definition, decrypted. The redactor hides all its secrets from then on.

    Raises:
        EscError: It can't be read, or its definition makes no sense.
    """
    printed = await pulumi.read(environment, version)
    try:
        found = shown.holding(shown.parse(printed), names)
    except shown.UnknownOutputError as error:
        raise EscError(
            f"The Pulumi CLI's `env get` printed something unknown: {error}.",
            "Use the release of the CLI that the action's image has.",
        ) from None
    for secret in found.secrets:
        pulumi.redact.add(secret)
    return found


def may_pass(error: BaseException) -> bool:
    """Return whether to retry: after somebody else's write, or a transient failure."""
    return isinstance(error, ConflictError | TransientError)


async def set_tag(pulumi: Pulumi, environment: str, name: str, revision: int | None) -> None:
    """Make or move a revision tag (None: to the latest). Retry transient failures.

    Raises:
        EscError: It could not be set.
    """
    # At most a quarter of the time: a tag that can't be set must leave time for the deploy.
    share = time_left().remaining() / 4
    with anyio.move_on_after(share):
        async for attempt in retrying_async(lambda error: isinstance(error, TransientError)):
            with attempt:
                await pulumi.tag(environment, name, revision)
        return
    raise TransientError(f"Could not set the revision tag {name} of {environment} in time.", "Run again.")


class Environment:
    """One environment of a run. `state` says in words what the run has done to it so far.

    Args:
        pulumi: The CLI, signed in to its organization.
        name: `organization/project/environment`.
        bundle: The keys that it should hold.
    """

    def __init__(self, pulumi: Pulumi, name: str, bundle: Bundle) -> None:
        self.name = name
        self.pulumi = pulumi
        self.state = "Nothing was written."
        self.revision: int | None = None
        self.warnings: list[str] = []  # ESC's warnings when it saved
        self.notes: list[str] = []  # further warnings for a person
        self.change_request: ChangeRequest | None = None
        self._bundle = bundle
        self._written: Plan | None = None  # sent to ESC, perhaps saved, not yet verified
        self._held: Holding | None = None  # what the environment held when that was sent
        self._tag: Task[None] | None = None
        self._tagged: int | None = None
        self._complete = False  # write every key, even those that seem unchanged

    async def read(self, version: str = "") -> Holding:
        """Read what it holds of the bundle. One CLI call.

        Raises:
            DefinitionError: ESC can't evaluate it.
            EscError: It can't be read.
        """
        found = await read(self.pulumi, self.name, self._bundle.names, version)
        if not found.is_evaluated and not version and self._written is None:
            await self._refuse_what_can_not_be_evaluated()
        return found

    async def _refuse_what_can_not_be_evaluated(self) -> None:
        """Run an edit that saves nothing, to raise ESC's own diagnostic when the CLI showed nothing.

        Raises:
            DefinitionError: ESC can't evaluate the environment.
            ConflictError: It was changed in the meantime, and can be evaluated now.
        """

        def look(stored: Stored) -> str:
            if stored.problems:
                raise DefinitionError(*messages.not_evaluated(self.name, stored.problems))
            if definition.parse(stored.text).keys:
                raise ConflictError("The environment was changed while it was read.", "Run again.")
            raise _LookedError

        with contextlib.suppress(_LookedError):
            await self.pulumi.edit(self.name, look)

    async def write(self, found: Holding, plan: Plan, *, may_propose: bool) -> Sent:
        """Write the plan's changes in one revision, conditional on what was read. One CLI call.

        Args:
            found: What was read.
            plan: What to change.
            may_propose: Whether the next try asks if the write needs an approval. If not, ask here.

        Raises:
            ConflictError: Somebody else changed it since it was read.
            TransientError: Whether it was saved isn't known.
            EscError: Nothing was saved.
        """
        names = self._bundle.names if self._complete else plan.changed
        changes = changes_of(self._bundle, names)
        sent = Sent(names, found)
        earlier = self._written, self.revision, self.state

        def change(stored: Stored) -> str:
            sent.before = stored.text
            sent.text = merge(as_planned(stored, found, self._bundle, self.name), changes)
            # From here on the CLI may save it, even if this task is cancelled.
            self._written, self._held, self.revision = plan, found, None
            self.state = "Whether the new revision was saved isn't known; the next run finds out."
            return sent.text

        try:
            saved = await self.pulumi.edit(self.name, change, self._saved)
        except TransientError:
            raise
        except EscError as error:  # this attempt saved nothing; an earlier one may have
            self._written, self.revision, self.state = earlier
            if isinstance(error, ConflictError) and not may_propose:
                await self._refuse_what_needs_an_approval()
            if isinstance(error, ApprovalError) and may_propose:  # the write needed none when this try asked
                raise ConflictError(error.what, messages.RUN_AGAIN) from None
            raise
        if saved.revision is None:
            self.state = "A new revision was saved whole; it was not verified yet."
        sent.warnings = saved.warnings
        self.warnings += saved.warnings
        return sent

    async def _refuse_what_needs_an_approval(self) -> None:
        """Ask whether the write needs an approval. If it does, the CLI says the same as after a conflict.

        Raises:
            ApprovalError: Updates of the environment need an approval.
        """
        try:
            asked = await approvals.ask(self.pulumi, self.name)
        except EscError:
            return
        if approvals.UPDATE in asked.actions:
            raise ApprovalError(f"ESC did not take a new revision of {self.name}.", messages.NEEDS_APPROVAL)

    def _saved(self, revision: int) -> None:
        self.revision = revision
        self.state = f"Revision {revision} was saved whole; it was not verified yet."

    async def read_back(self, sent: Sent) -> None:
        """Prove that ESC holds every key, with its exact value, encrypted or plain as it should be. One CLI call.

        Raises:
            ConflictError: A key that the plan left alone was changed meanwhile. The next try writes all keys.
            VerificationError: What ESC holds differs from what was sent. Our keys are set back if the revision is ours.
        """
        wrong = differing(self._bundle, await self._read_again())
        if not wrong:
            return
        if self.revision is None:  # the newest revision may be somebody else's
            what, todo = why_wrong(wrong, sent.warnings)
            raise VerificationError(
                f"ESC saved a new revision, but {what}",
                f"{todo} A release of the Pulumi CLI that tells the revision's number would have set our keys back.",
                "A new revision was saved and nothing was set back. Nothing was deployed.",
            )
        ours = await self._read_again(str(self.revision))
        wrong_in_ours = differing(self._bundle, ours)
        if not wrong_in_ours:
            raise VerificationError(
                f"Revision {self.revision} is as it was sent, but somebody else has changed our keys since: "
                f"{listed(wrong)}.",
                "See the environment's history for who writes these keys, and run again.",
                "Nothing was deployed, and their change was left alone.",
            )
        if not wrong_in_ours.keys() & set(sent.names):
            # A key that we left alone was changed between our read and our write: write all of them together.
            self._complete = True
            what = f"Others keep changing our keys in {self.name}: {listed(wrong_in_ours)}."
            raise ConflictError(what, "Run again.")
        outcome = await self._roll_back(sent, ours)
        what, todo = why_wrong(wrong_in_ours, sent.warnings)
        raise VerificationError(
            f"ESC saved revision {self.revision}, but {what}", todo, f"{outcome} Nothing was deployed."
        )

    async def settled(self, plan: Plan) -> Synced:
        """Return the result of a sync after which ESC holds the bundle, written by us or not."""
        if self._written is None:
            return Synced(self.name, Result.UNCHANGED, plan)
        if self.revision is None:  # the answer to the write was lost, and reading shows that it went through
            with contextlib.suppress(EscError):  # the values are proven; only the number is missing
                self.revision = await self.pulumi.latest_revision(self.name)
            self.state = "A new revision was saved and verified."
            return Synced(self.name, Result.SYNCED, self._written, self.revision)
        self.state = f"Revision {self.revision} was saved and verified."
        # The write was conditional on the revision before it, and ESC numbers revisions one by one.
        return Synced(self.name, Result.SYNCED, self._written, self.revision, self.revision - 1)

    def start_tag(self, tasks: Tasks, tag: str | None) -> None:
        """Start to tag the saved revision as this run's, whatever the read-back shows."""
        if tag is None or self.revision in (None, self._tagged):
            return
        before, self._tagged = self._tag, self.revision
        self._tag = tasks.start(partial(self._set_tag, before, tag, self.revision))

    async def _set_tag(self, before: Task[None] | None, tag: str, revision: int | None) -> None:
        if before is not None:
            with contextlib.suppress(EscError):
                await before.result()
        await set_tag(self.pulumi, self.name, tag, revision)

    async def ended(self, synced: Synced, tasks: Tasks, tag: str | None) -> Ended:
        """Return how a verified sync ended. A failed tag is a warning."""
        self.start_tag(tasks, tag)  # if the number became known late
        warnings = self._warnings()
        if self._tag is not None:
            try:
                await self._tag.result()
            except EscError as error:
                more = "" if isinstance(error, TransientError) else f" {_WITHOUT_TAGS}"
                warnings.append(f"{error} The sync itself is complete.{more}")
        return Ended(self.name, synced, None, self.revision, tuple(warnings), change_request=self.change_request)

    async def failed(self, error: SyncError) -> Ended:
        """Return how a failed sync ended. Its write may have been saved although the answer was lost."""
        synced = await self._find_lost_write() if isinstance(error, EscError) else None
        if synced is not None:
            return Ended(self.name, synced, None, self.revision)
        error.changed = error.changed or self.state
        warnings = tuple(self._warnings())
        return Ended(self.name, None, error, self.revision, warnings, change_request=self.change_request)

    def _warnings(self) -> list[str]:
        return [*(f"ESC warns: {warning}." for warning in dict.fromkeys(self.warnings)), *self.notes]

    async def _find_lost_write(self) -> Synced | None:
        """Read, after the last try, whether a write whose answer was lost went through."""
        if self._written is None or self.revision is not None:
            return None
        try:
            held = await self.read()
        except EscError:
            return None
        plan = make_plan(self._bundle, held)
        if not plan.changed:
            return await self.settled(plan)
        if self._held is not None and same_entries(held, self._held, self._bundle.names):
            self.state = "Nothing was saved, as a read after the last try shows."
        return None

    async def _read_again(self, version: str = "") -> Holding:
        found = await self.read(version)
        if not found.is_evaluated:  # no longer: an import changed, or somebody else saved it
            raise TransientError(*messages.not_evaluated(self.name, ()))
        return found

    async def _roll_back(self, sent: Sent, ours: Holding) -> str:
        """Set our keys back to exactly what they were, safe against other writers. Return the result in words."""

        def change(stored: Stored) -> str:
            return restore(
                definition.parse(stored.text), definition.parse(sent.before), definition.parse(sent.text), sent.names
            )

        async def attempt_once() -> int | None:
            now = await self.read()
            if same_entries(now, sent.held, sent.names):
                return None  # an attempt whose answer was lost has done it
            if not same_entries(now, ours, sent.names):
                raise EscError("somebody else has changed them since.", "")
            return (await self.pulumi.edit(self.name, change)).revision

        self.state = f"Revision {self.revision} was saved and is wrong; whether our keys were set back isn't known."
        try:
            revision: int | None = None
            async for attempt in retrying_async(may_pass):
                with attempt:
                    revision = await attempt_once()
            now = await self.read()
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
    """Raised to end an edit that only reads. The CLI saves nothing."""


def changes_of(bundle: Bundle, names: Collection[Name]) -> list[Change]:
    """Return the bundle's entries of these names, as changes of a definition. Pure."""
    return [Change(entry.name, entry.value, entry.secret) for entry in bundle.entries if entry.name in names]


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
