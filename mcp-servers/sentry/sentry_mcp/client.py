"""Requests to Sentry's web API: within one organisation and project, with time limits, retries and bounded answers.

Source: docs.sentry.io/api ("Auth Tokens", "Rate Limits", "Paginating Results", "Permissions & Scopes").
"""

from __future__ import annotations

import enum
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import anyio
import httpx2
from pydantic import SecretStr
from sophia_sync.process import Deadline
from tenacity import AsyncRetrying

from sentry_mcp.arguments import CURSOR
from sentry_mcp.credentials import Credentials, UnreadableError, Vault
from sentry_mcp.errors import CredentialsError, RefusedError
from sentry_mcp.refusals import (
    MAYBE_DONE,
    LimitedTokenError,
    RefusedTokenError,
    StatusError,
    is_limited,
    may_pass,
    meaning,
    not_understood,
    told_after_a_change,
    too_large,
    unanswered,
)
from sentry_mcp.untrusted import parsed_json
from sophia_sync.retries import retrying

LONGEST_CALL = 20.0
"""Seconds for one question to Sentry with all its repetitions."""
LONGEST_TRY = 10.0
LARGEST_ANSWER = 5 * 1024 * 1024
"""Bytes."""
KEPT_SCOPES = 60.0
"""Seconds for which the token's scopes, and the project's number, are believed."""

# The only answers after which a request that isn't safe to repeat was certainly not carried out.
_NOT_CARRIED_OUT = frozenset({HTTPStatus.TOO_MANY_REQUESTS})
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
# Attempts at a request; a tool call is answered within seconds.
_ATTEMPTS = 5
_SAFE = frozenset({"GET", "PUT"})
# A scope implies those of its kind that stand before it.
_LEVELS = ("read", "write", "admin")


class Slot(enum.Enum):
    """A part of a path that the credentials fill, never an argument."""

    ORGANIZATION = enum.auto()
    PROJECT = enum.auto()


Path = tuple[str | Slot, ...]

PROJECT: Path = ("projects", Slot.ORGANIZATION, Slot.PROJECT)
ORGANIZATION: Path = ("organizations", Slot.ORGANIZATION)


@dataclass(frozen=True)
class Reply:
    """An answer of Sentry's that is no error."""

    body: Any
    next_cursor: str | None
    credentials: Credentials
    """What it was asked for with."""


@dataclass(frozen=True)
class _Known:
    """What was learnt with some credentials, and when, on the monotonic clock."""

    credentials: Credentials
    value: Any
    at: float


