"""A local Sentry with some data, and an MCP server for it with the SDK's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from mcp import Client
from sentry_mcp.client import SentryClient
from sentry_mcp.credentials import Vault
from sentry_mcp.server import SentryServer
from sentry_mcp.settings import Settings

from sandbox.sentry import Issue, Sentry
from tests.mcp.support import Values


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    with Sentry() as sentry:
        yield sentry


@pytest.fixture
def values(sentry: Sentry) -> Values:
    """The values in Pulumi ESC."""
    return Values(
        SENTRY_API_TOKEN=sentry.token,
        SENTRY_ORGANIZATION_SLUG=sentry.organization,
        SENTRY_PROJECT_SLUG=sentry.project,
    )


@pytest.fixture
def issue(sentry: Sentry) -> Issue:
    """An issue of the project, with two events."""
    issue = sentry.add_issue()
    sentry.add_event(issue, "first", tags={"environment": "staging", "release": "shop@1.0"})
    sentry.add_event(issue, "second")
    return issue


@pytest.fixture
def stranger(sentry: Sentry) -> Issue:
    """An issue of another project of the same organization, which the token may see too."""
    sentry.add_project(sentry.organization, "other", 42)
    stranger = sentry.add_issue("TypeError: theirs", project="other")
    sentry.add_event(stranger, "theirs")
    return stranger


@pytest.fixture
def settings(sentry: Sentry) -> Settings:
    return Settings(sentry_url=sentry.url)


@pytest.fixture
def server(settings: Settings, values: Values) -> SentryServer:
    return SentryServer(settings, values)


@pytest.fixture
async def client(server: SentryServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        yield client


@asynccontextmanager
async def impatient(settings: Settings, values: Values, seconds: float) -> AsyncIterator[Client]:
    """Connect to a server with a short time limit for each request to Sentry."""
    sentry_client = SentryClient(settings.sentry_url, Vault(values), longest=seconds)
    async with Client(SentryServer(settings, values, sentry_client)) as client:
        yield client
