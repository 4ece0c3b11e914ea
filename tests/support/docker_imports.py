"""Compare the files of an image with what Python imports of them."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import PurePosixPath

from tests.support.docker_engine import docker

PACKAGES = PurePosixPath("usr/local/lib/python3.13/dist-packages")
# Python's -v prints such a message for each module that it loads from bytecode, and for each compiled module. If two
# threads import at the same time, each message stays whole, but its line break may come later.
_LOADED = re.compile(
    r"# (?:\S+\.pyc matches /(\S+?\.py)|code object from '/([^']+)'|extension module '[^']+' loaded from '/([^']+)')"
)
_FROM_SOURCE = re.compile(r"# code object from /\S+")
# Not imported, but read: licences, the names and versions that scanners look for, and the certificates of requests.
_DATA = ("*.dist-info/METADATA", "*.dist-info/licenses/*", "certifi/cacert.pem")


def files(image: str) -> frozenset[PurePosixPath]:
    """Return every file of an image, from its root."""
    container = docker("create", image).stdout.strip()
    try:
        exported = subprocess.run(["docker", "export", container], capture_output=True, check=True, timeout=120)
    finally:
        docker("rm", container)
    with tarfile.open(fileobj=io.BytesIO(exported.stdout)) as tar:
        return frozenset(PurePosixPath(member.name) for member in tar if not member.isdir())


def from_source(log: str) -> list[str]:
    """Return the messages of Python's -v that show modules without bytecode: their paths stand without quotes."""
    return _FROM_SOURCE.findall(log)


def never_imported(image: frozenset[PurePosixPath], log: str, exceptions: Collection[str]) -> set[str]:
    """Return the files of an image's packages that a run didn't import, as its log of -v shows.

    Args:
        image: Every file of the image.
        log: What Python printed.
        exceptions: Patterns of files that only other runs import.
    """
    loaded = {PurePosixPath(path) for found in _LOADED.findall(log) for path in found if path}
    left = {str(path.relative_to(PACKAGES)) for path in image - loaded if PACKAGES in path.parents}
    return {path for path in left if not any(fnmatch(path, pattern) for pattern in (*_DATA, *exceptions))}
