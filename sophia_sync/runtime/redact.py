"""Hide secrets in texts, whatever form they take there. docs/security.md lists the forms."""

from __future__ import annotations

import base64
import itertools
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from os.path import commonprefix
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

REPLACEMENT = "***"
# Minimum length of a form to hide, in characters. Every text holds shorter words: hiding one would ruin the text, and
# the gaps would reveal it.
SHORTEST = 4
# Length of a line of base64, in characters; RFC 2045, section 6.8.
_BASE64_COLUMNS = 76

_PERCENT = re.compile("%[0-9A-F]{2}")
_UNICODE = re.compile(r"\\u[0-9a-f]{4}")
# As html.escape, MarkupSafe, Go's html/template, PHP's htmlspecialchars and XML write them.
_DOUBLE_QUOTES = ('"', "&quot;", "&#34;")
_SINGLE_QUOTES = ("'", "&#x27;", "&#39;", "&#039;", "&apos;")
# YAML 1.2, section 5.7; libyaml escapes all other characters outside printable ASCII by their numbers.
_YAML_ESCAPES = dict(zip('\0\a\b\t\n\v\f\r\x1b\x85\xa0\u2028\u2029"\\', '0abtnvfreN_LP"\\', strict=True))
_YAML_ESCAPED = re.compile(r'[^ -~]|["\\]')


# What Python's quote, JavaScript's encodeURIComponent and encodeURI, and Go's url.PathEscape leave as it is.
_KEPT_IN_ADDRESSES = ("", "/", "!'()*", "!#$&'()*+,/:;=?@", "$&+:=@")


def forms(secret: str) -> frozenset[str]:
    """Return every form in which a text may hold `secret`.

    These are the forms of the whole secret, of the secret with its white space collapsed, and of each of its lines.
    """
    pieces = {piece.strip() for piece in (secret, *secret.splitlines())}
    pieces |= {" ".join(piece.split()) for piece in pieces}
    found = {form for piece in pieces | {secret} if len(piece) >= SHORTEST for form in _forms(piece)}
    return frozenset(form for form in found if len(form) >= SHORTEST)


def _forms(piece: str) -> Iterator[str]:
    yield piece
    yield from _percent_encoded(piece)
    yield from _json_escaped(piece)
    yield from _html_escaped(piece)
    yield piece.replace("'", "''")
    yield _YAML_ESCAPED.sub(_yaml_escape, piece)
    data = piece.encode(errors="surrogatepass")
    yield from (data.hex(), data.hex().upper())
    yield from _base64(data)


def _percent_encoded(piece: str) -> Iterator[str]:
    """Encode once, and twice."""
    found = {quote(piece, safe=safe, errors="surrogatepass") for safe in _KEPT_IN_ADDRESSES}
    found.add(quote_plus(piece, errors="surrogatepass"))
    for encoded in found | {quote(once, safe="") for once in found}:
        yield encoded
        yield _PERCENT.sub(lambda match: match[0].lower(), encoded)


def _json_escaped(piece: str) -> Iterator[str]:
    """Yield a piece as JSON encoders escape it: once and twice, with digits in lower and upper case."""
    for steps in itertools.product(
        (_json_ascii, _json_unicode), _JSON_NUMBERED, (_same, _escape_slash), (_same, _upper_escapes)
    ):
        once = _in_steps(piece, steps)
        yield once
        yield _in_steps(once, steps)


def _in_steps(text: str, steps: Iterable[Callable[[str], str]]) -> str:
    for step in steps:
        text = step(text)
    return text


def _numbered(characters: Iterable[str], text: str) -> str:
    for character in characters:
        text = text.replace(character, f"\\u{ord(character[-1]):04x}")
    return text


# What JSON encoders write as a number besides: none; PHP; Go; Gson; .NET's System.Text.Json.
_JSON_NUMBERED = tuple(
    partial(_numbered, characters)
    for characters in ("", "<>&", "<>&\u2028\u2029", "<>&='\u2028\u2029", ("<", ">", "&", "'", "+", "`", '\\"'))
)


