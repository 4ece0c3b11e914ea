"""The scrubber hides the secrets in an event and leaves the rest."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from backend.core import shapes
from backend.core.scrubbing import DEEPEST, LONGEST_TEXT, LONGEST_TREE, Scrubber, _Known
from tests.backend.support import SECRETS
from tests.support.examples import examples

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
        ("glpat-" + "aB3dE6fG9hJ2kL5mN8pQ", "***"),
        ("gldt-" + "aB3dE6fG9hJ2kL5mN8pQ", "***"),
        ("//npm.example/:_authToken=npm_" + "aB3" * 12, "//npm.example/:_authToken=***"),
        ("npm_" + "aB3" * 12, "***"),
        ("hf_" + "aBcDeF" * 6, "***"),
        ("AIza" + "SyA-1234_b" * 4, "***"),
        ("GOCSPX-" + "aB3dE6" * 5, "***"),
        ("ya29.a0AfH6SMB" + "x-Y_z1" * 6, "***"),
        ("pwd=abcd1234efgh next", "pwd=*** next"),
        ("Server=db;Uid=sa;Pwd=abcd1234;", "Server=db;Uid=sa;Pwd=***;"),
        (r'"{\"client_secret\": \"abcd1234e ', r'"{\"client_secret\": \"*** '),
        ("tcp://http://app:s3cret@db", "tcp://http://***@db"),
        ("Authorization: Bearer token abcdefgh12345678", "Authorization: Bearer token ***"),
        ("q=a%20" + "0f" * 32, "q=a%20***"),
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
        "http://host:80?to=me@x.org",
        "http://host/path?next=http://other:80#me@x.org",
        "pwd=/home/user1/project",
        "a global-config-value-2-of-the-cluster, npm_config_registry, hf_hub_download",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert scrubber().text(text) == text


def test_what_is_called_like_a_secret_is_hidden() -> None:
    tree = {
        "answer": {"client_secret": "x", "token": True, (1, "api_key"): ["y"], "code": "z"},
        "vars": {"sentry_token": "'x'", "dsn": "'y'", "total_tokens": 12, "password": None, "name": "'z'"},
        "request": {"headers": {"Authorization": "u", "X-Api-Key": ["v"], "Accept": "*/*"}, "cookies": {"sid": "w"}},
    }
    assert scrubber().tree(tree) == {
        "answer": {"client_secret": "***", "token": True, "(1, 'api_key')": ["***"], "code": "z"},
        "vars": {"sentry_token": "***", "dsn": "***", "total_tokens": 12, "password": None, "name": "'z'"},
        "request": {
            "headers": {"Authorization": "***", "X-Api-Key": ["***"], "Accept": "*/*"},
            "cookies": {"sid": "***"},
        },
    }


def test_numbers_stay_numbers() -> None:
    tree = {
        "data": {"gen_ai.usage.input_tokens": 2048, "token_count": 123456, "password": 99887766, "cookies": [1.5]},
        "sampled": True,
        "port": 5432,
    }
    assert scrubber("true", "5432", "2048").tree(tree) == tree


def test_a_number_that_is_a_secret_itself_is_hidden() -> None:
    assert scrubber("48151623").tree({"pin": 48151623, 48151623: 1}) == {"pin": "***", "***": 1}


# Passwords that are also words in an event.
WORDS = ("postgres", "production", "prod", "5432", "true", "python", "error", "views")
TRACE = {
    "trace_id": "0f" * 16,
    "span_id": "0f" * 8,
    "op": "db.postgres",
    "status": "error",
    "origin": "auto.postgres",
}
FRAME = {"filename": "postgres.py", "abs_path": "/app/postgres.py", "module": "app.postgres", "function": "views"}
KEPT = {
    "event_id": "0f" * 16,
    "level": "error",
    "platform": "python",
    "logger": "app.postgres",
    "environment": "production",
    "release": "prod",
    "modules": {"postgres": "0.20", "tokenizers": "0.20"},
    "measurements": {"tokens": {"value": 5432, "unit": "postgres"}},
    "_meta": {"extra": {"row": {"": {"rem": [["postgres", "x", 0, 5432]]}}}},
    "exception": {
        "values": [
            {
                "type": "postgres",
                "module": "postgres",
                "mechanism": {"type": "python", "handled": True},
                "stacktrace": {"frames": [{**FRAME, "lineno": 5432, "in_app": True}]},
            }
        ]
    },
    "contexts": {
        "trace": {
            **TRACE,
            "data": {"gen_ai.usage.output_tokens": 5432, "code.function.name": "postgres"},
            "dynamic_sampling_context": {"environment": "production", "release": "prod", "sampled": "true"},
        }
    },
    "spans": [{**TRACE, "data": {"sentry.environment": "production"}}],
    "breadcrumbs": {"values": [{"type": "error", "category": "postgres", "level": "error"}]},
}


def test_what_sentry_groups_and_reads_stays() -> None:
    assert scrubber(*WORDS).event(KEPT) == KEPT


def test_a_log_and_a_metric_keep_what_sentry_reads() -> None:
    log = {
        "severity_text": "error",
        "severity_number": 17,
        "trace_id": "0f" * 16,
        "body": "no tables here",
        "attributes": {"sentry.environment": "production", "logger.name": "app.postgres", "code.line.number": 5432},
    }
    metric = {"type": "error", "unit": "prod", "value": 5432.0, "attributes": {"sentry.release": "prod"}}
    assert scrubber(*WORDS).log(log) == log
    assert scrubber(*WORDS).metric(metric) == metric


def test_all_else_in_the_same_places_is_scrubbed() -> None:
    secret = "s3cret-of-the-application"
    event = {
        "transaction": secret,
        "fingerprint": [secret],
        "_meta": {"extra": {secret: {"": {}}}},
        "exception": {
            "values": [
                {
                    "value": secret,
                    "mechanism": {"data": {"x": secret}},
                    "stacktrace": {"frames": [{"vars": {"module": secret}, "context_line": secret}]},
                }
            ]
        },
        "contexts": {
            "trace": {"description": secret, "dynamic_sampling_context": {"transaction": secret}, "data": {"x": secret}}
        },
        "spans": [{"description": secret, "data": {"url": secret}}],
        "breadcrumbs": {"values": [{"message": secret, "data": {"environment": secret}}]},
        "extra": {"environment": secret, "lineno": secret, secret: 1},
    }
    scrubbed = json.dumps(scrubber(secret).event(event))
    assert secret not in scrubbed
    assert scrubbed.count("***") == json.dumps(event).count(secret)


class TestShortSecrets:
    @pytest.mark.parametrize("text", ["prod", "(prod)", "a prod b", "'prod'", "x=prod&y", r"'line\nprod'", "%20prod"])
    def test_are_hidden_where_they_stand_alone(self, text: str) -> None:
        assert scrubber("prod").text(text) == text.replace("prod", "***")

    @pytest.mark.parametrize("text", ["production", "reprod", "prod_2", "prod2", "prod\u00e4", "cHJvZA=="])
    def test_stay_in_other_words(self, text: str) -> None:
        assert scrubber("prod").text(text) == text

    def test_are_warned_of_once(self, caplog: pytest.LogCaptureFixture) -> None:
        known = [SecretStr("prod"), SecretStr("long-enough")]
        scrub = Scrubber(lambda: known)
        for _ in range(2):
            scrub.text("x")
            known.append(SecretStr(f"long-enough-{len(known)}"))
        assert [record.getMessage() for record in caplog.records] == [
            "A secret has fewer than 8 characters, and is hidden from Sentry only where it stands alone. "
            "Use a longer one."
        ]


class TestSize:
    def test_the_end_of_a_long_text_is_left_out(self) -> None:
        secret = "s3cret-of-the-application"
        text = "x" * (LONGEST_TEXT - 5) + secret + "y" * LONGEST_TEXT
        scrubbed = scrubber(secret).text(text)
        assert scrubbed.strip("x") == "***"
        assert LONGEST_TEXT - 100 < len(scrubbed) < LONGEST_TEXT

    def test_a_secret_that_is_cut_off_where_reading_ends_is_not_sent(self) -> None:
        secret = "s3cret-of-the-application-" * 4
        scrubbed = scrubber(secret).text((secret + " ") * 3000)
        assert scrubbed.replace("***", "").strip() == ""

    def test_a_large_event_ends_somewhere(self) -> None:
        texts = [f"{number}" + "x" * 999 for number in range(2000)]
        scrubbed = scrubber().tree({"extra": texts})["extra"]
        assert len(scrubbed) == 2000
        assert sum(map(len, scrubbed)) < LONGEST_TREE + 10_000

    def test_a_deep_event_ends_somewhere(self) -> None:
        tree: list[Any] = []
        for _ in range(DEEPEST * 5):
            tree = [tree]
        assert json.dumps(scrubber().tree(tree)).count("[") == DEEPEST + 1


# Every beginning of a shape, and text that may stand in one or follow it.
BEGINNINGS = sorted({anchor for anchor, _ in shapes._ANCHORS})
PIECES = [
    *BEGINNINGS,
    *("-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", "-----BEGIN ", "eyJ", "AKIA", "AIza"),
    *("Bearer ", "token+", "token=", "pwd = ", "%3A%2F%2F", "a:b@", "user%3A", "%40", "sha256:", "0f" * 32, "0f" * 31),
    *(
        "%",
        "%20",
        "%2F",
        "\\n",
        "\\",
        '"',
        "'",
        "=",
        ":",
        "/",
        ".",
        "-",
        "_",
        " ",
        "\n",
        "\t",
        "+",
        "A",
        "a",
        "1",
        "\u00e9",
    ),
]


def cpu_seconds(text: str, secret: str) -> float:
    """Return the shortest CPU time of six scrubs of a text, in seconds."""
    known = _Known([SecretStr(SECRET), SecretStr(secret)])
    tries = []
    for _ in range(6):
        began = time.process_time()
        shapes.hide(known.hide(text))
        tries.append(time.process_time() - began)
    return min(tries)


def assert_linear(unit: str) -> None:
    """Assert that 16 times the text takes less than 128 times as long. Quadratic work takes 256 times as long."""
    few, many = (unit * (size // len(unit)) for size in (6_000, 96_000))
    assert cpu_seconds(many, unit * 3) < 128 * max(cpu_seconds(few, unit * 3), 1e-4), unit


class TestTime:
    @pytest.mark.parametrize("unit", PIECES)
    def test_grows_with_the_length_of_a_beginning_that_is_repeated(self, unit: str) -> None:
        assert_linear(unit)

    @pytest.mark.parametrize("beginning", BEGINNINGS)
    @pytest.mark.parametrize("rest", ["a1 -."])
    def test_grows_with_the_length_of_near_misses(self, beginning: str, rest: str) -> None:
        assert_linear(beginning + rest * 20 + "!")

    @settings(max_examples=examples(30), deadline=None)
    @given(st.lists(st.sampled_from(PIECES), min_size=2, max_size=5).map("".join))
    def test_grows_with_the_length_of_anything_else(self, unit: str) -> None:
        assert_linear(unit)

    def test_is_spent_once_on_a_text_that_is_repeated(self) -> None:
        seen: list[str] = []
        known = scrubber(SECRET)
        known.text("")
        hide = known._known[1].hide
        known._known[1].hide = lambda text: seen.append(text) or hide(text)  # type: ignore[method-assign,func-returns-value]
        assert known.tree({"a": ["same text"] * 50}) == {"a": ["same text"] * 50}
        assert seen.count("same text") == 1
