"""What Pulumi Cloud says about an environment's approvals, and the errors for malformed answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sandbox import Sandbox
from sophia_sync.esc import approvals
from sophia_sync.esc.cli import Pulumi
from sophia_sync.runtime.errors import EscError, TransientError
from sophia_sync.runtime.redact import Redactor

pytestmark = pytest.mark.anyio

ENVIRONMENT = "acme/web/approvals"
METADATA = f"GET /api/esc/environments/{ENVIRONMENT}/metadata"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def pulumi(box: Sandbox, tmp_path: Path) -> Pulumi:
    if ENVIRONMENT not in {environment.path for environment in box.esc.environments}:
        box.esc.create(ENVIRONMENT)
    box.esc.gate(ENVIRONMENT)
    return Pulumi(tmp_path, box.esc.url, SecretStr(box.esc.token), {}, Redactor())


@pytest.mark.parametrize(
    ("cloud_url", "domain", "page"),
    [
        ("https://api.pulumi.com", "", "https://app.pulumi.com/acme/esc/web/approvals"),
        ("https://api.acme.example:8443", "", "https://app.acme.example:8443/acme/esc/web/approvals"),
        ("https://pulumi.acme.example", "", ""),
        ("https://pulumi.acme.example", "console.acme.example", "https://console.acme.example/acme/esc/web/approvals"),
    ],
)
def test_the_page_in_the_console(cloud_url: str, domain: str, page: str) -> None:
    environ = {"PULUMI_CONSOLE_DOMAIN": domain}
    assert approvals.console(cloud_url, environ, ENVIRONMENT) == page


@pytest.mark.parametrize(
    "body",
    [
        *("", "<html>", [], {}),
        *({"ownedBy": {}, "gatedActions": odd} for odd in (True, 1, "update", {"update": 1})),
        *({"ownedBy": {}, "activeChangeRequest": odd} for odd in (True, 1, "x1", ["x1"])),
        *({"ownedBy": {}, "activeChangeRequest": {"changeRequestId": identifier}} for identifier in (None, True, 1)),
    ],
)
async def test_an_answer_that_is_none(box: Sandbox, pulumi: Pulumi, body: Any) -> None:
    box.esc.fail(METADATA, status=200, body=body)
    with pytest.raises(EscError) as raised:
        await approvals.ask(pulumi, ENVIRONMENT)
    has_odd_id = isinstance(body, dict) and isinstance(body.get("activeChangeRequest"), dict)
    assert isinstance(raised.value, TransientError) == (not has_odd_id)
    assert ENVIRONMENT in str(raised.value)


async def test_an_id_that_is_none(box: Sandbox, pulumi: Pulumi) -> None:
    box.esc.fail(
        METADATA, status=200, body={"ownedBy": {}, "activeChangeRequest": {"changeRequestId": "../x\n::error"}}
    )
    with pytest.raises(EscError) as raised:
        await approvals.ask(pulumi, ENVIRONMENT)
    assert "::error" not in str(raised.value)


def _with_request(box: Sandbox, **answer: Any) -> None:
    body = {"ownedBy": {}, "gatedActions": ["update"], "activeChangeRequest": {"changeRequestId": "x1"}}
    box.esc.fail(METADATA, status=200, body=body)
    box.esc.fail("GET /api/change-requests/acme/x1", **answer)


@pytest.mark.parametrize("status", [None, True, 5, ["draft"], {"draft": 1}])
async def test_a_status_that_is_none(box: Sandbox, pulumi: Pulumi, status: object) -> None:
    _with_request(box, status=200, body={"status": status})
    with pytest.raises(TransientError):
        await approvals.ask(pulumi, ENVIRONMENT)


@pytest.mark.parametrize("odd", [None, True, 5, "me", ["me"], {"githubLogin": 5}, "2026-01-01T00:00:00", "9" * 5_000])
async def test_an_author_and_a_time_that_are_none(box: Sandbox, pulumi: Pulumi, odd: object) -> None:
    _with_request(box, status=200, body={"status": "PENDING", "createdBy": odd, "createdAt": odd, "action": odd})
    asked = (await approvals.ask(pulumi, ENVIRONMENT)).open
    assert asked is not None
    assert (asked.status, asked.author, asked.created, asked.is_ours) == ("pending", "", None, False)


async def test_a_change_request_that_was_closed_in_the_meantime(box: Sandbox, pulumi: Pulumi) -> None:
    _with_request(box, status=404, body={"code": 404, "message": "Change request not found"})
    with pytest.raises(TransientError) as raised:
        await approvals.ask(pulumi, ENVIRONMENT)
    assert raised.value.todo == "Run again."


async def test_a_pulumi_cloud_that_knows_no_approvals(box: Sandbox, pulumi: Pulumi) -> None:
    box.esc.fail(METADATA, status=404, body={"code": 404, "message": "Not Found"})
    with pytest.raises(EscError) as raised:
        await approvals.ask(pulumi, ENVIRONMENT)
    assert not isinstance(raised.value, TransientError)
    assert "doesn't tell (HTTP 404)" in raised.value.what
    assert "`change-request: never`" in raised.value.todo


async def test_a_login_whose_token_can_not_be_read(pulumi: Pulumi, tmp_path: Path) -> None:
    with pytest.raises(EscError) as raised:
        await approvals.ask(replace(pulumi, access_token=None, login=tmp_path), ENVIRONMENT)
    assert "pulumi login" in raised.value.what
