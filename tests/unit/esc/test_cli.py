"""Calls of the Pulumi CLI, without the real one: time limits, the private folder, failures and revisions."""

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
from pydantic import SecretStr

from sophia_sync.esc import cli, revisions
from sophia_sync.esc.cli import Pulumi, private_folder
from sophia_sync.esc.revisions import Revision
from sophia_sync.runtime.errors import EscError, TransientError
from sophia_sync.runtime.processes import Finished
from sophia_sync.runtime.redact import Redactor

URL = "https://pulumi.example"


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


@pytest.mark.anyio
async def test_every_secret_of_an_opened_environment_is_hidden(pulumi: Pulumi, tmp_path: Path) -> None:
    nested = {"value": {"password": {"value": "theirs-17", "secret": True}, "user": {"value": "plain-17"}}}
    printed = json.dumps({"value": {"A": {"value": "ours-17", "secret": True}, "B": nested}})
    (tmp_path / "pulumi").write_text(f"#!/bin/sh\necho '{printed}'\n")
    (tmp_path / "pulumi").chmod(0o700)
    assert (await pulumi.open_values("a/b/c")).keys() == {"A", "B"}
    assert pulumi.redact("ours-17 theirs-17 plain-17") == "*** *** plain-17"


class TestFailures:
    @pytest.mark.anyio
    async def test_one_call_may_not_use_up_the_time_of_all(self, pulumi: Pulumi, tmp_path: Path) -> None:
        (tmp_path / "pulumi").write_text("#!/bin/sh\nexec /bin/sleep 600\n")
        (tmp_path / "pulumi").chmod(0o700)
        with pytest.raises(TransientError, match=r"Could not read a/b/c: no answer within 0\.1 seconds\."):
            await replace(pulumi, longest_call=0.1).read("a/b/c")

    def test_show_no_secret(self, pulumi: Pulumi) -> None:
        error = pulumi._failure("read a/b/c", Finished(1, b"", "error: token pul-canary is bad\n"))
        assert "is bad" in error.what
        assert "pul-canary" not in str(error)

    def test_tell_a_token_that_came_by_oidc(self, pulumi: Pulumi) -> None:
        refused = Finished(1, b"", "error: [401] Unauthorized\n")
        assert "`pulumi-access-token`" in pulumi._failure("read a/b/c", refused).todo
        error = replace(pulumi, by_oidc=True)._failure("read a/b/c", refused)
        assert "OIDC token: it has expired" in error.todo
        assert "pulumi-access-token" not in error.todo

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

    def test_is_elsewhere_where_memory_has_little_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cli, "_ROOM", 2**63)
        with private_folder() as folder:
            assert folder.parent == Path(tempfile.gettempdir())

    def test_where_there_is_no_room_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def mkdtemp(**_: object) -> NoReturn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
        with pytest.raises(EscError, match="No space left on device") as error, private_folder():
            pass
        assert error.value.title == "No temporary folder can be made"

    def test_holds_the_default_organization(self, pulumi: Pulumi, tmp_path: Path) -> None:
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
