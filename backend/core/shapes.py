r"""Hide text that is shaped like a secret, without knowing the secret.

Sources: docs.sentry.io "Auth Tokens", pulumi.com "Access Tokens", docs.github.com "About authentication to GitHub",
docs.gitlab.com "Token overview", docs.npmjs.com "About access tokens", huggingface.co "User access tokens",
cloud.google.com "API keys" and "OAuth 2.0", RFC 7519 (JWT), RFC 7468 (PEM), the rules of gitleaks and of
detect-secrets. Those two lists aren't used as they are: they are made for files, and some patterns take quadratic time.

A pattern is a fixed beginning, followed by runs of characters. Each run is possessive (`*+`, `{0,9}+`): neither a match
nor an attempt at one backtracks into it. If many beginnings share a run, the first match takes all of it. The shape's
`hide` then decides by the whole match whether it is a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from ahocorasick_rs import BytesAhoCorasick

from sophia_sync.runtime.redact import REPLACEMENT

# A token may follow an escaped character such as `%20` or `\n`. That ends in a word character, so \b doesn't match.
_START: Final = r"(?:(?<![0-9A-Za-z])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt]))"
# The characters of a token.
_RUN: Final = r"[A-Za-z0-9_\-]"
_ALNUM: Final = re.compile("[0-9A-Za-z]")


class _Shape(NamedTuple):
    """One shape of a secret.

    Attributes:
        anchors: Strings in lower case. A text is searched only if it contains one of them.
        pattern: Matches what may be such a secret, with the groups that `hide` needs.
        hide: Returns the replacement of a match: the match itself if it is no secret.
    """

    anchors: tuple[str, ...]
    pattern: re.Pattern[str]
    hide: Callable[[re.Match[str]], str]


def _token(*beginnings: str, shortest: int, run: str = _RUN, digit: bool = False, word: bool = False) -> _Shape:
    """Return the shape of a token.

    Args:
        beginnings: The strings that it may begin with.
        shortest: Minimum number of characters after the beginning.
        run: The class of these characters.
        digit: Whether one of them must be a digit.
        word: Whether the beginning must start a word. Set it for a beginning that may also end a word.
    """
    literals = "|".join(map(re.escape, beginnings))
    pattern = re.compile(rf"{_START if word else ''}(?P<beginning>{literals}){run}*+")

    def hide(match: re.Match[str]) -> str:
        rest = match[0][len(match["beginning"]) :]
        is_one = len(rest) >= shortest and (not digit or any(map(str.isdecimal, rest)))
        return REPLACEMENT if is_one else match[0]

    return _Shape(tuple(beginning.lower() for beginning in beginnings), pattern, hide)


def _jwt(match: re.Match[str]) -> str:
    return REPLACEMENT if len(match[0]) >= 24 and match[0].count(".") >= 2 else match[0]


def _hexadecimal(match: re.Match[str]) -> str:
    run = match[0]
    before, after = match.string[max(0, match.start() - 7) : match.start()], match.string[match.end() : match.end() + 1]
    if before == "sha256:" or _ALNUM.match(after):
        return run  # the digest of an image
    # After a percent sign, the first two digits may belong to an escaped character.
    if len(run) == 66 and before.endswith("%"):
        return run[:2] + REPLACEMENT
    starts = not _ALNUM.match(before[-1:]) or before.endswith(("\\n", "\\r", "\\t"))
    return REPLACEMENT if len(run) == 64 and starts else run


def _user(match: re.Match[str]) -> str:
    """Hide what stands between `://` and the last `@` of the address's authority."""
    authority = match["authority"]
    at = max(authority.rfind("@"), authority.rfind("%40"))
    return match["before"] + REPLACEMENT + authority[at:] if at > 0 else match[0]


def _user_in_encoded(match: re.Match[str]) -> str:
    """Do the same for a URL-encoded address, whose authority ends at an encoded `/`, `?` or `#`."""
    authority, end, rest = _split_encoded(match["authority"])
    at = max(authority.rfind("@"), authority.rfind("%40"))
    return match["before"] + REPLACEMENT + authority[at:] + end + rest if at > 0 else match[0]


_ENCODED_END: Final = re.compile(r"%(?:2F|3F|23)", re.IGNORECASE)


def _split_encoded(text: str) -> tuple[str, str, str]:
    # If the whole address is encoded, an encoded slash in its password is encoded twice.
    end = _ENCODED_END.search(text)
    return (text[: end.start()], end[0], text[end.end() :]) if end else (text, "", "")


def _value(match: re.Match[str]) -> str:
    """Hide the value after a name and `=` or `:`, if it has at least eight characters, one of them a digit."""
    value = match["value"]
    is_folder = match["name"].lower() == "pwd" and value.startswith(("/", "~"))
    is_one = len(value) >= 8 and any(map(str.isdecimal, value)) and not is_folder
    return match[0][: -len(value)] + REPLACEMENT if is_one else match[0]


