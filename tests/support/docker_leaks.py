"""Whether a text or a file holds a secret, in any form that a reader could turn back into it.

Written apart from the action's own redactor, which it judges.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus


def forms(secret: str) -> Iterator[str]:
    """The secret as it is, percent-encoded, JSON-escaped, in hexadecimal and in base64."""
    yield secret
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret))
    yield json.dumps(secret)[1:-1]
    yield secret.encode().hex()
    for before in range(3):
        # Within a longer text; the characters at the ends also depend on what stands around.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * before + secret.encode()).decode().rstrip("=")[before and before + 1 : -1]


def held_by(text: str, secrets: Iterable[str]) -> list[str]:
    """The forms of `secrets` that occur in `text`."""
    return [form for secret in secrets for form in forms(secret) if form in text]


def held_by_files(paths: Iterable[Path], secrets: Iterable[str]) -> list[str]:
    """The forms of `secrets` that occur in these files, their names included."""
    known = list(secrets)
    return [
        f"{path}: {form}"
        for path in paths
        for form in held_by(f"{path}\n{path.read_bytes().decode('utf-8', 'replace')}", known)
    ]
