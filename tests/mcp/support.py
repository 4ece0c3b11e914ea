"""What the tests of the MCP server share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mcp import Client
from pydantic import SecretStr


class Values:
    """Pulumi ESC as the server sees it: what was read last, and what a new read would find."""

    def __init__(self, **stored: str) -> None:
        self.stored = stored
        """Change it to rotate a credential."""
        self.read = dict(stored)
        self.refreshed = 0
        self.on_refresh: Callable[[], object] = lambda: None

    def get(self, key: str) -> str | None:
        return self.read.get(key)

    def refresh(self) -> None:
        self.refreshed += 1
        self.on_refresh()
        self.read = dict(self.stored)

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
