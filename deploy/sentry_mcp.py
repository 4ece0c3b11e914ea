"""Build, push and deploy the Sentry MCP server: `python -m deploy.sentry_mcp {find,build,push,deploy,recover}`.

The steps of `.github/workflows/deploy-sentry-mcp.yml` call this, and so can a person. See docs/deploy.md.
"""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from deploy import attestation, check, sources, ssh
from deploy.check import CheckError
from deploy.docker import Compose, Docker, without_tag
from deploy.errors import DockerError, ImageError
from deploy.rollout import SPARE, Rollout, published_port
from deploy.settings import ACCESS_TOKEN, DOCKERFILE, ROLLOUTS, ROOT, Settings, load
from sophia_sync import program
from sophia_sync.commands import Runner
from sophia_sync.errors import InputError, SyncError
from sophia_sync.inputs import RunContext
from sophia_sync.process import Deadline
from sophia_sync.redact import Redactor


def find(settings: Settings, docker: Docker, runner: Runner) -> None:
    """Look for an image of these very sources; if there is one that may be used, the outputs are those of `push`.

    The registry's tag is only where to look: what counts is what the image itself says, under the digest that GitHub
    attests. Whatever speaks against it is told, and no error: then one is built.
    """
    wanted = sources.tag(ROOT, DOCKERFILE)
    image = f"{settings.target}:{wanted}"
    runner.line(f"Looking for {image}")
    try:
        found = f"{settings.target}@{docker.pull_tag(image)}"
    except DockerError as error:
        runner.line(f"There is none, it has to be built. {error.what}")
        return
    against = None if docker.sources(found) == wanted else "it is made of other sources"
    if against is None and settings.origin is not None:
        against = attestation.missing(found, settings.origin, docker.environ, docker.deadline)
    if against is not None:
        runner.line(f"{found} is not used, a new one has to be built: {against}")
        return
    _tell(runner, found)


def build(settings: Settings, docker: Docker, runner: Runner) -> None:
    """Build the image, and see that a container of it starts as it will be run, but without any credentials."""
    runner.line(f"Building {settings.image}")
    try:
        docker.build(settings.image, ROOT, DOCKERFILE, sources.tag(ROOT, DOCKERFILE))
    except SyncError as error:
        raise ImageError(error.what, "Mend the Dockerfile or the code; nothing was pushed.") from None
    name = f"sentry-mcp-build-{secrets.token_hex(4)}"
    compose = Compose(docker, name, settings.compose_files)
    variables = {"SENTRY_MCP_IMAGE": settings.image, ACCESS_TOKEN: secrets.token_hex(16)}
    runner.line("Starting a container of it")
    try:
        with compose.trial(name, variables) as container:

            def fate() -> str | None:
                now = docker.inspect(container.id)
                ended = now is None or now.failed_since(container)
                return f"Its container ends:\n{docker.logs(container.id)}" if ended else None

            url = f"http://127.0.0.1:{published_port(compose, container)}"
            check.wait_for(url, "/healthz", fate, docker.deadline)
    except CheckError as error:
        raise ImageError(f"{settings.image} doesn't start. {error}", "Nothing was pushed.") from None
    finally:
        compose.down(variables)
    runner.line("It starts, and is alive.")
    runner.output("image", settings.image)


def push(settings: Settings, docker: Docker, runner: Runner) -> None:
    """Push the image; its reference by digest is the output `image`."""
    name = without_tag(settings.target)
    tagged = name != settings.target
    made_of = "" if tagged else docker.sources(settings.image)
    if not tagged and not made_of:
        raise InputError([f"{settings.image} doesn't say what it is made of: push it to REGISTRY/NAME:TAG."])
    target = settings.target if tagged else f"{name}:{made_of}"
    runner.line(f"Pushing {target}")
    docker.run("tag", settings.image, target)
    _tell(runner, f"{name}@{docker.push(target)}")


def _tell(runner: Runner, image: str) -> None:
    """Name an image by its digest."""
    runner.line(f"It is {image}")
    name, _, digest = image.partition("@")
    for output, value in (("image", image), ("name", name), ("digest", digest)):
        runner.output(output, value)


def deploy(settings: Settings, docker: Docker, runner: Runner) -> None:
    """Put the image into operation; see `deploy.rollout`."""
    compose = Compose(docker, settings.project, settings.compose_files)
    deployed = Rollout(settings, compose, runner.line).run()
    what = "runs and answers" if deployed.changed else "ran already, and answers"
    runner.line(f"{deployed.image} {what}: {len(deployed.answers.tools)} tools, {check.QUESTION} among them.")
    runner.output("image", deployed.image)
    runner.output("former-image", deployed.former or "")
    runner.output("changed", str(deployed.changed).lower())
    runner.summary(
        f"## Sentry MCP server deployed\n\n| | |\n|---|---|\n| runs | `{deployed.image}` |\n"
        f"| ran before | {f'`{deployed.former}`' if deployed.former else 'nothing'} |\n"
        f"| ESC revision | {settings.revision or 'the newest'} |\n"
        f"| tools | {', '.join(f'`{tool}`' for tool in deployed.answers.tools)} |\n"
    )


def recover(settings: Settings, docker: Docker, runner: Runner) -> None:
    """Bring back what ran before a deploy that was cut off; see `deploy.rollout`."""
    compose = Compose(docker, settings.project, settings.compose_files)
    former = Rollout(settings, compose, runner.line).recover()
    if former is None:
        runner.line("No deploy was cut off: nothing had to be brought back.")
        return
    runner.line(f"{former.image} is back, and answers.")
    runner.output("image", former.image)
    runner.summary(f"## Deploy cut off, the former version runs again\n\n`{former.image}`\n")


_COMMANDS = {"find": find, "build": build, "push": push, "deploy": deploy, "recover": recover}


@contextlib.contextmanager
def _engine(settings: Settings, redact: Redactor) -> Iterator[Docker]:
    """Docker's commands, with an `ssh` of ours before them if the engine is on another machine."""
    with contextlib.ExitStack() as stack:
        environ = settings.docker
        if settings.docker_host:
            entered = ssh.client(settings.known_hosts, settings.private_key, environ)
            environ = stack.enter_context(entered)
        spare = SPARE if settings.command in ROLLOUTS else 0.0
        yield Docker(environ, Deadline(settings.timeout + spare), redact)


def main(arguments: Sequence[str] | None = None, stream: TextIO | None = None) -> int:
    """Run one command; returns the exit code."""

    def work(runner: Runner, redact: Redactor, _context: RunContext) -> None:
        settings = load(arguments)
        for secret in settings.secrets:
            runner.hide(secret)
        with _engine(settings, redact) as docker:
            _COMMANDS[settings.command](settings, docker, runner)

    after_signal = (
        "What ran before was left alone or brought back, or is recorded for `recover`: see the lines above. Run again."
    )
    return program.run("deploy program", work, after_signal, stream)


if __name__ == "__main__":
    sys.exit(main())
