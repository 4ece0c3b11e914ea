"""What can go wrong with a release. As in `sophia_sync.errors`, each has an exit code and a text with the next step."""

from collections.abc import Sequence

from sophia_sync.errors import SyncError


class UnfitError(SyncError):
    """The source can't be released as it is. `problems` has one sentence each; nothing was changed anywhere."""

    exit_code = 2
    title = "Not fit for a release"

    def __init__(self, problems: Sequence[str]) -> None:
        listed = problems[0] if len(problems) == 1 else "\n".join(f"- {problem}" for problem in problems)
        super().__init__(listed, "Nothing was pushed. Mend it on main and tag that commit.")
        self.problems = problems


class RegistryError(SyncError):
    """The registry can't be reached or refuses. No tag of the repository was touched."""

    exit_code = 4
    title = "The image registry"


class GitError(SyncError):
    """Git or the remote repository failed or refused."""

    exit_code = 4
    title = "The Git repository"


class DifferentError(SyncError):
    """What is published already, or was pushed, isn't what this release needs."""

    exit_code = 5
    title = "What is published differs"
