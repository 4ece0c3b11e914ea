"""The redactor hides every form of a secret that docs/security.md lists."""

from __future__ import annotations

import base64
import cProfile
import html
import json
import pstats
import re
import urllib.parse
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from sophia_sync.runtime.redact import REPLACEMENT, SHORTEST, Redactor, forms
from tests.support.examples import examples

# Exclude `*`, because the replacement consists of it.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="*")
SECRETS = st.text(CHARACTERS, min_size=SHORTEST, max_size=60).filter(
    lambda text: len(" ".join(text.split())) >= SHORTEST
)
TEXTS = st.text(CHARACTERS, max_size=30)


def redacted(text: str, *secrets: str) -> str:
    return Redactor(map(SecretStr, secrets))(text)


def go_json(text: str) -> str:
    """Return a string as Go's encoding/json writes it, safe within HTML."""
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    return escaped.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def unquoted(text: str) -> str:
    """Return a quoted string without its quotes, as it appears inside a longer string."""
    return text.strip()[1:-1]


def php_json(text: str) -> str:
    """Return a string as PHP's json_encode writes it."""
    return unquoted(json.dumps(text)).replace("/", r"\/")


def upper_escapes(text: str) -> str:
    """Return JSON whose `\\u` escapes have upper-case digits, as Java's and C#'s writers have them."""
    return upper_digits(unquoted(json.dumps(text)))


def upper_digits(written: str) -> str:
    return re.sub(r"(\\u)([0-9a-f]{4})", lambda found: found[1] + found[2].upper(), written)


def gson(text: str) -> str:
    """Return a string as Gson writes it."""
    written = unquoted(json.dumps(text, ensure_ascii=False))
    return re.sub("[<>&='\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", written)


def dot_net(text: str) -> str:
    """Return a string as .NET's System.Text.Json writes it."""
    written = unquoted(json.dumps(text)).replace('\\"', "\\u0022")
    return upper_digits(re.sub("[<>&'+`]", lambda found: f"\\u{ord(found[0]):04x}", written))


def lower_percent(text: str) -> str:
    """Return a string percent-encoded with lower-case digits."""
    return re.sub("%..", lambda found: found[0].lower(), urllib.parse.quote(text, safe=""))


def markup_safe(text: str) -> str:
    """Return a string as MarkupSafe and Go's html/template escape it."""
    return html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "at the end of a line": lambda text: f"{text}\n",
    "URL, as a query": urllib.parse.quote_plus,
    "URL, as a path": urllib.parse.quote,
    "URL, all of it": lambda text: urllib.parse.quote(text, safe=""),
    "URL, as a component by JavaScript": lambda text: urllib.parse.quote(text, safe="!'()*"),
    "URL, as an address by JavaScript": lambda text: urllib.parse.quote(text, safe="!#$&'()*+,/:;=?@"),
    "URL, as a path's segment by Go": lambda text: urllib.parse.quote(text, safe="$&+:=@"),
    "URL, twice": lambda text: urllib.parse.quote(urllib.parse.quote(text, safe=""), safe=""),
    "URL in lower case": lower_percent,
    "JSON": lambda text: unquoted(json.dumps(text)),
    "JSON in UTF-8": lambda text: unquoted(json.dumps(text, ensure_ascii=False)),
    "JSON by Go": go_json,
    "JSON by PHP": php_json,
    "JSON by Gson": gson,
    "JSON by .NET": dot_net,
    "JSON with upper-case escapes": upper_escapes,
    "JSON twice": lambda text: unquoted(json.dumps(unquoted(json.dumps(text)))),
    "JSON by PHP twice": lambda text: php_json(php_json(text)),
    "HTML": html.escape,
    "HTML without quotes": lambda text: html.escape(text, quote=False),
    "HTML by numbers": markup_safe,
    "single quotes doubled": lambda text: text.replace("'", "''"),
    "white space collapsed": lambda text: " ".join(text.split()),
    "hex": lambda text: text.encode().hex(),
    "hex in upper case": lambda text: text.encode().hex().upper(),
    "YAML": lambda text: unquoted(yaml.dump(text, default_style='"', width=10**9)),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 in lines": lambda text: base64.encodebytes(text.encode()).decode().rstrip("=\n"),
}


