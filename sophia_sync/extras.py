"""`extra-secrets` and `extra-variables`: further keys, given as dotenv lines.

The grammar is python-dotenv's, without its interpolation: a value is exactly what stands there, or between its quotes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator

from pydantic import SecretStr

from sophia_sync import checks

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
# What they hold is no value but settings for those who open the environment (pulumi.com/docs, "ESC syntax reference").
_RESERVED = frozenset({"environmentVariables", "files", "pulumiConfig"})
_OURS = re.compile(r"SENTRY_(DSN|API_TOKEN|ORGANIZATION_SLUG|PROJECT_SLUG|CLIENT_SECRET)")
_QUOTES = ("'", '"')


def secrets(given: str) -> dict[str, SecretStr]:
    """Read `KEY=value` lines, to be stored encrypted.

    Raises:
        ValueError: With the line or the key that is wrong, and without any value.
    """
    return {key: SecretStr(value) for key, value in _read(given, checks.extra_secret).items()}


def variables(given: str) -> dict[str, str]:
    """The same for `KEY=value` lines that are stored in plain text."""
    return _read(given, checks.extra_variable)


def values(given: str) -> Iterator[SecretStr]:
    """Every value that can be made out, whether all is well-formed or not: to be hidden before anything is printed."""
    for _, _, value in _bindings(given):
        if value:
            yield SecretStr(value)


def _read(given: str, check: Callable[[str], str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line, key, value in _bindings(given):
        if key is None or value is None:
            raise ValueError(f"has a line {line} that isn't KEY=value (put quotes around a value of several lines)")
        if not _KEY.fullmatch(key):
            raise ValueError(f"has a key in line {line} that isn't made of letters, digits and underscores")
        if key in _RESERVED or _OURS.fullmatch(key):
            raise ValueError(f"has {key} in line {line}, which is not for further keys")
        if key in found:
            raise ValueError(f"has {key} twice")
        try:
            found[key] = check(value)
        except ValueError as error:
            raise ValueError(f"has a value for {key} that {error}") from None
    return found


def _bindings(given: str) -> Iterator[tuple[int, str | None, str | None]]:
    """The number of each line that is no comment, its key, and its value; None for what isn't as it should be."""
    from dotenv.parser import parse_stream  # noqa: PLC0415 - only the few that give further keys need it

    for binding in parse_stream(io.StringIO(given)):
        if not binding.error and binding.key is None:
            continue  # a comment, or nothing
        # Blank lines before it count as part of it.
        text = binding.original.string
        line = binding.original.line + len(text[: len(text) - len(text.lstrip())].splitlines())
        cut = not binding.error and _cuts_a_value(text, binding.value)
        yield line, binding.key, None if cut else binding.value


def _cuts_a_value(text: str, value: str | None) -> bool:
    """Whether what follows an unquoted value was taken for a comment: it may as well be a part of a secret."""
    right = text.partition("=")[2].strip()
    return not right.startswith(_QUOTES) and right != value
