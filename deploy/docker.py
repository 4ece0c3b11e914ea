"""The one place that knows the commands of Docker and Compose."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from deploy.errors import DockerError, LockedError
from sophia_sync import process
from sophia_sync.process import Deadline
from sophia_sync.redact import Redactor

SERVICE = "sentry-mcp"
PORT = 8000
"""Where the server listens in its container."""
REVISION_LABEL = "sentry-mcp.esc-revision"
SOURCES_LABEL = "sentry-mcp.sources"

# What `docker push` and `docker pull` say.
_DIGEST = re.compile(r"[dD]igest: (sha256:[0-9a-f]{64})\b")
# Held as long as its standard input is open: it ends with whoever holds it, however that ends.
_HOLD = "import sys; print('held', flush=True); sys.stdin.read()"
_LONGEST_QUOTE = 20
_PAUSE = 0.5


@dataclass(frozen=True)
class Container:
    """A container as Docker tells of it."""

    id: str
    image: str
    """The reference that it was made from, by digest if it was deployed."""
    environment: dict[str, str]
    revision: str
    """The ESC revision that it was deployed for; empty where that isn't known."""
    port: str
    """Under which it was asked to be on the loopback of the engine's machine, running or not; empty if under none."""
    status: str
    restarts: int

    def failed_since(self, before: Container) -> bool:
        """Whether, after what it was before, it can't be expected to serve any more."""
        return self.status in ("exited", "dead", "removing") or self.restarts - before.restarts >= 2


def without_tag(image: str) -> str:
    """An image's name less its tag, if it has one; the port of a registry is none."""
    head, colon, tail = image.rpartition(":")
    return head if colon and "/" not in tail else image


