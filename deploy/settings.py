"""The command line and the environment → what is to be done. All is checked here, before anything is contacted."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from deploy import ssh
from deploy.attestation import Origin
from sophia_sync import checks
from sophia_sync.errors import InputError
from sophia_sync.inputs import child_environment

ROOT = Path(__file__).resolve().parents[1]
COMPOSE_FILE = ROOT / "docker-compose.sentry.yml"
DOCKERFILE = "mcp-servers/sentry/Dockerfile"

ACCESS_TOKEN = "SENTRY_MCP_TOKEN"  # noqa: S105 - a name
# What the Compose file passes on to the server, each under its own name.
SECRET_VARIABLES = (
    "PULUMI_ACCESS_TOKEN",
    "SENTRY_API_TOKEN",
    "SENTRY_CLIENT_SECRET",
    "SENTRY_DSN",
    ACCESS_TOKEN,
)
SERVER_VARIABLES = (
    *SECRET_VARIABLES,
    "PULUMI_ORG",
    "PULUMI_PROJECT",
    "PULUMI_ENVIRONMENT",
    "PULUMI_BACKEND_URL",
    "PULUMI_ESC_CACHE_SECONDS",
    "SENTRY_ORGANIZATION_SLUG",
    "SENTRY_PROJECT_SLUG",
    "SENTRY_MCP_READ_ONLY",
    "SENTRY_MCP_ALLOWED_HOSTS",
    "SENTRY_URL",
)
# What else the Compose file asks for.
PUBLISHED_PORT = "SENTRY_MCP_PUBLISHED_PORT"
ROLLOUTS = ("deploy", "recover")
"""The commands that change what runs."""
KNOWN_HOSTS = "DEPLOY_SSH_KNOWN_HOSTS"
PRIVATE_KEY = "DEPLOY_SSH_PRIVATE_KEY"

_NAME = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?"
_TAGGED = re.compile(rf"{_HOST}{_NAME}(?:/{_NAME})*(?::[\w][\w.-]{{0,127}})?")
_BY_DIGEST = re.compile(rf"{_HOST}{_NAME}(?:/{_NAME})*@sha256:[0-9a-f]{{64}}")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
_UNTAGGED = re.compile(rf"{_HOST}{_NAME}(?:/{_NAME})*")
# What names of images each command takes, and how a person is told.
_IMAGES = {
    "find": {"--to": (_UNTAGGED, "REGISTRY/NAME, in lower case")},
    "build": {"--image": (_TAGGED, "NAME:TAG")},
    "push": {"--image": (_TAGGED, "NAME:TAG"), "--to": (_TAGGED, "REGISTRY/NAME or REGISTRY/NAME:TAG, in lower case")},
    "deploy": {"--image": (_BY_DIGEST, "REGISTRY/NAME@sha256:…")},
    "recover": {},
}
_WORKFLOW = re.compile(r"[\w.-]+/[\w.-]+/\.github/workflows/[\w.-]+\.ya?ml")
_REF = re.compile(r"refs/(heads|tags)/\S+")
_SSH_HOST = re.compile(r"ssh://(\w[\w.-]*@)?\w[\w.-]*(:[0-9]+)?")


@dataclass(frozen=True)
class Settings:
    """What one run does."""

    command: str
    """`find`, `build`, `push`, `deploy` or `recover`."""
    image: str
    timeout: float
    """Seconds."""
    target: str = ""
    """Where `push` puts the image, and where `find` looks for it; without a tag under the one of its sources."""
    origin: Origin | None = None
    """What `find` wants the image to be made by."""
    project: str = "sentry-mcp"
    compose_files: tuple[Path, ...] = (COMPOSE_FILE,)
    revision: str = ""
    """The ESC revision that a deploy is for, if it is for one."""
    server: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The variables that the Compose file asks for, less the image and the revision."""
    docker: Mapping[str, str] = field(default_factory=dict)
    """The environment of Docker's commands."""
    known_hosts: str = ""
    private_key: SecretStr | None = None

    @property
    def docker_host(self) -> str:
        """The address of the engine if it is reached by SSH; else empty."""
        host = self.docker.get("DOCKER_HOST", "")
        return host if host.startswith(ssh.SCHEME) else ""

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """What must not be shown."""
        values = [SecretStr(self.server[name]) for name in SECRET_VARIABLES if name in self.server]
        others = (self.private_key, self.origin.token if self.origin else None)
        return (*values, *(secret for secret in others if secret))

    def variables(self, image: str) -> dict[str, str]:
        """Those for the Compose file, with this image."""
        return {**self.server, "SENTRY_MCP_IMAGE": image, "SENTRY_MCP_ESC_REVISION": self.revision}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--project", default="sentry-mcp", help="Compose's name of the project; default: %(default)s")
    where.add_argument(
        "--compose-file", action="append", default=[], type=Path, help="one that is laid over docker-compose.sentry.yml"
    )
    made = argparse.ArgumentParser(
        prog="python -m deploy.sentry_mcp",
        description="Builds, pushes and deploys the Sentry MCP server; see docs/deploy.md. Credentials come from the "
        "environment: the variables of docker-compose.sentry.yml, and DOCKER_HOST with "
        f"{KNOWN_HOSTS} and {PRIVATE_KEY} for an engine that is reached by SSH.",
    )
    commands = made.add_subparsers(dest="command", required=True)
    find = commands.add_parser("find", help="look in a registry for an image of the very sources that are here")
    find.add_argument("--to", required=True, metavar="REGISTRY/NAME", help="where `push` puts images")
    find.add_argument(
        "--signer-workflow",
        default="",
        metavar="OWNER/NAME/.github/workflows/FILE",
        help="take it only if GitHub has an attestation that this workflow made it; needs `gh`",
    )
    find.add_argument("--source-ref", default="", metavar="refs/heads/NAME", help="and that it ran on this branch")
    build = commands.add_parser("build", help="build the image, and see that a container of it starts")
    build.add_argument("--image", default="sentry-mcp:dev", help="its name; default: %(default)s")
    push = commands.add_parser("push", help="push the image to a registry, and tell its digest")
    push.add_argument("--image", default="sentry-mcp:dev", help="its local name; default: %(default)s")
    push.add_argument(
        "--to",
        required=True,
        metavar="REGISTRY/NAME[:TAG]",
        help="where to; without a tag, one that says what the image is made of",
    )
    deploy = commands.add_parser(
        "deploy", parents=[where], help="put an image into operation, or leave the former one there"
    )
    deploy.add_argument("--image", required=True, metavar="REGISTRY/NAME@sha256:…", help="the image by its digest")
    deploy.add_argument(
        "--from", dest="name", metavar="REGISTRY/NAME", help="refuse an image of another name; without it, any is taken"
    )
    deploy.add_argument(
        "--environment",
        default="",
        help="the ESC environment, as organisation/project/environment; of several, with commas between, the first",
    )
    deploy.add_argument("--revision", default="", help="the ESC revision that this is for; a new one starts it anew")
    recover = commands.add_parser(
        "recover", parents=[where], help="bring back what ran before a deploy that was cut off, if one was"
    )
    for command, seconds in ((find, "300"), (build, "900"), (push, "600"), (deploy, "180"), (recover, "180")):
        command.add_argument("--timeout", default=seconds, help="seconds that it may take; default: %(default)s")
    return made


