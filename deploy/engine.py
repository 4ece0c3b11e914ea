"""Run Docker and Compose. No other module knows their commands.

Each command runs the user's own `docker` in the given environment. So contexts, `DOCKER_HOST`, SSH configuration and
credentials work as they always do.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from deploy import commands
from deploy.commands import CommandError
from deploy.errors import EngineError, LockedError, PlatformError

SERVICE = "sentry-mcp"
PORT = "8000/tcp"
"""The server's port in its container."""
REVISION_LABEL = "sentry-mcp.esc-revision"
LOCK_LABEL = "sentry-mcp.lock"

PULL_LIMIT = 600.0
"""Time limit for the download of an image, in seconds."""
_PAUSE = 0.5
"""Seconds between two attempts to take the lock."""
LEFTOVER = "60s"
"""Age at which a lock that doesn't run is a leftover, for Docker's filter `until`. A start takes far less."""
_LOG_LINES = "20"

# The lock lasts while its standard input is open. So it ends with the process that holds it, however that process ends.
_HOLD = "import sys; print('held', flush=True); sys.stdin.read()"


@dataclass(frozen=True)
class Container:
    """A container, as Docker describes it."""

    id: str
    image: str
    """The reference that it was made from."""
    environment: dict[str, str]
    revision: str
    """The ESC revision that it was deployed for; empty if unknown."""
    port: str
    """Its port on the loopback of the engine's machine; empty if none is published."""


class Engine:
    """A Docker engine.

    Args:
        environ: The environment of every command.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = dict(environ)

    def run(self, *arguments: str, seconds: float = commands.LIMIT) -> str:
        """Run a Docker command and return its standard output.

        Raises:
            CommandError: It failed.
        """
        return commands.run(["docker", *arguments], environ=self.environ, seconds=seconds)

    def attempt(self, *arguments: str) -> str | None:
        """Run a Docker command and return its standard output. Return None if it failed."""
        try:
            return self.run(*arguments)
        except CommandError:
            return None

    def platform(self) -> str:
        """Return the engine's platform, such as `linux/arm64`. The first call shows whether it can be reached.

        Raises:
            EngineError: It can't be reached.
        """
        try:
            return self.run("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}").strip()
        except CommandError as error:
            todo = "Check that Docker runs there, and that this account may use it."
            raise EngineError(f"Docker can't be reached. {error}", todo) from None

    def fetch(self, image: str) -> None:
        """Pull an image unless the engine has it, and check that it fits the engine's platform.

        Raises:
            EngineError: The image can't be pulled, or is for another platform.
        """
        wanted = self.platform()
        try:
            if self.attempt("image", "inspect", image) is None:
                self.run("pull", "--quiet", image, seconds=PULL_LIMIT)
            there = self.run("image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", image).strip()
        except CommandError as error:
            if "no matching manifest" in error.said:
                raise self._unfit(image, "no version", wanted) from None
            raise EngineError(
                f"{image} can't be pulled. {error}",
                "Check that the image exists, and that the engine may pull it.",
                title="The image can't be pulled",
            ) from None
        if there != wanted:
            raise self._unfit(image, f"only {there}", wanted)

    @staticmethod
    def _unfit(image: str, has: str, wanted: str) -> PlatformError:
        return PlatformError(
            f"The server is {wanted}, and {image} has {has} for it.",
            f"Give an image for {wanted}. A release has linux/amd64 and linux/arm64.",
        )

    def inspect(self, container: str) -> Container | None:
        """Return a container by its name or id. Return None if there is none."""
        answer = self.attempt("container", "inspect", container)
        if answer is None:
            return None
        [found] = json.loads(answer)
        config: dict[str, Any] = found["Config"]
        bound = (found["HostConfig"]["PortBindings"] or {}).get(PORT) or [{"HostPort": ""}]
        return Container(
            id=found["Id"],
            image=config["Image"],
            environment=dict(entry.partition("=")[::2] for entry in config["Env"] or []),
            revision=(config["Labels"] or {}).get(REVISION_LABEL, ""),
            port=bound[0]["HostPort"],
        )

    def logs(self, container: str) -> str:
        """Return the last lines of a container's log."""
        argv = ["docker", "logs", "--tail", _LOG_LINES, container]
        try:
            return commands.run(argv, environ=self.environ, with_errors=True).strip()
        except CommandError:
            return ""

    def forget(self, name: str, keep: Sequence[str]) -> None:
        """Remove the images of a repository from the engine, except those to keep and those in use."""
        form = "{{.Repository}}@{{.Digest}}"
        listed = self.attempt("image", "ls", "--digests", "--format", form, name) or ""
        for image in {*listed.split()} - {*keep, f"{name}@<none>"}:
            self.attempt("image", "rm", image)

    @contextlib.contextmanager
    def lock(self, name: str, image: str, patience: float) -> Iterator[None]:
        """Hold the lock `name` of this engine.

        The lock is a container of that name: Docker allows each name once. The container ends with its standard input,
        and so with a deploy that is killed. A deploy that is killed before the container starts leaves it behind. The
        next deploy removes it once it is older than `LEFTOVER`.

        Args:
            name: The name of the container.
            image: An image on the engine that has Python.
            patience: Maximum seconds to wait for another holder.

        Raises:
            LockedError: Another deploy still holds it.
            EngineError: The container can't be started.
        """
        argv = ["docker", "run", "--rm", "--interactive", "--name", name, "--network", "none", "--read-only"]
        argv += ["--cap-drop", "ALL", "--log-driver", "none", "--label", f"{LOCK_LABEL}={name}"]
        argv += ["--entrypoint", "python3", image, "-c", _HOLD]
        end = time.monotonic() + patience
        while True:
            with subprocess.Popen(  # noqa: S603 - Docker
                argv,
                env=self.environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # so that Ctrl-C doesn't reach it: the lock lasts until the deploy is done
            ) as child:
                assert child.stdin is not None  # noqa: S101 - for the type checker
                assert child.stdout is not None  # noqa: S101
                assert child.stderr is not None  # noqa: S101
                if child.stdout.readline().strip() == "held":
                    try:
                        yield
                    finally:
                        child.stdin.close()
                    return
                said = child.stderr.read().strip()
            if "is already in use" not in said:
                raise EngineError(
                    f"A container of {image} can't be started:\n{said}",
                    "Remove the cause that Docker names, and deploy again.",
                    title="The image can't be started",
                )
            # Docker takes the age by its own clock, and prunes no container that runs.
            leftovers = ("--filter", f"label={LOCK_LABEL}={name}", "--filter", f"until={LEFTOVER}")
            self.attempt("container", "prune", "--force", *leftovers)
            if time.monotonic() >= end:
                raise LockedError(f"Another deploy holds the container `{name}`.", "Deploy again when it is done.")
            time.sleep(_PAUSE)


