"""The environments of a run: each its own transaction with its own end, up to eight at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from sophia_sync import interrupts
from sophia_sync.bundle import Bundle
from sophia_sync.errors import EscError, PreflightError, SeveralError, SyncError
from sophia_sync.esc.cli import Pulumi
from sophia_sync.outcome import Ended
from sophia_sync.process import Beside, Deadline
from sophia_sync.sync import Sync, set_tag

T = TypeVar("T")

AT_ONCE = 8


class Environment:
    """One environment, its sync, and the tag of the revision that the sync saves.

    Args:
        pulumi: The CLI, signed in to its organisation.
        name: `organisation/project/environment`.
        bundle: What it should hold.
        before_write: Called before anything is written; what it raises stops the sync.
        tag: The name of the revision tag; None sets none.
        begun: The first read of the environment, if it has been begun already.
    """

    def __init__(
        self,
        pulumi: Pulumi,
        name: str,
        bundle: Bundle,
        before_write: Callable[[], object],
        tag: str | None,
        begun: Beside[str] | None = None,
    ) -> None:
        self.name = name
        self.pulumi = pulumi
        self.sync = Sync(pulumi, name, bundle, before_write, self._begin_tag, begun)
        self._tag = tag
        self._tagged: int | None = None
        self._tagging: Beside[None] | None = None

    def run(self, *, dry_run: bool) -> Ended:
        """Sync it; what it fails with is told, not raised."""
        synced = error = None
        try:
            synced = self.sync.run(dry_run=dry_run)
        except SyncError as failure:
            error = failure
        if synced is not None and synced.revision not in (None, self._tagged):
            self._begin_tag(synced.revision)  # its number became known late
        tag_failure = self._tag_failure()
        warnings = [f"ESC warns: {warning}." for warning in dict.fromkeys(self.sync.warnings)]
        warnings += [f"{tag_failure} The sync itself is complete."] if tag_failure and synced else []
        return Ended(self.name, synced, error, self.sync.revision, tuple(warnings))

    def _begin_tag(self, revision: int | None) -> None:
        """Tag a revision with this run while it is read back: it is this run's, whatever that shows."""
        if self._tag is None or revision is None:
            return
        tag, before = self._tag, self._tagging
        self._tagged = revision

        def set_it() -> None:
            if before is not None:
                with contextlib.suppress(EscError):
                    before.wait(self.pulumi.deadline)
            set_tag(self.pulumi, self.name, tag, revision)

        self._tagging = Beside(set_it)

    def _tag_failure(self) -> EscError | None:
        """Wait for the tag; a sync that is verified doesn't fail for it."""
        if self._tagging is not None:
            try:
                self._tagging.wait(self.pulumi.deadline)
            except EscError as error:
                return error
        return None


def side_by_side(
    deadline: Deadline, work: Sequence[Callable[[], T]], tell: Callable[[T], None] = lambda _: None
) -> list[T]:
    """Do all of `work`, up to eight at a time, in threads; what one of them raises cuts the others short.

    Args:
        deadline: The deadline of all the work, which is cut then.
        work: What to do.
        tell: Called with each result as it comes, in the calling thread.

    Returns:
        The results in the order of `work`.
    """
    with ThreadPoolExecutor(min(AT_ONCE, len(work))) as pool:
        try:
            futures = [pool.submit(each) for each in work]
            for future in as_completed(futures):
                tell(future.result())
        except BaseException:
            deadline.cut(interrupts.GRACE)
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def failure(ends: Sequence[Ended]) -> SyncError | None:
    """What the run fails with: the environment's own error, or where there are several, one that names all of them."""
    failed = [(ended.environment, ended.error) for ended in ends if ended.error is not None]
    if not failed:
        return None
    errors = [error for _, error in failed]
    if len(ends) == 1:
        return errors[0]
    # Preflight is about the credentials, which are the same for all.
    refused = next((error for error in errors if isinstance(error, PreflightError)), None)
    return refused or SeveralError(failed, len(ends))
