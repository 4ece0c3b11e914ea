"""Turn the settings into the keys that ESC should hold, each encrypted or in plain text."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from sophia_sync.esc.definition import Exported, Name
from sophia_sync.settings.inputs import Settings

SENTRY_KEYS = {
    "SENTRY_DSN": True,
    "SENTRY_API_TOKEN": True,
    "SENTRY_ORGANIZATION_SLUG": False,
    "SENTRY_PROJECT_SLUG": False,
    "SENTRY_CLIENT_SECRET": True,
}
"""The five keys, and whether each is stored encrypted."""
OPTIONAL_KEYS = frozenset({"SENTRY_CLIENT_SECRET"})


@dataclass(frozen=True)
class Entry:
    """One entry that ESC should hold; `secret` says whether its value is stored encrypted."""

    name: Name
    value: SecretStr
    secret: bool


@dataclass(frozen=True)
class Bundle:
    """Everything that one sync writes, in the order in which new keys are added."""

    entries: tuple[Entry, ...]

    @property
    def names(self) -> tuple[Name, ...]:
        return tuple(entry.name for entry in self.entries)


def make_bundle(settings: Settings) -> Bundle:
    """Return the keys of a sync. An unset client secret is left out, so that ESC keeps its value."""
    entries = [
        Entry("SENTRY_DSN", settings.sentry_dsn, secret=True),
        Entry("SENTRY_API_TOKEN", settings.sentry_api_token, secret=True),
        Entry("SENTRY_ORGANIZATION_SLUG", SecretStr(settings.sentry_organization_slug), secret=False),
        Entry("SENTRY_PROJECT_SLUG", SecretStr(settings.sentry_project_slug), secret=False),
    ]
    if settings.sentry_client_secret is not None:
        entries.append(Entry("SENTRY_CLIENT_SECRET", settings.sentry_client_secret, secret=True))
    entries += [Entry(key, value, secret=True) for key, value in settings.extra_secrets.items()]
    entries += [Entry(key, SecretStr(value), secret=False) for key, value in settings.extra_variables.items()]
    if settings.export_environment_variables:
        exported = [Exported(str(entry.name)) for entry in entries]
        entries += [Entry(name, SecretStr(name.reference), secret=False) for name in exported]
    return Bundle(tuple(entries))
