"""What the tests of the MCP server share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mcp import Client
from pydantic import SecretStr

CALLS: dict[str, dict[str, Any]] = {
    "get_project": {},
    "list_client_keys": {},
    "search_issues": {},
    "get_issue": {"issue_id": "PAY-READY-1"},
    "get_event": {"issue_id": "PAY-READY-1"},
    "list_issue_events": {"issue_id": "PAY-READY-1"},
    "get_issue_tag_values": {"issue_id": "PAY-READY-1", "key": "environment"},
    "get_issue_activity": {"issue_id": "PAY-READY-1"},
    "list_releases": {},
    "get_release": {"version": "shop"},
    "update_issue": {"issue_id": "PAY-READY-1", "status": "resolved"},
    "add_issue_note": {"issue_id": "PAY-READY-1", "text": "Seen"},
    "create_client_key": {"name": "CI"},
    "update_project": {"platform": "python"},
}
"""A call of each tool that shows what Sentry holds, for an issue `PAY-READY-1` and a release `shop`."""

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
"""What a client says first, by hand."""


class Values:
    """Pulumi ESC as the server sees it: what was read last, and what a new read would find."""

    def __init__(self, **stored: str) -> None:
        self.stored = stored
        """Change it to rotate a credential."""
        self.read = dict(stored)
        self.refreshed = 0
        self.on_refresh: Callable[[], object] = lambda: None
        self.away = False
        """Whether it can't be read."""

    def get(self, key: str) -> str | None:
        return self.read.get(key)

    def refresh(self) -> bool:
        self.refreshed += 1
        self.on_refresh()
        if not self.away:
            self.read = dict(self.stored)
        return not self.away

    def close(self) -> None:
        """Nothing is under way."""

    def secrets(self) -> Iterable[SecretStr]:
        return [SecretStr(value) for key, value in self.read.items() if key.endswith(("TOKEN", "SECRET"))]


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that must succeed; what it answers. Text and structured content are the same."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must fail; what a model reads then."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    (content,) = result.content
    assert content.type == "text"
    return content.text


async def call_every_tool(client: Client) -> set[str]:
    """Call each tool that is offered; those that were called."""
    offered = await tools(client)
    for tool in offered:
        await call(client, tool, **CALLS.get(tool, {}))
    return offered


async def tools(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


def strings(value: Any) -> Iterator[str]:
    """All strings in an answer, keys included."""
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
    """The text between the marks."""
    found = re.fullmatch(r"⟪([0-9a-f]{12}) (.*) \1⟫", marked, re.DOTALL)
    assert found, f"not marked: {marked!r}"
    return found[2]
