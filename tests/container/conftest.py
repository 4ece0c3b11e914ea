"""The local services, and a job of a workflow whose steps reach them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.support.docker_step import Job

ENVIRONMENT = "acme/default/production"
REPOSITORY = "acme/sophia"
WORKFLOW = "deploy-sentry-mcp.yml"
DEFINITION = """\
# Whoever edits this, leave a note in the wiki.
values:
  region: eu-central-1   # not ours
  database:
    password:
      fn::secret: correct-horse
"""


@dataclass
class Caller:
    """A user of the action: the inputs of their workflow, with unique values."""

    box: Sandbox
    client_secret: str = field(default_factory=lambda: f"whsec_{secrets.token_hex(16)}")

    @property
    def inputs(self) -> dict[str, str]:
        return {
            "sentry-dsn": self.box.sentry.dsn,
            "sentry-api-token": self.box.sentry.token,
            "sentry-organization-slug": self.box.sentry.organization,
            "sentry-project-slug": self.box.sentry.project,
            "sentry-client-secret": self.client_secret,
            "sentry-url": self.box.sentry.url,
            "esc-environment": ENVIRONMENT,
            "pulumi-access-token": self.box.esc.token,
            "pulumi-cloud-url": self.box.esc.url,
        }

    @property
    def secrets(self) -> list[str]:
        box = self.box
        return [box.sentry.dsn, box.sentry.token, self.client_secret, box.esc.token, box.github.token]

    @property
    def kept(self) -> dict[str, object]:
        """The values of ours that ESC should hold after a sync."""
        return {
            "SENTRY_DSN": self.box.sentry.dsn,
            "SENTRY_API_TOKEN": self.box.sentry.token,
            "SENTRY_ORGANIZATION_SLUG": self.box.sentry.organization,
            "SENTRY_PROJECT_SLUG": self.box.sentry.project,
            "SENTRY_CLIENT_SECRET": self.client_secret,
        }


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        box.esc.create(ENVIRONMENT, DEFINITION)
        box.github.add_repository(REPOSITORY)
        box.github.add_workflow(REPOSITORY, WORKFLOW)
        yield box


@pytest.fixture
def caller(box: Sandbox) -> Caller:
    return Caller(box)


@pytest.fixture
def job(box: Sandbox, image: str, tmp_path: Path) -> Job:
    variables = {"GITHUB_API_URL": box.github.url, "GITHUB_REPOSITORY": REPOSITORY, "GITHUB_REPOSITORY_OWNER": "acme"}
    return Job(tmp_path, image, box.github.token, variables)
