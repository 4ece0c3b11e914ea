"""Make a release, one command for each step: `python -m release {check,try,tag,move}`.

See docs/maintainers/release.md.

The steps of `.github/workflows/release.yml` run this. Everything else in a release is done by maintained actions.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from pydantic import SecretStr

from deploy.program import InputError, Runner, conduct
from release import strangers, tree, version
from release.errors import DifferentError, UnfitError
from release.git import Git, Tag
from release.version import Version

ROOT = Path(__file__).resolve().parents[1]
MAIN = "main"
SERVER = "sentry-mcp"
"""The name of the MCP server's image, beside the action's under the repository's owner."""
PLATFORMS = "linux/amd64,linux/arm64"
_BY_DIGEST = re.compile(r"[a-z0-9.-]+(?::[0-9]+)?(?:/[a-z0-9._-]+)+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Images:
    """The two images of a release, by digest."""

    action: str
    server: str


class Release:
    """The release of one version from the commit that is checked out."""

    def __init__(self, wanted: Version, remote: str, runner: Runner) -> None:
        self.version = wanted
        self.git = Git(ROOT, remote)
        self.runner = runner
        self.source = self.git.run("rev-parse", "HEAD")

    def outputs(self, **values: str) -> None:
        """Print the values, and set them as outputs of the step."""
        for name, value in values.items():
            self.runner.line(f"{name}: {value}" if "\n" not in value else f"{name}:\n{value}")
            self.runner.output(name, value)

    def check(self, registry: str, repository: str) -> None:
        """Check that the commit can be released. Set the outputs of the step.

        The outputs are its version, notes and names, and its images if it is released already.

        Args:
            registry: The registry's host.
            repository: The repository on GitHub, OWNER/NAME.
        """
        wanted = self.version
        problems = []
        if self.git.commit(f"refs/tags/{wanted.source_tag}") != self.source:
            problems.append(f"The tag {wanted.source_tag} isn't on the commit that is checked out.")
        if not self.git.is_ancestor(self.source, f"refs/remotes/{self.git.remote}/{MAIN}"):
            problems.append(f"The commit {self.source} isn't on {MAIN}.")
        if self.git.changes():
            problems.append("There are changes that aren't committed.")
        try:
            notes = version.notes(ROOT, wanted)
        except UnfitError as error:
            problems += error.problems
        if problems:
            raise UnfitError(problems)
        released = self.released(self.git.remote_tags().get(wanted.tag))
        self.outputs(
            version=str(wanted),
            tag=wanted.tag,
            prerelease=str(wanted.prerelease).lower(),
            image=released.action if released else "",
            server_image=released.server if released else "",
            notes=notes,
            repository=f"{registry}/{repository}".lower(),
            server_repository=f"{registry}/{repository.partition('/')[0]}/{SERVER}".lower(),
        )

    def tag(self, images: Images) -> None:
        """Make the release commit, and push its tag. A tag that is there already must name the same commit."""
        commit = self.release_commit(images)
        there = self.git.remote_tags().get(self.version.tag)
        if there is None:
            self.git.push_tag(self.version.tag, commit, instead_of=None)
            self.runner.line(f"{self.version.tag} is {commit}.")
        elif there.commit != commit:
            raise self._other(there)
        else:
            self.runner.line(f"{self.version.tag} is {commit} already.")
        self.outputs(commit=commit)

    def move(self) -> None:
        """Move the major version's tag to the release, but never to an older one. This is the last step."""
        wanted = self.version
        tags = self.git.remote_tags()
        there = tags.get(wanted.tag)
        released = self.released(there)
        if there is None or released is None:
            raise DifferentError(f"There is no {wanted.tag} in the repository.", "Run `tag` before.")
        now = tags.get(wanted.major_tag)
        why = self._why_not(now, there, tags)
        if why is None:
            self.git.push_tag(wanted.major_tag, there.commit, instead_of=now)
            self.runner.line(f"{wanted.major_tag} is {wanted.tag} now.")
        else:
            self.runner.line(f"{wanted.major_tag} stays where it is: {why}.")
        self.outputs(moved=str(why is None).lower())
        self.runner.summary(
            f"## {wanted.tag}\n\n| | |\n|---|---|\n| commit | `{there.commit}` |\n"
            f"| action | `{released.action}` |\n| MCP server | `{released.server}` |\n"
        )

    def _why_not(self, now: Tag | None, there: Tag, tags: dict[str, Tag]) -> str | None:
        """Return why the major version's tag must stay where it is. Return None if it can move.

        Raises:
            DifferentError: It stands for a commit that is no release.
        """
        wanted = self.version
        if wanted.prerelease:
            return f"{wanted} is a prerelease"
        if now is None:
            return None
        if now.commit == there.commit:
            return f"it is {wanted.tag} already"
        stands_for = [
            each for tag, found in tags.items() if found.commit == now.commit and (each := version.of_tag(tag))
        ]
        if not stands_for:
            what = f"{wanted.major_tag} stands for {now.commit}, which is no release."
            raise DifferentError(what, "Find out who put it there; then move it to the newest release by hand.")
        newest = max(stands_for)
        return f"it is {newest.tag}, which is newer" if newest > wanted else None

    def released(self, there: Tag | None) -> Images | None:
        """Return the images of this version's release commit, if it was made from this source.

        Raises:
            DifferentError: The tag stands for something else.
        """
        if there is None:
            return None
        self.git.fetch_tag(self.version.tag)
        action, server = (
            tree.image_of(self.git.show(there.commit, path), path) for path in (tree.ACTION, tree.COMPOSE)
        )
        if action is None or server is None:
            raise self._other(there)
        images = Images(action, server)
        if self.release_commit(images) != there.commit:
            raise self._other(there)
        return images

    def release_commit(self, images: Images) -> str:
        """Return the commit of this version with its images. Make it if it isn't there."""
        actions = {
            path: self.git.show(self.source, path)
            for path in self.git.files(self.source, tree.ACTION, f"*/{tree.ACTION}")
        }
        changed = {
            path: tree.with_image(text, path, images.action)
            for path, text in actions.items()
            if tree.is_docker_action(text)
        }
        compose = self.git.show(self.source, tree.COMPOSE)
        changed[tree.COMPOSE] = tree.with_image(compose, tree.COMPOSE, images.server)
        message = (
            f"{self.version.tag}: name the images by digest\n\n"
            f"Source: {self.source}\nAction: {images.action}\nMCP server: {images.server}\n"
        )
        return self.git.release_commit(self.source, changed, message)

    def _other(self, there: Tag) -> DifferentError:
        return DifferentError(
            f"{self.version.tag} stands for {there.commit}, which isn't the release of {self.source}.",
            "A released version never changes: give this one another number.",
        )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m release", description="Makes a release, one step a command.")
    commands = made.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="see whether a tag's commit can be released, and print its notes")
    check.add_argument("--tag", required=True, metavar="release-1.2.3", help="the tag on the source commit")
    check.add_argument("--registry", default="ghcr.io", help="where the images go; default: %(default)s")
    check.add_argument("--repository", required=True, metavar="OWNER/NAME", help="the repository on GitHub")
    stranger = commands.add_parser("try", help="pull images without credentials, start them, check them")
    stranger.add_argument("--platforms", default=PLATFORMS, help="default: %(default)s")
    tag = commands.add_parser("tag", help="make the release commit, and push its tag")
    for each in (stranger, tag):
        each.add_argument("--image", required=True, metavar="NAME@sha256:…", help="the action's image")
        each.add_argument("--server-image", required=True, metavar="NAME@sha256:…", help="the MCP server's image")
    move = commands.add_parser("move", help="move the major version's tag to the release")
    for each in (tag, move):
        each.add_argument("--version", required=True, metavar="1.2.3")
    for each in (check, tag, move):
        each.add_argument("--remote", default="origin", help="the repository to release in; default: %(default)s")
    return made


