"""What can go wrong with a deploy. As in `sophia_sync.errors`, each has an exit code and a text with the next step."""

from sophia_sync.errors import SyncError


class ImageError(SyncError):
    """The image can't be built, or a container of it doesn't work. Nothing that runs was touched."""

    exit_code = 3
    title = "The image doesn't work"


class DockerError(SyncError):
    """Docker, a registry or the host can't be reached or refuses. Nothing that runs was touched."""

    exit_code = 4
    title = "Docker"


class LockedError(DockerError):
    """Another deploy is under way."""

    title = "Another deploy is under way"


class BroughtBackError(SyncError):
    """The new version failed after the old one had made way for it; the old one runs again, and was checked."""

    exit_code = 6
    title = "Deploy failed, the former version runs again"


class DownError(SyncError):
    """The new version failed, and no version is known to work."""

    exit_code = 7
    title = "Deploy failed, the server doesn't work"