class Docker:
    """Docker's CLI in one environment, with one deadline for everything.

    Args:
        environ: What the commands see.
        deadline: Ends each command that is still running.
        redact: Hides secrets in what the commands say.
    """

    def __init__(self, environ: Mapping[str, str], deadline: Deadline, redact: Redactor) -> None:
        self.environ = dict(environ)
        self.deadline = deadline
        self.redact = redact

    def run(self, *arguments: str) -> str:
        """Run one command; its standard output.

        Raises:
            DockerError: It failed; the text ends with what it said last.
        """
        return self._run(["docker", *arguments], self.environ)

    def build(self, image: str, context: Path, dockerfile: str, sources: str) -> None:
        """Build an image that says what it was made of."""
        label = f"{SOURCES_LABEL}={sources}"
        self.run("build", "--tag", image, "--label", label, "--file", str(context / dockerfile), str(context))

    def push(self, image: str) -> str:
        """Push a tag; the digest under which the registry has it."""
        return self._told_digest("push", image)

    def pull(self, image: str) -> None:
        """Have an image on the engine's machine; one that is there by its digest isn't asked for."""
        if self.attempt("image", "inspect", image) is None:
            self.run("pull", "--quiet", image)

    def pull_tag(self, image: str) -> str:
        """Have what the registry calls so at the moment on the engine's machine; its digest."""
        return self._told_digest("pull", image)

    def sources(self, image: str) -> str:
        """What an image on the engine's machine says that it was made of; empty if it doesn't."""
        return self.run(
            "image", "inspect", "--format", f'{{{{index .Config.Labels "{SOURCES_LABEL}"}}}}', image
        ).strip()

    def forget(self, name: str, keep: Sequence[str | None]) -> None:
        """Drop the images of a registry's repository from the engine's machine, except some, and those in use."""
        form = "{{.Repository}}@{{.Digest}}"
        listed = self.attempt("image", "ls", "--digests", "--format", form, name) or ""
        for image in {*listed.split()} - {*keep, f"{name}@<none>"}:
            self.attempt("image", "rm", image)

    def inspect(self, container: str) -> Container | None:
        """A container by name or id; None if there is none."""
        answer = self.attempt("container", "inspect", container)
        if answer is None:
            return None
        [found] = json.loads(answer)
        config: dict[str, Any] = found["Config"]
        bound = (found["HostConfig"]["PortBindings"] or {}).get(f"{PORT}/tcp") or [{"HostPort": ""}]
        return Container(
            id=found["Id"],
            image=config["Image"],
            environment=dict(entry.partition("=")[::2] for entry in config["Env"] or []),
            revision=(config["Labels"] or {}).get(REVISION_LABEL, ""),
            port=bound[0]["HostPort"],
            status=found["State"]["Status"],
            restarts=found["RestartCount"],
        )

    def attempt(self, *arguments: str) -> str | None:
        """Run one command that may fail; its standard output, or None."""
        done = self._finish(["docker", *arguments], self.environ)
        return done.stdout.decode("utf-8", "replace") if done.code == 0 else None

    def remove(self, container: str) -> None:
        """Remove a container, running or not, or none."""
        self.attempt("rm", "--force", "--volumes", container)

    def logs(self, container: str, lines: int = _LONGEST_QUOTE) -> str:
        """The last lines that a container wrote; empty if it can't be asked."""
        done = self._finish(["docker", "logs", "--tail", str(lines), container], self.environ)
        return self.redact(done.stdout.decode("utf-8", "replace") + done.stderr).strip()

    def create(self, name: str, image: str, environment: Mapping[str, str], options: Sequence[str]) -> None:
        """Make a container, and don't start it; the values of its environment are in no command line."""
        argv = ["docker", "create", "--name", name, *options]
        for variable in environment:
            argv += ["--env", variable]
        self._run([*argv, image], {**self.environ, **environment})

    @contextlib.contextmanager
    def lock(self, name: str, image: str, seconds: float, patience: float = 0.0) -> Iterator[None]:
        """Be the only one who holds `name` on this engine, whichever machine the others are on.

        The lock is a container with that name: Docker gives a name once. It ends with the connection to its standard
        input, so that nothing is left of a deploy that was killed.

        Args:
            name: The container's.
            image: What it is made from.
            seconds: How long it may be held.
            patience: Seconds to wait for whoever holds it; not at all by default.

        Raises:
            LockedError: Somebody else holds it.
            DockerError: The container can't be started.
        """
        argv = ["docker", "run", "--rm", "--interactive", "--name", name, "--network", "none", "--read-only"]
        argv += ["--cap-drop", "ALL", "--log-driver", "none", "--entrypoint", "python", image, "-c", _HOLD]
        waiting = Deadline(patience)
        while True:
            with process.start(argv, self.environ, Deadline(seconds)) as child:
                if child.stdout.readline().strip() == b"held":
                    try:
                        yield
                    finally:
                        child.finish()
                    return
                said = self.redact(child.finish().stderr).strip()
            if "is already in use" not in said:
                raise DockerError(f"A container of {image} can't be started:\n{said}", "See what Docker says about it.")
            if not waiting.remaining():
                raise LockedError(f"Another deploy holds the container `{name}`.", "Run again when that one is done.")
            time.sleep(_PAUSE)

    @cached_property
    def compose_command(self) -> list[str]:
        """Compose as Docker's plugin, or else as a program of its own."""
        if self.attempt("compose", "version") is not None:
            return ["docker", "compose"]
        path = f"{self.environ.get('PATH', '')}:{Path(sys.executable).parent}"
        found = shutil.which("docker-compose", path=path)
        if found is None:
            raise DockerError("There is no Docker Compose.", "Install Docker's Compose plugin where the deploy runs.")
        return [found]

    def compose(self, arguments: Sequence[str], variables: Mapping[str, str]) -> str:
        """Run one command of Compose, with the variables that its file asks for."""
        return self._run([*self.compose_command, *arguments], {**self.environ, **variables})

    def _told_digest(self, command: str, image: str) -> str:
        digests = _DIGEST.findall(self.run(command, image))
        if not digests:
            raise DockerError(f"`docker {command} {image}` told no digest.", "Run it by hand to see what it says.")
        return str(digests[-1])

    def _run(self, argv: Sequence[str], environ: Mapping[str, str]) -> str:
        done = self._finish(argv, environ)
        said = done.stdout.decode("utf-8", "replace")
        if done.code == 0 and not done.timed_out:
            return said
        words = " ".join(word for word in argv[:6] if not word.startswith("/"))
        why = "was not done in time" if done.timed_out else f"failed with exit code {done.code}"
        last = "\n".join(self.redact(said + done.stderr).strip().splitlines()[-_LONGEST_QUOTE:])
        raise DockerError(f"`{self.redact(words)} …` {why}:\n{last}", "See what Docker says there.") from None

    def _finish(self, argv: Sequence[str], environ: Mapping[str, str]) -> process.Finished:
        try:
            return process.run(argv, environ, self.deadline)
        except OSError as error:
            raise DockerError(
                f"`{Path(argv[0]).name}` can't be started: {error.strerror}.", "Install Docker where the deploy runs."
            ) from None


