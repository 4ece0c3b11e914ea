"""Every error that a person may see: one base class, an exit code each, and a text with cause and next step.

A low-level error whose text could hold a secret's value is never chained: it is raised `from None`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class SyncError(Exception):
    """Something failed that the product foresees.

    Args:
        what: What failed and why; one or more sentences, without any secret's value.
        todo: What the person should do next.
    """

    exit_code: int = 70
    title: ClassVar[str] = "Sync failed"

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(what + ("\n" if "\n" in what else " ") + todo)
        self.what = what
        self.todo = todo


class InputError(SyncError):
    """An input is missing or malformed; nothing was contacted. `problems` has one line an input."""

    exit_code = 2
    title = "Inputs are missing or malformed"

    def __init__(self, problems: list[str]) -> None:
        one = len(problems) == 1
        what = (
            problems[0]
            if one
            else f"{len(problems)} inputs need attention:\n" + "\n".join(f"- {problem}" for problem in problems)
        )
        super().__init__(what, "Nothing was contacted and nothing was changed.")
        self.problems = problems


class PreflightError(SyncError):
    """Sentry refused the new credentials, or they don't belong together; nothing was written."""

    exit_code = 3
    title = "Sentry refused the new credentials"


class EscError(SyncError):
    """ESC could not be read or written; the definition is as it was before, or whole as it should be."""

    exit_code = 4
    title = "Pulumi ESC"


class SignInError(EscError):
    """No access token of Pulumi's could be had; ESC was not asked for anything."""

    title = "Sign-in to Pulumi"


class ConflictError(EscError):
    """Somebody else changed the environment between our read and our write; nothing of ours was saved."""


class ApprovalError(EscError):
    """Raised where an environment's updates need an approval; nothing was saved."""


class TransientError(EscError):
    """ESC failed in a way that may pass. After a write it isn't known whether that went through: read to find out."""


class DefinitionError(EscError):
    """The definition can't be parsed, or can't be changed without touching what isn't ours."""


class VerificationError(SyncError):
    """What ESC holds after the write differs from what was sent."""

    exit_code = 5
    title = "Read-back differs"


class SeveralError(SyncError):
    """Some of several environments could not be synced; each is as its own error says, the others are synced.

    Args:
        failed: The environments and their errors.
        total: How many environments there are.
    """

    title = "Environments not synced"

    def __init__(self, failed: Sequence[tuple[str, SyncError]], total: int) -> None:
        # The names first: a runner cuts a long annotation off.
        names = ", ".join(environment for environment, _ in failed)
        lines = "\n".join(f"- {environment}: {error}" for environment, error in failed)
        super().__init__(
            f"{len(failed)} of {total} environments could not be synced: {names}.\n{lines}",
            "The others are in order. Nothing was deployed.",
        )
        self.exit_code = max(error.exit_code for _, error in failed)


class DeployError(SyncError):
    """The deploy workflow could not be dispatched, or its run failed; the sync stands."""

    exit_code = 6
    title = "Deploy"


class EndedBySignalError(SyncError):
    """SIGINT or SIGTERM; the exit code is that of a shell, 128 and the signal's number."""

    title = "Ended by a signal"

    def __init__(self, what: str, todo: str, signal_number: int) -> None:
        super().__init__(what, todo)
        self.exit_code = 128 + signal_number
