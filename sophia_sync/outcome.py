"""What a run knows at its end: how each environment's sync ended, the deploy, and the run's own error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from sophia_sync.sync.plan import Plan

if TYPE_CHECKING:
    from sophia_sync.esc.approvals import ChangeRequest
    from sophia_sync.github.dispatch import Deployed
    from sophia_sync.runtime.errors import SyncError


class Result(StrEnum):
    """How the sync of an environment ended."""

    SYNCED = "synced"
    UNCHANGED = "unchanged"
    PLANNED = "planned"
    PROPOSED = "proposed"


@dataclass(frozen=True)
class Synced:
    """What a sync did to one environment. The revisions are known where one was written.

    `proposes` says whether the change is a change request's: one that is open, or of a plan, one that would be opened.
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
        environment: `organisation/project/environment`.
        synced: What was done, where it was done and verified.
        error: What it failed with.
        revision: The revision that was saved, also where it was not verified.
        state: What had been done, for a person, where the run ended before the sync did.
        warnings: What is to be told besides.
        change_request: The change request that was opened, also where it was not verified, or that is open.
    """

    environment: str
    synced: Synced | None = None
    error: SyncError | None = None
    revision: int | None = None
    warnings: tuple[str, ...] = ()
    state: str = ""
    change_request: ChangeRequest | None = None


@dataclass(frozen=True)
class Outcome:
    """Everything that a run knows at its end, however far it came; the environments in the order of the input."""

    environments: tuple[Ended, ...] = ()
    deployed: Deployed | None = None
    error: SyncError | None = None

    @property
    def synced(self) -> tuple[Synced, ...]:
        """What was done to the environments whose syncs are verified."""
        return tuple(ended.synced for ended in self.environments if ended.synced is not None)

    @property
    def is_synced(self) -> bool:
        """Whether all of them are."""
        return bool(self.environments) and len(self.synced) == len(self.environments)

    @property
    def change_requests(self) -> tuple[ChangeRequest, ...]:
        """The change requests that are known, in the order of the environments."""
        return tuple(ended.change_request for ended in self.environments if ended.change_request is not None)

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
        """Note what was saved or proposed where the run ended before the sync did."""
        ends = (
            replace(ended, revision=revision, state=state, change_request=change_request)
            if ended.environment == environment
            else ended
            for ended in self.environments
        )
        return replace(self, environments=tuple(ends))
