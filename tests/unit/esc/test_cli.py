"""The calls of the CLI, without running it: their limits, their folder, and what becomes of failures."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import tempfile
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
from pydantic import SecretStr

from sophia_sync import process
from sophia_sync.errors import EscError, TransientError
from sophia_sync.esc import cli, revisions
from sophia_sync.esc.cli import Pulumi, private_folder
from sophia_sync.esc.revisions import Revision
from sophia_sync.interrupts import Watch
from sophia_sync.process import Deadline, Finished
from sophia_sync.redact import Redactor

URL = "https://pulumi.example"


@pytest.fixture
def pulumi(tmp_path: Path) -> Pulumi:
    return Pulumi(
        home=tmp_path,
        cloud_url=URL,
        access_token=SecretStr("pul-canary"),
        environ={"PATH": str(tmp_path)},
        deadline=Deadline(60),
        redact=Redactor([SecretStr("pul-canary")]),
    )


class TestFailures:
    def test_one_call_may_not_use_up_the_time_of_all(self, pulumi: Pulumi) -> None:
        error = pulumi._failure("read a/b/c", Finished(-9, b"", "", timed_out=True))
        assert isinstance(error, TransientError)
        assert error.what == "Could not read a/b/c: no answer within 15 seconds."

    def test_past_the_deadline(self, pulumi: Pulumi) -> None:
        times = iter([0.0, 61.0, 61.0])
        late = replace(pulumi, deadline=Deadline(60, lambda: next(times)))
        error = late._failure("read a/b/c", Finished(-9, b"", "", timed_out=True))
        assert "not done within the 60 seconds of `timeout`" in error.what
        assert "larger `timeout`" in error.todo

    def test_show_no_secret(self, pulumi: Pulumi) -> None:
        error = pulumi._failure("read a/b/c", Finished(1, b"", "error: token pul-canary is bad\n", timed_out=False))
        assert "is bad" in error.what
        assert "pul-canary" not in str(error)

    def test_tell_a_token_that_came_by_oidc(self, pulumi: Pulumi) -> None:
        refused = Finished(1, b"", "error: [401] Unauthorized\n", timed_out=False)
        assert "`pulumi-access-token`" in pulumi._failure("read a/b/c", refused).todo
        error = replace(pulumi, by_oidc=True)._failure("read a/b/c", refused)
        assert "OIDC token: it has expired" in error.todo
        assert "pulumi-access-token" not in error.todo

    @pytest.mark.parametrize("call", ["read", "edit", "tag", "latest_revision"])
    def test_without_a_cli(self, pulumi: Pulumi, call: str) -> None:
        given: dict[str, list[object]] = {"edit": [str], "tag": ["name"]}
        with pytest.raises(EscError, match=r"isn't installed: there is no `pulumi` on PATH\. Use the action's"):
            getattr(pulumi, call)("a/b/c", *given.get(call, []))

    @pytest.mark.parametrize("error", [BlockingIOError(11, "no more processes"), RuntimeError("no more threads")])
    def test_where_none_can_be_started(
        self, pulumi: Pulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def start(*_: object) -> NoReturn:
            raise error

        (tmp_path / "pulumi").touch(mode=0o700)
        monkeypatch.setattr(process, "start", start)
        there = replace(pulumi, environ={"PATH": str(tmp_path)})
        with pytest.raises(EscError, match=r"can't be started: no more (processes|threads)\. Run again"):
            there.read("a/b/c")


class TestPrivateFolder:
    def test_is_ours_alone_and_gone_afterwards(self) -> None:
        with private_folder(Deadline(60)) as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            (folder / "deep").mkdir()
            (folder / "deep" / "file").write_text("x")
        assert not folder.exists()

    def test_is_gone_also_where_something_fails(self) -> None:
        folders = []

        def fail() -> None:
            with private_folder(Deadline(60)) as folder:
                folders.append(folder)
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert not folders[0].exists()

    def test_what_still_works_in_it_ends_before_it_goes(self) -> None:
        deadline = Deadline(60)
        begun, cut = threading.Event(), threading.Event()

        def work(folder: Path) -> None:
            with deadline.running(), deadline.on_cut(lambda _: cut.set()):
                begun.set()
                assert cut.wait(60)
                time.sleep(0.05)
                (folder / "anew").mkdir(parents=True)

        with private_folder(deadline) as folder:
            thread = threading.Thread(target=work, args=(folder,))
            thread.start()
            assert begun.wait(60)
        thread.join(60)
        assert not thread.is_alive()
        assert not folder.exists()

    def test_is_in_memory_where_the_machine_offers_that(self) -> None:
        memory = Path("/dev/shm")  # noqa: S108
        with private_folder(Deadline(60)) as folder:
            assert folder.parent == (memory if memory.is_dir() else Path(tempfile.gettempdir()))

    def test_is_elsewhere_where_that_can_not_be_written(self, tmp_path: Path) -> None:
        folder = cli._new_folder(tmp_path / "missing")
        assert folder.is_dir()
        assert folder.parent != tmp_path / "missing"
        folder.rmdir()

    def test_goes_as_a_whole_although_a_signal_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        remove = shutil.rmtree

        def removed(path: Path, *, ignore_errors: bool) -> None:
            signal.raise_signal(signal.SIGTERM)
            remove(path, ignore_errors=ignore_errors)

        monkeypatch.setattr(shutil, "rmtree", removed)
        with Watch(), private_folder(Deadline(60)) as folder:
            pass
        assert not folder.exists()

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
