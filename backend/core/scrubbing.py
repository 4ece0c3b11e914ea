"""Takes secrets out of what goes to Sentry: the known ones in all their forms, and what is shaped like one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from sophia_sync.redact import REPLACEMENT, Redactor

T = TypeVar("T")

# What tells a token from other text. Sources: docs.sentry.io "Auth Tokens", docs.github.com "About authentication to
# GitHub", pulumi.com "Access Tokens", RFC 7519 (JWT), RFC 7468 (PEM).
# It may begin behind an escaped character, `%20` or `\n`, which to \b is a word's end.
_START: Final = r"(?:(?<![0-9A-Za-z])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt]))"
_SHAPES: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", REPLACEMENT),
        (r"sntry[a-z]_[A-Za-z0-9+/=_-]{20,}", REPLACEMENT),
        (r"pul-[0-9a-f]{40}", REPLACEMENT),
        (r"(?:gh[oprsu]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})", REPLACEMENT),
        (_START + r"(?:AKIA|ASIA)[0-9A-Z]{16}\b", REPLACEMENT),
        (_START + r"(?:xox[a-z]-|sk-|[prs]k_(?:live|test)_)(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{16,}", REPLACEMENT),
        (_START + r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*", REPLACEMENT),
        # Sentry's tokens of old, and client secrets; not the digest of an image.
        (r"(?<!sha256:)" + _START + r"[0-9a-f]{64}(?![0-9A-Za-z])", REPLACEMENT),
        # Also a DSN: the key stands where a user's name and password do. In these `/` and `@` are URL-encoded, or the
        # whole address is.
        (r"(?i)((?::|%3A)//)[^\s/@\"']+(@)", rf"\1{REPLACEMENT}\2"),
        (r"(?i)((?::|%3A)(?:/|%2F){2})(?:(?!%2F|%40)[^\s/@\"'])+(@|%40)", rf"\1{REPLACEMENT}\2"),
        (r"(?i)\b(bearer|basic|token)(\s+|%20|\+)(?=[A-Za-z._~+/=-]*\d)[A-Za-z0-9._~+/=-]{16,}", rf"\1\2{REPLACEMENT}"),
        (
            r"(?i)((?:token|secret|passw(?:or)?d|api[_-]?key|credentials?|dsn)[\"']?\s*(?:[=:]|%3A|%3D)\s*[\"']?)"
            r"(?=[^\s\"'&,;]*\d)[^\s\"'&,;]{8,}",
            rf"\1{REPLACEMENT}",
        ),
    )
)
# A name whose value is hidden, whatever it is.
_NAME: Final = re.compile(
    r"token|secret|passw|pwd\b|credential|api[_-]?key|private[_-]?key|authorization|cookie|dsn\b", re.IGNORECASE
)
_PERCENT: Final = re.compile("%[0-9A-F]{2}")
# The shortest number that is hidden where it is named like a secret; a smaller one counts something.
_SHORTEST_NUMBER: Final = 1000
# Parts of an event that Sentry reads and no secret can be in.
_STRUCTURE: Final = frozenset(
    {"event_id", "timestamp", "start_timestamp", "type", "level", "platform", "sdk", "modules"}
)


class Scrubber:
    """Scrubs texts, and trees of them such as an event.

    Args:
        secrets: Gives the secrets that are known now; it is asked each time, and must not wait for anything.
    """

    def __init__(self, secrets: Callable[[], Iterable[SecretStr]]) -> None:
        self._secrets = secrets
        self._known: tuple[tuple[SecretStr, ...], Redactor] = ((), Redactor())

    def text(self, text: str) -> str:
        """`text` without secrets."""
        return _scrub_text(text, self._redactor())

    def tree(self, tree: T) -> T:
        """A copy without secrets, in values and in names; what is neither text nor number nor container stays."""
        return cast(T, _scrub(tree, self._redactor()))

    def event(self, event: T) -> T:
        """As `tree`, for an event of Sentry's: its identifiers stay as they are."""
        redact = self._redactor()
        parts = cast("dict[str, Any]", event)
        return cast(T, {key: value if key in _STRUCTURE else _scrub(value, redact) for key, value in parts.items()})

    def _redactor(self) -> Redactor:
        secrets = tuple(self._secrets())
        known, redactor = self._known
        if secrets != known:
            # A new one, not one added to: another thread may be using it.
            redactor = Redactor(SecretStr(text) for secret in secrets for text in _spellings(secret))
            self._known = (secrets, redactor)
        return redactor


def _spellings(secret: SecretStr) -> set[str]:
    """How a secret is spelled in Python's own texts and in addresses; a frame's variables are `repr`s, also of JSON."""
    text = secret.get_secret_value()
    found = {text}
    for _ in range(2):
        found |= {spelled for each in found for spelled in _spelled(each)}
    digits = text.encode("utf-8", "surrogatepass").hex()
    return found | {digits, digits.upper()}


def _spelled(text: str) -> Iterator[str]:
    data = text.encode("utf-8", "surrogatepass")
    yield json.dumps(text)[1:-1]
    # Among other text `repr` may have to escape a quote that it needn't escape in the secret alone.
    yield from (repr(text)[1:-1], repr('"' + text)[2:-1], ascii(text)[1:-1], ascii('"' + text)[2:-1])
    yield from (repr(data)[2:-1], repr(b'"' + data)[3:-1])
    for encoded in {quote(data, safe=""), quote(data, safe="/"), quote_plus(data)}:
        yield encoded
        yield _PERCENT.sub(lambda found: found[0].lower(), encoded)


def _scrub_text(text: str, redact: Redactor) -> str:
    text = redact(text)
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text


def _scrub(tree: object, redact: Redactor, *, hide: bool = False) -> object:
    """`hide` if what the tree belongs to is called like a secret."""
    match tree:
        case str():
            return REPLACEMENT if tree and hide else _scrub_text(tree, redact)
        case dict():
            return {
                _scrub_name(key, redact): _scrub(value, redact, hide=hide or _called_secret(key))
                for key, value in tree.items()
            }
        case list() | tuple():
            return [_scrub(item, redact, hide=hide) for item in tree]
        case int() | float() if redact(str(tree)) == REPLACEMENT or (hide and abs(tree) >= _SHORTEST_NUMBER):
            return REPLACEMENT
        case _:
            return tree


def _scrub_name(name: object, redact: Redactor) -> object:
    """A name in a tree; the SDK sends those that are no texts as their `str`."""
    return _scrub(name if isinstance(name, str | int | float | None) else str(name), redact)


def _called_secret(name: object) -> bool:
    return isinstance(name, str) and _NAME.search(name) is not None
