"""The HTTP client of the preflight and the sign-in. Their tests cover retries, redirects and time limits."""

from __future__ import annotations

import traceback

import pytest
from pydantic import SecretStr

from sandbox import GitHub
from sophia_sync.runtime.http import LONGEST_QUOTE, Client, UnansweredError, one_line, parsed
from sophia_sync.runtime.limits import TimeLimit


def test_an_error_shows_nothing_of_the_request(github: GitHub) -> None:
    github.fail("GET .*", kind="close", times=None)
    with Client(SecretStr("Kanarienvogel"), TimeLimit(2)) as client, pytest.raises(UnansweredError) as error:
        client.get(f"{github.url}/papagei", {"sittich": "1"})
    assert error.value.__cause__ is None
    told = "".join(traceback.format_exception(error.value)).partition("sophia_sync.runtime.http.UnansweredError: ")[2]
    assert told == "can't be reached, or closes the connection without an answer\n"


def test_json_is_parsed_and_anything_else_is_nothing() -> None:
    assert parsed(b'{"a": [1]}') == {"a": [1]}
    for content in (b"", b"<html>", b"\xff", b"[" * 200_000, b'{"a":' * 100_000, b"1" * 10_000):
        assert parsed(content) is None


def test_a_quotation_is_one_short_line() -> None:
    assert one_line(" not\n\tthere\r\n") == "not there"
    assert one_line("x" * LONGEST_QUOTE) == "x" * LONGEST_QUOTE
    assert one_line("x" * LONGEST_QUOTE + " y") == "x" * LONGEST_QUOTE + "…"


def test_a_quote_is_cut_between_two_words() -> None:
    assert one_line("refused: " + "x" * LONGEST_QUOTE) == "refused:…"
    assert one_line("x" * (LONGEST_QUOTE + 1)) == "…"


def test_a_last_try_without_time_doesn_t_hide_what_was_wrong_before(github: GitHub) -> None:
    github.fail("GET .*", status=500, headers={"Retry-After": "0"})
    github.fail("GET .*", kind="hang", times=None)
    with Client(None, TimeLimit(0.5)) as client, pytest.raises(UnansweredError, match="HTTP 500"):
        client.get(github.url)
    assert len(github.requests) == 2