class TestEveryFormIsGone:
    @pytest.mark.parametrize("encoding", ENCODINGS)
    @settings(max_examples=examples(60), deadline=None)
    @given(before=TEXTS, secret=SECRETS, after=TEXTS)
    def test_of_a_secret_in_any_text(self, encoding: str, before: str, secret: str, after: str) -> None:
        encoded = ENCODINGS[encoding](secret)
        left = redacted(before + encoded + after, secret)
        assert encoded not in left
        assert REPLACEMENT in left

    @pytest.mark.parametrize("encoding", ENCODINGS)
    @pytest.mark.parametrize(
        "secret",
        [
            "pa/ss w<o>r&d",
            "<&\u00e9/\u65e5 >",
            '"both\'quotes" \\back\\',
            "a/b  c\t<\u00e9'\"'>",
            "\u00e9 \U0001f511\u2028\x7f\x1b",
            "a long one, " * 30 + "with words & <signs>",
            "two\nlines, tab\tand \u00e9",
        ],
    )
    def test_to_its_last_character(self, encoding: str, secret: str) -> None:
        encoded = ENCODINGS[encoding](secret).rstrip("\n")
        left = redacted(f"[{encoded}]", secret)
        if encoding.startswith("base64"):
            # The last character also holds bits of the text that follows, so it varies; `=` is padding.
            left = left.replace("=", "").replace(f"***{encoded.rstrip('=')[-1]}]", "***]")
        assert left == "[***]"

    @pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
    @settings(max_examples=examples(200), deadline=None)
    @given(before=st.binary(max_size=7), secret=SECRETS, after=st.binary(max_size=7))
    def test_of_base64_at_every_alignment(
        self, encode: Callable[[bytes], bytes], before: bytes, secret: str, after: bytes
    ) -> None:
        data = secret.encode()
        encoded = encode(before + data + after).decode()
        # Only the characters whose 6 bits all come from the secret.
        certain = encoded[-(-len(before) * 8 // 6) : (len(before) + len(data)) * 8 // 6]
        assert certain not in redacted(f"token: {encoded}.", secret)

    @pytest.mark.parametrize(("before", "left"), [(b"", ""), (b"a", "YX"), (b"ab", "YWJ"), (b"abc", "YWJj")])
    def test_of_base64_to_its_first_character(self, before: bytes, left: str) -> None:
        encoded = base64.b64encode(before + b"token-17").decode()
        certain = (len(before) + len(b"token-17")) * 8 // 6
        assert redacted(encoded, "token-17") == f"{left}***{encoded[certain:]}"

    @settings(max_examples=examples(200), deadline=None)
    @given(lines=st.lists(SECRETS, min_size=2, max_size=4), newline=st.sampled_from(["\n", "\r\n"]), before=TEXTS)
    def test_of_each_line_of_a_secret(self, lines: list[str], newline: str, before: str) -> None:
        secret = newline.join(lines)
        redact = Redactor([SecretStr(secret)])
        for line in secret.splitlines():
            if len(line.strip()) >= SHORTEST:
                for encode in ENCODINGS.values():
                    encoded = encode(line.strip())
                    assert encoded not in redact(before + encoded)

    @settings(max_examples=examples(200), deadline=None)
    @given(secrets=st.lists(SECRETS, min_size=2, max_size=4), texts=st.lists(TEXTS, min_size=5, max_size=5))
    def test_of_several_secrets_whichever_was_told_first(self, secrets: list[str], texts: list[str]) -> None:
        text = "".join(a + b for a, b in zip(texts, [*secrets, ""], strict=False))
        left = redacted(text, *secrets)
        assert left == redacted(text, *reversed(secrets))
        assert not any(secret in left for secret in secrets)

    def test_of_secrets_that_overlap_in_a_text(self) -> None:
        assert redacted("<abcdefgh>", "abcdef", "defgh") == "<***>"
        assert redacted("<ababab>", "abab") == "<***>"
        assert redacted("<aaaaa>", "aaaa") == "<***>"
        assert redacted("<token-17token-17>", "token-17") == "<******>"

    def test_of_a_secret_that_holds_another(self) -> None:
        dsn = "https://0a1b2c3d@sentry.example/1"
        assert redacted(f"{dsn} and 0a1b2c3d", "0a1b2c3d", dsn) == "*** and ***"

    def test_of_a_secret_that_was_pasted_with_white_space(self) -> None:
        assert redacted("<token-17>", " token-17\n") == "<***>"

    @pytest.mark.parametrize("stray", [0xD800, 0xDBFF, 0xDC80, 0xDCFF, 0xDFFF])
    def test_of_a_secret_that_is_no_valid_text(self, stray: int) -> None:
        # Bytes of a variable that aren't UTF-8 reach us as surrogates.
        secret = f"token{chr(stray)}17"
        assert redacted(f"<{secret}>", secret) == "<***>"
        assert redacted(json.dumps(secret), secret) == '"***"'


class TestEverythingElseStays:
    @settings(max_examples=examples(200), deadline=None)
    @given(text=st.text(st.characters(exclude_characters="Z")))
    def test_a_text_without_a_secret(self, text: str) -> None:
        assert redacted(text, "ZZZZ-the-secret-ZZZZ".replace("-", "Z")) == text

    @given(text=st.text())
    def test_any_text_while_there_is_no_secret(self, text: str) -> None:
        assert redacted(text) == text

    @pytest.mark.parametrize("short", ["", " ", "1", "abc"])
    def test_what_is_too_short_to_be_hidden(self, short: str) -> None:
        assert forms(short) - {short} == frozenset()
        assert redacted("abc 1 a", short) == "abc 1 a"

    def test_the_rest_of_the_text(self) -> None:
        assert redacted("a token-17 b token-17", "token-17") == "a *** b ***"


def test_a_secret_can_be_told_at_any_time() -> None:
    redact = Redactor()
    assert redact("token-17") == "token-17"
    redact.add(SecretStr("token-17"))
    assert redact("token-17") == "***"


def tokens(number: int) -> list[SecretStr]:
    """Return secrets that begin alike, as tokens do."""
    return [SecretStr(f"sntryu_{at * 7_919_777:064x}/&") for at in range(number)]


def calls(work: Callable[[], object]) -> int:
    """Return the number of function calls that a piece of work makes, built-in functions included."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return sum(counted for counted, *_ in pstats.Stats(profile).stats.values())  # type: ignore[attr-defined]


class TestCost:
    def test_of_a_text_hardly_grows_with_the_number_of_secrets(self) -> None:
        text = " ".join(f"a line about {token.get_secret_value()} and sntryu_0 alone" for token in tokens(20))
        few, many = Redactor(tokens(20)), Redactor(tokens(2_000))
        assert many(text) == few(text)
        assert calls(lambda: many(text)) < 1.5 * calls(lambda: few(text))

    def test_of_telling_secrets_grows_with_their_number(self) -> None:
        assert calls(lambda: Redactor(tokens(1_000))) < 11 * calls(lambda: Redactor(tokens(100)))

    def test_of_telling_a_secret_again_is_nothing(self) -> None:
        redact, secret = Redactor(), SecretStr("token-17")
        assert calls(lambda: redact.add(secret)) > 50
        assert calls(lambda: redact.add(secret)) < 20

    def test_of_a_text_of_nothing_but_beginnings_grows_with_its_length(self) -> None:
        redact = Redactor([*tokens(1_000), SecretStr("-" * 3_000)])
        assert calls(lambda: redact("sntryu_0-" * 2_000)) < 2.5 * calls(lambda: redact("sntryu_0-" * 1_000))

    def test_of_a_large_secret_of_many_lines_grows_with_their_number(self) -> None:
        def large(lines: int) -> SecretStr:
            return SecretStr("\n".join(f"line {at} of a long secret, with {at * 7919} in it" for at in range(lines)))

        assert Redactor([large(1_000)])(f"<{large(1_000).get_secret_value()}>") == "<***>"
        assert calls(lambda: Redactor([large(1_000)])) < 11 * calls(lambda: Redactor([large(100)]))
