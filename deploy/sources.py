"""What the image is made of, as one name: the same sources have the same tag, and need no second build."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from deploy.errors import ImageError

_COPIED = re.compile(r"COPY (?!--from=)(?P<sources>[^\\\[]+) [^\s\\]+")
_IGNORE = Path(".dockerignore")
_NOT_SENT = "__pycache__"
"""What that keeps from the engine among the files that are copied."""


def tag(root: Path, dockerfile: str) -> str:
    """The tag of an image by its sources: the Dockerfile, which names the base images, and every file that it copies.

    What .dockerignore says counts too.

    Args:
        root: The build's context.
        dockerfile: The Dockerfile's path in it.

    Raises:
        ImageError: The Dockerfile copies what isn't there, or in a way that isn't understood.
    """
    digest = hashlib.sha256()
    for path in (Path(dockerfile), _IGNORE, *sorted(copied(root, dockerfile))):
        content = (root / path).read_bytes()
        executable = os.access(root / path, os.X_OK)
        digest.update(f"{path.as_posix()}\0{executable:d}\0{len(content)}\0".encode())
        digest.update(content)
    return f"sources-{digest.hexdigest()[:40]}"


def copied(root: Path, dockerfile: str) -> Iterator[Path]:
    """The files that the Dockerfile copies out of the context."""
    for line in (root / dockerfile).read_text(encoding="utf-8").splitlines():
        if not re.match(r"\s*(COPY|ADD)\b(?! --from=)", line, re.IGNORECASE):
            continue
        match = _COPIED.fullmatch(line)
        sources = match["sources"].split() if match else []
        if not sources or not all((root / source).exists() for source in sources):
            raise ImageError(f"`{line}` in {dockerfile} can't be followed.", "Write it as `COPY FILE… FOLDER`.")
        for source in sources:
            inner = (root / source).rglob("*") if (root / source).is_dir() else [root / source]
            files = (path.relative_to(root) for path in inner if path.is_file())
            yield from (path for path in files if _NOT_SENT not in path.parts)
