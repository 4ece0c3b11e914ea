"""Hide secrets in what goes to Sentry: known secrets in all their forms, and text that is shaped like a secret.

The time to scrub a text depends on its length, not on its content, because anybody who can send the application a text
can send any text. So each shape consumes the characters that it looks at, and reads no part of a text twice.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar, cast
from urllib.parse import quote, quote_plus

from ahocorasick_rs import BytesAhoCorasick
from pydantic import SecretStr

from backend.core import shapes
from backend.core.structure import EVENT, LOG, METRIC, Kept, Parts
from sophia_sync.runtime.redact import REPLACEMENT, SHORTEST, forms

T = TypeVar("T")

SHORTEST_ANYWHERE: Final = 8
"""Minimum characters of a secret that is hidden anywhere. A shorter one is hidden only where it stands alone."""
LONGEST_TEXT: Final = 100_000
"""Maximum characters of one text that are scrubbed and sent. The rest is left out."""
LONGEST_TREE: Final = 1_000_000
"""Maximum characters of one event that are scrubbed and sent. Sentry accepts at most 1 MB."""
DEEPEST: Final = 100
"""Maximum levels of one event that are scrubbed and sent."""

# Characters that are scrubbed beyond the end of what is sent: more than any form of a one-line secret has.
_MARGIN: Final = 10_000
# Maximum number of names whose scrubbed form is cached.
_MOST_NAMES: Final = 1000
# Maximum characters of a name; a longer one isn't sent.
_LONGEST_NAME: Final = 1000
# Names under which every text is hidden.
_NAME: Final = re.compile(
    r"token|secret|passw|pwd\b|credential|api[_-]?key|private[_-]?key|authorization|cookie|dsn\b", re.IGNORECASE
)
_PERCENT: Final = re.compile("%[0-9A-F]{2}")
_ESCAPE_BEFORE: Final = re.compile(rb"(?:\\[nrt]|%[0-9A-Fa-f]{2})\Z")
_WORD: Final = re.compile(rb"[0-9A-Za-z_\x80-\xff]")

logger = logging.getLogger(__name__)


class Scrubber:
    """A scrubber of texts, and of trees of texts such as events.

    Args:
        secrets: Returns the secrets that are known now. It is called for each text or tree, and must not block.
    """

    def __init__(self, secrets: Callable[[], Iterable[SecretStr]]) -> None:
        self._secrets = secrets
        # This is only ever replaced as a whole, because other threads and forked children may be using it.
        self._known: tuple[tuple[SecretStr, ...], _Known] = ((), _Known(()))
        self._warned: set[SecretStr] = set()

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        return _Scrub(self._current()).text(text)

    def tree(self, tree: T, parts: Parts | None = None) -> T:
        """Return a copy without secrets in its values and names. Only texts and numbers change.

        Args:
            tree: A value that JSON can hold.
            parts: The parts that Sentry needs unchanged.
        """
        return cast(T, _Scrub(self._current()).tree(tree, parts or {}))

    def event(self, event: T) -> T:
        """Return an event or a transaction without secrets. The parts that Sentry groups by and reads stay."""
        return self.tree(event, EVENT)

    def log(self, log: T) -> T:
        """Return a structured log line without secrets."""
        return self.tree(log, LOG)

    def metric(self, metric: T) -> T:
        """Return a metric without secrets."""
        return self.tree(metric, METRIC)

    def _current(self) -> _Known:
        secrets = tuple(self._secrets())
        known, found = self._known
        if secrets != known:
            found = _Known(secrets)
            self._known = (secrets, found)
            self._warn(secrets)
        return found

    def _warn(self, secrets: Iterable[SecretStr]) -> None:
        """Warn once about each short secret."""
        short = {secret for secret in secrets if 0 < len(secret.get_secret_value()) < SHORTEST_ANYWHERE} - self._warned
        self._warned |= short
        for secret in short:
            how = "only where it stands alone" if len(secret.get_secret_value()) >= SHORTEST else "nowhere"
            logger.warning(
                "A secret has fewer than %d characters, and is hidden from Sentry %s. Use a longer one.",
                SHORTEST_ANYWHERE,
                how,
            )


class _Known:
    """The known secrets in all their forms, as one automaton. It reads a text once, however many secrets there are."""

    def __init__(self, secrets: Iterable[SecretStr]) -> None:
        anywhere: set[str] = set()
        alone: set[str] = set()
        for secret in secrets:
            text = secret.get_secret_value()
            if len(text) < SHORTEST_ANYWHERE:
                alone |= _spellings(text) if len(text) >= SHORTEST else set()
                continue
            for form in {form for spelling in _spellings(text) for form in forms(spelling)}:
                (anywhere if len(form) >= SHORTEST_ANYWHERE else alone).add(form)
        patterns = [_encoded(form) for form in sorted(anywhere)]
        self._first_alone = len(patterns)
        patterns += [_encoded(form) for form in sorted(alone - anywhere)]
        self._automaton = BytesAhoCorasick(patterns) if patterns else None
        self._names: dict[str, str] = {}

    def hide(self, text: str) -> str:
        """Return `text` without any form of a secret; forms that overlap are hidden as one."""
        if self._automaton is None:
            return text
        data = _encoded(text)
        spans = [
            (start, end)
            for pattern, start, end in self._automaton.find_matches_as_indexes(data, overlapping=True)
            if pattern < self._first_alone or _stands_alone(data, start, end)
        ]
        if not spans:
            return text
        parts = []
        done = 0
        for start, end in _united(spans):
            parts += [data[done:start], REPLACEMENT.encode()]
            done = end
        return b"".join([*parts, data[done:]]).decode("utf-8", "surrogatepass")

    def name(self, name: str) -> str:
        """Return a name in a tree without secrets. Cache the result, because the same few names recur."""
        if len(name) > _LONGEST_NAME:
            return REPLACEMENT
        found = self._names.get(name)
        if found is None:
            found = shapes.hide(self.hide(name))
            if len(self._names) < _MOST_NAMES:
                self._names[name] = found
        return found

    def is_hidden(self, number: float) -> bool:
        """Return whether a number is itself a secret, and too long to be an everyday number."""
        text = str(number)
        return len(text) >= SHORTEST_ANYWHERE and self.hide(text) == REPLACEMENT


class _Scrub:
    """One pass over a text or a tree. It scrubs a repeated text once."""

    def __init__(self, known: _Known) -> None:
        self._known = known
        self._seen: dict[str, str] = {}
        self._left = LONGEST_TREE

    def text(self, text: str) -> str:
        found = self._seen.get(text)
        if found is None:
            length = min(len(text), LONGEST_TEXT, self._left)
            self._left -= length
            # A secret is recognized only as a whole. So the scrub reads beyond the cut; that part isn't sent.
            looked_at = text[: length + _MARGIN] if length else ""
            found = shapes.hide(self._known.hide(looked_at))
            if length < len(text):
                found = found[: max(0, len(found) + length - len(looked_at))] + REPLACEMENT
            self._seen[text] = found
        return found

    def tree(self, tree: object, parts: Parts, *, hide: bool = False, depth: int = 0) -> object:
        """Return a copy without secrets.

        Args:
            tree: The tree.
            parts: Its parts that stay as they are, by name.
            hide: Whether it stands under a name like that of a secret.
            depth: Its levels below the top.
        """
        match tree:
            case str():
                return REPLACEMENT if tree and hide else self.text(tree)
            case dict() | list() | tuple() if depth > DEEPEST:
                return REPLACEMENT
            case dict():
                return {
                    self._name(key): self._part(key, value, parts, hide=hide, depth=depth)
                    for key, value in tree.items()
                }
            case list() | tuple():
                return [self.tree(item, parts, hide=hide, depth=depth + 1) for item in tree]
            case int() | float() if not isinstance(tree, bool) and self._known.is_hidden(tree):
                return REPLACEMENT
            case _:
                return tree

    def _part(self, name: object, value: object, parts: Parts, *, hide: bool, depth: int) -> object:
        kept = parts.get(name) if isinstance(name, str) else None
        if kept is Kept.WHOLE:
            return value
        if kept is Kept.VALUES:
            return self._names(value, depth)
        hide = kept is None and (hide or _called_secret(name))
        return self.tree(value, kept or {}, hide=hide, depth=depth + 1)

    def _names(self, tree: object, depth: int) -> object:
        """Return a copy in which only names are scrubbed."""
        match tree:
            case dict() | list() | tuple() if depth > DEEPEST:
                return REPLACEMENT
            case dict():
                return {self._name(key): self._names(value, depth + 1) for key, value in tree.items()}
            case list() | tuple():
                return [self._names(item, depth + 1) for item in tree]
            case _:
                return tree

    def _name(self, name: object) -> object:
        """Scrub a name. The SDK sends a name that isn't text as its `str`."""
        if isinstance(name, int | float) and self._known.is_hidden(name):
            return REPLACEMENT
        return name if isinstance(name, int | float | None) else self._known.name(str(name))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _stands_alone(data: bytes, start: int, end: int) -> bool:
    """Return whether no letter, digit or underscore touches a span. An escape such as `\\n` may stand before it."""
    before = not _WORD.match(data, start - 1) if start else True
    return (before or _ESCAPE_BEFORE.search(data, max(0, start - 3), start) is not None) and not _WORD.match(data, end)


