"""Images built from the real one, some of which fail on purpose."""

from __future__ import annotations

import subprocess

from tests.support import docker_registry

_TAG = "sentry-mcp:derived"


class Derived:
    """A builder of images from the real one and further lines of a Dockerfile. It pushes them to the registry.

    Args:
        image: The real image.
        registry: The registry's address.
    """

    def __init__(self, image: str, registry: str) -> None:
        self._image = image
        self._registry = registry

    def __call__(self, *lines: str) -> str:
        """Build and push an image. Return its reference by digest."""
        text = "\n".join([f"FROM {self._image}", *lines])
        command = ["docker", "build", "--quiet", "--tag", _TAG, "-"]
        subprocess.run(command, input=text, text=True, check=True, capture_output=True, timeout=300)
        return docker_registry.push(_TAG, f"{self._registry}/ai-cherry/sentry-mcp:derived")
