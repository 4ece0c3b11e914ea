"""Requests to Sentry's web API: within one organization and project, with time limits, retries and bounded answers.

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
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from sentry_mcp.credentials import Credentials, UnreadableError, Vault
from sentry_mcp.errors import CredentialsError, RefusedError, UnavailableError
from sentry_mcp.refusals import (
    MAYBE_DONE,
    RefusedTokenError,
    StatusError,
    WithheldScopesError,
    may_pass,
    meaning,
    not_understood,
    too_large,
    unanswered,
)
from sentry_mcp.untrusted import parsed_json
from sophia_sync.runtime.retries import asked_wait
from sophia_sync.sentry import next_cursor, scopes_of, withholds_scopes

LONGEST_CALL = 20.0
"""Time limit for one request to Sentry with all its retries, in seconds."""
LONGEST_TRY = 10.0
LARGEST_ANSWER = 5 * 1024 * 1024
"""Maximum size of a response, in bytes."""
KEPT_SCOPES = 60.0
"""How long the token's scopes and the project's number are cached, in seconds."""

ATTEMPTS = 5
_BACKOFF = wait_exponential(multiplier=0.25, max=8) + wait_random(0, 0.25)

# After these responses the request was certainly not carried out, so even a write is retried.
_NOT_CARRIED_OUT = frozenset({HTTPStatus.TOO_MANY_REQUESTS})
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.InvalidURL)


class Slot(enum.Enum):
    """A path segment that comes from the credentials, never from an argument."""

    ORGANIZATION = enum.auto()
    PROJECT = enum.auto()


Path = tuple[str | Slot, ...]

PROJECT: Path = ("projects", Slot.ORGANIZATION, Slot.PROJECT)
ORGANIZATION: Path = ("organizations", Slot.ORGANIZATION)


@dataclass(frozen=True)
class Reply:
    """A successful response from Sentry."""

    body: Any
    next_cursor: str | None
    credentials: Credentials
    """The credentials that the request was made with."""
    content: bytes = b""
    """The content of a downloaded file."""


@dataclass(frozen=True)
class _Known:
    """A cached value, the credentials that it was read with, and its time on the monotonic clock."""

    credentials: Credentials
    value: Any
    at: float


class SentryClient:
    """A client for Sentry's API that makes each request with the current credentials.

    Args:
        url: Sentry's address, without a slash at its end.
        vault: Supplies the credentials.
        longest: Time limit for one request with all its retries, in seconds.
    """

    def __init__(self, url: str, vault: Vault, longest: float = LONGEST_CALL) -> None:
        self.url = url
        self.vault = vault
        self._longest = longest
        self._http: httpx2.AsyncClient | None = None
        self._scopes: _Known | None = None
        self._project: _Known | None = None

    async def __aenter__(self) -> SentryClient:
        self._http = httpx2.AsyncClient(timeout=LONGEST_TRY, follow_redirects=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def get(self, path: Path, **parameters: str | int | list[str] | None) -> Reply:
        """Send a GET request, without the parameters that are None.

        Raises:
            ToolError: One of `sentry_mcp.errors`.
        """
        return await self._ask("GET", path, {key: value for key, value in parameters.items() if value is not None})

    async def put(self, path: Path, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a PUT request and return Sentry's response. Retry only if it was certainly not carried out."""
        found: dict[str, Any] = (await self._ask("PUT", path, body=body)).body
        return found

    async def post(self, path: Path, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a POST request and return Sentry's response. Retry only if it was certainly not carried out."""
        found: dict[str, Any] = (await self._ask("POST", path, body=body)).body
        return found

    async def scopes(self, *, fresh: bool = False) -> frozenset[str] | None:
        """Return the token's scopes, cached for `KEPT_SCOPES` unless `fresh`; None if Sentry doesn't tell them."""
        credentials = await self.vault.credentials()
        if self._scopes is None or not _holds(self._scopes, credentials) or fresh:
            self._scopes = await self._ask_for_scopes()
        found: frozenset[str] | None = self._scopes.value
        return found

    def last_scopes(self, default: frozenset[str] | None) -> frozenset[str] | None:
        """Return the last result of `scopes`, however old; `default` if there is none."""
        return self._scopes.value if self._scopes else default

    async def project_number(self, *, fresh: bool = False) -> str:
        """Return the number of the project, by which the organization's routes tell projects apart."""
        return (await self._known_project(fresh=fresh))[0]

    async def teams(self) -> list[Any]:
        """Return the teams of the project, as Sentry shows them."""
        return (await self._known_project())[1]

    async def download(self, path: Path) -> bytes:
        """Return the content of a file.

        Raises:
            ToolError: One of `sentry_mcp.errors`.
        """
        return (await self._ask("GET", path, {"download": ""}, raw=True)).content

    async def _known_project(self, *, fresh: bool = False) -> tuple[str, list[Any]]:
        credentials = await self.vault.credentials()
        if self._project is None or not _holds(self._project, credentials) or fresh:
            reply = await self.get(PROJECT)
            body = reply.body if isinstance(reply.body, dict) else {}
            number, teams = str(body.get("id", "")), body.get("teams")
            if not re.fullmatch(r"[0-9]{1,20}", number):
                raise not_understood()
            known = number, teams if isinstance(teams, list) else []
            self._project = _Known(reply.credentials, known, time.monotonic())
        found: tuple[str, list[Any]] = self._project.value
        return found

    async def _ask_for_scopes(self) -> _Known:
        try:
            reply = await self._ask("GET", ())
        except WithheldScopesError as error:
            return _Known(error.credentials, None, time.monotonic())
        return _Known(reply.credentials, reply.body, time.monotonic())

    async def _ask(
        self,
        method: str,
        path: Path,
        parameters: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        raw: bool = False,
    ) -> Reply:
        """Send a request. If Sentry refuses the token, read the credentials again and retry once."""
        credentials = await self.vault.credentials()
        try:
            return await self._ask_with(credentials, method, path, parameters, body, raw=raw)
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
                return await self._ask_with(renewed, method, path, parameters, body, raw=raw)
            except RefusedTokenError:
                raise CredentialsError(f"{refused}, also the one just read from Pulumi ESC. {to_do}") from None

    async def _ask_with(
        self,
        credentials: Credentials,
        method: str,
        path: Path,
        parameters: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
        *,
        raw: bool,
    ) -> Reply:
        request = _Request(self.url + _path(path, credentials), method, parameters, body, credentials.token)
        try:
            with anyio.fail_after(self._longest):
                response, content = await self._try_again(request)
            if raw:
                return Reply(None, None, credentials, content)
            reply = _reply(path, credentials, response, content)
            if method != "GET" and not isinstance(reply.body, dict):
                raise not_understood(content)
            return reply
        except StatusError as error:
            if path == () and withholds_scopes(error.response.status_code, error.content.decode("utf-8", "replace")):
                raise WithheldScopesError(credentials) from None
            told = meaning(error, self.url, self.vault.redact)
            is_known = not may_pass(error.response.status_code) or _was_not_carried_out(error)
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            # The exception's text may hold anything, so it isn't repeated.
            told, is_known = unanswered(error, self.url), isinstance(error, _NEVER_SENT)
        except UnavailableError as error:
            told, is_known = error, False
        # The one place that reports a change with an unknown outcome.
        if method != "GET" and not is_known:
            raise type(told)(f"{told}{MAYBE_DONE}") from None
        raise told from None

    async def _try_again(self, request: _Request) -> tuple[httpx2.Response, bytes]:
        """Send a request. Retry transient failures up to `ATTEMPTS` attempts, within the enclosing deadline."""
        is_transient = _is_transient if request.method == "GET" else _was_not_carried_out
        ends = anyio.current_effective_deadline()
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(is_transient),
            wait=_wait,
            stop=lambda state: (
                stop_after_attempt(ATTEMPTS)(state) or anyio.current_time() + state.upcoming_sleep >= ends
            ),
            reraise=True,
            sleep=anyio.sleep,
        ):
            with attempt:
                return await self._try(request)
        raise AssertionError("unreachable")

    async def _try(self, request: _Request) -> tuple[httpx2.Response, bytes]:
        if self._http is None:
            raise RuntimeError("the client isn't open")
        with anyio.fail_after(LONGEST_TRY):
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


