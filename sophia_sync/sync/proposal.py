"""Propose in a change request what a sync would write, and prove the draft. The environment stays as it is."""

from __future__ import annotations

import json
from dataclasses import replace

from pydantic import SecretStr

from sophia_sync.esc import approvals, definition
from sophia_sync.esc.approvals import DRAFT, UPDATE, Approvals, ChangeRequest
from sophia_sync.esc.definition import ENVIRONMENT_VARIABLES, Exported, Name
from sophia_sync.esc.editor import Stored
from sophia_sync.esc.merge import merge
from sophia_sync.esc.opened import Opened
from sophia_sync.esc.shown import Holding
from sophia_sync.outcome import Result, Synced
from sophia_sync.runtime.errors import (
    ConflictError,
    DefinitionError,
    EscError,
    ProposalError,
    TransientError,
    VerificationError,
)
from sophia_sync.settings.inputs import ChangeRequestMode
from sophia_sync.sync.bundle import Bundle
from sophia_sync.sync.environment import Environment, as_planned, changes_of
from sophia_sync.sync.plan import Plan, differing, listed

# Time limit of a request whose answer only leads to a warning, in seconds.
_ASIDE = 10.0


class Proposal:
    """The change request of one environment, if its change is proposed.

    Args:
        environment: The environment. Its `state` says what was proposed.
        bundle: What the environment should hold.
        mode: The input `change-request`.
    """

    def __init__(self, environment: Environment, bundle: Bundle, mode: ChangeRequestMode) -> None:
        self._environment = environment
        self._bundle = bundle
        self._mode = mode
        self._asked = Approvals(frozenset())
        self._created: ChangeRequest | None = None

    async def is_due(self) -> bool:
        """Return whether to propose a change instead of writing it.

        Raises:
            EscError: Pulumi Cloud doesn't say whether updates need an approval.
        """
        if self._mode is ChangeRequestMode.NEVER:
            return False
        self._asked = await approvals.ask(self._environment.pulumi, self._environment.name)
        return self._mode is ChangeRequestMode.ALWAYS or UPDATE in self._asked.actions

    async def foresee(self) -> bool:
        """Return what `is_due` would return. Warn of anything that would keep the sync from writing or proposing.

        Raises:
            EscError: As `is_due`.
        """
        name, notes = self._environment.name, self._environment.notes
        if self._mode is ChangeRequestMode.NEVER:
            try:
                asked = await approvals.ask(self._environment.pulumi, name, _ASIDE)
            except EscError:  # a sync in this mode doesn't ask
                return False
            if UPDATE in asked.actions:
                notes.append(
                    f"A sync would fail: updates of {name} need an approval. Give `change-request: allowed` (on the "
                    "command line `--change-request`) to have the change proposed."
                )
            return False
        is_due = await self.is_due()
        if is_due and self._asked.open is not None:
            try:
                await self._prove(self._asked.open)
            except (ProposalError, VerificationError) as error:
                notes.append(f"A sync would fail: {error.what} {error.todo}")
        return is_due

    async def make(self, found: Holding, plan: Plan) -> Synced:
        """Propose the plan's changes in one change request, and prove its draft. If one is open, prove that instead.

        Raises:
            ProposalError: A change request is in the way, or ours could not be submitted.
            VerificationError: The draft doesn't hold what was sent.
            ConflictError: Somebody changed the environment, or opened a change request, in the meantime.
            TransientError: Whether the change request was opened, or what it holds, isn't known.
            EscError: Pulumi Cloud refused.
        """
        if self._asked.open is None:
            await self._submit(found, plan)
            self._asked = await approvals.ask(self._environment.pulumi, self._environment.name)
        request = self._asked.open
        if request is None:
            raise ConflictError(f"The {self._created} was applied or closed before it was verified.", "Run again.")
        if self._created is not None and request.id == self._created.id:
            request = replace(request, is_new=True)
        await self._prove(request)
        self._environment.change_request = request
        how = "was opened and verified" if request.is_new else "is still open, with the same values"
        self._environment.state = f"Nothing was written. The {request} {how}."
        return Synced(self._environment.name, Result.PROPOSED, plan, proposes=True, change_request=request)

    async def _submit(self, found: Holding, plan: Plan) -> None:
        """Open a change request, with the same merge and conditions as a write. One CLI call."""
        environment, pulumi = self._environment, self._environment.pulumi
        changes = changes_of(self._bundle, plan.changed)
        earlier = environment.state

        def change(stored: Stored) -> str:
            text = merge(as_planned(stored, found, self._bundle, environment.name), changes)
            # From here on the CLI may create it, even if this task is cancelled.
            environment.state = (
                "Nothing was written. Whether a change request was opened isn't known; the next run finds out."
            )
            return text

        def created(identifier: str) -> None:
            self._created = ChangeRequest(identifier, self._asked.page(identifier), is_new=True)
            environment.change_request = self._created
            environment.state = (
                f"Nothing was written. The {self._created} was created; whether it was submitted isn't known. "
                "It blocks every other one until it is closed or applied."
            )

        try:
            await pulumi.propose(environment.name, change, created)
        except TransientError:
            raise
        except EscError:
            environment.state = earlier if self._created is None else _NOT_SUBMITTED.format(self._created)
            raise
        environment.state = f"Nothing was written. The {self._created} was submitted; it was not verified yet."

    async def _prove(self, request: ChangeRequest) -> None:
        """Prove that an open change request is ours, was submitted, and holds exactly what it should."""
        name = self._environment.name
        if not request.is_new and not request.is_ours:
            raise ProposalError(
                f"The {request} of {name} is open, and it is {request.author or 'somebody else'}'s: only one can be.",
                "Apply it or close it in the Pulumi console, and run again.",
            )
        if request.status == DRAFT:
            self._environment.change_request = request
            raise ProposalError(
                f"The {request} of {name} was created, but not submitted.",
                "Close it in the Pulumi console, and run again.",
                _NOT_SUBMITTED.format(request),
            )
        wrong = differing(self._bundle, await self._read(request))
        if wrong and request.is_new:
            raise VerificationError(
                f"The {request} of {name} was submitted, but it doesn't hold what was sent: {listed(wrong)}.",
                "Close it in the Pulumi console, don't approve it, and run again.",
                "Nothing was written, and nothing was deployed.",
                title="The change request doesn't hold what was sent",
            )
        if wrong:
            raise ProposalError(
                f"The {request} of {name} is open, with other values: {listed(wrong)}.",
                "Apply it or close it in the Pulumi console, and run again.",
            )

    async def _read(self, request: ChangeRequest) -> Holding:
        """Read what a draft holds: how it is written, and what its consumers would get. Two CLI calls."""
        pulumi, name = self._environment.pulumi, self._environment.name
        names = self._bundle.names
        text = (await pulumi.draft(name, request.id)).text
        try:
            held = definition.parse(text).held(names)
        except DefinitionError:
            held = {}
        if not held and "values:" not in text:  # nothing at all, or a web page
            raise TransientError(f"Could not read what the {request} of {name} holds.", "Run again.")
        values = await pulumi.open_values(name, request.id)
        consumed = {each: value for each in names if (value := _value(values, each)) is not None}
        return Holding(held, consumed)


_NOT_SUBMITTED = (
    "Nothing was written. The {} was created and not submitted: it blocks every other one until it is closed."
)


def _value(values: dict[str, Opened], name: Name) -> SecretStr | None:
    """Return what consumers would get for an entry. The definition says whether that is a string."""
    found = values.get(ENVIRONMENT_VARIABLES if isinstance(name, Exported) else name)
    if found is None or not isinstance(name, Exported):
        return found.text if found else None
    try:
        value = json.loads(found.text.get_secret_value())[name.key]
    except (ValueError, KeyError, TypeError):
        return None
    return SecretStr(value) if isinstance(value, str) else None