def load(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read and check the command line.

    Raises:
        InputError: The command line is wrong. The error lists all problems.
    """
    given = parser().parse_args(arguments)
    problems = []
    try:
        if given.command == "check":
            given.wanted = version.of_source_tag(given.tag)
        elif given.command != "try":
            given.wanted = Version(given.version)
    except ValueError as error:
        problems.append(f"`--{'tag' if given.command == 'check' else 'version'}` {error}.")
    images = [given.image, given.server_image] if "image" in given else []
    problems += [f"`{image}` isn't of the form NAME@sha256:…" for image in images if not _BY_DIGEST.fullmatch(image)]
    if problems:
        raise InputError(problems)
    return given


def main(arguments: Sequence[str] | None = None, stream: TextIO | None = None) -> int:
    """Run one command and return the exit code."""

    def work(runner: Runner) -> None:
        given = load(arguments)
        if token := os.environ.get("GH_TOKEN"):
            runner.hide(SecretStr(token))
        if given.command == "try":
            for image, limit in (
                (given.image, strangers.SIZE_LIMIT),
                (given.server_image, strangers.SERVER_SIZE_LIMIT),
            ):
                for platform in given.platforms.split(","):
                    size = strangers.use(image, platform, limit=limit)
                    runner.line(f"Anybody can pull and start {image} on {platform}: {size / 1e6:.1f} MB, no shell.")
            return
        release = Release(given.wanted, given.remote, runner)
        if given.command == "check":
            release.check(given.registry, given.repository)
        elif given.command == "tag":
            release.tag(Images(given.image, given.server_image))
        else:
            release.move()

    after_signal = "Run the step again: what is done already stays as it is."
    return conduct("release program", work, after_signal=after_signal, stream=stream)


if __name__ == "__main__":
    sys.exit(main())
