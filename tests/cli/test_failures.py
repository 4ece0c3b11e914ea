"""The whole program when something is wrong: it sets the exit code, explains in one annotation, changes nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from sandbox import Sandbox
from sophia_sync.esc import cli
from tests.support.action import Action, Ran
from tests.support.inputs import VALID

pytestmark = pytest.mark.pulumi


@pytest.fixture(autouse=True)
def definition(action: Action) -> str:
    action.create("values:\n  A: 1\n")
    return action.stored


def refused(ran: Ran, action: Action, *words: str, code: int = 4) -> None:
    """Check that the run failed, said why in one annotation and in the summary, and changed and deployed nothing."""
    assert ran.code == code
    assert len(ran.annotations) == 1
    for word in words:
        assert word in ran.annotations[0]
        assert word in ran.summary
    assert "What to do:" in ran.summary
    assert "Traceback" not in ran.log + ran.errors
    assert action.values == {"A": 1}
    assert action.box.github.requests == []


class TestInputs:
    @pytest.mark.parametrize(
        "inputs",
        [
            {"sentry_dsn": "not a dsn"},
            {"sentry_api_token": ""},
            {"deploy": "always", "github_token": "", "deploy_repository": "not a repository"},
            {"esc_environment": "production"},
            {"timeout": "0", "dry_run": "perhaps"},
        ],
    )
    def test_that_are_wrong_cost_no_request(self, action: Action, box: Sandbox, inputs: dict[str, str]) -> None:
        ran = action.run(**inputs)
        refused(ran, action, *(f"`{name.replace('_', '-')}`" for name in inputs if name != "deploy"), code=2)
        assert ran.calls == []
        assert [server.requests for server in box.servers] == [[], [], []]
        assert ran.outputs == {}

    def test_as_the_runner_sees_them(self, action: Action, box: Sandbox) -> None:
        ran = action.run_child(action.variables(action.inputs(sentry_dsn="")))
        refused(ran, action, "`sentry-dsn` is not set", code=2)
        assert ran.errors == ""
        assert [server.requests for server in box.servers] == [[], [], []]


class TestEsc:
    def test_has_no_such_environment(self, action: Action) -> None:
        ran = action.run(esc_environment="acme/default/missing", deploy="always")
        refused(ran, action, "read acme/default/missing", "`pulumi env init`")
        assert '"error"' in ran.outputs["environments"]

    def test_refuses_the_token(self, action: Action) -> None:
        ran = action.run(pulumi_access_token="pul-revoked", deploy="always")
        refused(ran, action, "`pulumi-access-token`")
        assert "pul-revoked" not in ran.annotations[0] + ran.summary

    def test_refuses_to_write(self, action: Action, box: Sandbox) -> None:
        box.esc.fail("PATCH .*", status=403, times=None)
        refused(action.run(deploy="always"), action, f"write {action.environment}", "permission")

    def test_refuses_the_definition(self, action: Action, box: Sandbox, definition: str) -> None:
        diagnostic = {"summary": "too many values for this plan"}
        body = {"code": 400, "message": "Bad Request: invalid definition", "diagnostics": [diagnostic]}
        box.esc.fail("PATCH .*", status=400, body=body, times=None)
        before = action.revision
        ran = action.run(deploy="always")
        refused(ran, action, "ESC refused the new definition", "too many values for this plan")
        assert (action.revision, action.stored) == (before, definition)
        assert VALID["sentry-api-token"] not in ran.annotations[0] + ran.summary

    @pytest.mark.full
    def test_can_not_be_reached(self, action: Action, box: Sandbox) -> None:
        box.esc.down()
        ran = action.run(deploy="always", timeout="12")
        refused(ran, action, f"read {action.environment}")


class TestCli:
    def test_is_not_there(self, action: Action, tmp_path: Path) -> None:
        nowhere = tmp_path / "empty"
        nowhere.mkdir()
        ran = action.run_with(action.variables(action.inputs(deploy="always")) | {"PATH": str(nowhere)})
        refused(ran, action, "there is no `pulumi` on PATH")

    def test_does_not_know_its_commands(self, action: Action) -> None:
        stub = action.bin / "pulumi"
        stub.write_text('#!/bin/sh\necho \'error: unknown command "env" for "pulumi"\' >&2\nexit 255\n')
        refused(action.run(deploy="always"), action, "unknown command", "too old for Pulumi ESC")

    def test_shows_what_is_no_definition(self, action: Action) -> None:
        stub = action.bin / "pulumi"
        stub.write_text("#!/bin/sh\necho '[not a mapping]'\n")
        refused(action.run(deploy="always"), action, "printed something unknown", "release of the CLI")

    def test_has_no_room_for_the_new_definition(self, action: Action, monkeypatch: pytest.MonkeyPatch) -> None:
        def write_bytes(_: Path, data: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Path, "write_bytes", write_bytes)
        refused(action.run(deploy="always"), action, "No space left on device", "Make room", "Nothing was written.")

    def test_can_not_be_executed(self, action: Action) -> None:
        (action.bin / "pulumi").chmod(0o644)
        ran = action.run_with(action.variables(action.inputs(deploy="always")) | {"PATH": str(action.bin)})
        refused(ran, action, "there is no `pulumi` on PATH")
        assert os.access(action.bin / "pulumi", os.F_OK)


class TestTheMachine:
    def test_has_no_room_for_a_private_folder(self, action: Action, monkeypatch: pytest.MonkeyPatch) -> None:
        nowhere = action.folder / "nowhere"
        monkeypatch.setattr(cli, "_MEMORY", nowhere)
        monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
        ran = action.run()
        assert ran.code == 4
        (error,) = ran.annotations
        assert error.startswith("There is no room for the Pulumi CLI's private files: No such file or directory.")
        (ended,) = json.loads(ran.outputs["environments"])
        assert ended["environment"] == action.environment
        assert "There is no room" in ran.summary

    def test_has_a_full_memory(self, action: Action, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cli, "_ROOM", shutil.disk_usage(cli._MEMORY).total + 1)
        assert action.run().outputs["result"] == "synced"
        assert list(action.temporary.iterdir()) == []


def test_an_organization_with_300_characters(action: Action) -> None:
    ran = action.run(esc_environment=f"{'a' * 300}/default/production")
    assert ran.code == 4
    assert len(ran.annotations) == 1
    assert json.loads(ran.outputs["environments"])[0]["error"]
