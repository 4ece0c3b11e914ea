"""Checks of the inputs. Each returns the value, or raises `ValueError` with words that follow the input's name.

No error quotes the value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from sophia_sync.runtime.redact import SHORTEST
from sophia_sync.sentry import is_organization_slug, is_project_slug

# Maximum size of a value, in bytes. Linux takes no longer string in an environment (MAX_ARG_STRLEN).
LARGEST = 131_072
# Maximum number of inputs that GitHub takes with a dispatch.
MOST_INPUTS = 25

# Pulumi: "alphanumeric characters, hyphens, underscores, and periods". A part of dots alone would be a path upwards.
_ENVIRONMENT_PART = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# A label may begin with an underscore, as some in private networks do.
_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_DSN_FORM = "(a DSN is https://PUBLIC_KEY@HOST/PROJECT_ID)"
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a Sentry DSN", re.compile(r"https?://[^/@]+@[^/]+/.*")),
    ("a Sentry token", re.compile(r"sntry[a-z]_.*", re.DOTALL)),
    ("a Pulumi token", re.compile(r"pul-[0-9a-f]{16,}")),
    ("a GitHub token", re.compile(r"(gh[pousr]_|github_pat_).*", re.DOTALL)),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*", re.DOTALL)),
    ("an address", re.compile(r"https?://.*", re.DOTALL)),
)
_PLACEHOLDER = re.compile(
    r"\*+|x{3,}|<.*>|\[.*\]|your[-_ ].*|change[-_]?me|todo|tbd|fixme|placeholder|insert[-_ ].*|dummy|redacted"
    r"|https?://(x{3,}|examplePublicKey|<?public_?key>?|your[-_]?.*)@.*",
    re.IGNORECASE | re.DOTALL,
)

_PEM = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----\s.+\s-----END \1-----", re.DOTALL)


def kind_of(value: str) -> str | None:
    """Return the kind that a value looks like, to detect swapped inputs."""
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(value)), None)


def text(value: str) -> str:
    """Check that a value is text of at most `LARGEST` bytes, and that GitHub has filled it in."""
    if "\0" in value:
        raise ValueError("holds a NUL byte")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("isn't valid UTF-8") from None
    if size > LARGEST:
        raise ValueError(f"is larger than {LARGEST} bytes")
    if "${{" in value:
        raise ValueError("holds a literal `${{ … }}`, which GitHub did not fill in")
    return value


def given(value: str, *others: str) -> str:
    """Check that a value was filled in, and that its kind (see `kind_of`) isn't one of `others`."""
    if set(text(value)) <= {"*"}:
        raise ValueError("is `***`: it was copied from a log, where GitHub had masked it")
    if _PLACEHOLDER.fullmatch(value):
        raise ValueError("is a placeholder, not a value")
    kind = kind_of(value)
    if kind in others:
        raise ValueError(f"looks like {kind}: are two inputs swapped?")
    return value


def pasted(check: Callable[[str], str], *, required: bool = True) -> Callable[[str], str | None]:
    """Return a check that strips the white space that comes from pasting, and then calls `check`."""

    def strip_and_check(value: str) -> str | None:
        stripped = value.strip()
        if not stripped and required:
            raise ValueError("holds nothing but white space")
        return check(stripped) if stripped else None

    return strip_and_check


def secret(value: str) -> str:
    """Check a value of any form: ESC must be able to store it as a secret."""
    given(value, "a Sentry DSN", "a Sentry token", "a Pulumi token", "a GitHub token")
    return _literal(_maskable(value))


def _maskable(value: str) -> str:
    if len(" ".join(value.split())) < SHORTEST:
        raise ValueError(
            f"has fewer than {SHORTEST} characters: no log could hide it, because other words hold it as well"
        )
    return value


def _literal(value: str) -> str:
    if "${" in value:
        raise ValueError("holds `${`, which ESC takes for a reference and refuses in a secret")
    if _is_lost(value):
        raise ValueError(
            "is of several lines and begins with a line break or a tab: ESC can store that, but never show it again"
        )
    return value


def _is_lost(value: str) -> bool:
    """Return whether gopkg.in/yaml.v3 prints a string in a way that it can't read back.

    Pulumi's ESC prints decrypted secrets with it. It prints several lines as a literal block (`|`), unless one ends
    with a space or holds a character that needs an escape: `yaml_emitter_analyze_scalar` in its `emitterc.go`. A
    block then loses a line break at its beginning, and can't begin with a tab.
    """
    is_block = "\n" in value and not value.endswith(" ") and not _NEVER_IN_A_BLOCK.search(value)
    return is_block and value[0] in "\n\t\u2028\u2029"


