"""What the scrubber takes out of an event, and what it leaves."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from backend.core.scrubbing import Scrubber
from tests.backend.support import SECRETS

SECRET = SECRETS["SENTRY_API_TOKEN"]


def scrubber(*secrets: str) -> Scrubber:
    return Scrubber(lambda: [SecretStr(secret) for secret in secrets])


class TestKnownSecrets:
    @pytest.mark.parametrize(
        "spelled",
        [
            SECRET,
            repr(SECRET),
            ascii(SECRET),
            str(SECRET.encode()),
            json.dumps({"key": SECRET}),
            json.dumps(json.dumps(SECRET)),
            repr({"key": [SECRET]}),
            quote(SECRET),
            SECRET.encode().hex(),
            base64.b64encode(b"user:" + SECRET.encode()).decode(),
            repr(json.dumps({"key": SECRET})),
            repr(json.dumps({"key": SECRET}).encode()),
            repr(repr({"key": SECRET, "other": "it's"})),
            quote(quote(SECRET, safe=""), safe=""),
            re.sub("%..", lambda found: found[0].lower(), quote(SECRET, safe="")),
            SECRET.encode().hex().upper(),
        ],
    )
    def test_are_found_however_python_spells_them(self, spelled: str) -> None:
        scrubbed = scrubber(SECRET).text(f"before {spelled} after")
        assert re.fullmatch(r"before .*\*\*\*.* after", scrubbed)
        assert not [part for part in ("quoted", "slashed", "<5>") if part in scrubbed]

    @given(st.text(min_size=8).filter(lambda text: len(text.strip()) >= 8))
    def test_are_found_whatever_they_are(self, secret: str) -> None:
        def of(text: str) -> dict[str, Any]:
            return {"value": f"a {text} b", "vars": {"x": repr(text)}, "list": [text.encode("utf-8", "replace").hex()]}

        assert secret not in str(scrubber(secret).tree(of(secret))["value"])
        assert repr(secret)[1:-1] not in scrubber(secret).tree(of(secret))["vars"]["x"]

    def test_are_found_in_names_and_numbers(self) -> None:
        tree = {"tries": {"s3cret-name": 1}, "pin": 48151623, "pins": (48151623.0, 4815)}
        expected = {"tries": {"***": 1}, "pin": "***", "pins": [48151623.0, 4815]}
        assert scrubber("s3cret-name", "48151623").tree(tree) == expected

    @pytest.mark.parametrize("secret", ["pa'ss\"wo/rd-1234", "pa\\ss'w\u00f6rd %2F", SECRET])
    @pytest.mark.parametrize("other", ["plain", "it's", 'say "hi"', "both ' and \""])
    def test_are_found_among_any_other_text(self, secret: str, other: str) -> None:
        for inner in ([secret, other], other + secret):
            for spelled in (repr(inner), json.dumps(inner), repr(json.dumps(inner)), repr(repr(inner))):
                scrubbed = scrubber(secret).text(spelled)
                assert "***" in scrubbed, spelled
                assert "ss" not in scrubbed
                assert "<5>" not in scrubbed

    def test_are_those_of_the_moment(self) -> None:
        known = [SecretStr("the-first-one")]
        scrub = Scrubber(lambda: known)
        assert scrub.text("the-first-one the-second-one") == "*** the-second-one"
        known.append(SecretStr("the-second-one"))
        assert scrub.text("the-first-one the-second-one") == "*** ***"


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("sntryu_" + "ab12" * 16, "***"),
        ("sntrys_eyJpYXQiOjE3MDAwMDAwMDAuMH0=_abcDEF123456", "***"),
        ("token was " + "0f" * 32, "token was ***"),
        ("pul-" + "0f" * 20, "***"),
        ("ghp_" + "aB3" * 12, "***"),
        ("key=a%20ghp_" + "aB3" * 12, "key=a%20***"),
        (r"'line\n" + "0f" * 32, r"'line\n***"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("xoxb-123456789012-abcdefGHIJ", "***"),
        ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "***"),
        ("postgresql://app:s3cret@db:5432/x", "postgresql://***@db:5432/x"),
        ("u=postgresql%3A%2F%2Fapp%3As3cret%40db%2Fx", "u=postgresql%3A%2F%2F***%40db%2Fx"),
        ("postgresql://app:s3cr%2Fetpass@db", "postgresql://***@db"),
        ("postgresql://app:s3cr%40etpass@db", "postgresql://***@db"),
        ("u=postgresql%3A//app%3As3cret%40db/x", "u=postgresql%3A//***%40db/x"),
        ("u=password%3Dabcd1234efgh&v=1", "u=password%3D***&v=1"),
        ("https://0123456789abcdef@o1.ingest.sentry.io/2", "https://***@o1.ingest.sentry.io/2"),
        ("Authorization: Bearer abcdefgh12345678", "Authorization: Bearer ***"),
        ("SENTRY_API_TOKEN=abcd1234efgh next", "SENTRY_API_TOKEN=*** next"),
        ('{"client_secret": "abcd1234"}', '{"client_secret": "***"}'),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- end", "*** end"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE cut off", "***"),
    ],
)
def test_text_that_is_shaped_like_a_secret_is_hidden(text: str, scrubbed: str) -> None:
    assert scrubber().text(f"({text})") == f"({scrubbed}" + ("" if "cut off" in text else ")")


@pytest.mark.parametrize(
    "text",
    [
        "unexpected token: '}' at line 3, or basic authentication-failed",
        "sha256:" + "0f" * 32,
        "revision " + "0f" * 20,
        "trace " + "0f" * 16,
        "https://example.com/path?email=a@b.c",
        "u=https%3A%2F%2Fexample.com%2Fa%40b.c",
        "max_tokens=100, token=None",
        "sk-learn-and-a-long-name-of-words",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert scrubber().text(text) == text


def test_what_is_called_like_a_secret_is_hidden() -> None:
    tree = {
        "numbers": {"client_secret": 99887766, "token": True, (1, "api_key"): 48151623, "code": 48151623},
        "vars": {"sentry_token": "'x'", "dsn": "'y'", "total_tokens": 12, "password": None, "name": "'z'"},
        "request": {"headers": {"Authorization": "u", "X-Api-Key": ["v"], "Accept": "*/*"}, "cookies": {"sid": "w"}},
    }
    assert scrubber().tree(tree) == {
        "numbers": {"client_secret": "***", "token": True, "(1, 'api_key')": 48151623, "code": 48151623},
        "vars": {"sentry_token": "***", "dsn": "***", "total_tokens": 12, "password": None, "name": "'z'"},
        "request": {
            "headers": {"Authorization": "***", "X-Api-Key": ["***"], "Accept": "*/*"},
            "cookies": {"sid": "***"},
        },
    }


def test_an_event_keeps_its_identifiers() -> None:
    event = {
        "event_id": "0f" * 16,
        "level": "error",
        "platform": "python",
        "modules": {"tokenizers": "0.20"},
        "message": "an error in python",
        "contexts": {"trace": {"trace_id": "0f" * 16, "span_id": "0f" * 8}},
    }
    scrubbed = scrubber("error", "python").event(event)
    assert scrubbed == event | {"message": "an *** in ***"}
