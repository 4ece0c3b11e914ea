"""A registry, the built image, and hosts that it can be deployed to."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from sandbox import Sandbox
from tests.deploy import program
from tests.deploy.clients import Answer, ask
from tests.deploy.gateway import HOST_ENTRY, Gateway, inside
from tests.deploy.images import Derived
from tests.deploy.program import Result
from tests.support import docker_engine, docker_registry
from tests.support.docker_engine import ROOT, docker
from tests.support.docker_registry import free_port

ENVIRONMENT = "scoobyjava-org/default/sophia-ai-production"
SERVICE = "sentry-mcp"


@pytest.fixture(scope="session")
def built() -> str:
    """Build the server's image from this tree. Return its name."""
    docker_engine.provide_base_images()
    image = "sentry-mcp:test"
    docker("build", "--file", str(ROOT / "mcp-servers" / "sentry" / "Dockerfile"), "--tag", image, str(ROOT))
    return image


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a real registry. Yield its address."""
    with docker_registry.serve(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="session")
def good(built: str, registry: str) -> str:
    """Push the image to the registry. Return its reference by digest."""
    return docker_registry.push(built, f"{registry}/ai-cherry/sentry-mcp:test")


@pytest.fixture(scope="session")
def derive(built: str, registry: str) -> Derived:
    return Derived(built, registry)


@pytest.fixture(scope="session")
def foreign(good: str) -> tuple[str, str]:
    """Push an image for a platform that no machine here has. Return it, and an index of it."""
    return docker_registry.push_as(good, "linux/s390x")


@dataclass
class Host:
    """A host to deploy to: a Compose project of its own on this engine, and the services that the server reaches."""

    box: Sandbox
    folder: Path
    project: str = field(default_factory=lambda: f"sentry-mcp-test-{secrets.token_hex(4)}")
    port: int = field(default_factory=free_port)
    token: str = field(default_factory=lambda: secrets.token_hex(24))

    def __post_init__(self) -> None:
        # The shipped file names its container, and a machine can have a name only once. `localhost` must lead here.
        # Tests wait for the first health check of each container, so it has to come soon.
        often = {"interval": "1s"}
        service = {"container_name": self.project, "extra_hosts": [HOST_ENTRY], "healthcheck": often}
        self.overlay.write_text(yaml.safe_dump({"services": {SERVICE: service}}), encoding="utf-8")

    @property
    def overlay(self) -> Path:
        return self.folder / "overlay.yml"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables of the person or job that deploys."""
        return {
            "PULUMI_ACCESS_TOKEN": self.box.esc.token,
            "PULUMI_BACKEND_URL": inside(self.box.esc.url),
            "SENTRY_URL": inside(self.box.sentry.url),
            "SENTRY_MCP_TOKEN": self.token,
            "SENTRY_MCP_PUBLISHED_PORT": str(self.port),
        }

    @property
    def secrets(self) -> list[str]:
        return [self.box.esc.token, self.box.sentry.token, self.token]

    def store(self, **values: str) -> None:
        """Write a new revision of the ESC environment, with every value encrypted."""
        lines = [f"  {name}:\n    fn::secret: {value}\n" for name, value in values.items()]
        self.box.esc.save(ENVIRONMENT, "values:\n" + "".join(lines))

    @property
    def slugs(self) -> dict[str, str]:
        sentry = self.box.sentry
        return {"SENTRY_ORGANIZATION_SLUG": sentry.organization, "SENTRY_PROJECT_SLUG": sentry.project}

    def store_credentials(self, token: str) -> None:
        self.store(SENTRY_API_TOKEN=token, **self.slugs)

    def deploy(self, image: str, *arguments: str, **environ: str) -> Result:
        return self.begin(image, *arguments, **environ).finish()

    def begin(self, image: str, *arguments: str, **environ: str) -> program.Process:
        return self.start("deploy", "--image", image, *arguments, **environ)

    def recover(self, **environ: str) -> Result:
        return self.start("recover", **environ).finish()

    def start(self, command: str, *arguments: str, **environ: str) -> program.Process:
        """Start a command of the deploy program."""
        # The limit in seconds is high, because the machine may be busy.
        options = ("--project", self.project, "--compose-file", str(self.overlay), "--timeout", "300")
        return program.Process((command, *options, *arguments), {**self.environ, **environ})

    def compose(self, *arguments: str, image: str = "none", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run Compose itself, with the shipped file."""
        files = ("--file", str(ROOT / "docker-compose.sentry.yml"), "--file", str(self.overlay))
        variables = {**self.environ, "SENTRY_MCP_IMAGE": image, **environ}
        return compose("--project-name", self.project, *files, *arguments, **variables)

    def container(self, template: str) -> str:
        """Return what Docker's template gives for the server's container, or an empty string if there is none."""
        return docker("container", "inspect", "--format", template, self.project, check=False).stdout.strip()

    @property
    def image(self) -> str:
        return self.container("{{.Config.Image}}")

    @property
    def environment(self) -> list[str]:
        """The variables of the server's container, without empty ones."""
        variables: list[str] = json.loads(self.container("{{json .Config.Env}}"))
        return [variable for variable in variables if not variable.endswith("=")]

    def ask(self, tool: str = "whoami", **arguments: object) -> Answer:
        return ask(self.url, self.token, tool, arguments)

    def leftovers(self) -> list[str]:
        """Return the names of this host's containers, without the server's."""
        names = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name={self.project}").stdout.split()
        return [name for name in names if name != self.project]


def compose(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Compose v5 from the development environment."""
    command = shutil.which("docker-compose", path=str(Path(program.COMMAND[0]).parent))
    if command is None:
        pytest.skip("there is no docker-compose in the virtual environment")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "SENTRY_"))}
    command_line = [command, *arguments]
    return subprocess.run(
        command_line, env={**kept, **environ}, capture_output=True, text=True, timeout=300, check=False
    )


@contextlib.contextmanager
def new_host() -> Iterator[Host]:
    """Yield a host with nothing deployed, and an ESC environment that holds Sentry's credentials."""
    with Sandbox() as box, Gateway([box.esc.url, box.sentry.url]), tempfile.TemporaryDirectory() as folder:
        box.esc.create(ENVIRONMENT)
        host = Host(box, Path(folder))
        host.store_credentials(box.sentry.token)
        try:
            yield host
        finally:
            for name in (*host.leftovers(), host.project):
                docker("rm", "--force", "--volumes", name, check=False)
            host.compose("down", "--remove-orphans", "--timeout", "0")