def _holds(known: _Known, credentials: Credentials) -> bool:
    return known.credentials == credentials and time.monotonic() - known.at < KEPT_SCOPES


def _path(path: Path, credentials: Credentials) -> str:
    """Return a route's path. Each part stays one segment: it is encoded, or refused if it isn't a name.

    Raises:
        RefusedError: A part could be more than a name.
    """
    slots = {Slot.ORGANIZATION: credentials.organization, Slot.PROJECT: credentials.project}
    parts = [slots[part] if isinstance(part, Slot) else part for part in path]
    for part in parts:
        if part in ("", ".", "..") or re.search(r"[/\\\x00-\x1f\x7f]", part):
            raise RefusedError("An argument holds what no name in Sentry holds, such as a slash. Correct it.")
    return "".join(f"/{quote(part, safe='')}" for part in ("api", "0", *parts)) + "/"


def _reply(path: Path, credentials: Credentials, response: httpx2.Response, content: bytes) -> Reply:
    """Return Sentry's response; for its index, the token's scopes.

    Raises:
        RefusedTokenError: The index doesn't know the token: it answers as if there were none.
        UnavailableError: The response isn't Sentry's.
    """
    try:
        body = parsed_json(content) if content else None
        body = scopes_of(body) if path == () else body
    except ValueError:
        raise not_understood(content) from None
    if path == () and body is None:
        raise RefusedTokenError
    try:
        cursor = next_cursor({"next": response.links.get("next", {})})
    except ValueError:  # this page's rows are valid all the same
        cursor = None
    return Reply(body, cursor, credentials)


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, StatusError):
        return may_pass(error.response.status_code)
    return isinstance(error, httpx2.TransportError | httpx2.DecodingError | TimeoutError)


def _was_not_carried_out(error: BaseException) -> bool:
    if isinstance(error, StatusError):
        return error.response.status_code in _NOT_CARRIED_OUT
    return isinstance(error, _NEVER_SENT)


def _wait(state: RetryCallState) -> float:
    """Return the seconds to wait: what Sentry asks for, or exponential with jitter."""
    error = state.outcome.exception() if state.outcome else None
    asked = asked_wait(error.response.headers) if isinstance(error, StatusError) else None
    return _BACKOFF(state) if asked is None else asked
