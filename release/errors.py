"""The errors of a release. Each has an exit code, and a text that ends with the next step."""

from collections.abc import Sequence

from deploy.program import SyncError


class UnfitError(SyncError):
    """The source can't be released as it is."""

    exit_code = 2
    title = "Not fit for a release"

    def __init__(self, problems: Sequence[str]) -> None:
        """Make one error of several problems, one sentence each."""
        listed = problems[0] if len(problems) == 1 else "\n".join(f"- {problem}" for problem in problems)
        super().__init__(listed, "Nothing was pushed. Fix it on main and tag that commit.")
        self.problems = problems


class ImageError(SyncError):
    """Strangers can't pull an image, or it doesn't start."""

    exit_code = 3
    title = "The image can't be used"


class OutsideError(SyncError):
    """The registry or the Git repository can't be reached, or refuses."""

    exit_code = 4
    title = "Registry or repository"


class DifferentError(SyncError):
    """What is published isn't what this release would publish."""

    exit_code = 5
    title = "What is published differs"
