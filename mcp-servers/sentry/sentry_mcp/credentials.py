"""The server's credentials: from Pulumi ESC or environment variables, and read again on demand."""

from __future__ import annotations

import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

import anyio
from pydantic import SecretStr

from sentry_mcp import esc
from sentry_mcp.errors import CredentialsError
from sophia_sync.esc.opened import Opened
from sophia_sync.runtime.redact import Redactor
from sophia_sync.sentry import is_organization_slug, is_project_slug

API_TOKEN = "SENTRY_API_TOKEN"  # noqa: S105 - a name
ORGANIZATION = "SENTRY_ORGANIZATION_SLUG"
PROJECT = "SENTRY_PROJECT_SLUG"
CLIENT_SECRET = "SENTRY_CLIENT_SECRET"  # noqa: S105 - a name
ACCESS_TOKEN = "SENTRY_MCP_TOKEN"  # noqa: S105 - a name
"""The bearer token that this server's own clients show."""

SHORTEST_ACCESS_TOKEN = 16

DEFAULT_CACHE_SECONDS = 300.0
LEAST_CACHE_SECONDS, MOST_CACHE_SECONDS = 1.0, 86_400.0
RETRY_AFTER = 30.0
"""Wait before the next read after Pulumi ESC could not be read, in seconds."""

logger = logging.getLogger(__name__)

_SECRET_NAME = re.compile(r"token|secret|passw|private_?key|credential|api_?key|dsn", re.IGNORECASE)
_SHORTEST_SECRET = 8
_FORMS: dict[str, Callable[[str], object]] = {
    ORGANIZATION: is_organization_slug,
    PROJECT: is_project_slug,
    API_TOKEN: re.compile(r"[!-~]+").fullmatch,
}


class UnreadableError(Exception):
    """Pulumi ESC can't be read now."""


class Source(Protocol):
    """A source of the server's values."""

    async def values(self) -> Mapping[str, str]:
        """Return all values by key, such as `SENTRY_API_TOKEN`; read them only if they are old."""

    async def refresh(self) -> bool:
        """Read everything again now, and tell whether that went well."""

    def secrets(self) -> Iterable[SecretStr]:
        """Return everything that must not be shown."""

    async def aclose(self) -> None:
        """End a read that is under way, and begin no other: the process is about to end."""


