"""The server over HTTP: MCP, webhooks, health and readiness."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, BearerAuthBackend
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sentry_mcp.credentials import SHORTEST_ACCESS_TOKEN, Vault
from sentry_mcp.errors import CredentialsError
from sentry_mcp.server import SentryServer
from sentry_mcp.settings import LOOPBACK_HOSTS, Settings
from sentry_mcp.webhooks import LARGEST_BODY, RESOURCE, WebhookError, Whose, verify

MCP = "/mcp"
HEALTH = "/healthz"
READINESS = "/readyz"
WEBHOOKS = "/webhooks/sentry"

LARGEST_MESSAGE = 1024 * 1024
"""Maximum size of one request to MCP, in bytes."""
KEPT_READY = 15.0
"""How long `/readyz` caches that the server is ready, in seconds. It limits how often strangers make us ask Sentry."""
KEPT_NOT_READY = 3.0
LONGEST_UPLOAD = 10.0
"""Time limit for a webhook's body to arrive, in seconds."""
KEPT_SECRET = 30.0
"""Minimum time between two reads of the secret in ESC because of wrong signatures, in seconds."""

# These need no token: the first two reveal nothing, and webhooks carry a signature.
_OPEN = frozenset({HEALTH, READINESS, WEBHOOKS})
_WELL_KNOWN = "/.well-known/"

logger = logging.getLogger(__name__)


