"""`extra-secrets` and `extra-variables`: further keys, given as dotenv lines.

The grammar is python-dotenv's, without its interpolation, except for single quotes. A value in single quotes is kept
as it is, backslashes and single quotes included, and ends at the first quote that ends its line. A text that could be a
comment or a part of a secret is refused.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pydantic import SecretStr

from sophia_sync.settings import checks

if TYPE_CHECKING:
    from dotenv.parser import Reader

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
# Keys under which ESC keeps settings for consumers (pulumi.com/docs, "ESC syntax reference").
_RESERVED = frozenset({"environmentVariables", "files", "pulumiConfig"})
# ESC refuses a definition with these keys. YAML doesn't read `true`, `false` and `null` as text. ESC reserves the
# others (pulumi/esc, eval.go, `isReserveTopLevelKey`).
_REFUSED = frozenset(form for word in ("true", "false", "null") for form in (word, word.title(), word.upper())) | {
    "imports",
    "context",
    "environments",
}
_OURS = re.compile(r"SENTRY_(DSN|API_TOKEN|ORGANIZATION_SLUG|PROJECT_SLUG|CLIENT_SECRET)")

_SPACE = re.compile(r"\s*")
_REST_OF_LINE = re.compile(r"[^\r\n]*")
_OPENED = re.compile(r"(?:export[^\S\r\n]+)?([^=\#'\s]+)[^\S\r\n]*=[^\S\r\n]*'")
_QUOTED = re.compile(rf"{_OPENED.pattern}(.*?)'[^\S\r\n]*(?=[\r\n]|\Z)", re.DOTALL)
# In a value of several lines: what may be a comment after a quote, or the next key with its quoted value.
_TWO_READINGS = re.compile(r"'[^\S\r\n]+\#|[\r\n]\s*(?:export\s+)?[A-Za-z_]\w*[^\S\r\n]*=[^\S\r\n]*'")
_DOUBLE_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)

_NO_BINDING = "that isn't KEY=value (put quotes around a value of several lines)"
# Such a line may be the end of a value of several lines in padded base64, so no message shows its key.
_NO_VALUE = "without a value (a missing secret arrives as an empty string; put quotes around a value of several lines)"
_MORE = "with more after a closing quote (give a comment a line of its own)"


class _Line(NamedTuple):
    """One `KEY=value`, of one line or several. `refusal` says why it is refused, or is empty."""

    number: int
    text: str
    key: str = ""
    value: str = ""
    refusal: str = ""


def secrets(given: str) -> dict[str, SecretStr]:
    """Read `KEY=value` lines, to be stored encrypted.

    Raises:
        ValueError: A line is wrong. The text names the line or its key, and no value.
    """
    return {key: SecretStr(value) for key, value in _read(given, checks.extra_secret).items()}


def variables(given: str) -> dict[str, str]:
    """Read `KEY=value` lines, to be stored in plain text. See `secrets`."""
    return _read(given, checks.extra_variable)


def values(given: str) -> Iterator[SecretStr]:
    """Yield every value that can be found, well-formed or not, to hide it before anything is printed."""
    for line in _lines(given):
        for value in _plausible(line) if line.refusal else (line.value,):
            if value:
                yield SecretStr(value)


def _read(given: str, check: Callable[[str], str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, _, key, value, refusal in _lines(given):
        if refusal:
            raise ValueError(f"has a line {number} {refusal}")
        if not _KEY.fullmatch(key):
            raise ValueError(f"has a key in line {number} that isn't made of letters, digits and underscores")
        if key in _RESERVED | _REFUSED or _OURS.fullmatch(key):
            raise ValueError(f"has {key} in line {number}, which is not for further keys")
        if key in found:
            raise ValueError(f"has {key} twice")
        try:
            found[key] = check(value)
        except ValueError as error:
            raise ValueError(f"has a value for {key} that {error}") from None
    return found


def _lines(given: str) -> Iterator[_Line]:
    """Yield the lines that are neither blank nor a comment."""
    from dotenv.parser import Reader  # noqa: PLC0415 - only the few that give further keys need it

    reader = Reader(io.StringIO(given, newline=""))
    while reader.read_regex(_SPACE) is not None and reader.has_next():
        if reader.peek(1) == "#":
            reader.read_regex(_REST_OF_LINE)
        elif _OPENED.match(reader.string, reader.position.chars):
            yield _single_quoted(reader)
        else:
            yield _other(reader)


def _single_quoted(reader: Reader) -> _Line:
    number = reader.position.line
    quoted = _QUOTED.match(reader.string, reader.position.chars)
    if quoted and not (set(quoted[2]) & set("\r\n") and _TWO_READINGS.search(quoted[2])):
        key, value = reader.read_regex(_QUOTED)
        return _Line(number, quoted[0], key, value)
    # Skip only this line: the next ones may be well-formed, and their values must be hidden.
    reader.set_mark()
    reader.read_regex(_REST_OF_LINE)
    text = reader.get_marked().string
    is_closed = "'" in _OPENED.sub("", text, count=1)
    return _Line(number, text, value=quoted[2] if quoted else "", refusal=_MORE if is_closed else _NO_BINDING)


def _other(reader: Reader) -> _Line:
    from dotenv.parser import parse_binding  # noqa: PLC0415 - as above

    number = reader.position.line
    binding = parse_binding(reader)
    text = binding.original.string.strip()
    key, value = binding.key or "", binding.value or ""
    right = text.partition("=")[2].strip()
    if binding.error or binding.value is None:
        refusal = _NO_BINDING
    elif right.startswith('"'):
        refusal = "" if _DOUBLE_QUOTED.fullmatch(right) else _MORE
    elif not right.strip("= \t"):
        refusal = _NO_VALUE
    else:  # The text after the value was read as a comment, but it may be a part of a secret.
        refusal = "" if right == value else _NO_BINDING
    return _Line(number, text, key, value, refusal)


def _plausible(line: _Line) -> Iterator[str]:
    """Return the parts of a refused line that may have been meant as a secret."""
    right = line.text.partition("=")[2].strip()
    yield from (line.text, line.value, right)
    if line.refusal == _NO_VALUE:
        yield line.key
    for quote in ("'", '"'):
        if right.startswith(quote):
            yield from (right[1:], right[1:].partition(quote)[0], right[1:].rpartition(quote)[0])
