"""What the CLI hands to its editor, what it would lose, and what its failures mean: without running it."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from sophia_sync.errors import ConflictError, EscError, TransientError
from sophia_sync.esc import cli, revisions
from sophia_sync.esc.cli import Pulumi, editor_would_cut, private_folder
from sophia_sync.esc.revisions import Revision
from sophia_sync.redact import Redactor
from sophia_sync.runtime.processes import Finished

URL = "https://pulumi.example"
LINES = st.lists(
    st.sampled_from(
        (
            *("---", "--- # x", "  ---", "a: ---b", "# ---", "---\r", "values:", "  A: 1", "", "{", "}"),
            *("# Diagnostics", "# Please edit the environment definition above."),
        )
    ),
    max_size=8,
)
TEXTS = st.builds(lambda lines, end: "\n".join(lines) + end, LINES, st.sampled_from(["", "\n"]))
EVALUATED = st.one_of(
    st.none(), st.dictionaries(st.text(max_size=4), st.sampled_from(["---", "x\n---\n", "[secret]", 1]), max_size=3)
)
DIAGNOSTICS = st.one_of(st.none(), st.sampled_from(["Error: unknown\n\n  on x line 2:\n   2:   A: ${b}\n\n"]))


def handed_to_the_editor(text: str, evaluated: dict[str, object] | None, diagnostics: str | None) -> bytes:
    """The editor's file, as `envEditCommand.editWithYAMLEditor` in github.com/pulumi/esc writes it."""
    details = ""
    if diagnostics is not None:
        details += "---\n" + f"# Diagnostics\n\n{diagnostics}".replace("\n", "\n# ")
    if evaluated is not None:
        details += (
            "---\n# Please edit the environment definition above.\n# The object below is the current result of\n"
            "# evaluating the environment and will not be\n# saved. An empty definition aborts the edit.\n\n"
            + json.dumps(evaluated, indent=2)
            + "\n"
        )
    if details and text and not text.endswith("\n"):
        text += "\n"
    return (text + details).encode()


def taken_from_the_editor(text: str) -> str:
    """What the CLI saves of an editor's file: a transcript of the end of the same function."""
    at = text.find("---")
    if at != -1:
        is_separator = True
        if at + 3 < len(text) and text[at + 3] != "\n":
            is_separator = False
        if at != 0 and text[at - 1] != "\n":
            is_separator = False
        if is_separator:
            text = text[:at]
    return text


class TestEditor:
    @settings(max_examples=500, deadline=None)
    @given(text=TEXTS, evaluated=EVALUATED, diagnostics=DIAGNOSTICS)
    def test_the_definition_is_told_from_what_the_cli_puts_below_it(
        self, text: str, evaluated: dict[str, object] | None, diagnostics: str | None
    ) -> None:
        if evaluated is None and diagnostics is None:
            return
        newline = "" if text.endswith("\n") or not text else "\n"
        assert cli._without_trailer(handed_to_the_editor(text, evaluated, diagnostics)).decode() == text + newline

    def test_an_empty_definition_has_nothing_below_it(self) -> None:
        assert cli._without_trailer(b"") == b""

    @settings(max_examples=500, deadline=None)
    @given(text=TEXTS)
    def test_what_the_cli_would_cut_off_is_noticed(self, text: str) -> None:
        assert editor_would_cut(text) == (taken_from_the_editor(text) != text)

    @pytest.mark.parametrize(
        ("text", "cut"),
        [
            ("---\nvalues: {}\n", True),
            ("values:\n  A: 1\n---\n", True),
            ("---", True),
            ("values:\n  A: |\n    x\n    ---\n", False),
            ("# --- head ---\n---\n", False),  # the CLI looks at the first only
            ("---\r\nvalues: {}\r\n", False),
            ("values:\n  A: a---b\n", False),
            ("", False),
        ],
    )
    def test_examples(self, text: str, cut: bool) -> None:
        assert editor_would_cut(text) == cut


@pytest.fixture
def pulumi(tmp_path: Path) -> Pulumi:
    return Pulumi(
        home=tmp_path,
        cloud_url=URL,
        access_token=SecretStr("pul-canary"),
        environ={"PATH": str(tmp_path)},
        longest_call=15,
        redact=Redactor([SecretStr("pul-canary")]),
    )


