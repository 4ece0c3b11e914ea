"""The one redactor: knows every secret of a run in all its forms, and stands before everything that we print."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

REPLACEMENT = "***"
# A shorter word occurs everywhere: hiding it would ruin every text and, by its places, still show it.
SHORTEST = 4


def forms(secret: str) -> frozenset[str]:
    """Every form in which `secret` could turn up in a text: itself, its single lines, and each of these
    URL-encoded, JSON-escaped (as Python and as Go do it), YAML-escaped (as we hand it over), and in base64 (standard
    and URL-safe, at any of the three alignments).
    """
    pieces = {secret, secret.strip(), *(line.strip() for line in secret.splitlines())}
    found = {form for piece in pieces if len(piece) >= SHORTEST for form in _forms(piece)}
    return frozenset(form for form in found if len(form) >= SHORTEST)


def _forms(piece: str) -> Iterable[str]:
    yield piece
    for safe in ("", "/"):
        yield quote(piece, safe=safe, errors="surrogatepass")
    yield quote_plus(piece, errors="surrogatepass")
    for ascii_only in (True, False):
        escaped = json.dumps(piece, ensure_ascii=ascii_only)[1:-1]
        yield escaped
        yield escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    if not _is_as_in_json(piece) and not any("\ud800" <= character <= "\udfff" for character in piece):
        from sophia_sync.esc.merge import quoted  # noqa: PLC0415 - few secrets need it, and it brings PyYAML

        yield quoted(piece)[1:-1]
    yield from _base64(piece.encode(errors="surrogatepass"))


def _is_as_in_json(piece: str) -> bool:
    """Whether YAML's double quotes escape it as JSON's do."""
    return piece.isascii() and piece.isprintable()


def _base64(data: bytes) -> Iterable[str]:
    # Characters that also hold bits of what stands before or after are left out: they vary.
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        last = (shift + len(data)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * shift + data).decode()[first:last]


class Redactor:
    """Replaces every form of every secret that it has been told of."""

    def __init__(self, secrets: Iterable[SecretStr] = ()) -> None:
        self._forms: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: SecretStr) -> None:
        """Hide `secret` from now on."""
        self._forms |= forms(secret.get_secret_value())

    def __call__(self, text: str) -> str:
        """`text` without any form of any secret; forms that overlap are hidden as one."""
        parts = []
        done = 0
        for start, end in _united(span for form in self._forms for span in _occurrences(form, text)):
            parts += [text[done:start], REPLACEMENT]
            done = end
        return "".join([*parts, text[done:]])


def _occurrences(form: str, text: str) -> Iterator[tuple[int, int]]:
    at = text.find(form)
    while at != -1:
        yield at, at + len(form)
        at = text.find(form, at + 1)


def _united(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in their order, those that overlap made one."""
    united: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if united and start < united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], end))
        else:
            united.append((start, end))
    return united
