"""Clients of the deployed server: a single call, and repeated calls in the background."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent


@dataclass(frozen=True)
class Answer:
    """A tool's answer, and the names of the server's tools."""

    result: CallToolResult
    tools: tuple[str, ...]

    @property
    def content(self) -> Any:
        """Return the answer, a JSON object."""
        assert not self.result.is_error, self.result.content
        (part,) = self.result.content
        assert isinstance(part, TextContent)
        return json.loads(part.text)


def ask(url: str, token: str, tool: str, arguments: Mapping[str, object]) -> Answer:
    """Connect with the SDK's client, list the tools and call one."""
    return anyio.run(_ask, url, token, tool, dict(arguments))


async def _ask(url: str, token: str, tool: str, arguments: dict[str, Any]) -> Answer:
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30)
    with anyio.fail_after(60):
        async with http, Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client:
            tools = tuple(tool.name for tool in (await client.list_tools()).tools)
            return Answer(await client.call_tool(tool, arguments), tools)


@dataclass
class Caller:
    """A background caller of a tool, at most ten times a second, that counts its calls and failures."""

    url: str
    token: str
    done: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _called: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def calls(self) -> int:
        return self.done + len(self.failures)

    def _work(self) -> None:
        while True:
            try:
                ask(self.url, self.token, "whoami", {}).content  # noqa: B018 - fails for an error
                self.done += 1
            except BaseException as error:  # noqa: BLE001 - what failed is what is counted
                self.failures.append(f"{type(error).__name__}: {error}")
            if self._stop.wait(0.1):
                return
