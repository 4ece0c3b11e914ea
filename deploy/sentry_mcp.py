"""Build, push and deploy the Sentry MCP server: `python -m deploy.sentry_mcp {build,push,deploy}`.

The steps of `.github/workflows/deploy-sentry-mcp.yml` call this, and so can a person. See docs/deploy.md.
"""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from deploy import check, entry, ssh
from deploy.check import CheckError
from deploy.docker import Compose, Docker, without_tag
from deploy.errors import ImageError
from deploy.rollout import SPARE, Rollout, published_port
from deploy.settings import ACCESS_TOKEN, DOCKERFILE, ROOT, Settings, load
from sophia_sync.commands import Runner
from sophia_sync.errors import SyncError
from sophia_sync.process import Deadline
from sophia_sync.redact import Redactor


def build(settings: Settings, docker: Docker, runner: Runner) -> None:
    """Build the image, and see that a container of it starts as it will be run, but without any credentials."""
    runner.line(f"Building {settings.image}")
    try:
        docker.build(settings.image, ROOT, DOCKERFILE)
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
                ended = now is None or now.failed
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
    runner.line(f"Pushing {settings.target}")
    docker.run("tag", settings.image, settings.target)
    digest = docker.push(settings.target)
    name = without_tag(settings.target)
    runner.line(f"It is {name}@{digest}")
    for output, value in (("image", f"{name}@{digest}"), ("name", name), ("digest", digest)):
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


_COMMANDS = {"build": build, "push": push, "deploy": deploy}


@contextlib.contextmanager
def _engine(settings: Settings, redact: Redactor) -> Iterator[Docker]:
    """Docker's commands, with an `ssh` of ours before them if the engine is on another machine."""
    with contextlib.ExitStack() as stack:
        environ = settings.docker
        if settings.docker_host:
            entered = ssh.client(settings.known_hosts, settings.private_key, environ)
            environ = stack.enter_context(entered)
        spare = SPARE if settings.command == "deploy" else 0.0
        yield Docker(environ, Deadline(settings.timeout + spare), redact)


def main(arguments: Sequence[str] | None = None, stream: TextIO | None = None) -> int:
    """Run one command; returns the exit code."""

    def work(runner: Runner, redact: Redactor) -> None:
        settings = load(arguments)
        for secret in settings.secrets:
            runner.hide(secret)
        with _engine(settings, redact) as docker:
            _COMMANDS[settings.command](settings, docker, runner)

    after_signal = "What ran before was left alone or brought back: see the lines above. Run again."
    return entry.run("deploy program", work, after_signal, stream)


if __name__ == "__main__":
    sys.exit(main())
