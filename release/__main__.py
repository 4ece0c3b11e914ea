"""Make a release of the action, one step a command: `python -m release {check,bases,build,push,index,tag,move}`.

The steps of `.github/workflows/release.yml` call this, and so can a person. See docs/release.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TextIO

from deploy.docker import Docker
from release import action, bases, contents, image, provenance, sbom, version
from release.errors import DifferentError, UnfitError
from release.git import Git, Tag
from release.registry import Registry
from release.settings import DOCKERFILE, LOCK, ROOT, Settings, load
from sophia_sync import program
from sophia_sync.commands import Runner
from sophia_sync.inputs import RunContext, run_context
from sophia_sync.process import Deadline
from sophia_sync.redact import Redactor

MAIN = "main"


class Release:
    """One command with what it works with."""

    def __init__(self, settings: Settings, runner: Runner, redact: Redactor) -> None:
        self.settings = settings
        self.runner = runner
        self._redact = redact
        self._deadline = Deadline(settings.timeout)
        self.docker = Docker(settings.docker, self._deadline, redact)
        self.git = Git(ROOT, settings.remote, settings.git, self._deadline, redact)

    @property
    def source(self) -> str:
        """The commit that is released."""
        return self.git.run("rev-parse", "HEAD")

    def registry(self, repository: str = "") -> Registry:
        settings = self.settings
        where = repository or settings.repository
        return Registry(where, settings.credentials, self._deadline, self._redact)

    def outputs(self, **values: str) -> None:
        for name, value in values.items():
            self.runner.line(f"{name}: {value}" if "\n" not in value else f"{name}:\n{value}")
            self.runner.output(name, value)

    def check(self) -> None:
        """See whether the tag's commit can be released; its version, notes, and its image if it is released already."""
        wanted = self.settings.version
        problems = []
        if self.git.commit(f"refs/tags/{wanted.source_tag}") != self.source:
            problems.append(f"The tag {wanted.source_tag} isn't on the commit that is checked out.")
        if not self.git.is_ancestor(self.source, f"refs/remotes/{self.settings.remote}/{MAIN}"):
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
            image=released or "",
            notes=notes,
        )

    def bases(self) -> None:
        """Find the digests of the base images."""
        found = bases.resolve(self.docker, DOCKERFILE.read_text(encoding="utf-8"))
        self.outputs(bases=json.dumps(found))

    def build(self) -> None:
        """Build the image for this machine's platform."""
        settings = self.settings
        labels = image.labels(settings.version, self.source, settings.bases)
        image.build(self.docker, settings.image, settings.platform, labels, settings.bases)
        self.runner.line(f"{settings.image} is built, and starts.")

    def push(self) -> None:
        """Push it with its SBOM; the output is called by its architecture, so that one job can have several."""
        settings = self.settings
        architecture = settings.platform.rpartition("/")[2]
        tag = f"{settings.version}-{architecture}"
        self.outputs(**{architecture: image.push(self.docker, self.registry(), settings.image, tag, settings.bases)})

    def index(self) -> None:
        """Make one image for all platforms, with its SBOMs and its provenance."""
        settings, registry = self.settings, self.registry()
        expected = image.labels(settings.version, self.source, settings.bases)
        index = image.join(registry, settings.manifests, expected, str(settings.version))
        statement = provenance.of(
            registry.repository, index, settings.version, self.source, settings.bases, LOCK, run_context().run_url
        )
        settings.output.mkdir(parents=True, exist_ok=True)
        for platform, materials in image.attach(registry, index, statement).items():
            (settings.output / f"{platform.replace('/', '-')}.cdx.json").write_bytes(materials.data)
        image.see_complete(registry, index.digest)
        self.outputs(image=f"{registry.repository}@{index.digest}", name=registry.repository, digest=index.digest)

    def tag(self) -> None:
        """Make the release commit, and push its tag. One that is there already must be the same."""
        settings = self.settings
        image.see_complete(self.registry(), settings.image.partition("@")[2])
        commit = self.release_commit(settings.image)
        there = self.git.remote_tags().get(settings.version.tag)
        if there is None:
            self.git.push_tag(settings.version.tag, commit, instead_of=None)
            self.runner.line(f"{settings.version.tag} is {commit}.")
        elif there.commit != commit:
            raise self._other(there)
        else:
            self.runner.line(f"{settings.version.tag} is {commit} already.")
        self.outputs(commit=commit)

    def move(self) -> None:
        """Let the major version's tag stand for the release: the last step, and only ever forward."""
        wanted = self.settings.version
        tags = self.git.remote_tags()
        there = tags.get(wanted.tag)
        released = self.released(there)
        if there is None or released is None:
            raise DifferentError(f"There is no {wanted.tag} in the repository.", "Run `tag` before.")
        name, _, digest = released.partition("@")
        image.see_complete(self.registry(name), digest)
        now = tags.get(wanted.major_tag)
        why = self._why_not(now, there, tags)
        if why is None:
            self.git.push_tag(wanted.major_tag, there.commit, instead_of=now)
            self.runner.line(f"{wanted.major_tag} is {wanted.tag} now.")
        else:
            self.runner.line(f"{wanted.major_tag} stays where it is: {why}.")
        self.outputs(moved=str(why is None).lower())
        self.runner.summary(
            f"## {wanted.tag}\n\n| | |\n|---|---|\n| commit | `{there.commit}` |\n| image | `{released}` |\n"
        )

    def _why_not(self, now: Tag | None, there: Tag, tags: dict[str, Tag]) -> str | None:
        """Why the major version's tag isn't moved; None if it is.

        Raises:
            DifferentError: It stands for something that is no release.
        """
        wanted = self.settings.version
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

    def released(self, there: Tag | None) -> str | None:
        """The image of this version's release commit, if there is one that was made out of this source.

        Raises:
            DifferentError: The tag stands for something else.
        """
        if there is None:
            return None
        self.git.fetch_tag(self.settings.version.tag)
        found = action.image_of(self.git.show(there.commit, action.FILE))
        if found is None or self.release_commit(found) != there.commit:
            raise self._other(there)
        return found

    def release_commit(self, by_digest: str) -> str:
        """The commit of this version with an image, made if it isn't there: all actions of the repository use it."""
        paths = self.git.files(self.source, action.FILE, f"*/{action.FILE}")
        changed = {path: action.with_image(self.git.show(self.source, path), by_digest) for path in paths}
        message = (
            f"{self.settings.version.tag}: the actions use its image\n\nSource: {self.source}\nImage: {by_digest}\n"
        )
        return self.git.release_commit(self.source, changed, message)

    def _other(self, there: Tag) -> DifferentError:
        return DifferentError(
            f"{self.settings.version.tag} stands for {there.commit}, which isn't the release of {self.source}.",
            "A released version never changes: give this one another number.",
        )

    def sbom(self) -> None:
        """Write the SBOM of a local image; of its base images with those digests that the Dockerfile names."""
        named = {each: each.partition("@")[2] for each in bases.named(DOCKERFILE.read_text(encoding="utf-8"))}
        self.settings.output.write_bytes(sbom.of(contents.read(self.docker, self.settings.image), LOCK, named))
        self.runner.line(f"{self.settings.output} is written.")

    def pin(self) -> None:
        """Write the base images' digests into the Dockerfiles."""
        for dockerfile in (DOCKERFILE, ROOT / "mcp-servers" / "sentry" / "Dockerfile"):
            text = dockerfile.read_text(encoding="utf-8")
            dockerfile.write_text(bases.pinned(text, bases.resolve(self.docker, text)), encoding="utf-8")
            self.runner.line(f"{dockerfile.relative_to(ROOT)} names its base images by digest.")


def main(arguments: Sequence[str] | None = None, stream: TextIO | None = None) -> int:
    """Run one command; returns the exit code."""

    def work(runner: Runner, redact: Redactor, _context: RunContext) -> None:
        settings = load(arguments)
        for secret in settings.secrets:
            runner.hide(secret)
        getattr(Release(settings, runner, redact), settings.command)()

    return program.run("release program", work, "Run the step again: what is done already stays as it is.", stream)


if __name__ == "__main__":
    sys.exit(main())
