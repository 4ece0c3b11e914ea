"""Every error that a person may see: one tree, an exit code each, and a text in three parts.

The parts are what failed and why, what was changed, and what to do now. No part holds a secret's value: an error whose
text could hold one is never chained, but raised `from None`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


class SyncError(Exception):
    """A failure that the product foresees.

    Args:
        what: What failed and why, in one or more sentences.
        todo: What the person should do next.
        changed: What was changed before that; empty if the caller fills it in.
        title: Names the failure in a few words; each class has one of its own.
    """

    exit_code: int = 70
    title: str = "sentry-esc-sync has a defect"

    def __init__(self, what: str, todo: str, changed: str = "", *, title: str = "") -> None:
        super().__init__()
        self.what = what
        self.todo = todo
        self.changed = changed
        if title:
            self.title = title

    def hide(self, redact: Callable[[str], str]) -> None:
        """Hide secrets in all three parts, which may quote a service."""
        self.what, self.todo, self.changed = map(redact, (self.what, self.todo, self.changed))

    def __str__(self) -> str:
        """Return the three parts as one text. If the first has several lines, each part begins on a new line."""
        separator = "\n" if "\n" in self.what else " "
        return separator.join(part for part in (self.what, self.changed, self.todo) if part)


class InputError(SyncError):
    """An input is missing or malformed. `problems` has one text for each problem."""

    exit_code = 2
    title = "Inputs are missing or malformed"

    def __init__(self, problems: list[str]) -> None:
        what = problems[0]
        if len(problems) > 1:
            listed = "\n".join(f"- {problem}" for problem in problems)
            what = f"{len(problems)} inputs need attention:\n{listed}"
        super().__init__(what, "Correct this, and run again.", "Nothing was contacted and nothing was changed.")
        self.problems = problems


class PreflightError(SyncError):
    """Sentry refused the new credentials, or they don't belong together. Nothing was written."""

    exit_code = 3
    title = "Sentry refused the new credentials"


class EscError(SyncError):
    """ESC could not be read or written. The definition is unchanged, or was written as a whole."""

    exit_code = 4
    title = "Pulumi ESC could not be read or written"


class SignInError(EscError):
    """There is no access token for Pulumi. ESC was not asked for anything."""

    title = "The sign-in to Pulumi failed"


class TokenError(EscError):
    """Pulumi Cloud refused the access token. Nothing was read or written with it."""

    title = "Pulumi refused the access token"


class ConflictError(EscError):
    """Somebody else changed the environment between our read and our write. Nothing of ours was saved."""

    title = "The environment was changed at the same time"


class ApprovalError(EscError):
    """An environment's updates need an approval. Nothing was saved."""

    title = "The environment's updates need an approval"


class ProposalError(EscError):
    """An open change request keeps ours from being opened or approved. The environment is unchanged."""

    title = "A change request is in the way"


class TransientError(EscError):
    """ESC failed, but a retry may succeed. After a write, only a read tells whether it was saved."""

    title = "Pulumi ESC didn't answer"


class DefinitionError(EscError):
    """The definition can't be parsed, or can't be changed without touching what isn't ours."""

    title = "The environment's definition can't be changed"


class VerificationError(SyncError):
    """What consumers get after the write differs from what was sent."""

    exit_code = 5
    title = "Consumers don't get what was written"


class SeveralError(SyncError):
    """Some of several environments could not be synced. Each error says how it left its environment.

    Args:
        failed: The environments and their errors.
        total: How many environments there are.
        others: What was done to the others.
    """

    title = "Environments could not be synced"

    def __init__(self, failed: Sequence[tuple[str, SyncError]], total: int, *, others: str) -> None:
        # The names first: a runner cuts a long annotation off.
        names = ", ".join(environment for environment, _ in failed)
        lines = "\n".join(f"- {environment}: {error}" for environment, error in failed)
        super().__init__(
            f"{len(failed)} of {total} environments could not be synced: {names}.\n{lines}",
            "Do for each environment what its own error says, and run again.",
            others,
        )
        self.exit_code = max(error.exit_code for _, error in failed)


class DeployError(SyncError):
    """The deploy workflow could not be dispatched, or its run failed. The sync stays valid."""

    exit_code = 6
    title = "The sync succeeded, but the deploy failed"


class EndedBySignalError(SyncError):
    """A signal ended the run. The exit code is that of a shell: 128 and the signal's number."""

    title = "A signal ended the run"

    def __init__(self, what: str, todo: str, signal_number: int, changed: str = "") -> None:
        super().__init__(what, todo, changed)
        self.exit_code = 128 + signal_number
