"""Wait until the MCP server in this container is ready, and ask it `whoami`.

The deploy runs this file inside the server's container, so that no port of the server has to be reached from outside.
The argument is the time limit in seconds. It prints one JSON object: the names of the tools, or what is wrong.
"""

from __future__ import annotations

import json
import os
import sys

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

URL = f"http://127.0.0.1:{os.environ.get('SENTRY_MCP_PORT') or 8000}"
PAUSE = 0.5
"""Seconds between two readiness checks."""


async def wait_until_ready(limit: float) -> None:
    """Return when `/readyz` answers 200.

    Raises:
        RuntimeError: It doesn't answer 200 in time.
    """
    said = "no answer"
    async with httpx2.AsyncClient(trust_env=False, timeout=limit) as http:
        with anyio.move_on_after(limit):
            while True:
                try:
                    answer = await http.get(f"{URL}/readyz")
                except httpx2.HTTPError as error:
                    said = type(error).__name__
                else:
                    if answer.status_code == 200:
                        return
                    said = f"HTTP {answer.status_code}: {answer.text[:500]}"
                await anyio.sleep(PAUSE)
    raise RuntimeError(f"/readyz isn't good within {limit:.0f} s. Its last answer: {said}")


async def ask(limit: float) -> list[str]:
    """Return the names of the server's tools after a successful call of `whoami`."""
    await wait_until_ready(limit)
    headers = {"Authorization": f"Bearer {os.environ.get('SENTRY_MCP_TOKEN', '')}"}
    http = httpx2.AsyncClient(headers=headers, trust_env=False, timeout=limit)
    with anyio.fail_after(limit):
        async with http, Client(streamable_http_client(f"{URL}/mcp", http_client=http)) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            result = await client.call_tool("whoami", {})
    if result.is_error:
        raise RuntimeError("`whoami` failed: " + " ".join(getattr(part, "text", "") for part in result.content))
    return tools


def main() -> None:
    """Print the answer."""
    try:
        print(json.dumps({"tools": anyio.run(ask, float(sys.argv[1]))}))  # noqa: T201 - this is its output
    except Exception as error:  # noqa: BLE001 - whatever fails is the server's answer
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        words = "no answer in time" if isinstance(cause, TimeoutError) else str(cause) or type(cause).__name__
        print(json.dumps({"error": words}))  # noqa: T201


if __name__ == "__main__":
    main()
