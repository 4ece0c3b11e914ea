"""The server over HTTP, on a port of 127.0.0.1: MCP with the SDK's own client, and who is let in."""

from __future__ import annotations

import http.client
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import requests
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from sentry_mcp.credentials import Vault
from sentry_mcp.server import SentryServer
from sentry_mcp.settings import Settings
from sentry_mcp.web import LARGEST_MESSAGE, Readiness, application, check_token

from sandbox.sentry import Issue, Sentry
from tests.mcp.support import INITIALIZE, Values, call, refused, tools
from tests.support.web_server import serving

TOKEN = "mcp-0123456789abcdef"
JSON = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@contextmanager
def served(settings: Settings, values: Values) -> Iterator[tuple[str, SentryServer]]:
    """Run the server in a thread. Yield its address and the server."""
    server = SentryServer(settings.model_copy(update={"transport": "http"}), values)
    with serving(application(server)) as url:
        yield url, server


@asynccontextmanager
async def connected(url: str, token: str | None = None, **options: Any) -> AsyncIterator[Client]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), **options) as client,
    ):
        yield client


def initialize(url: str, **options: Any) -> requests.Response:
    """Send a client's first message, without the SDK."""
    headers = JSON | options.pop("headers", {})
    return requests.post(f"{url}/mcp", data=json.dumps(INITIALIZE), headers=headers, timeout=60, **options)


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_sdks_client_calls_tools(mode: str, settings: Settings, values: Values, issue: Issue) -> None:
    with served(settings, values) as (url, _):
        async with connected(url, mode=mode) as client:
            assert "list_webhooks" in await tools(client)
            assert (await call(client, "get_issue", issue_id="PAY-READY-1"))["issue"]["id"] == str(issue.id)
            assert (await refused(client, "get_issue", issue_id="PAY-READY-2")).startswith("There is no issue")
        async with connected(url, mode=mode) as client:
            assert (await call(client, "whoami"))["project"] == "pay-ready"


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
def test_no_stream_is_opened_and_a_slash_at_the_end_changes_nothing(
    path: str, settings: Settings, values: Values
) -> None:
    with served(settings, values) as (url, _):
        for method in ("GET", "DELETE"):
            answer = requests.request(method, url + path, headers=JSON, timeout=60)
            assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        answer = requests.post(url + path, data=json.dumps(INITIALIZE), headers=JSON, timeout=60, allow_redirects=False)
        capabilities = answer.json()["result"]["capabilities"]
        assert "prompts" not in capabilities
        assert {"tools", "resources"} <= set(capabilities)


@pytest.mark.anyio
async def test_a_restart_loses_no_client(settings: Settings, values: Values, sentry: Sentry) -> None:
    """No session is kept: the next process needs to know nothing of what the first one told a client."""
    with served(settings, values) as (first, _), served(settings, values) as (second, _):
        answer = initialize(first)
        assert "mcp-session-id" not in answer.headers
        ask = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        headers = JSON | {"MCP-Protocol-Version": "2025-06-18"}
        listed = requests.post(f"{second}/mcp", data=json.dumps(ask), headers=headers, timeout=60)
        assert len(listed.json()["result"]["tools"]) == 19


# Who is let in.


