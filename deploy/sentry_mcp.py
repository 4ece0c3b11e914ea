"""Deploy the Sentry MCP server: `python -m deploy.sentry_mcp {deploy,recover}`.

The action `actions/deploy` runs this, and you can run it yourself. See docs/deploy.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from pydantic import SecretStr

from deploy import ssh
from deploy.engine import Compose, Engine
from deploy.program import InputError, Runner, conduct
from deploy.rollout import ACCESS_TOKEN, IMAGE, PUBLISHED_PORT, REVISION, SECRETS, VARIABLES, Rollout

COMPOSE_FILE = Path(__file__).resolve().parents[1] / "docker-compose.sentry.yml"
DOCKER_HOST = "DEPLOY_DOCKER_HOST"
"""The address of the engine, if the job gives one. An empty value keeps the machine's own `DOCKER_HOST`."""

_BY_DIGEST = re.compile(r"[^\s@-][^\s@]*@sha256:[0-9a-f]{64}")
_ENVIRONMENT = re.compile(r"[\w.][\w.-]*(/[\w.][\w.-]*){2}")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class Settings:
    """The settings of one run."""

    command: str
    image: str
    """The image by its digest. Empty: the image that the Compose file names."""
    timeout: float
    """Seconds for the server to become ready."""
    project: str
    compose_files: tuple[Path, ...]
    server: Mapping[str, str] = field(repr=False)
    """The variables for the Compose file, except the image."""
    environ: Mapping[str, str] = field(repr=False)
    """The environment of every command."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return what to mask: the credentials, and the engine's host name."""
        hosts = (_host(self.environ.get("DOCKER_HOST", "")),)
        keys = (self.environ.get(name, "") for name in ssh.VARIABLES)
        return (*(self.server.get(name, "") for name in SECRETS), *keys, *hosts)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m deploy.sentry_mcp",
        description="Deploys the Sentry MCP server. Reads the variables of docker-compose.sentry.yml, and the inputs "
        "of the workflow's dispatch. See docs/deploy.md.",
    )
    made.add_argument("command", choices=("deploy", "recover"), help="recover: undo a deploy that was cut off")
    made.add_argument("--image", help=f"NAME@sha256:…; default: {IMAGE}, else the release's image")
    made.add_argument("--environment", help="the ESC environment, organization/project/environment")
    made.add_argument("--revision", help="the ESC revision to deploy for; a new one restarts the server")
    made.add_argument("--timeout", default="180", help="seconds to become ready; default: %(default)s")
    made.add_argument("--project", default="sentry-mcp", help="the Compose project's name; default: %(default)s")
    made.add_argument(
        "--compose-file", action="append", default=[], type=Path, help="laid over docker-compose.sentry.yml"
    )
    return made