class TestFailures:
    @pytest.mark.parametrize(
        ("stderr", "kind", "todo"),
        [
            ("error: could not determine current cloud: Unauthorized: no", EscError, "check `pulumi-access-token`"),
            ("error: [401] Unauthorized: No credentials provided", EscError, "check `pulumi-access-token`"),
            ("error: PULUMI_ACCESS_TOKEN must be set for login", EscError, "check `pulumi-access-token`"),
            ("error: [403] Forbidden", EscError, "needs permission"),
            ("error: [404] Environment 'a/b/c' not found", EscError, "`pulumi env init`"),
            ("error: updating environment: [409] modified", ConflictError, "run again"),
            ("error: [400] Bad Request", EscError, "run again"),
            ("error: [429] Too Many Requests", TransientError, "is up"),
            ("error: [500] Internal Server Error", TransientError, "is up"),
            ("error: dial tcp 127.0.0.1:1: connect: connection refused", TransientError, "is up"),
            ("", TransientError, "is up"),
        ],
    )
    def test_mean(self, pulumi: Pulumi, stderr: str, kind: type[EscError], todo: str) -> None:
        error = pulumi._failure("read a/b/c", Finished(1, b"", f"warning: x\n{stderr}\n"))
        assert type(error) is kind
        assert error.what.startswith("Could not read a/b/c: ")
        assert todo in error.todo
        assert error.what.endswith(".")
        assert (stderr.removeprefix("error: ") or "warning: x") in error.what

    @pytest.mark.anyio
    async def test_one_call_may_not_use_up_the_time_of_all(self, pulumi: Pulumi, tmp_path: Path) -> None:
        (tmp_path / "pulumi").write_text("#!/bin/sh\nexec /bin/sleep 600\n")
        (tmp_path / "pulumi").chmod(0o700)
        with pytest.raises(TransientError, match=r"Could not read a/b/c: no answer within 0 seconds\."):
            await replace(pulumi, longest_call=0.1).read("a/b/c")

    def test_show_no_secret_and_no_more_than_a_line(self, pulumi: Pulumi) -> None:
        stderr = "  4:   A: the definition\nerror: token pul-canary is bad" + "!" * 5000 + "\n"
        error = pulumi._failure("read a/b/c", Finished(1, b"", stderr))
        assert "pul-canary" not in str(error)
        assert "the definition" not in str(error)
        assert "\n" not in str(error)
        assert len(str(error)) < 800

    def test_a_cli_that_says_nothing(self, pulumi: Pulumi) -> None:
        error = pulumi._failure("read a/b/c", Finished(7, b"", ""))
        assert "it gave no reason (exit code 7)" in error.what

    @pytest.mark.parametrize("call", ["read", "edit", "tag", "latest_revision"])
    @pytest.mark.anyio
    async def test_without_a_cli(self, pulumi: Pulumi, call: str) -> None:
        given: dict[str, list[object]] = {"edit": [str], "tag": ["name"]}
        with pytest.raises(EscError, match=r"isn't installed: there is no `pulumi` on PATH\. Use the action's"):
            await getattr(pulumi, call)("a/b/c", *given.get(call, []))

    @pytest.mark.parametrize("error", [BlockingIOError(11, "no more processes"), RuntimeError("no more threads")])
    @pytest.mark.anyio
    async def test_where_none_can_be_started(
        self, pulumi: Pulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def start(*_: object, **__: object) -> NoReturn:
            raise error

        (tmp_path / "pulumi").touch(mode=0o700)
        monkeypatch.setattr(anyio, "open_process", start)
        there = replace(pulumi, environ={"PATH": str(tmp_path)})
        with pytest.raises(EscError, match=r"can't be started: no more (processes|threads)\. Run again"):
            await there.read("a/b/c")

    def test_a_definition_that_is_no_text(self) -> None:
        with pytest.raises(EscError, match="isn't valid UTF-8"):
            cli._decode(b"A: \xff")


class TestPrivateFolder:
    def test_is_ours_alone_and_gone_afterwards(self) -> None:
        with private_folder() as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            (folder / "deep").mkdir()
            (folder / "deep" / "file").write_text("x")
        assert not folder.exists()

    def test_is_gone_also_where_something_fails(self) -> None:
        folders = []

        def fail() -> None:
            with private_folder() as folder:
                folders.append(folder)
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert not folders[0].exists()

    def test_is_in_memory_where_the_machine_offers_that(self) -> None:
        memory = Path("/dev/shm")  # noqa: S108
        with private_folder() as folder:
            assert folder.parent == (memory if memory.is_dir() else Path(tempfile.gettempdir()))

    def test_is_elsewhere_where_that_can_not_be_written(self, tmp_path: Path) -> None:
        folder = cli._new_folder(tmp_path / "missing")
        assert folder.is_dir()
        assert folder.parent != tmp_path / "missing"
        folder.rmdir()

    def test_where_there_is_no_room_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def mkdtemp(**_: object) -> NoReturn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
        with pytest.raises(EscError, match="No space left on device") as error, private_folder():
            pass
        assert error.value.title == "No temporary folder can be made"

    def test_holds_the_default_organisation(self, pulumi: Pulumi, tmp_path: Path) -> None:
        pulumi.prepare("acme")
        assert json.loads((tmp_path / "config.json").read_text()) == {"backends": {URL: {"defaultOrg": "acme"}}}


def test_the_access_token_is_not_shown(pulumi: Pulumi) -> None:
    assert "pul-canary" not in repr(pulumi)


class TestRevisions:
    def test_as_the_cli_prints_them(self) -> None:
        printed = (
            "revision 5 (tags: latest, github-run-17-1)\nAuthor: Jo <Doe> (ci) <jo>\n"
            "Date:   2026-11-24 20:36:55.123456789 +0000 UTC\n\n"
            "revision 4 (retracted)\nAuthor: sandbox <sandbox>\nDate:   2026-11-24 20:36:55 +0000 UTC\n"
            "\n    Retracted by <unknown> at 2026-11-24 21:00:00 +0000 UTC and replaced with revision 3.\n"
            "\n    revision 9 was wrong\n\n"
            "revision 3 (tag: stable)\nAuthor: <unknown>\nDate:   2026-11-24 20:36:55.7 +0000 UTC\n\n"
            "revision 1\nAuthor: sandbox <sandbox>\nDate:   2026-01-02 03:04:05.06 +0000 UTC\n\n"
        )
        second = datetime(2026, 11, 24, 20, 36, 55, tzinfo=UTC)
        assert revisions.parse(printed) == [
            Revision(5, second.replace(microsecond=123456), "jo", ("latest", "github-run-17-1")),
            Revision(4, second, "sandbox", retracted=True),
            Revision(3, second.replace(microsecond=700_000), "unknown", ("stable",)),
            Revision(1, datetime(2026, 1, 2, 3, 4, 5, 60_000, tzinfo=UTC), "sandbox"),
        ]

    @pytest.mark.parametrize("printed", ["", "\n", "error: nothing\n", "revision x\nAuthor: a <a>\nDate:   y\n"])
    def test_none(self, printed: str) -> None:
        assert revisions.parse(printed) == []
