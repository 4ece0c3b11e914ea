"""The shell of a person who follows the documentation, on a machine with Docker, Compose, Python and the Pulumi CLI.

The commands run as written. A `docker` wrapper, first on PATH, replaces what a machine can have only once, and adds a
way to the local services. Then it executes the real `docker`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.conftest import Host
from tests.deploy.gateway import HOST_ENTRY
from tests.support import shell
from tests.support.docker_engine import ROOT

COMPOSE_FILE = "docker-compose.sentry.yml"
IMAGE = "sentry-mcp:dev"

# Gives containers the test's own names, a way to the local services, and a published port that is free here.
_DOCKER = """\
#!{python} -IS
import os, re, sys
given, arguments = sys.argv[1:], []
for before, argument in zip(["", *given], given):
    if given[0] != "compose" or before in ("--project-name", "--name"):  # the service is called so too
        argument = re.sub("^sentry-mcp(?=(-deploy|-former)?$)", {project!r}, argument)
    arguments.append(argument.replace("127.0.0.1:8000:", "127.0.0.1:{port}:"))
    if argument.endswith({compose_file!r}):
        arguments += ["--file", {overlay!r}]
if arguments[0] == "run" and {image!r} in arguments:
    arguments[1:1] = ["--add-host", {host_entry!r}, "--env", "PULUMI_BACKEND_URL", "--env", "SENTRY_URL"]
os.execv({real!r}, ["docker", *arguments])
"""


@dataclass(frozen=True)
class Machine:
    """A reader's machine, with a host for the server."""

    host: Host
    home: Path
    pulumi: Path

    def __post_init__(self) -> None:
        docker, compose = shutil.which("docker"), shutil.which("docker-compose", path=str(Path(sys.executable).parent))
        if compose is None or docker is None:
            pytest.skip("there is no docker, or no docker-compose in the virtual environment")
        plugins = self.home / ".docker" / "cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(compose)
        self.bin.mkdir()
        text = _DOCKER.format(
            python=sys.executable,
            project=self.host.project,
            port=self.host.port,
            overlay=str(self.host.overlay),
            compose_file=COMPOSE_FILE,
            image=IMAGE,
            host_entry=HOST_ENTRY,
            real=docker,
        )
        (self.bin / "docker").write_text(text, encoding="utf-8")
        (self.bin / "docker").chmod(0o755)

    @property
    def bin(self) -> Path:
        return self.home / "bin"

    @property
    def environ(self) -> dict[str, str]:
        """This machine's own variables and the addresses of the local services, without any token."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "SENTRY_", "GITHUB_"))
        }
        folders = (self.bin, Path(sys.executable).parent, self.pulumi.parent)
        return {
            **kept,
            "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
            "HOME": str(self.home),
            "PULUMI_HOME": str(self.home / ".pulumi"),
            "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip")),
            "DOCKER_CONFIG": str(self.home / ".docker"),
            "COMPOSE_PROJECT_NAME": self.host.project,
            "PYTHONDONTWRITEBYTECODE": "1",
            **{name: self.host.environ[name] for name in ("PULUMI_BACKEND_URL", "SENTRY_URL")},
            "SENTRY_MCP_PUBLISHED_PORT": str(self.host.port),
        }

    def shell(
        self, code: str, *, typed: str = "", cwd: Path = ROOT, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run shell code that must succeed, with further variables."""
        return shell.run(code, {**self.environ, **(environ or {})}, typed=typed, cwd=cwd)
