"""The one redactor: knows every secret of a run in all its forms, and stands before everything that we print."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

REPLACEMENT = "***"
# A shorter word occurs everywhere: hiding it would ruin every text and, by its places, still show it.
SHORTEST = 4


def forms(secret: str) -> frozenset[str]:
    """Every form in which `secret` could turn up in a text: itself, its single lines, and each of these
    URL-encoded, JSON-escaped, and in base64 (standard and URL-safe, at any of the three alignments).
    """
    pieces = {secret, secret.strip(), *(line.strip() for line in secret.splitlines())}
    found = {form for piece in pieces if len(piece) >= SHORTEST for form in _forms(piece)}
    return frozenset(form for form in found if len(form) >= SHORTEST)


def _forms(piece: str) -> Iterable[str]:
    yield piece
    for safe in ("", "/"):
        yield quote(piece, safe=safe)
    yield quote_plus(piece)
    for ascii_only in (True, False):
        yield json.dumps(piece, ensure_ascii=ascii_only)[1:-1]
    yield from _base64(piece.encode("utf-8", "surrogatepass"))


def _base64(data: bytes) -> Iterable[str]:
    for shift in range(3):
        # Characters that also hold bits of what stands before or after are left out: they vary.
        first = -(-8 * shift // 6)
        last = (shift + len(data)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * shift + data).decode()[first:last]


class Redactor:
    """Replaces every form of every secret that it has been told of."""

    def __init__(self, secrets: Iterable[SecretStr] = ()) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: SecretStr) -> None:
        """Hide `secret` from now on."""
        self._forms |= forms(secret.get_secret_value())
        longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """`text` without any form of any secret."""
        return self._pattern.sub(REPLACEMENT, text) if self._pattern else text
