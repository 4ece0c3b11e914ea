"""What a person sees: aligned, wrapped, coloured on a terminal only, and without secrets wherever a line breaks."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from sophia_sync.console.screen import Mark, Row, Screen
from sophia_sync.console.times import ago, changed, length, moment
from sophia_sync.esc.revisions import Revision
from sophia_sync.runtime.errors import EscError, InputError
from sophia_sync.runtime.redact import Redactor
from sophia_sync.sync.history import How, LastChange
from tests.support.inputs import environment
from tests.support.runner import Command, parse_log

SECRET = "correct horse battery staple"  # has spaces, at which lines break
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Narrow(io.TextIOWrapper):
    """A stream that can encode ASCII only."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii")

    @property
    def text(self) -> str:
        self.flush()
        self.seek(0)
        return self.read()


def screen(out: io.StringIO | Narrow, *, as_json: bool = False, **variables: Any) -> Screen:
    with environment({"COLUMNS": "80", **variables}):
        return Screen(Redactor([SecretStr(SECRET)]), as_json=as_json, out=out, err=io.StringIO())


ROWS = [
    Row(Mark.GOOD, ("short", "a few words")),
    Row(Mark.BAD, ("a longer name", "many words " * 12), todo="what to do " * 10),
]


def test_cells_are_aligned_and_long_ones_are_wrapped_below_themselves() -> None:
    out = io.StringIO()
    screen(out).table(ROWS)
    lines = out.getvalue().splitlines()
    assert lines[0] == "  ✓ short          a few words"
    assert lines[1].startswith("  ✗ a longer name  many words")
    assert lines[2].startswith(" " * 19 + "words")
    assert [line for line in lines if line.startswith("    → what to do")]
    assert max(map(len, lines)) <= 80


def test_a_line_never_gets_wider_than_is_good_to_read() -> None:
    out = io.StringIO()
    screen(out, COLUMNS="300").line("word " * 100)
    assert 90 < max(map(len, out.getvalue().splitlines())) <= 100


def test_an_address_is_never_broken() -> None:
    out = io.StringIO()
    address = "https://example.com/" + "x" * 90
    screen(out).table([Row(Mark.GOOD, ("name", f"see {address} now"), todo=address)])
    assert out.getvalue().split().count(address) == 2


class TestColours:
    def test_there_are_none_in_a_file(self) -> None:
        out = io.StringIO()
        screen(out).table(ROWS)
        screen(out).heading("heading")
        assert "\x1b" not in out.getvalue()

    def test_there_are_on_a_terminal(self) -> None:
        out = Terminal()
        screen(out).table(ROWS)
        assert "\x1b[32m✓" in out.getvalue()
        assert "\x1b[1;31m✗" in out.getvalue()

    @pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
    def test_there_are_none_for_whom_wants_none(self, name: str, value: str) -> None:
        out = Terminal()
        shown = screen(out, as_json=False, **{name: value})
        shown.table(ROWS)
        shown.heading("heading")
        assert "\x1b" not in out.getvalue()
        assert "✓ short" in out.getvalue()


def test_where_only_ascii_can_be_printed_there_are_other_signs() -> None:
    out = Narrow()
    screen(out).table([*ROWS, Row(Mark.GOOD, ("name", "ü"))])
    assert "  o short" in out.text
    assert "  x a longer name" in out.text
    assert "    > what to do" in out.text
    assert "\\xfc" in out.text
    screen(out).line("Reading … 3 → 4")
    assert "Reading ... 3 -> 4" in out.text


class TestSecrets:
    """Secrets are hidden before lines are wrapped, so that a line break can't split one."""

    @pytest.mark.parametrize("before", range(50, 80, 3))
    def test_is_hidden_where_lines_are_broken(self, before: int) -> None:
        out = io.StringIO()
        shown = screen(out)
        shown.line("x" * before + f" {SECRET}")
        shown.table([Row(Mark.GOOD, ("y" * (before - 40), f"{SECRET} and on"), f"{SECRET} to do", f"{SECRET} noted")])
        shown.heading(SECRET)
        assert not any(word in out.getvalue() for word in SECRET.split())
        assert out.getvalue().count("***") == 5

    def test_is_hidden_in_json(self) -> None:
        out = io.StringIO()
        screen(out, as_json=True).json({"a": [SECRET, {"b": SECRET}], "at": NOW, "n": 1})
        assert json.loads(out.getvalue()) == {"a": ["***", {"b": "***"}], "at": "2026-11-24T12:00:00Z", "n": 1}

    def test_is_hidden_in_progress_and_errors(self) -> None:
        shown = screen(io.StringIO())
        shown.progress(SECRET)
        shown.failure(EscError(f"It said {SECRET}.", "Run again."))
        assert isinstance(shown.err, io.StringIO)
        assert "horse" not in shown.err.getvalue()
        assert "error: Pulumi ESC could not be read or written: It said ***. Run again." in shown.err.getvalue()


