"""Each value that Sentry sends takes each odd form. No tool breaks, and only what identifies a thing can refuse it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sentry_mcp.client import _Request
from sentry_mcp.errors import RefusedError, UnavailableError
from sentry_mcp.server import SentryServer
from sentry_mcp.untrusted import DEEPEST, parsed_json
from sentry_mcp.webhooks import Whose

from sandbox.sentry import Issue, Sentry
from tests.mcp.support import CALLS

pytestmark = pytest.mark.anyio

EVENTS = sorted((Path(__file__).parent / "events").glob("*.json"))
ODD = {
    "null": "null",
    "boolean": "true",
    "number": "-0.5",
    "not a number": "NaN",
    "text": '"odd\\ud800"',
    "list": '[null, "odd", ["odd", 1], {"odd": 1}]',
    "object": '{"odd": ["odd"], "values": [null, {"odd": 1}], "frames": [null, {"odd": 1}]}',
    "deep": '[{"odd":' * 300 + "1" + "}]" * 300,
}
"""JSON for each odd form."""

Key = tuple[str | int, ...]


def places(value: Any, key: Key = (), kind: str = "") -> Iterator[tuple[Key, str]]:
    """Yield the keys that lead to each value, and the same in words, where all rows of a list have one name."""
    yield key, kind
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*key, name), f"{kind}.{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from places(inner, (*key, number), f"{kind}.{inner['type'] if kind == '.entries' else '*'}")


def replaced(body: Any, key: Key, odd: str) -> bytes:
    """Return JSON with `odd` in place of the value at `key`."""
    mark = "in place of a value"
    whole = [json.loads(json.dumps(body))]
    *way, last = (0, *key)
    owner: Any = whole
    for part in way:
        owner = owner[part]
    owner[last] = mark
    return json.dumps(whole[0]).replace(json.dumps(mark), odd).encode()


def as_json(answer: Any) -> bytes:
    """Return an answer as the server sends it. Raise `ValueError` if it isn't JSON."""
    return json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()


class Replay:
    """Sentry's responses to one call. They are recorded once and changed after that."""

    def __init__(self, server: SentryServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self._server = server
        self._responses: dict[str, tuple[httpx2.Response, bytes]] = {}
        self._send = server.client._try
        monkeypatch.setattr(server.client, "_try", self._try)

    async def _try(self, request: _Request) -> tuple[httpx2.Response, bytes]:
        asked = f"{request.method} {request.url.removeprefix(self._server.client.url)}"
        if asked not in self._responses:
            self._responses[asked] = await self._send(request)
        return self._responses[asked]

    async def _call(self, tool: str, arguments: dict[str, Any]) -> bytes:
        self._server.client._project = None  # so that each call asks for it
        return as_json(await self._server.call(tool, arguments))

    async def record(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a tool. Return Sentry's responses as JSON, each under its request."""
        self._responses.clear()
        await self._call(tool, arguments)
        return {asked: json.loads(content) for asked, (_, content) in self._responses.items()}

    async def refusals(
        self, tool: str, arguments: dict[str, Any], asked: str, odd: str, seen: set[str] | None = None
    ) -> set[str]:
        """Change one value of one response after the other, and call the tool. Return the kinds of values that refuse.

        Args:
            tool: A tool that was recorded.
            arguments: Its arguments.
            asked: The request whose response changes.
            odd: What each value changes to, as JSON.
            seen: Kinds of values to leave out. Those that are tried are added.
        """
        response, content = self._responses[asked]
        body, found, seen = json.loads(content), set(), set() if seen is None else seen
        for key, kind in places(body):
            if kind in seen:
                continue
            seen.add(kind)
            self._responses[asked] = response, replaced(body, key, odd)
            try:
                await self._call(tool, arguments)
            except (RefusedError, UnavailableError):
                found.add(kind)
            except Exception as error:
                error.add_note(f"{asked}: {kind}")
                raise
        self._responses[asked] = response, content
        return found


@pytest.fixture
async def replay(server: SentryServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Replay]:
    async with server.client:
        yield Replay(server, monkeypatch)


IDENTIFIES = {"", ".id", ".project", ".project.id", ".projectID", ".activity", ".data"}
"""The values without which a call can only be refused: whole responses and lists, and what a thing is or belongs to."""


@pytest.mark.parametrize(
    ("tool", "arguments", "response"),
    [
        *((tool, arguments, -1) for tool, arguments in CALLS.items() if tool != "get_event"),
        ("get_issue", CALLS["get_issue"], 0),
        ("get_attachments", CALLS["get_attachments"], -2),
        ("search_events", {}, -1),
        ("whoami", {}, -1),
    ],
)
async def test_no_tool_breaks(
    tool: str, arguments: dict[str, Any], response: int, replay: Replay, sentry: Sentry, issue: Issue
) -> None:
    sentry.scopes.add("org:read")
    sentry.add_release("shop")
    sentry.add_user_report(issue, "It broke.")
    sentry.add_activity(issue, "note", {"text": "Seen before"})
    sentry.add_attachment(issue.events[-1], "log.txt", b"a line")
    asked = list(await replay.record(tool, arguments))[response]
    refused = [await replay.refusals(tool, arguments, asked, odd) for odd in ODD.values()]
    assert set().union(*refused) <= IDENTIFIES


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_no_event_is_hidden(odd: str, replay: Replay, sentry: Sentry) -> None:
    seen: set[str] = set()
    for file in EVENTS:
        issue = sentry.add_issue()
        sentry.add_whole_event(issue, json.loads(file.read_text(encoding="utf-8"))["event"])
        arguments = {"issue_id": issue.short_id}
        asked = list(await replay.record("get_event", arguments))[-1]
        assert await replay.refusals("get_event", arguments, asked, odd, seen) <= IDENTIFIES
    assert len(seen) > 200


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_no_webhook_breaks_the_list(odd: str, server: SentryServer) -> None:
    issue = {"id": "1", "title": "x", "project": {"id": "7"}}
    body = {"action": "created", "data": {"issue": issue}, "actor": {"type": "user", "name": "Jane"}}
    server.inbox.take("issue", as_json(body), Whose("7", "pay-ready"))
    for key, _ in list(places(body))[1:]:
        server.inbox.take("issue", replaced(body, key, odd), Whose("7", "pay-ready"))
        as_json(await server.list_webhooks())
    assert len(server.inbox.latest) > 5


# The parser.


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("[NaN, Infinity, -Infinity]", ["NaN", "Infinity", "-Infinity"]),
        ("[1.5, 1e400, -1e999]", [1.5, "1e400", "-1e999"]),
        ("[12345678901234567890, " + "9" * 5000 + "]", [12345678901234567890, "9" * 5000]),
    ],
)
def test_a_number_that_json_or_python_cant_hold_is_a_text(content: str, value: Any) -> None:
    assert parsed_json(content.encode()) == value


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}")])
def test_what_is_nested_too_deeply_is_cut(opens: str, closes: str) -> None:
    found = json.dumps(parsed_json((opens * 600 + "1" + closes * 600).encode()), separators=(",", ":"))
    assert found == opens * DEEPEST + '"\\u2026"' + closes * DEEPEST
    whole = opens * DEEPEST + "1" + closes * DEEPEST
    assert parsed_json(whole.encode()) == json.loads(whole)
