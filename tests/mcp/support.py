"""Helpers for the tests of the MCP server."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

import anyio.lowlevel
from mcp import Client
from pydantic import SecretStr

from sandbox.sentry import Sentry

CALLS: dict[str, dict[str, Any]] = {
    "get_project": {},
    "list_client_keys": {},
    "search_issues": {},
    "get_issue": {"issue_id": "PAY-READY-1"},
    "get_event": {"issue_id": "PAY-READY-1"},
    "search_events": {"issue_id": "PAY-READY-1"},
    "list_issue_events": {"issue_id": "PAY-READY-1"},
    "get_attachments": {"issue_id": "PAY-READY-1"},
    "list_user_reports": {"issue_id": "PAY-READY-1"},
    "get_issue_tag_values": {"issue_id": "PAY-READY-1", "key": "environment"},
    "get_issue_activity": {"issue_id": "PAY-READY-1"},
    "list_releases": {},
    "get_release": {"version": "shop"},
    "update_issue": {"issue_id": "PAY-READY-1", "status": "resolved"},
    "add_issue_note": {"issue_id": "PAY-READY-1", "text": "Seen"},
    "create_client_key": {"name": "CI"},
    "update_project": {"platform": "python"},
}
"""Arguments for each tool but those about the server itself. They need an issue `PAY-READY-1` and a release `shop`."""

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
"""A client's first message."""


class Values:
    """A fake Pulumi ESC: `read` is what was read last, `stored` is what a new read finds."""

    def __init__(self, **stored: str) -> None:
        self.stored = stored
        """Change it to rotate a credential."""
        self.read = dict(stored)
        self.refreshed = 0
        self.on_refresh: Callable[[], Awaitable[object]] = anyio.lowlevel.checkpoint
        self.away = False
        """Whether a read fails."""

    async def values(self) -> Mapping[str, str]:
        return self.read

    async def refresh(self) -> bool:
        self.refreshed += 1
        await self.on_refresh()
        if not self.away:
            self.read = dict(self.stored)
        return not self.away

    async def aclose(self) -> None:
        """Nothing is under way."""

    def secrets(self) -> Iterable[SecretStr]:
        return [SecretStr(value) for key, value in self.read.items() if key.endswith(("TOKEN", "SECRET"))]


def asked(sentry: Sentry, route: str) -> dict[str, str]:
    """Return the query of the last request to a route."""
    return [request for request in sentry.requests if request.path.endswith(route)][-1].query


class Shown(dict[str, Any]):
    """An object in an answer. A missing member is None."""

    def __missing__(self, _: str) -> None:
        return None


async def answered(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must succeed, and return what a model reads."""
    result = await client.call_tool(tool, arguments)
    (content,) = result.content
    assert content.type == "text"
    assert not result.is_error, content.text
    return content.text


async def call(client: Client, tool: str, **arguments: Any) -> Shown:
    """Call a tool that must succeed, and return its answer."""
    shown = json.loads(await answered(client, tool, **arguments), object_hook=Shown)
    assert isinstance(shown, Shown)
    return shown


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must fail, and return what a model reads then."""
    result = await client.call_tool(tool, arguments)
    (content,) = result.content
    assert content.type == "text"
    assert result.is_error, content.text
    return content.text


async def call_every_tool(client: Client) -> set[str]:
    """Call each tool that is offered, and return their names."""
    offered = await tools(client)
    for tool in offered:
        await call(client, tool, **CALLS.get(tool, {}))
    return offered


async def tools(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


def strings(value: Any) -> Iterator[str]:
    """Yield all strings in an answer, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def plain(marked: str) -> str:
    """Return the text between the marks."""
    found = re.fullmatch(r"⟪[0-9a-f]{4} ([^⟪⟫]*)⟫", marked, re.DOTALL)
    assert found, f"not marked: {marked!r}"
    return found[1]


def unmarked(value: Any) -> Any:
    """Return an answer without the marks around its texts."""
    if isinstance(value, dict):
        return Shown({unmarked(key): unmarked(inner) for key, inner in value.items()})
    if isinstance(value, list):
        return [unmarked(inner) for inner in value]
    return re.sub(r"⟪[0-9a-f]{4} ([^⟪⟫]*)⟫", r"\1", value) if isinstance(value, str) else value