_NEVER_IN_A_BLOCK = re.compile(" [\n\u2028\u2029]|[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe\uffff\U00010000-\U0010ffff]")


def _unbroken(value: str) -> str:
    if any(character.isspace() for character in value):
        raise ValueError("has white space or a line break within it")
    return value


def _printable(value: str, kind: str) -> None:
    if not _unbroken(value).isascii() or not value.isprintable():
        raise ValueError(f"holds characters that no {kind} has")


def sentry_token(value: str) -> str:
    """Check a Sentry API token."""
    given(value, "a Sentry DSN", "a Pulumi token", "a GitHub token", "an address", "a private key")
    return _header(_literal(value))


def pulumi_token(value: str) -> str:
    """Check a Pulumi access token."""
    return _header(given(value, "a Sentry DSN", "a Sentry token", "a GitHub token", "an address", "a private key"))


def github_token(value: str) -> str:
    """Check a GitHub token."""
    return _header(given(value, "a Sentry DSN", "a Sentry token", "a Pulumi token", "an address", "a private key"))


def _header(value: str) -> str:
    _printable(_maskable(value), "token")
    if value[0] == value[-1] and value[0] in "\"'":
        raise ValueError("stands in quotation marks")
    return value


def private_key(value: str) -> str:
    """Return a private key in PEM form. `\\n` stands for a line break, as some write it in secrets."""
    value = text(value).replace("\\n", "\n")
    if not _PEM.fullmatch(value.strip()):
        raise ValueError("isn't a private key in PEM form (-----BEGIN … PRIVATE KEY-----)")
    return value


def _split(value: str, form: str) -> SplitResult:
    # `urlsplit` drops tabs and line breaks, and takes almost anything for a host.
    _printable(value, "address")
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises for a port that isn't one
    except ValueError:
        raise ValueError(f"isn't an address like {form}") from None
    return parts


def _has_host(parts: SplitResult) -> bool:
    """Return whether an address has a host: a name, an IPv4 address, or an IPv6 address, which `urlsplit` checks."""
    host = parts.hostname or ""
    return ":" in host or _HOST.fullmatch(host) is not None


def dsn(value: str) -> str:
    """Check a DSN, `https://PUBLIC_KEY@HOST/PROJECT_ID`. An old one may have a secret key, and options after a `?`.

    Source: docs.sentry.io, "Data Source Name"; develop.sentry.dev, "Parsing the DSN".
    """
    given(value, "a Sentry token", "a Pulumi token", "a GitHub token", "a private key")
    parts = _split(_literal(value), "https://PUBLIC_KEY@HOST/PROJECT_ID")
    if parts.scheme not in ("https", "http"):
        raise ValueError(f"doesn't begin with https:// {_DSN_FORM}")
    if not parts.username or not re.fullmatch(r"[A-Za-z0-9_-]+", parts.username):
        raise ValueError(f"has no public key before the @ {_DSN_FORM}")
    if not _has_host(parts):
        raise ValueError(f"has no host after the @ {_DSN_FORM}")
    if not re.fullmatch(r"[0-9]+", parts.path.rpartition("/")[2]) or parts.fragment:
        raise ValueError(f"doesn't end with the project's number {_DSN_FORM}")
    return value


def _filled_in(value: str) -> str:
    if not value:
        raise ValueError("is empty (a missing secret arrives as an empty string)")
    return value


def extra_secret(value: str) -> str:
    """Check a further value: ESC must be able to store it as a secret."""
    return _literal(_maskable(given(_filled_in(value))))


def extra_variable(value: str) -> str:
    """Check a further value: ESC must be able to store it in plain text and hand it on unchanged."""
    if "${" in value or "$$" in value:
        raise ValueError("holds `${` or `$$`, in which ESC sees more than text")
    return text(_filled_in(value))


def organization_slug(value: str) -> str:
    """Check the slug of a Sentry organization."""
    given(value, *(kind for kind, _ in _KINDS))
    if not is_organization_slug(value):
        raise ValueError("isn't an organization's slug: letters, digits and hyphens, and no hyphen first")
    return value


def project_slug(value: str) -> str:
    """Check the slug of a Sentry project."""
    given(value, *(kind for kind, _ in _KINDS))
    if not is_project_slug(value):
        raise ValueError("isn't a project's slug: lower-case letters, digits, hyphens and underscores")
    return value


