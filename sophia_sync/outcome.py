"""The outcome of a run: how each environment's sync ended, the deploy, and the run's own error."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from sophia_sync.sync.plan import Plan

if TYPE_CHECKING:
    from sophia_sync.esc.approvals import ChangeRequest
    from sophia_sync.runtime.errors import SyncError


# What was changed, as errors of the deploy say it.
NOT_STARTED = "The sync succeeded. The deploy did not start."
DISPATCHED = "The sync succeeded, and the deploy was dispatched."


class Result(StrEnum):
    """How the sync of an environment ended."""

    SYNCED = "synced"
    UNCHANGED = "unchanged"
    PLANNED = "planned"
    PROPOSED = "proposed"


@dataclass(frozen=True)
class Synced:
    """What a sync did to one environment. The revisions are known if one was written.

    `proposes` says whether a change request holds the change: an open one or, in a plan, one to be opened.
    """

    environment: str
    result: Result
    plan: Plan
    revision: int | None = None
    previous_revision: int | None = None
    proposes: bool = False
    change_request: ChangeRequest | None = None


@dataclass(frozen=True)
class Ended:
    """How the sync of one environment ended.

    Attributes:
        environment: `organization/project/environment`.
        synced: What was done and verified; None if the sync failed.
        error: The error of the sync, if it failed.
        revision: The revision that was saved, verified or not.
        state: What had been done, in words, if the run ended before the sync did.
        warnings: Texts for a person.
        change_request: The change request that is open, verified or not.
    """

    environment: str
    synced: Synced | None = None
    error: SyncError | None = None
    revision: int | None = None
    warnings: tuple[str, ...] = ()
    state: str = ""
    change_request: ChangeRequest | None = None


@dataclass(frozen=True)
class Target:
    """The workflow that deploys. If `ref` is None, it is the repository's default branch."""

    repository: str
    workflow: str
    ref: str | None

    @property
    def mark(self) -> str:
        """Return the name of the revision tag that says what this workflow last deployed."""
        digest = hashlib.sha256(f"{self.repository}/{self.workflow}@{self.ref or ''}".encode()).hexdigest()
        return f"sentry-esc-sync-deployed-{digest[:12]}"


@dataclass(frozen=True)
class Deployed:
    """A dispatched deploy. The run is None if GitHub doesn't name it, the conclusion if nobody waited."""

    target: Target
    ref: str
    run_id: int | None
    run_url: str | None
    conclusion: str | None = None


@dataclass(frozen=True)
class Outcome:
    """Everything that a run knows at its end, however far it got. Environments keep the input's order."""

    environments: tuple[Ended, ...] = ()
    deployed: Deployed | None = None
    error: SyncError | None = None

    @property
    def synced(self) -> tuple[Synced, ...]:
        """The environments whose syncs are verified."""
        return tuple(ended.synced for ended in self.environments if ended.synced is not None)

    @property
    def is_synced(self) -> bool:
        """Whether all environments are synced."""
        return bool(self.environments) and len(self.synced) == len(self.environments)

    @property
    def change_requests(self) -> tuple[ChangeRequest, ...]:
        """The change requests that are known, in the order of the environments."""
        return tuple(ended.change_request for ended in self.environments if ended.change_request is not None)

    @property
    def planned(self) -> tuple[Synced, ...]:
        """The environments of a dry run."""
        return tuple(synced for synced in self.synced if synced.result is Result.PLANNED)

    @property
    def waits_for_approval(self) -> bool:
        """Whether an environment waits for its change request to be applied."""
        return any(synced.result is Result.PROPOSED for synced in self.synced)

    def with_end(self, end: Ended) -> Outcome:
        ends = (end if ended.environment == end.environment else ended for ended in self.environments)
        return replace(self, environments=tuple(ends))

    def with_state(
        self, environment: str, revision: int | None, state: str, change_request: ChangeRequest | None = None
    ) -> Outcome:
        """Return the outcome with what was saved or proposed before the run ended."""
        ends = (
            replace(ended, revision=revision, state=state, change_request=change_request)
            if ended.environment == environment
            else ended
            for ended in self.environments
        )
        return replace(self, environments=tuple(ends))
