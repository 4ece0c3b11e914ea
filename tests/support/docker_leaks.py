"""Find secrets in texts and files, in any form that a reader could turn back into the secret.

It shares no code with the action's redactor, because it judges the redactor.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus


def forms(secret: str) -> Iterator[str]:
    """Yield the secret as it is, percent-encoded, JSON-escaped, in hexadecimal and in base64."""
    yield secret
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret))
    yield json.dumps(secret)[1:-1]
    yield secret.encode().hex()
    for before in range(3):
        # In a longer text, the characters at both ends also depend on the text around the secret.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * before + secret.encode()).decode().rstrip("=")[before and before + 1 : -1]


def held_by(text: str, secrets: Iterable[str]) -> list[str]:
    """Return the forms of `secrets` that occur in `text`."""
    return [form for secret in secrets for form in forms(secret) if form in text]


def held_by_files(paths: Iterable[Path], secrets: Iterable[str]) -> list[str]:
    """Return the forms of `secrets` that occur in the files or in their names."""
    known = list(secrets)
    return [
        f"{path}: {form}"
        for path in paths
        for form in held_by(f"{path}\n{path.read_bytes().decode('utf-8', 'replace')}", known)
    ]
