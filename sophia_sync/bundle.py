"""Settings → the keys that ESC should hold, each encrypted or in plain text."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from sophia_sync.inputs import Settings


@dataclass(frozen=True)
class Entry:
    """One key at the top of `values:`; `secret` says whether ESC stores its value encrypted."""

    key: str
    value: SecretStr
    secret: bool


@dataclass(frozen=True)
class Bundle:
    """Everything that one sync writes, in the order in which new keys are added."""

    entries: tuple[Entry, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(entry.key for entry in self.entries)


def make_bundle(settings: Settings) -> Bundle:
    """List the keys of a sync; an unset client secret is left out, so that ESC keeps what it holds."""
    entries = [
        Entry("SENTRY_DSN", settings.sentry_dsn, secret=True),
        Entry("SENTRY_API_TOKEN", settings.sentry_api_token, secret=True),
        Entry("SENTRY_ORGANIZATION_SLUG", SecretStr(settings.sentry_organization_slug), secret=False),
        Entry("SENTRY_PROJECT_SLUG", SecretStr(settings.sentry_project_slug), secret=False),
    ]
    if settings.sentry_client_secret is not None:
        entries.append(Entry("SENTRY_CLIENT_SECRET", settings.sentry_client_secret, secret=True))
    return Bundle(tuple(entries))