def _authorization(match: re.Match[str]) -> str:
    value = match["value"]
    is_one = len(value) >= 16 and any(map(str.isdecimal, value))
    return match[0][: -len(value)] + REPLACEMENT if is_one else match[0]


_GITLAB: Final = tuple(
    f"gl{kind}-" for kind in ("pat", "ptt", "dt", "rt", "rtr", "cbt", "ft", "soat", "agent", "imt", "ffct", "wt")
)
_PAYMENT: Final = tuple(f"{kind}k_{mode}_" for kind in "prs" for mode in ("live", "test"))

# Sentry's old tokens and its client secrets.
_HEXADECIMAL: Final = re.compile("[0-9a-f]{64}[0-9a-f]*+")
_SHAPES: Final = (
    # A private key: from its first to its last line, or to the end of the text.
    _Shape(
        ("-----begin ",),
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?s:.*?)"
            r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
        ),
        lambda _: REPLACEMENT,
    ),
    _token("sntry", shortest=22, run=r"[A-Za-z0-9+/=_\-]"),
    _token("pul-", shortest=40, run="[0-9a-f]"),
    _token("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", shortest=30, run="[A-Za-z0-9_]"),
    _token(*_GITLAB, shortest=20, run=r"[A-Za-z0-9_.\-]", digit=True, word=True),
    _token("npm_", shortest=36, run="[A-Za-z0-9]"),
    _token("pypi-", shortest=50),
    _token("hf_", "api_org_", shortest=30, run="[A-Za-z0-9]", word=True),
    # Google: an API key, an OAuth client's secret, an access token, a refresh token.
    _token("AIza", shortest=35),
    _token("GOCSPX-", shortest=24),
    _token("ya29.", shortest=20, word=True),
    _token("1//0", shortest=40, word=True),
    _token("AKIA", "ASIA", "ABIA", "ACCA", shortest=16, run="[0-9A-Z]", digit=True, word=True),
    _token(*(f"xox{letter}-" for letter in "abcdeoprs"), "xapp-", shortest=10, digit=True, word=True),
    _token(*_PAYMENT, "sk-", "whsec_", shortest=16, digit=True, word=True),
    _token("SG.", shortest=40, run=r"[A-Za-z0-9_.\-]", word=True),
    _token("dop_v1_", "doo_v1_", "dor_v1_", shortest=64, run="[0-9a-f]"),
    _token("shpat_", "shpca_", "shppa_", "shpss_", shortest=32, run="[0-9A-Fa-f]"),
    _Shape(("eyj",), re.compile(_START + r"eyJ[A-Za-z0-9_.\-]*+"), _jwt),
    # This also finds a DSN: its key stands in the place of a user name and password.
    _Shape(
        ("://", "%3a//"),
        re.compile(r"""(?i)(?P<before>(?::|%3A)//)(?P<authority>(?:(?!(?::|%3A)//)[^\s/?#"'<>\\])*+)"""),
        _user,
    ),
    _Shape(
        (":%2f", "%3a"),
        re.compile(
            r"(?i)(?P<before>(?::|%3A)(?:/|%2F){2})"
            r"""(?P<authority>(?:(?!(?::|%3A)(?:/|%2F){2})[^\s/?#&"'<>\\])*+)"""
        ),
        _user_in_encoded,
    ),
    # In `Bearer token …`, the value follows the last of these words.
    _Shape(
        ("bearer", "basic", "token"),
        re.compile(
            r"(?i)\b(?:bearer|basic|token)(?:\s{1,9}+|%20|\+)(?!(?:bearer|basic|token)(?:\s|%20|\+))"
            r"(?P<value>[A-Za-z0-9._~+/=\-]*+)"
        ),
        _authorization,
    ),
    _Shape(
        ("token", "secret", "passw", "pwd", "key", "credential", "dsn"),
        re.compile(
            r"(?i)(?P<name>token|secret|passw(?:or)?d|pwd|api[_-]?key|credentials?|dsn)(?:\\{0,4}+[\"'])?"
            r"\s{0,9}+(?:[=:]|%3A|%3D)\s{0,9}+(?:\\{0,4}+[\"'])?(?P<value>[^\s\"'&,;]*+)"
        ),
        _value,
    ),
)


# One automaton tells which shapes a text may hold: most texts hold none.
_ANCHORS: Final = [(anchor, number) for number, shape in enumerate(_SHAPES) for anchor in shape.anchors]
_AUTOMATON: Final = BytesAhoCorasick([anchor.encode() for anchor, _ in _ANCHORS])


def hide(text: str) -> str:
    """Return `text` without what is shaped like a secret."""
    lower = text.lower().encode("utf-8", "surrogatepass")
    found = {_ANCHORS[anchor][1] for anchor, _, _ in _AUTOMATON.find_matches_as_indexes(lower, overlapping=True)}
    for number in sorted(found):
        text = _SHAPES[number].pattern.sub(_SHAPES[number].hide, text)
    return _HEXADECIMAL.sub(_hexadecimal, text) if len(text) >= 64 else text
