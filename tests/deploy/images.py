"""Images made from the real one, some of which are made to fail."""

from __future__ import annotations

import subprocess

from tests.support import docker_registry

_TAG = "sentry-mcp:derived"


class Derived:
    """Makes images of the real one with further lines of a Dockerfile, each in the registry.

    Args:
        image: The real one.
        registry: The registry's address.
    """

    def __init__(self, image: str, registry: str) -> None:
        self._image = image
        self._registry = registry

    def __call__(self, *lines: str) -> str:
        """The new image by its digest."""
        text = "\n".join([f"FROM {self._image}", *lines])
        command = ["docker", "build", "--quiet", "--tag", _TAG, "-"]
        subprocess.run(command, input=text, text=True, check=True, capture_output=True, timeout=300)
        return docker_registry.push(_TAG, f"{self._registry}/ai-cherry/sentry-mcp:derived")
