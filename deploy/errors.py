"""The errors of a deploy. Each has an exit code and a text in three parts: see `sophia_sync.runtime.errors`."""

from deploy.program import SyncError

UNTOUCHED = "Nothing was changed."


class EngineError(SyncError):
    """Docker or the registry can't be reached, or refuses. The server runs as before."""

    exit_code = 4
    title = "Docker can't be reached"

    def __init__(self, what: str, todo: str, *, title: str = "") -> None:
        super().__init__(what, todo, UNTOUCHED, title=title)


class LockedError(EngineError):
    """Another deploy is under way."""

    title = "Another deploy is under way"


class PlatformError(EngineError):
    """The image is for another platform than the server's."""

    title = "The image doesn't fit the server"


class BroughtBackError(SyncError):
    """The new version failed. The former version runs again, and answers."""

    exit_code = 6
    title = "Deploy failed, the former version runs again"


class DownError(SyncError):
    """The new version failed, and no version is known to work."""

    exit_code = 7
    title = "Deploy failed, the server doesn't work"
