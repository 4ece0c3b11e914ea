"""Parse the revisions that `env version history` prints. Only newer CLIs print JSON.

Source: github.com/pulumi/esc v0.26.0, `cmd/esc/cli/env_version.go`, `printRevision`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

_PRINTED = re.compile(
    r"^revision (?P<number>\d+)(?P<retracted> \(retracted\))?(?: \(tags?: (?P<tags>[^)\n]*)\))?\n"
    r"Author: (?:[^\n]* )?<(?P<author>[^\n]*)>\n"
    r"Date:   (?P<date>\S+) (?P<time>\S+) (?P<offset>[+-]\d{4})",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Revision:
    """One revision of an environment. Its author is a login. A `retracted` one can't be read any more."""

    number: int
    created: datetime
    author: str
    tags: tuple[str, ...] = ()
    retracted: bool = False


def parse(printed: str) -> list[Revision]:
    """Return the revisions that the CLI printed, in its order."""
    return [
        Revision(
            int(found["number"]),
            # Go prints up to nine decimal places of a second, without trailing zeros.
            datetime.fromisoformat(f"{found['date']}T{found['time'][:15]}{found['offset']}"),
            found["author"],
            tuple(found["tags"].split(", ")) if found["tags"] else (),
            found["retracted"] is not None,
        )
        for found in _PRINTED.finditer(printed)
    ]
