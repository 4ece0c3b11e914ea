"""The base images of a Dockerfile: which they are, and by which digests they are taken."""

from __future__ import annotations

import re
from collections.abc import Mapping

from deploy.docker import Docker

_FROM = re.compile(r"^(FROM\s+(?:--platform=\S+\s+)?)(\S+)((?:\s+AS\s+(\S+))?[ \t]*)$", re.MULTILINE | re.IGNORECASE)


def named(dockerfile: str) -> list[str]:
    """The images that the build begins from, less the names of its own stages; the last stage's comes last."""
    images: list[str] = []
    stages: set[str] = set()
    for found in _FROM.finditer(dockerfile):
        image, stage = found[2], found[4]
        if image not in stages:
            images = [*(each for each in images if each != image), image]
        stages |= {stage} if stage else set()
    return images


def resolve(docker: Docker, dockerfile: str) -> dict[str, str]:
    """Each base image with the digest under which its registry has it now, or that the Dockerfile names already.

    The digest is that of the index, where an image is made for several platforms: the same for all of them.

    Raises:
        DockerError: One can't be pulled.
    """
    return {image: image.partition("@")[2] or docker.pull_tag(image) for image in named(dockerfile)}


def pinned(dockerfile: str, digests: Mapping[str, str]) -> str:
    """The Dockerfile with every base image by its digest; its version stays, for the reader and for Dependabot."""

    def pin(found: re.Match[str]) -> str:
        image = found[2]
        by_digest = image if "@" in image or image not in digests else f"{image}@{digests[image]}"
        return f"{found[1]}{by_digest}{found[3]}"

    return _FROM.sub(pin, dockerfile)