def _united(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the spans in order. Yield overlapping spans as one."""
    start = end = -1
    for next_start, next_end in sorted(spans):
        if next_start < end:
            end = max(end, next_end)
            continue
        if end >= 0:
            yield start, end
        start, end = next_start, next_end
    yield start, end


def _spellings(text: str) -> set[str]:
    """Return the spellings of a secret in Python's own texts and in URLs, and the spellings of those.

    The variables of a stack frame are sent as their `repr`, and may themselves be JSON.
    """
    found = {text}
    for _ in range(2):
        found |= {spelled for each in found for spelled in _spelled(each)}
    digits = _encoded(text).hex()
    return found | {digits, digits.upper()}


def _spelled(text: str) -> Iterator[str]:
    data = _encoded(text)
    yield json.dumps(text)[1:-1]
    # Within a longer text, `repr` may escape a quote that it leaves as it is in the secret alone.
    yield from (repr(text)[1:-1], repr('"' + text)[2:-1], ascii(text)[1:-1], ascii('"' + text)[2:-1])
    yield from (repr(data)[2:-1], repr(b'"' + data)[3:-1])
    for encoded in {quote(data, safe=""), quote(data, safe="/"), quote_plus(data)}:
        yield encoded
        yield _PERCENT.sub(lambda found: found[0].lower(), encoded)


def _called_secret(name: object) -> bool:
    return _NAME.search(str(name)) is not None