def load(arguments: Sequence[str] | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check everything.

    Raises:
        InputError: With every problem at once; none shows a value that is secret.
        SystemExit: The command line makes no sense, or help was asked for.
    """
    given = parser().parse_args(arguments)
    problems: list[str] = []

    def check(name: str, fault: str | None) -> None:
        if fault is not None:
            problems.append(f"`{name}` {fault}.")

    names = {"--image": getattr(given, "image", ""), "--to": getattr(given, "to", "")}
    for name, (pattern, form) in _IMAGES[given.command].items():
        check(name, _unlike(pattern, names[name], form))
    wanted = getattr(given, "name", None)
    if wanted is not None and names["--image"].partition("@")[0] != wanted:
        problems.append(f"`--image` isn't one of `--from`, {wanted}: no other is deployed.")
    project = getattr(given, "project", "sentry-mcp")
    check("--project", _unlike(_PROJECT, project, "a name of lower-case letters, digits, - and _"))
    revision = getattr(given, "revision", "").strip()
    check("--revision", None if revision == "" or revision.isdecimal() else "isn't a revision's number")
    for file in getattr(given, "compose_file", ()):
        check("--compose-file", None if file.is_file() else f"names no file: {file}")
    # A sync of several names them all; the revision is that of the first, which is what the server reads.
    environment = getattr(given, "environment", "").partition(",")[0].strip()
    server = {name: environ[name] for name in (*SERVER_VARIABLES, PUBLISHED_PORT) if environ.get(name)}
    if environment:
        check("--environment", _fault(checks.environment, environment))
        server["PULUMI_ENVIRONMENT"] = environment
    if given.command in ROLLOUTS and not server.get(ACCESS_TOKEN):
        problems.append(f"`{ACCESS_TOKEN}` is not set: the server asks its clients for it, and so does the check.")
    check("--timeout", _fault(lambda text: str(checks.seconds(text, 3600)), given.timeout))
    known_hosts, private_key = _engine(given.command, environ, problems)
    origin = _origin(given, environ, problems)
    if problems:
        raise InputError(problems)
    return Settings(
        command=given.command,
        image=names["--image"],
        timeout=float(given.timeout),
        target=names["--to"],
        origin=origin,
        project=project,
        compose_files=(COMPOSE_FILE, *(file.resolve() for file in getattr(given, "compose_file", ()))),
        revision=revision,
        server=server,
        docker=docker_environment(environ),
        known_hosts=known_hosts,
        private_key=private_key,
    )


def docker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What Docker's commands see: how to reach the engine and the registries, and nothing of ours."""
    ours = ("HOME", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
    kept = {name: environ[name] for name in environ if name in ours or name.startswith(("DOCKER_", "BUILDX_"))}
    return {**child_environment(environ), **{name: value for name, value in kept.items() if value}}


def _origin(given: argparse.Namespace, environ: Mapping[str, str], problems: list[str]) -> Origin | None:
    """What the image must be made by, if that was said."""
    workflow, ref = getattr(given, "signer_workflow", ""), getattr(given, "source_ref", "")
    if not workflow and not ref:
        return None
    forms = (
        ("--signer-workflow", _unlike(_WORKFLOW, workflow, "OWNER/NAME/.github/workflows/FILE")),
        ("--source-ref", _unlike(_REF, ref, "refs/heads/NAME")),
    )
    problems += [f"`{name}` {fault}." for name, fault in forms if fault]
    token = environ.get("GH_TOKEN", "").strip()
    return Origin(workflow, ref, SecretStr(token) if token else None)


def _engine(command: str, environ: Mapping[str, str], problems: list[str]) -> tuple[str, SecretStr | None]:
    """The host keys and our key, if the engine is reached by SSH.

    Source of the runner's variables: docs.github.com, "Variables reference".
    """
    host = environ.get("DOCKER_HOST", "")
    if not host.startswith(ssh.SCHEME):
        if host and not host.startswith("unix://"):
            problems.append("`DOCKER_HOST` is neither ssh://USER@HOST:PORT nor a socket of this machine, unix://PATH.")
        throw_away = environ.get("GITHUB_ACTIONS") == "true" and environ.get("RUNNER_ENVIRONMENT") == "github-hosted"
        if command in ROLLOUTS and throw_away:  # the job would be green, and the server gone with it
            problems.append(
                "This runner is GitHub's own and ends with the job: set the variable `SENTRY_MCP_RUNNER` to the label "
                "of a runner of yours, or `SENTRY_MCP_DOCKER_HOST` to ssh://USER@HOST:PORT (see docs/deploy.md)."
            )
        return "", None
    if not _SSH_HOST.fullmatch(host):
        problems.append("`DOCKER_HOST` isn't of the form ssh://USER@HOST:PORT.")
    hosts = ""
    try:
        hosts = ssh.known_hosts(environ.get(KNOWN_HOSTS, ""))
    except ValueError as error:
        problems.append(
            f"`{KNOWN_HOSTS}` {error}. Put there what `ssh-keyscan HOST` prints, after you have compared it with "
            "`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host itself."
        )
    key = environ.get(PRIVATE_KEY, "").strip()
    try:
        return hosts, SecretStr(checks.private_key(key)) if key else None
    except ValueError as error:
        problems.append(f"`{PRIVATE_KEY}` {error}.")
        return hosts, None


def _unlike(pattern: re.Pattern[str], value: str, form: str) -> str | None:
    return None if pattern.fullmatch(value) else f"isn't of the form {form}"


def _fault(check: Callable[[str], object], value: str) -> str | None:
    """What a check says against a value; None if it passes."""
    try:
        check(value)
    except ValueError as error:
        return str(error)
    return None
