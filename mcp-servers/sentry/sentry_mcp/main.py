"""Start the server, or say why it can't start."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import anyio
from pydantic import ValidationError

from sentry_mcp.settings import Settings, from_command_line

if TYPE_CHECKING:
    from types import FrameType

    from sentry_mcp.credentials import Source
    from sentry_mcp.server import SentryServer

# The server's modules are imported after its socket listens. The import takes half a second, and then ESC is read.
# Clients that connect meanwhile, as while a new version replaces the old one, wait and aren't refused.

CONFIGURATION_ERROR = 2
LONGEST_GOODBYE = 5
"""Time that requests have to finish after a stop signal, in seconds."""
MOST_WAITING = 1024
"""Maximum number of connections that wait until the server is ready."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)

logger = logging.getLogger(__name__)


class RedactingFormatter(logging.Formatter):
    """Formats log records without the secrets in them."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))


def main(arguments: Sequence[str] | None = None, source: Source | None = None) -> int:
    """Run the server until it is stopped.

    Returns:
        The exit code: 0, or 2 if the server can't start with this configuration.
    """
    try:
        settings = from_command_line(arguments)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return _refuse(f"The settings make no sense: {problems}.")
    # A container's first process ends only at signals that it handles. The server's own handlers replace these later.
    for number in SIGNALS:
        signal.signal(number, lambda number, _: os._exit(_exit_code(settings, number)))
    if settings.transport == "stdio":
        return anyio.run(_serve_stdio, settings, source)
    try:
        listener = _listen(settings)
    except OSError as error:
        return _refuse(f"The server can't listen on {settings.host}, port {settings.port}: {error.strerror}.")
    with listener:
        return anyio.run(_serve_http, settings, source, listener)


def _exit_code(settings: Settings, number: int) -> int:
    return 0 if settings.transport == "http" else 128 + number


async def _serve_stdio(settings: Settings, source: Source | None) -> int:
    from mcp.server.stdio import stdio_server  # noqa: PLC0415

    server = _server(settings, source)
    async with anyio.create_task_group() as group:
        group.start_soon(_end_on_signal, settings, server)
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())
        logger.info("standard input has ended (with `--transport http` the server listens instead)")
        await server.client.vault.aclose()
        group.cancel_scope.cancel()
    return 0


async def _serve_http(settings: Settings, source: Source | None, listener: socket.socket) -> int:
    import uvicorn  # noqa: PLC0415

    from sentry_mcp.web import application, check_token  # noqa: PLC0415

    server = _server(settings, source)
    problem: str | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_end_on_signal, settings, server)
        problem = await check_token(settings, server.client.vault)
        group.cancel_scope.cancel()
    if problem is not None:
        return _refuse(problem)
    config = uvicorn.Config(
        application(server),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=LONGEST_GOODBYE,
    )
    running = uvicorn.Server(config)

    def stop(_: int, __: FrameType | None) -> None:
        running.should_exit = True

    # uvicorn handles signals itself while it serves, and raises them again for the handler that was there before.
    for number in SIGNALS:
        signal.signal(number, stop)
    host, port = listener.getsockname()[:2]
    logger.info("serves http://%s:%d", f"[{host}]" if ":" in host else host, port)
    await running.serve(sockets=[listener])
    await server.client.vault.aclose()
    return 0


async def _end_on_signal(settings: Settings, server: SentryServer) -> None:
    """Wait for a signal. Then end a running read of Pulumi ESC, with its CLI and folder, and exit."""
    with anyio.open_signal_receiver(*SIGNALS) as signals:
        async for number in signals:
            await server.client.vault.aclose()
            # An exception would have to wait for the thread that reads standard input.
            os._exit(_exit_code(settings, number))


def _server(settings: Settings, source: Source | None) -> SentryServer:
    from sentry_mcp.credentials import EscSource  # noqa: PLC0415 - see above
    from sentry_mcp.server import SentryServer  # noqa: PLC0415

    server = SentryServer(settings, source or EscSource())
    _log_to_stderr(server)
    return server


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=MOST_WAITING)


def _log_to_stderr(server: SentryServer) -> None:
    """Log to standard error, since standard output belongs to MCP."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(server.client.vault.redact))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # These would log every request with its address, and every message that a model reads.
    for name in ("httpx2", "httpcore2", "mcp"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _refuse(problem: str) -> int:
    print(f"error: {problem}", file=sys.stderr)  # noqa: T201 - for the person who starts it
    return CONFIGURATION_ERROR


def run() -> None:
    """Run the server as the program `sentry-mcp`."""
    sys.exit(main())
