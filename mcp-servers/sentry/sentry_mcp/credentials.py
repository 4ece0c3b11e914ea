"""The server's credentials: out of Pulumi ESC, with the environment variables as fallback, and read again on demand."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread
from pydantic import SecretStr

from sentry_mcp.errors import CredentialsError
from sophia_sync.redact import Redactor

API_TOKEN = "SENTRY_API_TOKEN"  # noqa: S105 - a name
ORGANIZATION = "SENTRY_ORGANIZATION_SLUG"
PROJECT = "SENTRY_PROJECT_SLUG"
CLIENT_SECRET = "SENTRY_CLIENT_SECRET"  # noqa: S105 - a name
ACCESS_TOKEN = "SENTRY_MCP_TOKEN"  # noqa: S105 - a name
"""The bearer token that this server's own clients show."""

SHORTEST_ACCESS_TOKEN = 16

T = TypeVar("T")

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,98}[a-z0-9])?")
_TOKEN = re.compile(r"[!-~]+")


class UnreadableError(Exception):
    """Pulumi ESC can't be read now."""


class Source(Protocol):
    """Where values come from. Its methods may block: they are called in threads, and may be at the same time."""

    def get(self, key: str) -> str | None:
        """The value of a key such as `SENTRY_API_TOKEN`; None where it is nowhere."""

    def refresh(self) -> bool:
        """Read everything again now; whether that went well."""

    def secrets(self) -> Iterable[SecretStr]:
        """Everything that must not be shown."""

    def close(self) -> None:
        """End a read that is under way, and begin no other: the process is about to end."""


class EscSource:
    """Pulumi ESC, through the backend's configuration; what it doesn't have comes from the environment variables."""

    def __init__(self) -> None:
        from backend.core.auto_esc_config import config, get_pulumi_esc_value  # noqa: PLC0415 - tests need none of it

        self._config = config
        self._value = get_pulumi_esc_value

    def get(self, key: str) -> str | None:
        return self._value(key, os.environ.get(key))

    def refresh(self) -> bool:
        return self._config.refresh()

    def secrets(self) -> Iterable[SecretStr]:
        return self._config.known_secrets

    def close(self) -> None:
        self._config.close()


@dataclass(frozen=True)
class Credentials:
    """What one request to Sentry is made with."""

    token: SecretStr
    organization: str
    project: str


class Vault:
    """Hands out the credentials as they are now."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._refreshing = anyio.Lock()
        self._refreshed = 0
        self._went_well = True
        self._redactor = Redactor()
        self._known: frozenset[SecretStr] = frozenset()

    async def credentials(self) -> Credentials:
        """Those for Sentry.

        Raises:
            CredentialsError: One of them is missing or malformed.
        """
        return await _in_thread(self._read)

    async def renewed(self, refused: Credentials) -> Credentials | None:
        """The credentials read afresh after Sentry refused some; None if they are the same.

        Raises:
            UnreadableError: They are, for they couldn't be read.
        """
        before = self._refreshed
        async with self._refreshing:
            current = await self.credentials()
            if current == refused:
                await self._refresh(before)
                current = await self.credentials()
        if current != refused:
            return current
        if not self._went_well:
            raise UnreadableError
        return None

    async def client_secret(self) -> SecretStr | None:
        """What Sentry signs its webhooks with; None if it isn't configured."""
        return await self._secret(CLIENT_SECRET)

    async def renewed_client_secret(self) -> SecretStr | None:
        """The client secret, read afresh."""
        before = self._refreshed
        async with self._refreshing:
            await self._refresh(before)
        return await self.client_secret()

    async def access_token(self) -> SecretStr | None:
        """What this server's clients must show; None if it isn't configured."""
        return await self._secret(ACCESS_TOKEN)

    def redact(self, text: str) -> str:
        """`text` without any secret that is known here."""
        known = frozenset(self._source.secrets())
        if known - self._known:
            self._known |= known
            self._redactor = Redactor(self._known)
        return self._redactor(text)

    def close(self) -> None:
        """End a read that is under way, and begin no other. Any thread may call it, and a signal's handler."""
        self._source.close()

    async def _refresh(self, before: int) -> None:
        """Read everything again, with the lock held, unless another call did while this one waited for the lock.

        Args:
            before: How often it was done when the call came.
        """
        if self._refreshed == before:
            self._went_well = await _in_thread(self._source.refresh)
            self._refreshed += 1

    async def _secret(self, key: str) -> SecretStr | None:
        value = await _in_thread(lambda: self._source.get(key))
        return SecretStr(value.strip()) if value and value.strip() else None

    def _read(self) -> Credentials:
        values = {key: (self._source.get(key) or "").strip() for key in (API_TOKEN, ORGANIZATION, PROJECT)}
        missing = [key for key, value in values.items() if not value]
        if missing:
            raise CredentialsError(
                f"The server has no {' and no '.join(missing)}, neither from Pulumi ESC nor from its environment. A "
                "person must store it there; repeating the call doesn't help."
            )
        wrong = [key for key in (ORGANIZATION, PROJECT) if not _SLUG.fullmatch(values[key])]
        wrong += [] if _TOKEN.fullmatch(values[API_TOKEN]) else [API_TOKEN]
        if wrong:
            raise CredentialsError(
                f"The server's {' and '.join(wrong)} can't be right: it isn't of the form that Sentry gives out. A "
                "person must correct it; repeating the call doesn't help."
            )
        return Credentials(SecretStr(values[API_TOKEN]), values[ORGANIZATION], values[PROJECT])


async def _in_thread(read: Callable[[], T]) -> T:
    """Wait for a read, but not on when the call that it is for was given up: it may take long."""
    return await anyio.to_thread.run_sync(read, abandon_on_cancel=True)