def _json_ascii(text: str) -> str:
    return json.dumps(text)[1:-1]


def _json_unicode(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _same(text: str) -> str:
    return text


def _escape_slash(text: str) -> str:
    return text.replace("/", "\\/")


def _upper_escapes(text: str) -> str:
    return _UNICODE.sub(lambda match: f"\\u{match[0][2:].upper()}", text)


def _html_escaped(piece: str) -> Iterator[str]:
    markup = piece.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for double, single in itertools.product(_DOUBLE_QUOTES, _SINGLE_QUOTES):
        yield markup.replace('"', double).replace("'", single)


def _yaml_escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    short = _YAML_ESCAPES.get(match[0])
    return f"\\{short}" if short else f"\\x{number:02X}" if number < 0x100 else _yaml_number(number)


def _yaml_number(number: int) -> str:
    return f"\\u{number:04X}" if number < 0x10000 else f"\\U{number:08X}"


def _base64(data: bytes) -> Iterator[str]:
    """Encode at each of the three alignments, and alone in lines of 76 columns.

    Leave out the characters that also hold bits of the text before or after, because they vary.
    """
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift, first in ((0, 0), (1, 2), (2, 3)):
            last = (shift + len(data)) * 8 // 6
            yield encode(b"\0" * shift + data).decode()[first:last]
        alone = encode(data).decode()[: len(data) * 8 // 6]
        lines = [alone[at : at + _BASE64_COLUMNS] for at in range(0, len(alone), _BASE64_COLUMNS)]
        yield from (*lines, "\n".join(lines), "\r\n".join(lines))


class Redactor:
    """A function that replaces every form of every secret that was added to it.

    The time for a text grows with its length, and hardly with the number of secrets: forms with the same first
    characters are in one sorted list.
    """

    def __init__(self, secrets: Iterable[SecretStr] = ()) -> None:
        self._secrets: dict[SecretStr, frozenset[str]] = {}
        self._forms: dict[str, list[str]] = {}
        self._longest: dict[str, int] = {}
        for secret in secrets:
            self.add(secret)

    def add(self, secret: SecretStr) -> frozenset[str]:
        """Hide `secret` from now on. Return its forms."""
        if secret in self._secrets:
            return self._secrets[secret]
        found = self._secrets[secret] = forms(secret.get_secret_value())
        for form in found:
            start = form[:SHORTEST]
            self._longest[start] = max(self._longest.get(start, 0), len(form))
            alike = self._forms.setdefault(start, [])
            at = bisect_left(alike, form)
            if alike[at : at + 1] != [form]:
                alike.insert(at, form)
        return found

    def __call__(self, text: str) -> str:
        """Return `text` without any form of any secret. Forms that overlap are replaced as one."""
        parts = []
        done = 0
        for start, end in self._spans(text):
            parts += [text[done:start], REPLACEMENT]
            done = end
        return "".join([*parts, text[done:]])

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the spans of the forms in order. Forms that overlap are one span."""
        start = end = 0
        for at in range(len(text) - SHORTEST + 1 if self._forms else 0):
            first = text[at : at + SHORTEST]
            alike = self._forms.get(first)
            length = _longest(alike, text[at : at + self._longest[first]]) if alike else 0
            if not length:
                continue
            if at >= end:
                if end:
                    yield start, end
                start = at
            end = max(end, at + length)
        if end:
            yield start, end


def _longest(alike: list[str], text: str) -> int:
    """Return the length of the longest of the sorted forms `alike` that `text` begins with, 0 if there is none.

    Such a form sorts before the text, and every form between the two begins with it as well.
    """
    while (place := bisect_right(alike, text)) > 0:
        form = alike[place - 1]
        if text.startswith(form):
            return len(form)
        text = commonprefix([form, text])  # noqa: RUF071 - by characters, as wanted
    return 0