class Compose:
    """The server as one Compose project.

    Args:
        engine: Where it runs.
        project: The project's name.
        files: The Compose files; the first is `docker-compose.sentry.yml`.
    """

    def __init__(self, engine: Engine, project: str, files: Sequence[Path]) -> None:
        self.engine = engine
        self.project = project
        self.record_name = f"{project}-former"
        self._options = ["--project-name", project, "--project-directory", str(files[0].parent)]
        for file in files:
            self._options += ["--file", str(file)]

    @cached_property
    def _command(self) -> list[str]:
        if self.engine.attempt("compose", "version") is not None:
            return ["docker", "compose"]
        path = f"{self.engine.environ.get('PATH', '')}:{Path(sys.executable).parent}"
        found = shutil.which("docker-compose", path=path)
        if found is None:
            raise EngineError(
                "There is no Docker Compose.",
                "Install Docker's Compose plugin where the deploy runs.",
                title="Docker Compose is missing",
            )
        return [found]

    def _run(self, variables: Mapping[str, str], *arguments: str, seconds: float = commands.LIMIT) -> str:
        environ = {**self.engine.environ, **variables}
        return commands.run([*self._command, *self._options, *arguments], environ=environ, seconds=seconds)

    def image(self, variables: Mapping[str, str]) -> str:
        """Return the image that the Compose files name."""
        return self._run(variables, "config", "--images", SERVICE).strip()

    def container(self, variables: Mapping[str, str]) -> Container | None:
        """Return the server's container, running or not. Return None if there is none."""
        ids = self._run(variables, "ps", "--all", "--quiet", SERVICE).split()
        return self.engine.inspect(ids[0]) if ids else None

    def up(self, variables: Mapping[str, str], seconds: float) -> None:
        """Start the server with these variables, and wait until it is healthy, that is, until it serves.

        Raises:
            CommandError: It isn't healthy in time, or Compose failed.
        """
        options = ["--detach", "--wait", "--wait-timeout", f"{seconds:.0f}", "--no-build", "--no-deps", "--quiet-pull"]
        self._run(variables, "up", *options, SERVICE, seconds=seconds + commands.LIMIT)

    def down(self, variables: Mapping[str, str]) -> None:
        """Remove the server's container and network."""
        self._run(variables, "down", "--remove-orphans")

    def record(self, former: Container, environment: Mapping[str, str]) -> None:
        """Record on the engine how to bring a version back, in a container that is created and never started.

        Args:
            former: The version's container.
            environment: The variables that the Compose file gave it.
        """
        argv = ["docker", "create", "--name", self.record_name, "--network", "none", "--read-only", "--cap-drop", "ALL"]
        argv += ["--label", f"{REVISION_LABEL}={former.revision}"]
        argv += ["--publish", f"127.0.0.1:{former.port}:{PORT}"] if former.port else []
        for name in environment:
            argv += ["--env", name]  # Docker reads the value from its environment: no command line shows it
        commands.run([*argv, former.image], environ={**self.engine.environ, **environment})

    def recorded(self) -> Container | None:
        """Return the version that a deploy recorded, or None. A record remains only if the deploy was cut off."""
        return self.engine.inspect(self.record_name)

    def drop_record(self) -> None:
        """Remove the record, if there is one."""
        self.engine.run("rm", "--force", "--volumes", self.record_name)
