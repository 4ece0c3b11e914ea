"""Every failure of Sentry or of the credentials: what is retried, and what a model reads."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from mcp import Client
from sentry_mcp.client import LARGEST_ANSWER
from sentry_mcp.credentials import Vault
from sentry_mcp.server import SentryServer
from sentry_mcp.settings import Settings
from sentry_mcp.web import Readiness

from sandbox.faults import FaultKind
from sandbox.sentry import Issue, Sentry
from tests.mcp.conftest import impatient
from tests.mcp.support import CALLS, Values, call, refused, unmarked
from tests.support.raw_server import RawServer

pytestmark = pytest.mark.anyio

PROJECT = "/api/0/projects/pay-ready/pay-ready/"
MAYBE = "The change may have been made: look before you repeat it."
DONE = "The change itself was made; it is reading it back that failed."


# Transient failures.


@pytest.mark.parametrize("status", [429, 500, 501, 502, 503, 504, 507, 520, 524, 599])
async def test_a_passing_failure_is_tried_again(status: int, client: Client, sentry: Sentry) -> None:
    fault = sentry.fail(f"GET {PROJECT}", status=status, body=b"", headers={"Retry-After": "0"}, times=2)
    await call(client, "get_project")
    assert fault.hits == 2


@pytest.mark.parametrize("kind", ["close", "truncate", "refuse"])
async def test_a_broken_connection_is_tried_again(kind: FaultKind, client: Client, sentry: Sentry) -> None:
    fault = sentry.fail(f"GET {PROJECT}", kind=kind, seconds=0.05)
    await call(client, "get_project")
    assert fault.hits == 1


async def test_a_wait_that_sentry_asks_for_is_kept(client: Client, sentry: Sentry) -> None:
    sentry.fail(f"GET {PROJECT}", status=429, headers={"Retry-After": "1"})
    await call(client, "get_project")
    first, second = [request.at for request in sentry.requests if request.path == PROJECT]
    assert second - first >= 1


@pytest.mark.parametrize(
    "headers",
    [{"Retry-After": "120"}, {"X-Sentry-Rate-Limit-Remaining": "0", "X-Sentry-Rate-Limit-Reset": str(10**10)}],
)
async def test_a_wait_that_is_too_long_is_told(headers: dict[str, str], client: Client, sentry: Sentry) -> None:
    fault = sentry.fail(f"GET {PROJECT}", status=429, headers=headers, times=None)
    told = await refused(client, "get_project")
    assert told.startswith("Sentry limits how often it may be asked. Call again in ")
    assert told.endswith(" seconds, not before.")
    assert fault.hits == 1


# Failures that stay.


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "status", "told"),
    [
        ("status", 503, "fails (HTTP 503). Try later."),
        ("close", None, "can't be reached, or breaks off its answer. Try later."),
        ("truncate", None, "can't be reached, or breaks off its answer. Try later."),
        ("refuse", None, "can't be reached, or breaks off its answer. Try later."),
        ("hang", None, "gives no answer in time. Try later."),
    ],
)
async def test_a_failure_that_stays_is_told_in_time(
    kind: FaultKind, status: int | None, told: str, settings: Settings, values: Values, sentry: Sentry
) -> None:
    sentry.fail(f"GET {PROJECT}", kind=kind, status=status, times=None)
    async with impatient(settings, values, 0.6 if kind == "hang" else 3) as client:
        assert (await refused(client, "get_project")).endswith(told)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"kind": "garbage"}, "A web page came in place of Sentry's answer"),
        ({"status": 200, "body": b" <!doctype HTML><title>Sign in</title>"}, "A web page came in place of Sentry's"),
        ({"status": 200, "body": b"<?xml version='1.0'?><Error/>"}, "Sentry's answer isn't understood."),
        ({"status": 200, "body": b"OK"}, "Sentry's answer isn't understood."),
        ({"kind": "empty"}, "Sentry's answer isn't understood"),
        ({"status": 200, "body": []}, "Sentry's answer isn't understood"),
        ({"status": 200, "body": b"[" * 200_000}, "Sentry's answer isn't understood"),
        ({"status": 400, "body": {"name": ["Wrong."]}}, "Sentry refuses the request (HTTP 400). Change the arguments."),
        ({"status": 403}, "Sentry doesn't let the server's token do this (HTTP 403). `whoami` shows the token's sc"),
        ({"status": 404}, "Sentry knows no such thing in the project (HTTP 404)."),
        ({"status": 404, "body": b"<html>"}, "Sentry knows no such thing in the project (HTTP 404)."),
        ({"status": 400, "body": b"[" * 200_000}, "Sentry refuses the request (HTTP 400). Change the arguments."),
        ({"status": 418}, "Sentry refuses the request (HTTP 418)."),
    ],
)
async def test_what_isnt_tried_again(fault: dict[str, Any], told: str, client: Client, sentry: Sentry) -> None:
    ordered = sentry.fail(f"GET {PROJECT}", times=None, **fault)
    assert (await refused(client, "get_project")).startswith(told)
    assert ordered.hits == 1


@pytest.mark.parametrize("body", [{}, [1], {"auth": {"scopes": [1]}}, {"auth": {}}])
async def test_an_index_that_isnt_sentrys(body: Any, client: Client, sentry: Sentry) -> None:
    sentry.fail("GET /api/0/", status=200, body=body)
    assert (await call(client, "whoami"))["problem"].startswith("Sentry's answer isn't understood")


async def test_sentrys_own_words_for_an_error_are_shown_marked(client: Client, sentry: Sentry) -> None:
    detail = {"code": "sso-required", "message": "Must login via SSO", "extra": {}}
    sentry.fail(f"GET {PROJECT}", status=403, body={"detail": detail})
    assert " Must login via SSO⟫" in (await refused(client, "get_project")).split("⟪")[1]


@pytest.mark.parametrize(
    ("route", "tool", "arguments"),
    [
        (f"GET {PROJECT}", "search_issues", {}),
        ("GET .*/events/latest/", "get_event", {"issue_id": "PAY-READY-1", "event_id": "latest"}),
        ("POST .*/notes/", "add_issue_note", {"issue_id": "PAY-READY-1", "text": "Seen"}),
    ],
)
async def test_an_answer_that_is_no_object(
    route: str, tool: str, arguments: dict[str, Any], client: Client, sentry: Sentry, issue: Issue
) -> None:
    sentry.fail(route, status=200, body=["x"])
    assert (await refused(client, tool, **arguments)).startswith("Sentry's answer isn't understood")


@pytest.mark.parametrize("body", [{"activity": {}}, []])
async def test_rows_that_are_none(body: Any, client: Client, sentry: Sentry, issue: Issue) -> None:
    sentry.fail("GET .*/activities/", status=200, body=body)
    told = await refused(client, "get_issue_activity", issue_id="PAY-READY-1")
    assert told.startswith("Sentry's answer isn't understood")


async def test_a_huge_answer_is_left_alone(client: Client, sentry: Sentry) -> None:
    sentry.fail(f"GET {PROJECT}", status=200, body=b"[" + b" " * LARGEST_ANSWER)
    assert (await refused(client, "get_project")).startswith("Sentry's answer is larger than the 5 MiB")


async def test_a_small_answer_that_unpacks_to_a_huge_one_is_left_alone(client: Client, sentry: Sentry) -> None:
    bomb = gzip.compress(b" " * (20 * LARGEST_ANSWER))
    sentry.fail(f"GET {PROJECT}", status=200, body=bomb, headers={"Content-Encoding": "gzip"})
    assert (await refused(client, "get_project")).startswith("Sentry's answer is larger than the 5 MiB")


async def test_an_answer_that_drips_is_given_up(values: Values) -> None:
    with RawServer(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", drip=b" ") as dripping:
        async with impatient(Settings(sentry_url=dripping.url), values, 0.5) as client:
            assert (await refused(client, "get_project")).endswith("gives no answer in time. Try later.")


async def test_fields_that_sentry_leaves_out_or_sends_in_another_form(
    client: Client, sentry: Sentry, issue: Issue
) -> None:
    issue.extra = {"level": "odd", "firstSeen": "yesterday", "count": "many", "assignedTo": 7, "culprit": None}
    shown = (await call(client, "get_issue", issue_id="PAY-READY-1"))["issue"]
    assert [unmarked(shown[name]) for name in ("level", "firstSeen", "count", "assignedTo", "culprit")] == [
        "odd", "yesterday", "many", "7", None,
    ]  # fmt: skip
    event = sentry.add_event(issue)
    odd: list[Any] = [
        {"type": "exception", "data": {"values": [{"type": 7, "stacktrace": None}, None]}},
        {"type": "exception2", "data": None},
        {"type": "breadcrumbs", "data": {"values": None}},
        {"type": "request", "data": None},
        "x",
    ]
    event.entries[:] = odd
    shown = (await call(client, "get_event", event_id=event.id))["event"]
    assert (len(shown["exceptions"]), shown["exceptions"][0]["frames"], shown["breadcrumbs"]) == (1, None, None)
    assert shown["request"] is None


@pytest.mark.parametrize(
    "shape",
    [{}, {"tags": 5}, {"tags": {"a": 1}}, {"tags": [7]}, {"entries": 5}, {"entries": {}}, {"entries": [{"type": []}]}],
)
async def test_an_event_without_tags_or_entries(shape: dict[str, Any], client: Client, sentry: Sentry) -> None:
    sentry.fail("GET .*/events/.*", status=200, body={"id": "0" * 32, "projectID": sentry.project_id, **shape})
    shown = (await call(client, "get_event", event_id="0" * 32))["event"]
    assert (shown["exceptions"], shown["breadcrumbs"]) == (None, None)


# Writing: no change is made twice.


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503},
        {"status": 501, "body": b""},
        {"status": 520, "body": b"a proxy's page"},
        {"kind": "close"},
        {"kind": "truncate"},
    ],
)
async def test_an_addition_isnt_repeated_where_it_may_have_been_made(
    fault: dict[str, Any], client: Client, sentry: Sentry
) -> None:
    ordered = sentry.fail("POST .*/keys/", after=True, times=None, **fault)
    assert (await refused(client, "create_client_key", name="CI")).endswith(MAYBE)
    assert ordered.hits == 1
    assert len(sentry.projects["pay-ready", "pay-ready"].keys) == 2


async def test_an_addition_is_repeated_where_it_was_not_made(client: Client, sentry: Sentry) -> None:
    fault = sentry.fail("POST .*/keys/", status=429, headers={"Retry-After": "0"}, times=2)
    await call(client, "create_client_key", name="CI")
    assert fault.hits == 2
    assert len(sentry.projects["pay-ready", "pay-ready"].keys) == 2


@pytest.mark.parametrize("fault", [{"status": 502}, {"kind": "close"}, {"kind": "truncate"}])
async def test_a_change_isnt_repeated_where_it_may_have_been_made(
    fault: dict[str, Any], client: Client, sentry: Sentry, issue: Issue
) -> None:
    ordered = sentry.fail("PUT .*", after=True, times=None, **fault)
    assert (await refused(client, "update_issue", **CALLS["update_issue"])).endswith(MAYBE)
    assert (ordered.hits, issue.status) == (1, "resolved")


async def test_a_change_is_repeated_where_it_was_not_made(client: Client, sentry: Sentry, issue: Issue) -> None:
    fault = sentry.fail("PUT .*", status=429, headers={"Retry-After": "0"}, times=2)
    await call(client, "update_issue", **CALLS["update_issue"])
    assert (fault.hits, issue.status) == (2, "resolved")


TOO_LARGE = {"status": 201, "body": b"[" + b" " * LARGEST_ANSWER}


@pytest.mark.parametrize("fault", [{"kind": "garbage"}, TOO_LARGE, {"status": 201, "body": []}])
@pytest.mark.parametrize(
    ("route", "tool"), [("POST .*/keys/", "create_client_key"), ("POST .*/notes/", "add_issue_note")]
)
async def test_an_answer_that_isnt_understood_doesnt_hide_an_addition(
    route: str, tool: str, fault: dict[str, Any], client: Client, sentry: Sentry, issue: Issue
) -> None:
    ordered = sentry.fail(route, after=True, **fault)
    assert (await refused(client, tool, **CALLS[tool])).endswith(MAYBE)
    assert ordered.hits == 1
    assert len(sentry.projects["pay-ready", "pay-ready"].keys) == 2 or len(issue.activity) == 1


@pytest.mark.parametrize("fault", [{"kind": "garbage"}, TOO_LARGE])
async def test_an_answer_that_isnt_understood_doesnt_hide_a_change(
    fault: dict[str, Any], client: Client, sentry: Sentry, issue: Issue
) -> None:
    sentry.fail("PUT .*", after=True, **fault)
    assert (await refused(client, "update_issue", **CALLS["update_issue"])).endswith(MAYBE)
    assert issue.status == "resolved"


@pytest.mark.parametrize(
    ("route", "tool"), [("/issues/.*", "update_issue"), ("/projects/pay-ready/pay-ready/", "update_project")]
)
@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 404}, {"status": 401}, {"kind": "garbage"}])
async def test_a_change_that_cant_be_read_back_is_told(
    route: str, tool: str, fault: dict[str, Any], client: Client, sentry: Sentry, issue: Issue
) -> None:
    sentry.before(f"PUT .*{route}", lambda: sentry.fail(f"GET .*{route}", times=None, **fault))
    told = await refused(client, tool, **CALLS[tool])
    assert told.endswith(DONE)
    assert issue.status == "resolved" or sentry.projects["pay-ready", "pay-ready"].settings == {"platform": "python"}


# Credentials.


async def test_a_rotated_token_is_read_again_and_the_call_repeated(
    client: Client, sentry: Sentry, values: Values
) -> None:
    await call(client, "get_project")
    del sentry.tokens[sentry.token]
    sentry.add_token("sntrys_new", ["project:read"])
    values.stored["SENTRY_API_TOKEN"] = "sntrys_new"
    await call(client, "get_project")
    assert values.refreshed == 1
    await call(client, "get_project")
    assert values.refreshed == 1


async def test_a_rotated_token_counts_for_what_is_offered_too(client: Client, sentry: Sentry, values: Values) -> None:
    assert len((await client.list_tools()).tools) == 18
    del sentry.tokens[sentry.token]
    sentry.refused_tokens_are_anonymous = True
    sentry.add_token("sntrys_new", ["project:read"])
    values.stored["SENTRY_API_TOKEN"] = "sntrys_new"
    assert (await call(client, "whoami"))["scopes"] == ["project:read"]
    assert (values.refreshed, len((await client.list_tools()).tools)) == (1, 5)


async def test_a_write_with_a_rotated_token_is_done_once(
    client: Client, sentry: Sentry, values: Values, issue: Issue
) -> None:
    sentry.add_token("sntrys_new", ["project:read", "event:write"])
    values.stored["SENTRY_API_TOKEN"] = "sntrys_new"
    sentry.before("POST .*/notes/", lambda: sentry.tokens.pop(sentry.token))
    await call(client, "add_issue_note", issue_id="PAY-READY-1", text="Seen")
    assert (values.refreshed, len(issue.activity)) == (1, 1)


async def test_credentials_are_read_once_a_call(
    client: Client, values: Values, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    read = values.values

    async def counted() -> Mapping[str, str]:
        reads.append(1)
        return await read()

    monkeypatch.setattr(values, "values", counted)
    await client.list_tools()
    assert len(reads) == 1
    reads.clear()
    await call(client, "update_issue", issue_id=str(issue.id), status="resolved")
    assert len(reads) == 1


async def test_a_call_stays_with_the_project_that_it_began_with(
    client: Client, sentry: Sentry, values: Values, issue: Issue
) -> None:
    sentry.add_project("pay-ready", "other", 42)
    sentry.before("GET .*/issues/.*", lambda: values.read.update(SENTRY_PROJECT_SLUG="other"))
    shown = (await call(client, "get_event", issue_id=str(issue.id)))["event"]
    assert shown["groupID"] == str(issue.id)
    assert (await call(client, "whoami"))["project"] == "other"


async def test_calls_at_once_read_again_once(client: Client, sentry: Sentry, values: Values) -> None:
    await call(client, "get_project")
    del sentry.tokens[sentry.token]
    sentry.add_token("sntrys_new", ["project:read"])
    values.stored["SENTRY_API_TOKEN"] = "sntrys_new"
    sentry.latency = 0.05
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(lambda: call(client, "get_project"))
    assert values.refreshed == 1


async def test_a_token_that_stays_refused_is_shown_once(client: Client, sentry: Sentry, values: Values) -> None:
    sentry.tokens.clear()
    told = await refused(client, "get_project")
    assert told == (
        f"Sentry at {sentry.url} refuses the server's token (HTTP 401); Pulumi ESC holds no other one. A person must "
        "store a working SENTRY_API_TOKEN there; until then no tool that asks Sentry works."
    )
    assert (values.refreshed, len(sentry.requests)) == (1, 1)
    assert len((await client.list_tools()).tools) == 18


async def test_a_new_token_that_is_refused_too_is_shown_once(client: Client, sentry: Sentry, values: Values) -> None:
    sentry.tokens.clear()
    values.stored["SENTRY_API_TOKEN"] = "sntrys_also_wrong"
    assert "also the one just read from Pulumi ESC" in await refused(client, "get_project")
    assert (values.refreshed, len(sentry.requests)) == (1, 2)


async def test_calls_at_once_that_stay_refused_read_again_once(values: Values) -> None:
    vault, go_on = Vault(values), anyio.Event()
    values.on_refresh = go_on.wait
    shown = await vault.credentials()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(vault.renewed, shown)
            group.start_soon(vault.renewed_client_secret)
        with anyio.fail_after(60):
            while vault._refreshing.statistics().tasks_waiting < 9:
                await anyio.sleep(0)
        go_on.set()
    assert values.refreshed == 1
    assert await vault.renewed(shown) is None
    assert values.refreshed == 2


async def test_a_refused_token_while_esc_cant_be_read(client: Client, sentry: Sentry, values: Values) -> None:
    sentry.tokens.clear()
    values.away = True
    told = await refused(client, "get_project")
    assert told == (
        f"Sentry at {sentry.url} refuses the server's token (HTTP 401), and Pulumi ESC can't be read now: it may hold "
        "another one. Try later. If it stays so, a person must look into the server's log, which says why."
    )
    values.away = False
    assert "Pulumi ESC holds no other one." in await refused(client, "get_project")


async def test_a_token_that_is_limited_on_another_route_than_the_index_is_refused(
    client: Client, sentry: Sentry, server: SentryServer
) -> None:
    sentry.fail(f"GET {PROJECT}", status=401, body={"detail": "limited to organization endpoints"}, times=None)
    assert "refuses the server's token (HTTP 401)" in await refused(client, "get_project")
    assert (await Readiness(server).verdict()).reason == "credentials"


async def test_what_is_learnt_is_of_the_credentials_that_it_was_asked_for_with(
    client: Client, sentry: Sentry, values: Values, issue: Issue
) -> None:
    sentry.add_project("pay-ready", "other", 42)
    sentry.add_token("sntrys_new", ["project:read"])
    sentry.before(f"GET {PROJECT}", lambda: values.read.update(SENTRY_PROJECT_SLUG="other"))
    await client.call_tool("get_issue", {"issue_id": "PAY-READY-1"})
    assert (await refused(client, "get_issue", issue_id="PAY-READY-1")).startswith("There is no issue")
    sentry.before("GET /api/0/", lambda: values.read.update(SENTRY_API_TOKEN="sntrys_new"))
    await call(client, "whoami")
    assert len((await client.list_tools()).tools) == 5


@pytest.mark.parametrize("key", ["SENTRY_API_TOKEN", "SENTRY_ORGANIZATION_SLUG", "SENTRY_PROJECT_SLUG"])
@pytest.mark.parametrize("value", ["", " ", None])
async def test_a_missing_credential(
    key: str, value: str | None, client: Client, sentry: Sentry, values: Values
) -> None:
    del values.read[key]
    if value is not None:
        values.read[key] = value
    told = await refused(client, "get_project")
    assert told.startswith(f"The server has no {key}, neither from Pulumi ESC nor from its environment.")
    assert sentry.requests == []


async def test_a_token_that_no_header_may_hold_is_not_sent(client: Client, sentry: Sentry, values: Values) -> None:
    values.read["SENTRY_API_TOKEN"] = "sntrys_a\r\nX-Evil: 1"
    told = await refused(client, "get_project")
    assert told.startswith("The server's SENTRY_API_TOKEN can't be right")
    assert "Evil" not in told
    assert sentry.requests == []


async def test_no_error_tells_a_secret(
    server: SentryServer, client: Client, sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sentry_mcp")
    for status in (400, 401, 403, 404, 418, 500):
        sentry.fail(f"GET {PROJECT}", status=status, body={"detail": f"token {sentry.token}"}, times=None)
        server.client._longest = 0.2
        assert sentry.token not in await refused(client, "get_project")
        sentry.reset_faults()
    assert sentry.token not in caplog.text


async def test_a_defect_of_ours_tells_nothing(
    server: SentryServer, client: Client, sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError(sentry.token)

    monkeypatch.setattr(server.client, "get", broken)
    told = await refused(client, "get_project")
    assert told == "get_project failed: a defect of this server. Its log tells more."