def security(settings: Settings) -> TransportSecuritySettings:
    """Return the `Host` and `Origin` headers to accept."""
    loopback = [name for host in LOOPBACK_HOSTS for name in (host, f"{host}:*")]
    hosts = [*loopback, *settings.names]
    return TransportSecuritySettings(
        allowed_hosts=hosts,
        allowed_origins=[f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")],
    )


class HostGuard:
    """Refuses forged `Host` and `Origin` headers on every route, not only on the SDK's. Serves `/mcp/` as `/mcp`."""

    def __init__(self, app: ASGIApp, settings: TransportSecuritySettings) -> None:
        self._app = app
        self._check = TransportSecurityMiddleware(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == f"{MCP}/":
            # A redirect would name the wrong scheme behind a TLS proxy, and lose the body with some clients.
            scope = {**scope, "path": MCP, "raw_path": MCP.encode()}
        refused = await self._check.validate_request(Request(scope)) if scope["type"] == "http" else None
        if refused is None and scope["type"] == "http" and scope["path"] == MCP and scope["method"] != "POST":
            # There are no sessions, hence no stream to open and nothing to delete.
            refused = Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        await (refused or self._app)(scope, receive, send)


class OneToken(TokenVerifier):
    """Verifies the server's own token for the SDK's middleware."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def verify_token(self, token: str) -> AccessToken | None:
        wanted = await self._vault.access_token()
        shown = token.strip()
        if wanted is None or not hmac.compare_digest(
            shown.encode("latin-1", "replace"), wanted.get_secret_value().encode()
        ):
            return None
        return AccessToken(token=shown, client_id="client", scopes=[])


class TokenGuard:
    """Admits requests with the right token; if none is configured, everybody on a loopback. Refuses by default.

    A missing token is answered 401. A wrong one is answered 403: at 401 hosts would look for an OAuth server to get
    another one from, and there is none.

    Args:
        vault: Supplies the current token.
        on_loopback: Whether only this machine can reach the server.
    """

    def __init__(self, app: ASGIApp, vault: Vault, *, on_loopback: bool) -> None:
        self._app = app
        self._vault = vault
        self._on_loopback = on_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in _OPEN or await self._may_enter(scope):
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith(_WELL_KNOWN):
            await Response(status_code=HTTPStatus.NOT_FOUND)(scope, receive, send)
            return
        how = "send the header `Authorization: Bearer` with the value of SENTRY_MCP_TOKEN."
        if HTTPConnection(scope).headers.get("authorization"):
            body = {"error": "invalid_token", "error_description": f"The token is wrong: {how}"}
            response = JSONResponse(body, HTTPStatus.FORBIDDEN)
        else:
            body = {"error": "invalid_request", "error_description": f"There is no token: {how}"}
            response = JSONResponse(body, HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})
        await response(scope, receive, send)

    async def _may_enter(self, scope: Scope) -> bool:
        if isinstance(scope.get("user"), AuthenticatedUser):
            return True
        return self._on_loopback and await self._vault.access_token() is None


@dataclass(frozen=True)
class _Verdict:
    ready: bool
    reason: str
    until: float


class Readiness:
    """A check with Sentry of whether the credentials open the project. It caches the verdict.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, server: SentryServer, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._clock = clock
        self._asking = anyio.Lock()
        self._verdict: _Verdict | None = None

    async def verdict(self) -> _Verdict:
        async with self._asking:
            if self._verdict is None or self._clock() >= self._verdict.until:
                reason = await self._problem()
                kept = KEPT_NOT_READY if reason else KEPT_READY
                self._verdict = _Verdict(not reason, reason or "ready", self._clock() + kept)
            return self._verdict

    async def _problem(self) -> str:
        """Return why the server isn't ready, in a word that tells a stranger nothing; empty if it is ready."""
        client = self._server.client
        try:
            await client.scopes(fresh=True)
            await client.project_number(fresh=True)
        except CredentialsError as error:
            logger.warning("not ready: %s", error)
            return "credentials"
        except ToolError as error:
            logger.warning("not ready: %s", error)
            return "sentry"
        return ""


class Webhooks:
    """Receives Sentry's webhooks."""

    def __init__(self, server: SentryServer, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._clock = clock
        self._looked = clock()

    async def receive(self, request: Request) -> Response:
        try:
            body = await _body(request)
            await self._verify(request, body)
            said = await self._take(request, body)
        except WebhookError as error:
            return JSONResponse({"error": str(error)}, error.status)
        return JSONResponse({"status": said}, HTTPStatus.OK)

    async def _verify(self, request: Request, body: bytes) -> None:
        vault, now = self._server.client.vault, self._server.inbox.clock()
        secret = await vault.client_secret()
        if secret is None:
            raise WebhookError(HTTPStatus.SERVICE_UNAVAILABLE, "No SENTRY_CLIENT_SECRET is configured.")
        try:
            verify(request.headers, body, secret, now)
        except WebhookError:
            # The secret may have been rotated, so read it again. Do so rarely: strangers send wrong signatures too.
            if self._clock() - self._looked < KEPT_SECRET:
                raise
            self._looked = self._clock()
            renewed = await vault.renewed_client_secret()
            if renewed in (None, secret):
                raise
            verify(request.headers, body, renewed, now)

    async def _take(self, request: Request, body: bytes) -> str:
        inbox, client = self._server.inbox, self._server.client
        if inbox.is_repeat(body):
            return "repeat"
        try:
            whose = Whose(await client.project_number(), (await client.vault.credentials()).project)
        except ToolError:
            # Sentry sends it again later.
            raise WebhookError(HTTPStatus.SERVICE_UNAVAILABLE, "The project isn't known at the moment.") from None
        return inbox.take(request.headers.get(RESOURCE, ""), body, whose)


async def _body(request: Request) -> bytes:
    """Return the body, every byte as received.

    Raises:
        WebhookError: It is too large, too slow or incomplete.
    """
    body = bytearray()
    try:
        with anyio.fail_after(LONGEST_UPLOAD):
            async for piece in request.stream():
                body += piece
                if len(body) > LARGEST_BODY:
                    raise WebhookError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is larger than 1 MiB.")
    except TimeoutError:
        raise WebhookError(HTTPStatus.REQUEST_TIMEOUT, "The body doesn't come.") from None
    except ClientDisconnect:
        raise WebhookError(HTTPStatus.BAD_REQUEST, "The body broke off.") from None
    return bytes(body)


async def check_token(settings: Settings, vault: Vault) -> str | None:
    """Return why the server must not start with these settings, or None."""
    token = await vault.access_token()
    if token is None and not settings.on_loopback:
        return (
            f"The server would listen on {settings.host}, where others can reach it, and has no SENTRY_MCP_TOKEN that "
            "its clients must show. Store one in Pulumi ESC or set the environment variable, or listen on 127.0.0.1."
        )
    if token is not None and len(token.get_secret_value()) < SHORTEST_ACCESS_TOKEN:
        return f"SENTRY_MCP_TOKEN is too short: it needs at least {SHORTEST_ACCESS_TOKEN} characters."
    return None


def application(server: SentryServer) -> Starlette:
    """Return the application that serves everything. It keeps no sessions, so a restart loses no client's state."""
    settings = server.options
    readiness, webhooks = Readiness(server), Webhooks(server)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(_: Request) -> Response:
        verdict = await readiness.verdict()
        status = HTTPStatus.OK if verdict.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse({"status": "ready" if verdict.ready else "not ready", "reason": verdict.reason}, status)

    routes = [
        Route(HEALTH, health, methods=["GET"]),
        Route(READINESS, ready, methods=["GET"]),
        Route(WEBHOOKS, webhooks.receive, methods=["POST"]),
    ]
    allowed = security(settings)
    app = server.streamable_http_app(
        streamable_http_path=MCP,
        json_response=True,
        stateless_http=True,
        max_request_body_size=LARGEST_MESSAGE,
        transport_security=allowed,
        custom_starlette_routes=routes,
    )
    # The middleware that is added last runs first.
    app.add_middleware(TokenGuard, vault=server.client.vault, on_loopback=settings.on_loopback)
    app.add_middleware(AuthenticationMiddleware, backend=BearerAuthBackend(OneToken(server.client.vault)))
    app.add_middleware(HostGuard, settings=allowed)
    return app