class Compose:
    """The server of one Compose project.

    Args:
        docker: The engine.
        project: The project's name; the one in the file is `sentry-mcp`.
        files: The Compose files, the first is the one of this repository.
    """

    def __init__(self, docker: Docker, project: str, files: Sequence[Path]) -> None:
        self.docker = docker
        self.project = project
        self._record = f"{project}-former"
        self._options = ["--project-name", project, "--project-directory", str(files[0].parent)]
        for file in files:
            self._options += ["--file", str(file)]

    def running(self, variables: Mapping[str, str]) -> Container | None:
        """The server's container as it is now, running or not."""
        ids = self._compose(["ps", "--all", "--quiet", SERVICE], variables).split()
        return self.docker.inspect(ids[0]) if ids else None

    def up(self, variables: Mapping[str, str]) -> None:
        """Make the server what the variables say; one that already is stays as it is."""
        self._compose(["up", "--detach", "--no-build", "--no-deps", "--quiet-pull", SERVICE], variables)

    def down(self, variables: Mapping[str, str]) -> None:
        self._compose(["down", "--remove-orphans"], variables)

    def record(self, former: Container, environment: Mapping[str, str]) -> None:
        """Leave on the engine what brings a version back: a container of it that is made and never started.

        Args:
            former: The version.
            environment: The variables that it was given.
        """
        options = ["--network", "none", "--read-only", "--cap-drop", "ALL"]
        options += ["--label", f"{REVISION_LABEL}={former.revision}"]
        options += ["--publish", f"127.0.0.1:{former.port}:{PORT}"] if former.port else []
        self.docker.create(self._record, former.image, environment, options)

    def recorded(self) -> Container | None:
        """The version that a deploy recorded and neither replaced nor brought back: it was cut off."""
        if not self._records():
            return None
        found = self.docker.inspect(self._record)
        if found is None:
            raise DockerError(f"The container `{self._record}` is gone.", "Somebody else removed it: run again.")
        return found

    def drop_record(self) -> None:
        """Remove the record, if there is one."""
        for container in self._records():
            self.docker.run("rm", "--volumes", container)

    def _records(self) -> list[str]:
        return self.docker.run("ps", "--all", "--quiet", "--filter", f"name=^{self._record}$").split()

    def published_port(self, container: str) -> int:
        """Where the engine's machine has the server of a container."""
        address = self.docker.run("port", container, f"{PORT}/tcp").split()
        return int(address[0].rpartition(":")[2])

    @contextlib.contextmanager
    def trial(self, name: str, variables: Mapping[str, str]) -> Iterator[Container]:
        """A second container of the service, under a free port of the loopback; it is gone afterwards."""
        self.docker.remove(name)
        try:
            options = ["--detach", "--no-deps", "--name", name, "--publish", f"127.0.0.1::{PORT}"]
            self._compose(["run", *options, SERVICE], variables)
            started = self.docker.inspect(name)
            if started is None:
                raise DockerError(f"The container `{name}` is gone.", "See Docker's events.")
            yield started
        finally:
            self.docker.remove(name)

    def _compose(self, arguments: Sequence[str], variables: Mapping[str, str]) -> str:
        return self.docker.compose([*self._options, *arguments], variables)
