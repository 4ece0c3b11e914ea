"""The lock files in requirements/, as `uv pip compile --generate-hashes` writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

_ENTRY = re.compile(
    r"^(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[\w,-]+\])?==(?P<version>[^\s;\\]+)(?: ; (?P<marker>[^\\\n]+?))? \\\n"
    r"(?P<hashes>(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Locked:
    """One package of a lock file."""

    name: str
    """The canonical form, as PyPI uses it."""
    version: str
    marker: str
    """The condition under which it is installed; empty means always."""
    hashes: tuple[str, ...]
    """The SHA-256 of each file that may be installed, in hexadecimal."""


def read(path: Path) -> list[Locked]:
    """Return every package of a lock file.

    Raises:
        ValueError: A line is neither a locked package nor a comment.
    """
    text = path.read_text(encoding="utf-8")
    rest = _ENTRY.sub("", text)
    strange = [line for line in rest.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if strange:
        raise ValueError(f"{path.name} holds what isn't locked by hash: {strange[0]}")
    return [
        Locked(
            canonicalize_name(found["name"]),
            found["version"],
            found["marker"] or "",
            tuple(re.findall(r"sha256:([0-9a-f]{64})", found["hashes"])),
        )
        for found in _ENTRY.finditer(text)
    ]
