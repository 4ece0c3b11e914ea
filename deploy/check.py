"""Whether a server works: its health, its readiness, and what it answers to a client of MCP."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import anyio
import httpx2
from pydantic import SecretStr

from sophia_sync.process import Deadline

MCP_PATH = "/mcp"
QUESTION = "whoami"
LONGEST_QUESTION = 30.0
"""Seconds for the client of MCP, from the connection to the last answer."""
_LONGEST_REQUEST = 10.0
_PAUSE = 0.25
_LONGEST_QUOTE = 500


class CheckError(Exception):
    """A server doesn't work; the text says what it was asked and what came."""


@dataclass(frozen=True)
class Answers:
    """What a working server answered."""

    tools: tuple[str, ...]
    whoami: str


def wait_for(url: str, path: str, fate: Callable[[], str | None], deadline: Deadline) -> None:
    """Ask for `path` until it answers 200.

    Args:
        url: The server's.
        path: `/healthz` or `/readyz`.
        fate: Tells why the server will never answer, or None while it may.
        deadline: When to give up.

    Raises:
        CheckError: It won't, or not in time.
    """
    said = "nothing"
    with httpx2.Client(trust_env=False, timeout=_LONGEST_REQUEST) as http:
        while True:
            try:
                answer = http.get(url + path)
            except httpx2.HTTPError as error:  # an answer that can't be read is none
                said = f"no answer ({type(error).__name__})"
            else:
                if answer.status_code == 200:
                    return
                said = f"HTTP {answer.status_code}: {answer.text[:_LONGEST_QUOTE].strip()}"
            ended = fate()
            if ended is not None:
                raise CheckError(ended)
            if deadline.remaining() <= _PAUSE:
                raise CheckError(f"`{path}` was not good within {deadline.seconds:.0f} s; at last came {said}.")
            time.sleep(_PAUSE)


def ask(url: str, token: SecretStr, deadline: Deadline) -> Answers:
    """Ask the server, as its clients do, for its tools and for whom its Sentry token belongs to.

    Raises:
        CheckError: It has no such tool, or the call failed.
    """
    with _told():
        return anyio.run(_ask, url, token, min(LONGEST_QUESTION, deadline.remaining()))


async def _ask(url: str, token: SecretStr, seconds: float) -> Answers:
    from mcp import Client  # noqa: PLC0415 - a second and more, which only a deploy has to spend
    from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415
    from mcp_types import TextContent  # noqa: PLC0415

    headers = {"Authorization": f"Bearer {token.get_secret_value()}"}
    http = httpx2.AsyncClient(headers=headers, trust_env=False, timeout=seconds)
    with anyio.fail_after(seconds):
        async with http, Client(streamable_http_client(url + MCP_PATH, http_client=http)) as client:
            tools = tuple(tool.name for tool in (await client.list_tools()).tools)
            if QUESTION not in tools:
                raise CheckError(f"The server offers no tool `{QUESTION}`, but {', '.join(tools) or 'none at all'}.")
            result = await client.call_tool(QUESTION, {})
    words = " ".join(part.text for part in result.content if isinstance(part, TextContent))
    if result.is_error:
        raise CheckError(f"`{QUESTION}` failed: {words[:_LONGEST_QUOTE]}")
    return Answers(tools, words)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Whatever goes wrong in a client of MCP, as one sentence: its tasks wrap errors in groups."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the server is judged: any failure is its answer
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, CheckError):
            raise cause from None
        words = "no answer in time" if isinstance(cause, TimeoutError) else str(cause) or type(cause).__name__
        raise CheckError(f"The server doesn't answer a client of MCP: {words}") from None
