"""`doctor`: check that the MCP server can be reached and is ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sophia_sync.console.diagnosis import Check, Section, bad, good, not_checked, warning

MCP = "MCP server"
READY = "readiness"
DEFAULT_URL = "http://127.0.0.1:8000"
_LOGS = "docker logs sentry-mcp"


async def sections(url: str | None) -> list[Section]:
    """Ask the MCP server whether it is ready. Without a URL, ask the default address, where there may be no server."""
    return [Section(MCP, (await _readiness(url),))]


async def _readiness(url: str | None) -> Check:
    from sophia_sync.runtime import http as web  # noqa: PLC0415 - it brings `requests`

    where = f"{(url or DEFAULT_URL).rstrip('/')}/readyz"
    try:
        status, body = await web.look(where)
    except web.UnansweredError as error:
        if url is None:
            todo = "If it runs elsewhere, pass --mcp-url URL; else start it, see docs/deploy.md."
            return not_checked(READY, f"{where} {error}.", todo)
        return bad(READY, f"{where} {error}", f"Is the container up? docker ps --filter name=sentry-mcp; {_LOGS}")
    return _judged(where, status, _reason(body))


def _reason(body: Any) -> str:
    """Return the server's reason for not being ready."""
    reason = body.get("reason") or body.get("status") if isinstance(body, dict) else None
    return reason if isinstance(reason, str) else ""


def _judged(where: str, status: int, reason: str) -> Check:
    if status == 200:
        return good(READY, f"ready ({where})")
    if 300 <= status < 400:
        return bad(READY, f"{where} redirects (HTTP {status})", "Pass the server's own address with --mcp-url.")
    told: dict[str, Callable[[str], Check]] = {
        "credentials": lambda what: bad(
            READY,
            f"{what}: it has no token or slug, or Sentry refuses them",
            f"See that PULUMI_ACCESS_TOKEN is set in the container and may open the environment. {_LOGS}",
        ),
        "sentry": lambda what: bad(READY, f"{what}: Sentry can't be reached or doesn't show the project", _LOGS),
    }
    if status == 503 and reason in told:
        return told[reason](f"reachable, but not ready ({where} says `{reason}`)")
    return warning(
        READY, f"{where} answers HTTP {status}: that is no MCP server of ours", "Pass the right address with --mcp-url."
    )
