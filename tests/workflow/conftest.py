"""The organization that owns this repository, and the local services that its workflow reaches."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.support import docker_act
from tests.support.docker_act import Run
from tests.support.docker_engine import ROOT

REPOSITORY = "ai-cherry/sentry-esc-sync"
PRODUCTION = "scoobyjava-org/default/sophia-ai-production"
STAGING = "scoobyjava-org/default/sophia-ai-staging"
DEFINITION = "# Ask before you change this.\nvalues:\n  region: eu-central-1\n"


class Organization:
    """An organization with its secrets and variables in GitHub, which runs the workflow with them."""

    def __init__(self, box: Sandbox, checkout: Path) -> None:
        self.box = box
        self.checkout = checkout
        self.secrets = {
            "SENTRY_DSN": box.sentry.dsn,
            "SENTRY_API_TOKEN": box.sentry.token,
            "SENTRY_CLIENT_SECRET": f"whsec_{secrets.token_hex(16)}",
            "PULUMI_ACCESS_TOKEN": box.esc.token,
            "GITHUB_TOKEN": box.github.token,
        }
        self.variables = {
            "SENTRY_ORGANIZATION_SLUG": box.sentry.organization,
            "SENTRY_PROJECT_SLUG": box.sentry.project,
            "PULUMI_BACKEND_URL": box.esc.url,
            "SENTRY_URL": box.sentry.url,
        }

    @property
    def kept(self) -> dict[str, object]:
        """The values that ESC should hold after a sync."""
        everything = self.secrets | self.variables
        return {name: value for name, value in everything.items() if name.startswith("SENTRY_") and "URL" not in name}

    def run(self, event: str, inputs: dict[str, str] | None = None) -> Run:
        """Trigger the sync by an event, and wait until it ends."""
        environment = {"GITHUB_API_URL": self.box.github.url, "GITHUB_REPOSITORY": REPOSITORY}
        return docker_act.run(
            self.checkout,
            "sync-sentry-secrets.yml",
            event,
            secrets=self.secrets,
            variables=self.variables,
            environment=environment,
            inputs=inputs,
        )


@pytest.fixture(scope="session")
def checkout(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout of this tree. The `image` fixture ensures that the base images are there."""
    if not (ROOT / ".git").exists():
        pytest.skip("this tree is no checkout of a repository")
    folder = tmp_path_factory.mktemp("checkout")
    docker_act.check_out(folder)
    return folder


@pytest.fixture(scope="module")
def new_organization(checkout: Path) -> Iterator[Callable[[], Organization]]:
    """Yield a function that makes an organization with services of its own."""
    with ExitStack() as boxes:

        def make() -> Organization:
            box = boxes.enter_context(Sandbox())
            for environment in (PRODUCTION, STAGING):
                box.esc.create(environment, DEFINITION)
            box.github.add_repository(REPOSITORY)
            box.github.add_workflow(REPOSITORY, "deploy-sentry-mcp.yml")
            return Organization(box, checkout)

        yield make
