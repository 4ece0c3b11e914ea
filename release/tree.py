"""Write an image into the files that name one: they differ between main and a release commit.

On main, `action.yml` says that the image is built, and the Compose file names a local one. A release commit names both
images by digest.
"""

from __future__ import annotations

import re

from release.errors import DifferentError

ACTION = "action.yml"
COMPOSE = "docker-compose.sentry.yml"

_BUILT = re.compile(r"^  image: (?:\.\./)*Dockerfile(?: +#.*)?$", re.MULTILINE)
_PULLED = re.compile(r"^  image: docker://(\S+@sha256:[0-9a-f]{64})$", re.MULTILINE)
_LOCAL = re.compile(r"(?<=\$\{SENTRY_MCP_IMAGE:-)sentry-mcp:dev(?=\})")
_SERVER = re.compile(r"(?<=\$\{SENTRY_MCP_IMAGE:-)(\S+@sha256:[0-9a-f]{64})(?=\})")


def is_docker_action(text: str) -> bool:
    """Return whether an `action.yml` is a Docker action's. A composite action names no image."""
    return "\n  using: docker\n" in text


def with_image(text: str, path: str, image: str) -> str:
    """Return the text of an `action.yml`, or of the Compose file, that names an image by its digest.

    Raises:
        DifferentError: It doesn't name the image of main exactly once.
    """
    pattern, new = (_LOCAL, image) if path == COMPOSE else (_BUILT, f"  image: docker://{image}")
    changed, count = pattern.subn(lambda _: new, text)
    if count != 1:
        raise DifferentError(f"{path} doesn't name the image of main once.", "Fix it on main.")
    return changed


def image_of(text: str, path: str) -> str | None:
    """Return the image that a release commit's file names by digest. Return None if it names none."""
    found = (_SERVER if path == COMPOSE else _PULLED).search(text)
    return found[1] if found else None
