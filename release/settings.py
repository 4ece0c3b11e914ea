"""The command line and the environment → what is to be done. All is checked here, before anything is contacted."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from deploy.settings import docker_environment
from release.registry import Credentials
from release.version import Version, of_source_tag
from sophia_sync.errors import InputError
from sophia_sync.inputs import child_environment

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "Dockerfile"
LOCK = ROOT / "requirements" / "runtime.txt"
PLATFORMS = ("linux/amd64", "linux/arm64")
"""What a release must have an image for."""

REGISTRY_USER = "REGISTRY_USER"
REGISTRY_TOKEN = "REGISTRY_TOKEN"  # noqa: S105 - a name

_NAME = re.compile(r"[a-z0-9.-]+(?::[0-9]+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_GIT_VARIABLES = ("HOME", "XDG_CONFIG_HOME", "SSH_AUTH_SOCK", "GH_TOKEN", "GH_HOST", "GIT_SSH_COMMAND")
_ANY = Version("0.0.0")


@dataclass(frozen=True)
class Settings:
    """What one run does."""

    command: str
    timeout: float
    """Seconds."""
    version: Version = _ANY
    platform: str = ""
    image: str = ""
    """A local image's name; for `tag`, one in the registry by its digest."""
    repository: str = ""
    """Where images are pushed, without tag and digest."""
    manifests: Mapping[str, str] = field(default_factory=dict)
    """The digest of the image for each platform."""
    bases: Mapping[str, str] = field(default_factory=dict)
    """The base images with their digests."""
    output: Path = Path()
    """The file or folder to write SBOMs to."""
    remote: str = "origin"
    credentials: Credentials | None = None
    docker: Mapping[str, str] = field(default_factory=dict)
    """The environment of Docker's commands."""
    git: Mapping[str, str] = field(default_factory=dict)
    """The environment of Git's commands."""

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """What must not be shown."""
        ours = (self.credentials.token,) if self.credentials else ()
        return (*ours, SecretStr(self.git["GH_TOKEN"])) if self.git.get("GH_TOKEN") else ours


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m release",
        description="Makes a release of the action, one step a command; see docs/release.md. The credentials of the "
        f"registry are {REGISTRY_USER} and {REGISTRY_TOKEN} in the environment; Git and Docker have their own.",
    )
    commands = made.add_subparsers(dest="command", required=True)

    def command(name: str, seconds: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("--timeout", default=seconds, help="seconds that it may take; default: %(default)s")
        return added

    check = command("check", "120", "see whether a tag's commit can be released, and what its changelog says")
    check.add_argument("--tag", required=True, metavar="release-1.2.3", help="the tag on the source commit")
    command("bases", "600", "find the digests of the base images")
    build = command("build", "900", "build the image on its base images' digests, and see that it starts")
    push = command("push", "600", "push the image of one platform, and attach its SBOM")
    index = command("index", "300", "make one image for all platforms; attach the SBOMs and the provenance")
    tag = command("tag", "120", "make the release commit, and push its tag")
    move = command("move", "120", "let the tag of the major version stand for the release")
    sbom = command("sbom", "300", "write the SBOM of a local image")
    command("pin", "600", "write the base images' digests into the Dockerfiles")
    for each in (build, push, index, tag, move):
        each.add_argument("--version", required=True, metavar="1.2.3", help="the release's")
    for each in (build, push, sbom):
        each.add_argument("--image", default="sentry-esc-sync:dev", help="its local name; default: %(default)s")
    for each in (build, push):
        each.add_argument("--platform", required=True, choices=PLATFORMS, help="what it is for")
    for each in (build, push, index):
        each.add_argument("--bases", required=True, metavar="JSON", help="what `bases` found")
    for each in (push, index):
        each.add_argument("--to", required=True, metavar="REGISTRY/NAME", help="where to")
    for each in (check, tag, move):
        each.add_argument("--remote", default="origin", help="the repository to release in; default: %(default)s")
    index.add_argument(
        "--manifest", required=True, action="append", metavar="PLATFORM=DIGEST", help="what was pushed; once a platform"
    )
    index.add_argument(
        "--sboms", dest="output", required=True, type=Path, metavar="FOLDER", help="where to write the SBOMs"
    )
    tag.add_argument("--image", required=True, metavar="REGISTRY/NAME@sha256:…", help="the image by its digest")
    sbom.add_argument("--output", required=True, type=Path, metavar="FILE", help="where to")
    return made


def load(arguments: Sequence[str] | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check everything.

    Raises:
        InputError: With every problem at once.
        SystemExit: The command line makes no sense, or help was asked for.
    """
    given = parser().parse_args(arguments)
    problems: list[str] = []
    version = _ANY
    try:
        if given.command == "check":
            version = of_source_tag(given.tag)
        elif hasattr(given, "version"):
            version = Version(given.version)
    except ValueError as error:
        problems.append(f"`--{'tag' if given.command == 'check' else 'version'}` {error}.")
    bases = _bases(getattr(given, "bases", "{}"))
    if bases is None:
        problems.append("`--bases` isn't a JSON object that gives each base image its digest.")
    repository, image = getattr(given, "to", ""), getattr(given, "image", "")
    manifests = dict(each.partition("=")[::2] for each in getattr(given, "manifest", ()))
    problems += _unlike(given.command, repository, image, manifests)
    if not (given.timeout.isdecimal() and 0 < int(given.timeout) <= 3600):
        problems.append("`--timeout` isn't a number of seconds up to 3600.")
    if problems:
        raise InputError(problems)
    git = {name: environ[name] for name in environ if name in _GIT_VARIABLES or name.startswith("GIT_CONFIG_")}
    return Settings(
        command=given.command,
        timeout=float(given.timeout),
        version=version,
        platform=getattr(given, "platform", ""),
        image=image,
        repository=repository or image.partition("@")[0],
        manifests=manifests,
        bases=bases or {},
        output=getattr(given, "output", Path()),
        remote=getattr(given, "remote", "origin"),
        credentials=_credentials(environ),
        # Docker's builder would put an attestation of its own beside the image: ours refer to it.
        docker={**docker_environment(environ), "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"},
        git={**child_environment(environ), **git},
    )


def _unlike(command: str, repository: str, image: str, manifests: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the names of images."""
    if repository and not _NAME.fullmatch(repository):
        yield "`--to` isn't of the form REGISTRY/NAME, in lower case."
    name, _, digest = image.partition("@")
    if command == "tag" and not (_NAME.fullmatch(name) and _DIGEST.fullmatch(digest)):
        yield "`--image` isn't of the form REGISTRY/NAME@sha256:…"
    complete = sorted(manifests) == sorted(PLATFORMS) and all(map(_DIGEST.fullmatch, manifests.values()))
    if command == "index" and not complete:
        yield f"`--manifest` must give PLATFORM=sha256:… for each of {', '.join(PLATFORMS)}."


def _credentials(environ: Mapping[str, str]) -> Credentials | None:
    user, token = environ.get(REGISTRY_USER), environ.get(REGISTRY_TOKEN)
    return Credentials(user, SecretStr(token)) if user and token else None


def _bases(text: str) -> dict[str, str] | None:
    try:
        said = json.loads(text)
    except ValueError:
        return None
    fits = isinstance(said, dict) and all(isinstance(each, str) and _DIGEST.fullmatch(each) for each in said.values())
    return said if fits else None