def load(arguments: Sequence[str] | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the settings.

    Raises:
        InputError: Settings are wrong. The error lists all problems, and shows no value.
        SystemExit: The command line is wrong, or help was asked for.
    """
    given = parser().parse_args(arguments)
    dispatched = event(environ).get("inputs") or {}
    image = given.image or environ.get(IMAGE) or ""
    environment = (given.environment or dispatched.get("environment") or "").partition(",")[0].strip()
    revision = given.revision or dispatched.get("revision") or ""
    server = {name: environ[name] for name in (*VARIABLES, PUBLISHED_PORT) if environ.get(name)}
    if environment:
        server["PULUMI_ENVIRONMENT"] = environment
    server[REVISION] = revision
    docker_host = environ.get(DOCKER_HOST) or environ.get("DOCKER_HOST") or ""
    problems = []
    if image and not _BY_DIGEST.fullmatch(image):
        problems.append("The image isn't given by its digest, NAME@sha256:…")
    if environment and not _ENVIRONMENT.fullmatch(environment):
        problems.append("`environment` isn't of the form organization/project/environment.")
    if revision and not revision.isdecimal():
        problems.append("`revision` isn't a number.")
    if not _PROJECT.fullmatch(given.project):
        problems.append("`--project` isn't a name for a Compose project.")
    if not (given.timeout.isdecimal() and 0 < int(given.timeout) <= 3600):
        problems.append("`--timeout` isn't a number of seconds up to 3600.")
    if given.command == "deploy" and not server.get(ACCESS_TOKEN):
        problems.append(f"`{ACCESS_TOKEN}` isn't set. The server demands it from its clients, and the check needs it.")
    if environ.get("RUNNER_ENVIRONMENT") == "github-hosted" and not (docker_host or environ.get("DOCKER_CONTEXT")):
        problems.append(
            "GitHub's own runner is deleted after the job, and the server with it. Set the variable SENTRY_MCP_RUNNER "
            "to the label of your runner, or the secret SENTRY_MCP_DOCKER_HOST to ssh://USER@HOST (see docs/deploy.md)."
        )
    if problems:
        raise InputError(problems)
    ours = {*VARIABLES, PUBLISHED_PORT, IMAGE, REVISION, DOCKER_HOST, "DOCKER_HOST"}
    rest = {name: value for name, value in environ.items() if name not in ours}
    return Settings(
        command=given.command,
        image=image,
        timeout=float(given.timeout),
        project=given.project,
        compose_files=(COMPOSE_FILE, *(file.resolve() for file in given.compose_file)),
        server=server,
        environ={**rest, **({"DOCKER_HOST": docker_host} if docker_host else {})},
    )


def event(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the event that GitHub gives to the job; empty outside of a job.

    The log of a job shows every input and variable of its steps, but not the contents of the event.
    """
    path = environ.get("GITHUB_EVENT_PATH")
    if not path or not Path(path).is_file():
        return {}
    read = json.loads(Path(path).read_text(encoding="utf-8") or "{}")
    return read if isinstance(read, dict) else {}


def deploy(settings: Settings, rollouts: Rollout, runner: Runner) -> None:
    """Deploy the image, and report what runs."""
    image = settings.image or rollouts.compose.image(settings.server)
    if not _BY_DIGEST.fullmatch(image):
        raise InputError([f"No image is given, and this is no release: the Compose file names {image}. Set {IMAGE}."])
    done = rollouts.deploy({**settings.server, IMAGE: image})
    runner.line(f"{done.image} {'runs' if done.changed else 'ran already'}, and answers: {len(done.tools)} tools.")
    runner.output("image", done.image)
    runner.output("former-image", done.former)
    runner.output("changed", str(done.changed).lower())
    before = f"`{done.former}`" if done.former else "nothing"
    runner.summary(
        f"## Sentry MCP server deployed\n\n| | |\n|---|---|\n| runs | `{done.image}` |\n| ran before | {before} |\n"
        f"| ESC revision | {settings.server[REVISION] or 'the latest'} |\n"
        f"| tools | {', '.join(f'`{tool}`' for tool in done.tools)} |\n"
    )


def recover(_settings: Settings, rollouts: Rollout, runner: Runner) -> None:
    """Undo a deploy that was cut off, and report what runs."""
    image = rollouts.recover()
    if image is None:
        runner.line("No deploy was cut off. Nothing was changed.")
        return
    runner.line(f"{image} runs again, and answers.")
    runner.output("image", image)
    runner.summary(f"## The deploy was cut off, the former version runs again\n\n`{image}`\n")


_COMMANDS = {"deploy": deploy, "recover": recover}


def warn_of_public_runner(runner: Runner, environ: Mapping[str, str]) -> None:
    """Warn if anybody's pull request could run code on the user's own machine."""
    if environ.get("RUNNER_ENVIRONMENT") != "self-hosted":
        return
    if event(environ).get("repository", {}).get("private") is False:
        runner.warning(
            "This public repository has a self-hosted runner. GitHub recommends self-hosted runners for private "
            "repositories only: a pull request from a fork can run code on the machine. Deploy from a private one.",
            "Self-hosted runner in a public repository",
        )


def main(arguments: Sequence[str] | None = None, stream: TextIO | None = None) -> int:
    """Run one command and return the exit code."""

    def work(runner: Runner) -> None:
        settings = load(arguments)

        def hide(value: str | None) -> None:
            if value:
                runner.hide(SecretStr(value))

        for secret in settings.secrets:
            hide(secret)
        warn_of_public_runner(runner, os.environ)
        with ssh.client(settings.environ) as environ:
            compose = Compose(Engine(environ), settings.project, settings.compose_files)
            rollouts = Rollout(compose, settings.timeout, runner.line, hide)
            _COMMANDS[settings.command](settings, rollouts, runner)

    after_signal = "The former version runs or was brought back, or `recover` brings it back: see the lines above."
    return conduct("deploy program", work, after_signal=after_signal, stream=stream)


def _host(address: str) -> str:
    """Return the host of an engine's address; empty if it has none or is this machine."""
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return address
    return "" if host in ("localhost", "127.0.0.1", "::1") else host


if __name__ == "__main__":
    sys.exit(main())