class EscSource:
    """A reader of Pulumi ESC, if that is configured. Environment variables stand in for what ESC doesn't have.

    Args:
        environ: The environment variables.
        clock: Monotonic seconds.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic) -> None:
        self._environ = environ
        self._clock = clock
        self._opened: dict[str, Opened] = {}
        self._secrets: dict[SecretStr, None] = {}
        self._next_read = -math.inf if esc.is_configured(environ) else math.inf
        self._lock = anyio.Lock()
        self._scope: anyio.CancelScope | None = None
        self._is_closed = False

    async def values(self) -> Mapping[str, str]:
        """Return the values. Concurrent calls wait for one read."""
        if self._clock() >= self._next_read:
            async with self._lock:
                if self._clock() >= self._next_read:
                    await self._read()
        named = {name: self._environ[name] for name in self._environ if name.startswith("SENTRY_")}
        stored = ((key, value.text.get_secret_value()) for key, value in self._opened.items())
        return named | {key.upper(): value for key, value in stored if value}

    async def refresh(self) -> bool:
        """Read Pulumi ESC now."""
        async with self._lock:
            return await self._read() if esc.is_configured(self._environ) else True

    def secrets(self) -> Iterable[SecretStr]:
        """Return every secret read so far, including former values, and those among the environment variables."""
        variables = (self._environ[name] for name in self._environ if _SECRET_NAME.search(name))
        return [*self._secrets, *(SecretStr(value) for value in variables if len(value) >= _SHORTEST_SECRET)]

    async def aclose(self) -> None:
        """Cancel a running read, and wait until the CLI and its private folder are gone."""
        self._is_closed = True
        if self._scope is not None:
            self._scope.cancel()
        async with self._lock:
            pass

    async def _read(self) -> bool:
        """Read Pulumi ESC while the caller holds the lock. If that fails, keep the values from before."""
        problem = "the server is being ended" if self._is_closed else ""
        with anyio.CancelScope() as self._scope:
            if self._is_closed:
                self._scope.cancel()
            try:
                self._opened = await esc.read(self._environ)
            except esc.EscError as error:
                problem = str(error)
        self._next_read = self._clock() + (min(RETRY_AFTER, self._keep()) if problem else self._keep())
        if problem:
            kept = "The values from before are kept." if self._opened else "Environment variables stand in for it."
            logger.warning("Pulumi ESC could not be read: %s %s", problem, kept)
            return False
        for key, value in self._opened.items():
            named = len(value.text.get_secret_value()) >= _SHORTEST_SECRET and _SECRET_NAME.search(key)
            self._secrets |= dict.fromkeys([*value.secrets, *([value.text] if named else [])])
        return True

    def _keep(self) -> float:
        """Return the seconds for which values are kept."""
        try:
            seconds = float(self._environ.get("PULUMI_ESC_CACHE_SECONDS") or DEFAULT_CACHE_SECONDS)
        except ValueError:
            return DEFAULT_CACHE_SECONDS
        return seconds if LEAST_CACHE_SECONDS <= seconds <= MOST_CACHE_SECONDS else DEFAULT_CACHE_SECONDS


@dataclass(frozen=True)
class Credentials:
    """The credentials for one request to Sentry."""

    token: SecretStr
    organization: str
    project: str


_held: ContextVar[list[Credentials] | None] = ContextVar("held", default=None)
"""The credentials that the current call has read, if any; None outside calls."""


class Vault:
    """Supplies the current credentials."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._refreshing = anyio.Lock()
        self._refreshed = 0
        self._went_well = True
        self._redactor = Redactor()
        self._known: frozenset[SecretStr] = frozenset()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Read the credentials only once in this block, so that one call never mixes two projects."""
        before = _held.set([])
        try:
            yield
        finally:
            _held.reset(before)

    async def credentials(self) -> Credentials:
        """Return the credentials for Sentry.

        Raises:
            CredentialsError: One of them is missing or malformed.
        """
        held = _held.get()
        return held[0] if held else self._hold(await self._current())

    async def _current(self) -> Credentials:
        return _credentials(await self._source.values())

    @staticmethod
    def _hold(credentials: Credentials) -> Credentials:
        held = _held.get()
        if held is not None:
            held[:] = [credentials]
        return credentials

    async def renewed(self, refused: Credentials) -> Credentials | None:
        """Read the credentials again after Sentry refused some. Return None if they are unchanged.

        Raises:
            UnreadableError: They are unchanged, because Pulumi ESC couldn't be read.
        """
        before = self._refreshed
        async with self._refreshing:
            current = await self._current()
            if current == refused:
                await self._refresh(before)
                current = await self._current()
        if current != refused:
            return self._hold(current)
        if not self._went_well:
            raise UnreadableError
        return None

    async def client_secret(self) -> SecretStr | None:
        """Return the secret that Sentry signs its webhooks with; None if it isn't configured."""
        return await self._secret(CLIENT_SECRET)

    async def renewed_client_secret(self) -> SecretStr | None:
        """Read the client secret again and return it."""
        before = self._refreshed
        async with self._refreshing:
            await self._refresh(before)
        return await self.client_secret()

    async def access_token(self) -> SecretStr | None:
        """Return the token that this server's clients must show; None if it isn't configured."""
        return await self._secret(ACCESS_TOKEN)

    def redact(self, text: str) -> str:
        """Return `text` without the secrets that the source knows or knew."""
        known = frozenset(self._source.secrets())
        if known - self._known:
            self._known |= known
            self._redactor = Redactor(self._known)
        return self._redactor(text)

    async def aclose(self) -> None:
        """End a read that is under way, and begin no other."""
        await self._source.aclose()

    async def _refresh(self, before: int) -> None:
        """Read everything again, unless another call did so while this one waited for the lock that it holds now.

        Args:
            before: The number of refreshes when the call began.
        """
        if self._refreshed == before:
            self._went_well = await self._source.refresh()
            self._refreshed += 1

    async def _secret(self, key: str) -> SecretStr | None:
        value = (await self._source.values()).get(key, "").strip()
        return SecretStr(value) if value else None


def _credentials(stored: Mapping[str, str]) -> Credentials:
    """Return the credentials for Sentry out of stored values.

    Raises:
        CredentialsError: One of them is missing or malformed.
    """
    values = {key: stored.get(key, "").strip() for key in (API_TOKEN, ORGANIZATION, PROJECT)}
    missing = [key for key, value in values.items() if not value]
    if missing:
        raise CredentialsError(
            f"The server has no {' and no '.join(missing)}, neither from Pulumi ESC nor from its environment. A "
            "person must store it there; repeating the call doesn't help."
        )
    wrong = [key for key, is_right in _FORMS.items() if not is_right(values[key])]
    if wrong:
        raise CredentialsError(
            f"The server's {' and '.join(wrong)} can't be right: it isn't of the form that Sentry gives out. A "
            "person must correct it; repeating the call doesn't help."
        )
    return Credentials(SecretStr(values[API_TOKEN]), values[ORGANIZATION], values[PROJECT])