def environment(value: str) -> str:
    """Check the path of an environment, `organization/project/environment`."""
    value = given(value.strip(), *(kind for kind, _ in _KINDS))
    parts = value.split("/")
    if "@" in value:
        raise ValueError("names a version; only the environment itself can be written")
    if any(set(part) <= {"."} for part in parts if part):
        raise ValueError("has a part that is nothing but dots")
    if any(part.startswith("-") for part in parts):
        raise ValueError("has a part that begins with a hyphen, which the Pulumi CLI would take for an option")
    if len(parts) != 3 or not all(_ENVIRONMENT_PART.fullmatch(part) for part in parts):
        raise ValueError("isn't a path like organization/project/environment")
    return value


def versioned_environment(value: str) -> str:
    """Check the path of an environment: `organization/project/environment`, with or without `@version`."""
    path, at, version = value.partition("@")
    if at and not _VERSION.fullmatch(version):
        raise ValueError("has a version that is neither a revision number nor a tag")
    return environment(path) + at + version


def environments(value: str) -> tuple[str, ...]:
    """Return the paths of environments, given one a line."""
    lines = [line for line in value.splitlines() if line.strip()]
    if not lines:
        raise ValueError("holds nothing but white space")
    if len(lines) == 1:
        return (environment(lines[0]),)
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(environment(line))
        except ValueError as error:
            raise ValueError(f"has a line {number} that {error}") from None
    twice = sorted({one for one in found if found.count(one) > 1})
    if twice:
        raise ValueError(f"has {', '.join(twice)} twice")
    return tuple(found)


def url(value: str) -> str:
    """Return an https address without a query, and without a slash at its end. Take http for loopback only."""
    value = text(value.strip()).rstrip("/")
    parts = _split(value, "https://HOST")
    is_plain = _has_host(parts) and not ("@" in parts.netloc or parts.query or parts.fragment)
    if parts.scheme not in ("https", "http") or not is_plain:
        raise ValueError("isn't an address like https://HOST")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("isn't https: the token would travel in the clear")
    return value


def repository(value: str) -> str:
    """Return a repository, `owner/name`. GitHub refuses a name of one or two dots."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+/(?!\.\.?$)[A-Za-z0-9_.-]+", value.strip()):
        raise ValueError("isn't a repository like owner/name")
    return value.strip()


def workflow(value: str) -> str:
    """Return a workflow: its file name below .github/workflows, or its number."""
    name = text(value.strip())
    if not re.fullmatch(r"[0-9]{1,19}|[^/\\\s?#%]+\.ya?ml", name) or not name.isprintable():
        raise ValueError("isn't a workflow's file name or number")
    return value.strip()


def ref(value: str) -> str:
    """Return the name of a branch or tag. Source: git-check-ref-format(1)."""
    name = text(value.strip())
    forbidden = re.search(r"[\s~^:?*\[\\\x00-\x1f\x7f]|\.\.|@\{|//|/\.|\.lock(/|$)|\.$|/$|^[/.-]|^@$", name)
    if not name or forbidden:
        raise ValueError("isn't the name of a branch or tag")
    return value.strip()


def app_id(value: str) -> str:
    """Return a GitHub App's id (a number) or client id (`Iv…`)."""
    if not re.fullmatch(r"[0-9]+|Iv[A-Za-z0-9.]+", value.strip()):
        raise ValueError("isn't a GitHub App's id")
    return value.strip()


def _no_constant(name: str) -> None:
    """Refuse `NaN` and `Infinity`: Python's parser takes them, but they aren't JSON."""
    raise ValueError(name)


def _number(value: str) -> float:
    """Refuse a number such as `1e400`, which Python's parser takes for infinity."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def deploy_inputs(value: str) -> dict[str, Any]:
    """Parse a JSON object of inputs. Source: docs.github.com, "Create a workflow dispatch event"."""
    try:
        parsed = json.loads(text(value), parse_constant=_no_constant, parse_float=_number)
        json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no text") from None
    except (ValueError, RecursionError):
        raise ValueError("isn't JSON") from None
    if not isinstance(parsed, dict) or not all(isinstance(item, str | bool | int | float) for item in parsed.values()):
        raise ValueError("isn't a JSON object of strings, numbers and booleans")
    if len(parsed) > MOST_INPUTS:
        raise ValueError(f"has {len(parsed)} inputs; GitHub takes {MOST_INPUTS} at most")
    return parsed


def boolean(value: str) -> bool:
    """Parse `true` or `false`."""
    words = {"true": True, "false": False}
    if value.strip().lower() not in words:
        raise ValueError("is neither true nor false")
    return words[value.strip().lower()]


def seconds(value: str, largest: int) -> int:
    """Parse a number of seconds from 1 to `largest`."""
    if not re.fullmatch(r"[0-9]{1,6}", value.strip()) or not 1 <= int(value) <= largest:
        raise ValueError(f"isn't a number of seconds from 1 to {largest}")
    return int(value)