@pytest.mark.anyio
async def test_the_token_is_asked_for_where_there_is_one(settings: Settings, values: Values) -> None:
    values.read["SENTRY_MCP_TOKEN"] = TOKEN
    with served(settings, values) as (url, _):
        async with connected(url, TOKEN) as client:
            assert await tools(client)
        for shown in (
            None,
            "",
            "Bearer",
            "Bearer ",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Basic {TOKEN}",
            TOKEN,
        ):
            answer = initialize(url, headers={} if shown is None else {"Authorization": shown})
            assert answer.status_code == (403 if shown else 401), shown
            assert answer.headers.get("WWW-Authenticate") == (None if shown else "Bearer")
            assert TOKEN not in answer.text
        assert initialize(url, headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
        for path in ("/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server/mcp"):
            assert requests.get(url + path, timeout=60).status_code == 404, path
        for path in ("/", "/other", "/webhooks/sentry/", "/healthz/x"):
            assert requests.get(url + path, timeout=60).status_code == 401, path
        assert requests.get(f"{url}/healthz", timeout=60).json() == {"status": "alive"}
        assert requests.get(f"{url}/readyz", timeout=60).status_code == 200


def test_a_rotated_token_of_the_server_counts_at_once(settings: Settings, values: Values) -> None:
    values.read["SENTRY_MCP_TOKEN"] = TOKEN
    with served(settings, values) as (url, _):
        assert initialize(url, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        values.read["SENTRY_MCP_TOKEN"] = "rotated-0123456789"
        assert initialize(url, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 403
        assert initialize(url, headers={"Authorization": "Bearer rotated-0123456789"}).status_code == 200


def test_a_server_that_others_can_reach_lets_nobody_in_without_a_token(settings: Settings, values: Values) -> None:
    with served(settings.model_copy(update={"host": "0.0.0.0"}), values) as (url, _):  # noqa: S104 - it isn't bound there
        assert initialize(url).status_code == 401
        assert initialize(url, headers={"Authorization": "Bearer "}).status_code == 403
        assert initialize(url, headers={"Authorization": "Bearer None"}).status_code == 403


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("host", "token", "problem"),
    [
        ("127.0.0.1", None, None),
        ("127.8.8.8", None, None),
        ("::1", None, None),
        ("localhost", None, None),
        ("0.0.0.0", TOKEN, None),  # noqa: S104
        ("127.0.0.1", TOKEN, None),
        ("0.0.0.0", None, "no SENTRY_MCP_TOKEN"),  # noqa: S104
        ("::", None, "no SENTRY_MCP_TOKEN"),
        ("192.0.2.1", " ", "no SENTRY_MCP_TOKEN"),
        ("localhost.example.com", None, "no SENTRY_MCP_TOKEN"),
        ("0.0.0.0", "short", "too short"),  # noqa: S104
    ],
)
async def test_when_a_token_is_needed(host: str, token: str | None, problem: str | None, values: Values) -> None:
    if token is not None:
        values.read["SENTRY_MCP_TOKEN"] = token
    told = await check_token(Settings(host=host), Vault(values))
    assert (told is None) if problem is None else (problem in str(told))


@pytest.mark.parametrize("path", ["/mcp", "/healthz", "/readyz", "/webhooks/sentry"])
def test_forged_names_are_refused_on_every_route(path: str, settings: Settings, values: Values, sentry: Sentry) -> None:
    allowed = settings.model_copy(update={"allowed_hosts": "mcp.example.com, sentry-mcp:8000"})
    with served(allowed, values) as (url, _):
        port = urlsplit(url).port
        method = "GET" if path.endswith("z") else "POST"

        def status(host: str | None, **headers: str) -> int:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                connection.putrequest(method, path, skip_host=True)
                sent = {"Content-Type": "application/json", "Content-Length": "2"} | headers
                sent |= {} if host is None else {"Host": host}
                for name, value in sent.items():
                    connection.putheader(name, value)
                connection.endheaders(b"{}")
                return connection.getresponse().status

        for host in ("evil.example", "127.0.0.1.evil.example", f"evil.example:{port}", "mcp.example.com:1", "[::]"):
            assert status(host) == 421, host
        assert status(None) in (400, 421)
        assert sentry.requests == []
        for host in (f"127.0.0.1:{port}", "localhost", f"[::1]:{port}", "mcp.example.com", "sentry-mcp:8000"):
            assert status(host) != 421, host
        assert status("localhost", Origin="https://evil.example") == 403
        assert status("localhost", Origin=f"http://localhost:{port}") != 403


def test_a_large_message_is_refused(settings: Settings, values: Values) -> None:
    with served(settings, values) as (url, _):
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        answer = requests.post(f"{url}/mcp", b" " * (LARGEST_MESSAGE + 1), headers=headers, timeout=60)
        assert answer.status_code == 413


# Health and readiness.


def test_ready_while_the_credentials_work(settings: Settings, values: Values, sentry: Sentry) -> None:
    with served(settings, values) as (url, _):
        for _ in range(5):
            answer = requests.get(f"{url}/readyz", timeout=60)
            assert (answer.status_code, answer.json()) == (200, {"status": "ready", "reason": "ready"})
    assert [request.path for request in sentry.requests] == ["/api/0/", "/api/0/projects/pay-ready/pay-ready/"]


def test_not_ready_with_credentials_that_dont_work(settings: Settings, values: Values, sentry: Sentry) -> None:
    sentry.tokens.clear()
    with served(settings, values) as (url, _):
        for _ in range(3):
            answer = requests.get(f"{url}/readyz", timeout=60)
            assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "reason": "credentials"})
        assert requests.get(f"{url}/healthz", timeout=60).status_code == 200
    assert len(sentry.requests) == 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.anyio
async def test_readiness_follows_what_happens(server: SentryServer, values: Values, sentry: Sentry) -> None:
    clock = Clock()
    readiness = Readiness(server, clock)

    async def reason() -> str:
        clock.now += 60
        return (await readiness.verdict()).reason

    async with server.client:
        assert await reason() == "ready"
        sentry.scopes.discard("project:read")
        sentry.scopes.discard("project:write")
        assert await reason() == "sentry"
        del sentry.tokens[sentry.token]
        assert await reason() == "credentials"
        sentry.add_token("sntrys_new", ["project:read"])
        values.stored["SENTRY_API_TOKEN"] = "sntrys_new"
        assert await reason() == "ready"
        server.client._longest = 0.2
        sentry.down()
        assert await reason() == "sentry"
        assert (await readiness.verdict()).reason == "sentry"
        sentry.up()
        clock.now += 4
        assert (await readiness.verdict()).reason == "ready"


def test_what_is_said_of_readiness_tells_no_secret(
    settings: Settings, values: Values, sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    values.read["SENTRY_API_TOKEN"] = values.stored["SENTRY_API_TOKEN"] = "sntrys_wrong"
    with served(settings, values) as (url, _):
        assert json.loads(requests.get(f"{url}/readyz", timeout=60).text)["reason"] == "credentials"
    assert "not ready: Sentry at" in caplog.text
    assert "sntrys_wrong" not in caplog.text