class SentryClient:
    """Asks Sentry, with the credentials as they are at that moment.

    Args:
        url: Sentry's address, without a slash at its end.
        vault: Where the credentials are.
        longest: Seconds for one question with all its repetitions.
    """

    def __init__(self, url: str, vault: Vault, longest: float = LONGEST_CALL) -> None:
        self.url = url
        self.vault = vault
        self._longest = longest
        self._http: httpx2.AsyncClient | None = None
        self._scopes: _Known | None = None
        self._number: _Known | None = None

    async def __aenter__(self) -> SentryClient:
        self._http = httpx2.AsyncClient(timeout=LONGEST_TRY, follow_redirects=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def get(self, path: Path, **parameters: str | int | None) -> Reply:
        """Read; parameters that are None are left out.

        Raises:
            ToolError: One of `sentry_mcp.errors`.
        """
        return await self._ask("GET", path, {key: value for key, value in parameters.items() if value is not None})

    async def put(self, path: Path, body: Mapping[str, Any]) -> Reply:
        """Change; it may be repeated."""
        return await self._ask("PUT", path, body=body)

    async def post(self, path: Path, body: Mapping[str, Any]) -> Reply:
        """Add; it is repeated only if it was certainly not carried out."""
        return await self._ask("POST", path, body=body)

    async def scopes(self, *, fresh: bool = False) -> frozenset[str] | None:
        """What the token may do; None if Sentry doesn't tell. Believed for `KEPT_SCOPES` unless `fresh`."""
        credentials = await self.vault.credentials()
        if self._scopes is None or not _holds(self._scopes, credentials) or fresh:
            self._scopes = await self._ask_for_scopes()
        found: frozenset[str] | None = self._scopes.value
        return found

    def last_scopes(self, default: frozenset[str] | None) -> frozenset[str] | None:
        """What `scopes` told last, however long ago; `default` if it never told anything."""
        return self._scopes.value if self._scopes else default

    async def project_number(self, *, fresh: bool = False) -> str:
        """The number of the project, which the organisation's routes tell projects apart by; believed as the scopes."""
        credentials = await self.vault.credentials()
        if self._number is None or not _holds(self._number, credentials) or fresh:
            reply = await self.get(PROJECT)
            number = str(reply.body.get("id", "")) if isinstance(reply.body, dict) else ""
            if not re.fullmatch(r"[0-9]{1,20}", number):
                raise not_understood()
            self._number = _Known(reply.credentials, number, time.monotonic())
        found: str = self._number.value
        return found

    async def _ask_for_scopes(self) -> _Known:
        try:
            reply = await self._ask("GET", ())
        except LimitedTokenError as error:
            return _Known(error.credentials, None, time.monotonic())
        body = reply.body
        scopes = body["auth"].get("scopes") if isinstance(body, dict) and isinstance(body.get("auth"), dict) else None
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise not_understood()
        known = frozenset(scope for scope in scopes if re.fullmatch(r"[a-z]+:[a-z]+", scope))
        return _Known(reply.credentials, known, time.monotonic())

    async def _ask(
        self,
        method: str,
        path: Path,
        parameters: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Ask; if Sentry refuses the token, read the credentials afresh and ask once more."""
        credentials = await self.vault.credentials()
        try:
            return await self._ask_with(credentials, method, path, parameters, body)
        except RefusedTokenError:
            refused = f"Sentry at {self.url} refuses the server's token (HTTP 401)"
            to_do = "A person must store a working SENTRY_API_TOKEN there; until then no tool that asks Sentry works."
            try:
                renewed = await self.vault.renewed(credentials)
            except UnreadableError:
                raise CredentialsError(
                    f"{refused}, and Pulumi ESC can't be read now: it may hold another one. Try later. If it stays so, "
                    "a person must look into the server's log, which says why."
                ) from None
            if renewed is None:
                raise CredentialsError(f"{refused}; Pulumi ESC holds no other one. {to_do}") from None
            try:
                return await self._ask_with(renewed, method, path, parameters, body)
            except RefusedTokenError:
                raise CredentialsError(f"{refused}, also the one just read from Pulumi ESC. {to_do}") from None

    async def _ask_with(
        self,
        credentials: Credentials,
        method: str,
        path: Path,
        parameters: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
    ) -> Reply:
        deadline = Deadline(self._longest)
        request = _Request(self.url + _path(path, credentials), method, parameters, body, credentials.token)
        is_transient = _is_transient if method in _SAFE else _was_not_carried_out
        policy = retrying(deadline, is_transient, _headers_of, attempts=_ATTEMPTS)
        try:
            async for attempt in AsyncRetrying(
                retry=policy.retry, wait=policy.wait, stop=policy.stop, reraise=True, sleep=anyio.sleep
            ):
                with attempt, told_after_a_change("" if method == "GET" else MAYBE_DONE):
                    reply = _reply(path, credentials, *await self._try(request, deadline))
        except StatusError as error:
            if path == () and is_limited(error):
                raise LimitedTokenError(credentials) from None
            raise meaning(error, self.url, self.vault.redact, repeatable=method in _SAFE) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            # Its text may hold anything.
            sent = method not in _SAFE and not isinstance(error, _NEVER_SENT)
            raise unanswered(error, self.url, maybe_done=sent) from None
        return reply

    async def _try(self, request: _Request, deadline: Deadline) -> tuple[httpx2.Response, bytes]:
        if self._http is None:
            raise RuntimeError("the client isn't open")
        with anyio.fail_after(min(LONGEST_TRY, deadline.remaining())):
            async with self._http.stream(
                request.method,
                request.url,
                params=request.parameters,
                json=request.body,
                headers={"Authorization": f"Bearer {request.token.get_secret_value()}", "Accept": "application/json"},
            ) as response:
                content = bytearray()
                async for piece in response.aiter_bytes():
                    content += piece
                    if len(content) > LARGEST_ANSWER:
                        raise too_large(LARGEST_ANSWER)
        if response.is_success:
            return response, bytes(content)
        raise StatusError(response, bytes(content))


@dataclass(frozen=True)
class _Request:
    url: str
    method: str
    parameters: Mapping[str, Any] | None
    body: Mapping[str, Any] | None
    token: SecretStr


def allows(scopes: frozenset[str], needed: str) -> bool:
    """Whether scopes hold a scope, or one that implies it."""
    kind, _, level = needed.partition(":")
    return any(f"{kind}:{higher}" in scopes for higher in _LEVELS[_LEVELS.index(level) :])


def _holds(known: _Known, credentials: Credentials) -> bool:
    return known.credentials == credentials and time.monotonic() - known.at < KEPT_SCOPES


def _path(path: Path, credentials: Credentials) -> str:
    """The path of a route. Each part stays one: what could be more than a name is refused, and the rest is encoded."""
    slots = {Slot.ORGANIZATION: credentials.organization, Slot.PROJECT: credentials.project}
    parts = [slots[part] if isinstance(part, Slot) else part for part in path]
    for part in parts:
        if part in ("", ".", "..") or re.search(r"[/\\\x00-\x1f\x7f]", part):
            raise RefusedError("An argument holds what no name in Sentry holds, such as a slash. Correct it.")
    return "".join(f"/{quote(part, safe='')}" for part in ("api", "0", *parts)) + "/"


def _reply(path: Path, credentials: Credentials, response: httpx2.Response, content: bytes) -> Reply:
    try:
        body = parsed_json(content) if content else None
    except ValueError:
        raise not_understood() from None
    if path == () and isinstance(body, dict) and body.get("auth", ...) is None:
        # The index answers a token that it doesn't know as if there were none.
        raise RefusedTokenError
    return Reply(body, _next_cursor(response), credentials)


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, StatusError):
        return may_pass(error.response.status_code)
    return isinstance(error, httpx2.TransportError | httpx2.DecodingError | TimeoutError)


def _was_not_carried_out(error: BaseException) -> bool:
    if isinstance(error, StatusError):
        return error.response.status_code in _NOT_CARRIED_OUT
    return isinstance(error, _NEVER_SENT)


def _headers_of(error: BaseException) -> Mapping[str, str]:
    return error.response.headers if isinstance(error, StatusError) else {}


def _next_cursor(response: httpx2.Response) -> str | None:
    """Where the next page begins; None on the last. The link itself isn't followed: it may name another host."""
    link = response.links.get("next", {})
    cursor = link.get("cursor") if link.get("results") == "true" else None
    return cursor if cursor and re.fullmatch(CURSOR, cursor) else None
