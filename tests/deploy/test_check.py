"""The checks that a deploy makes, of servers that work and of such that don't."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from deploy import check
from deploy.check import Answers, CheckError
from sophia_sync.process import Deadline
from tests.support.web_server import serving

TOKEN = SecretStr("mcp-0123456789abcdef")


def good() -> str:
    """Which project."""
    return "pay-ready"


def failing() -> str:
    """Which project."""
    raise ToolError("Sentry refuses the server's token (HTTP 401).")


@contextmanager
def server(
    *tools: tuple[str, Callable[[], str]], readiness: tuple[int, str, str] = (200, "ready", "identity")
) -> Iterator[str]:
    """A server of MCP with these tools; its address."""
    made = MCPServer("sentry", log_level="ERROR")
    for name, function in tools:
        made.add_tool(function, name=name)

    async def ready(_: Request) -> Response:
        status, text, encoding = readiness
        return PlainTextResponse(text, status, {"Content-Encoding": encoding})

    made.custom_route("/readyz", methods=["GET"])(ready)
    with serving(made.streamable_http_app(stateless_http=True, json_response=True)) as url:
        yield url


def never() -> str | None:
    return None


class TestWaiting:
    def test_ends_when_the_server_is_ready(self) -> None:
        with server() as url:
            check.wait_for(url, "/readyz", never, Deadline(60))

    def test_tells_what_came_at_last(self) -> None:
        readiness = (503, "not ready: credentials", "identity")
        with server(readiness=readiness) as url, pytest.raises(CheckError) as caught:
            check.wait_for(url, "/readyz", never, Deadline(0.1))
        assert str(caught.value).endswith("at last came HTTP 503: not ready: credentials.")

    def test_tells_that_nobody_answers(self) -> None:
        with pytest.raises(CheckError, match=r"at last came no answer \(ConnectError\)"):
            check.wait_for("http://127.0.0.1:1", "/readyz", never, Deadline(0.1))

    def test_takes_an_answer_that_can_not_be_read_for_none(self) -> None:
        with server(readiness=(200, "no gzip", "gzip")) as url, pytest.raises(CheckError, match="DecodingError"):
            check.wait_for(url, "/readyz", never, Deadline(0.1))

    def test_ends_at_once_with_the_container(self) -> None:
        with pytest.raises(CheckError, match="Its container is gone"):
            check.wait_for("http://127.0.0.1:1", "/readyz", lambda: "Its container is gone.", Deadline(60))


class TestAsking:
    def test_gives_the_tools_and_the_answer(self) -> None:
        with server(("whoami", good), ("another", good)) as url:
            assert check.ask(url, TOKEN, Deadline(60)) == Answers(("whoami", "another"), "pay-ready")

    def test_wants_the_one_tool_that_tells_whether_it_works(self) -> None:
        with server(("another", good)) as url, pytest.raises(CheckError) as caught:
            check.ask(url, TOKEN, Deadline(60))
        assert str(caught.value) == "The server offers no tool `whoami`, but another."

    def test_wants_that_tool_to_work(self) -> None:
        with server(("whoami", failing)) as url, pytest.raises(CheckError, match=r"`whoami` failed: .*HTTP 401"):
            check.ask(url, TOKEN, Deadline(60))

    def test_takes_a_server_of_something_else_for_none(self) -> None:
        with serving(Starlette()) as url, pytest.raises(CheckError, match="doesn't answer a client of MCP: "):
            check.ask(url, TOKEN, Deadline(60))

    def test_waits_no_longer_than_there_is_time(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(CheckError, match="no answer in time"):
            check.ask(f"http://127.0.0.1:{silent.getsockname()[1]}", TOKEN, Deadline(0.3))