class TestJson:
    def test_is_all_that_there_is_on_standard_output(self) -> None:
        out = io.StringIO()
        shown = screen(out, as_json=True)
        shown.heading("heading")
        shown.table(ROWS)
        shown.line("line")
        assert out.getvalue() == ""
        shown.json({"ok": True})
        assert json.loads(out.getvalue()) == {"ok": True}

    def test_is_not_printed_for_a_person(self) -> None:
        out = io.StringIO()
        screen(out).json({"ok": True})
        assert out.getvalue() == ""


def test_an_error_of_inputs_tells_how_they_are_given_here() -> None:
    shown = screen(io.StringIO())
    shown.failure(InputError(["`sentry-dsn` is not set."]))
    assert isinstance(shown.err, io.StringIO)
    assert "environment variable, such as SENTRY_DSN" in shown.err.getvalue()


def test_on_a_runner_an_error_is_an_annotation() -> None:
    shown = screen(io.StringIO(), GITHUB_ACTIONS="true")
    shown.failure(EscError("It\nfailed.", "Run again."))
    assert isinstance(shown.err, io.StringIO)
    assert shown.err.getvalue() == "::error title=Pulumi ESC could not be read or written::It%0Afailed.%0ARun again.\n"


class TestTimes:
    @pytest.mark.parametrize(
        ("time", "words"),
        [
            (timedelta(seconds=-5), "0 minutes"),
            (timedelta(minutes=1, seconds=59), "1 minute"),
            (timedelta(minutes=119), "119 minutes"),
            (timedelta(hours=2), "2 hours"),
            (timedelta(hours=47), "47 hours"),
            (timedelta(days=2), "2 days"),
            (timedelta(days=400), "400 days"),
        ],
    )
    def test_lengths(self, time: timedelta, words: str) -> None:
        assert length(time) == words

    def test_moments(self) -> None:
        assert moment(datetime.fromisoformat("2026-11-24T14:30:00+02:00")) == "2026-11-24 12:30 UTC"
        assert ago(NOW - timedelta(seconds=59), NOW) == "just now"
        assert ago(NOW - timedelta(days=3), NOW) == "3 days ago"

    def test_changes(self) -> None:
        by_run = Revision(7, NOW - timedelta(days=3), "somebody", ("latest", "github-run-17-2"))
        by_person = Revision(6, NOW - timedelta(days=4), "somebody", ("stable",))
        assert changed(LastChange(by_run, How.CHANGED), NOW) == "changed 3 days ago in revision 7 by workflow run 17"
        assert changed(LastChange(by_person, How.ADDED), NOW) == "added 4 days ago in revision 6 by somebody"
        assert changed(LastChange(by_person, None), NOW) == "unchanged since before revision 6, 4 days ago"


class TestWhatOthersWrote:
    """Logins and the messages of GitHub and the CLI can't control a terminal or a runner."""

    TEXT = "\x1b[2J\x1b]0;title\x07 jo\r\u202etxt"

    def test_steers_no_terminal(self) -> None:
        out = Terminal()
        shown = screen(out, NO_COLOR="1")
        shown.line(self.TEXT)
        shown.heading(self.TEXT)
        shown.table([Row(Mark.NONE, (self.TEXT, self.TEXT), self.TEXT, self.TEXT)])
        shown.progress(self.TEXT)
        shown.failure(EscError(self.TEXT, self.TEXT))
        assert isinstance(shown.err, io.StringIO)
        printed = out.getvalue() + shown.err.getvalue()
        assert "jo" in printed
        assert not any(character in printed for character in "\x1b\x07\r\u202e")

    @pytest.mark.parametrize("as_json", [False, True])
    def test_is_no_command_to_a_runner(self, as_json: bool) -> None:
        out = io.StringIO()
        shown = screen(out, as_json=as_json, GITHUB_ACTIONS="true")
        text = "::error::a\n  ::add-mask::b\n##[error]c"
        shown.line(text)
        shown.progress(text)
        shown.json({"what": text})
        assert isinstance(shown.err, io.StringIO)
        told = [entry for entry in parse_log(out.getvalue() + shown.err.getvalue()) if isinstance(entry, Command)]
        assert told == []
        assert not as_json or json.loads(out.getvalue())["what"].startswith("::error::a")
