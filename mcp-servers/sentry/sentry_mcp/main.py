"""Starting the server, and how that fails."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Sequence

import anyio
import uvicorn
from pydantic import ValidationError

from sentry_mcp.credentials import EscSource, Source
from sentry_mcp.server import SentryServer
from sentry_mcp.settings import Settings, from_command_line
from sentry_mcp.web import application, check_token

CONFIGURATION_ERROR = 2
LONGEST_GOODBYE = 5
"""Seconds that requests have to end when the server is told to stop."""


class RedactingFormatter(logging.Formatter):
    """Formats log records without the secrets in them; a record is one line unless it is of a defect."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))


def main(arguments: Sequence[str] | None = None, source: Source | None = None) -> int:
    """Run the server until it is stopped.

    Returns:
        The exit code: 0, or 2 if it can't be started as it is configured.
    """
    try:
        settings = from_command_line(arguments)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return _refuse(f"The settings make no sense: {problems}.")
    server = SentryServer(settings, source or EscSource())
    _log_to_stderr(server)
    if settings.transport == "stdio":
        server.run("stdio")
        return 0
    return anyio.run(_serve, settings, server)


async def _serve(settings: Settings, server: SentryServer) -> int:
    problem = await check_token(settings, server.client.vault)
    if problem is not None:
        return _refuse(problem)
    # uvicorn raises a signal again when it has shut down: that is a good end, not a death.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(
        application(server),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=LONGEST_GOODBYE,
    )
    await uvicorn.Server(config).serve()
    return 0


def _log_to_stderr(server: SentryServer) -> None:
    """Standard output belongs to MCP."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(server.client.vault.redact))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # They tell every request with its address, and every message that a model reads.
    for name in ("httpx2", "httpcore2", "mcp"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _refuse(problem: str) -> int:
    print(f"error: {problem}", file=sys.stderr)  # noqa: T201 - for the person who starts it
    return CONFIGURATION_ERROR
