"""The errors of a release. Each has an exit code and a text in three parts: see `sophia_sync.runtime.errors`."""

from collections.abc import Sequence

from deploy.program import SyncError

NO_TAG = "No tag was changed."


class UnfitError(SyncError):
    """The source can't be released as it is."""

    exit_code = 2
    title = "The commit can't be released"

    def __init__(self, problems: Sequence[str]) -> None:
        """Make one error of several problems, one sentence each."""
        listed = problems[0] if len(problems) == 1 else "\n".join(f"- {problem}" for problem in problems)
        super().__init__(listed, "Fix it on main and tag that commit.", "Nothing was pushed.")
        self.problems = problems


class ImageError(SyncError):
    """An image can't be pulled without credentials, or fails a check."""

    exit_code = 3
    title = "The image isn't fit for users"

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(what, todo, NO_TAG)


class OutsideError(SyncError):
    """The registry or the Git repository can't be reached, or refuses."""

    exit_code = 4
    title = "The registry or the Git repository can't be reached"


class DifferentError(SyncError):
    """What is published isn't what this release would publish."""

    exit_code = 5
    title = "Another release is published"

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(what, todo, NO_TAG)
