"""The repository that is released: a clone as the workflow has it, and its remote."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.deploy import program
from tests.deploy.program import Result
from tests.support import docker_act

COMMAND = (sys.executable, "-m", "release")
VERSION = "1.2.0"
DATE = "2026-11-24"
_AUTHOR = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.com", "-c", "commit.gpgsign=false")


def git(folder: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


@dataclass
class Project:
    """A clone of this tree as it is now, on a commit that is tagged for a release, and its remote.

    Args:
        folder: The folder that holds both.
    """

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Project:
        """Make clone and remote in an empty folder."""
        made = cls(folder)
        made.clone.mkdir()
        docker_act.check_out(made.clone)
        subprocess.run(["git", "init", "--quiet", "--bare", made.remote], check=True, timeout=60)
        git(made.clone, "remote", "add", "origin", str(made.remote))
        (made.clone / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n", encoding="utf-8")
        made.prepare(VERSION)
        for repository in (made.clone, made.remote):
            git(repository, "gc", "--quiet")  # one file to copy, not a thousand
        return made

    def copy(self, folder: Path) -> Project:
        """Copy clone and remote to a folder that doesn't exist yet."""
        shutil.copytree(self.folder, folder, symlinks=True)
        copied = Project(folder)
        git(copied.clone, "remote", "set-url", "origin", str(copied.remote))
        return copied

    @property
    def clone(self) -> Path:
        return self.folder / "clone"

    @property
    def remote(self) -> Path:
        return self.folder / "remote.git"

    @property
    def source(self) -> str:
        return git(self.clone, "rev-parse", "HEAD")

    def prepare(self, version: str) -> str:
        """Commit a version to main, and push it with the tag that starts its release. Return the tag."""
        self.edit("pyproject.toml", r'^version = ".*"', f'version = "{version}"')
        self.edit("sophia_sync/__init__.py", r'^__version__ = ".*"', f'__version__ = "{version}"')
        self.edit(
            "CHANGELOG.md", r"^## \[Unreleased\]\n", f"## [Unreleased]\n\n## [{version}] - {DATE}\n\n- {version}!\n"
        )
        return self.commit(version)

    def edit(self, path: str, pattern: str, replacement: str) -> None:
        file = self.clone / path
        text, count = re.subn(pattern, lambda _: replacement, file.read_text("utf-8"), count=1, flags=re.MULTILINE)
        assert count == 1, (path, pattern)
        file.write_text(text, encoding="utf-8")

    def commit(self, version: str = VERSION) -> str:
        """Commit what was edited, push it to main, and put the release's tag on it."""
        tag = f"release-{version}"
        git(self.clone, *_AUTHOR, "commit", "--quiet", "--all", "--allow-empty", "--message", f"Version {version}")
        git(self.clone, "tag", "--force", tag)
        git(self.clone, "push", "--quiet", "--force", "origin", "main", f"refs/tags/{tag}")
        return tag

    def run(self, *arguments: str, **environ: str) -> Result:
        """Run one step of the release."""
        return program.Process(arguments, environ, command=COMMAND, tree=self.clone).finish()

    def refs(self) -> dict[str, str]:
        """Return the remote's tags with their commits, except for the tags that start a release."""
        lines = git(self.remote, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/tags").splitlines()
        return {name: commit for name, commit in map(str.split, lines) if not name.startswith("release-")}

    def hook(self, name: str, script: str, *, of: Path | None = None) -> None:
        """Install a Git hook in the remote, or in the Git directory `of`."""
        file = (of or self.remote) / "hooks" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        file.chmod(0o755)

    def images(self, version: str = VERSION) -> tuple[str, str]:
        """Return two images by a digest made from the version. These steps contact no registry."""
        digest = hashlib.sha256(version.encode()).hexdigest()
        return f"ghcr.io/ai-cherry/sentry-esc-sync@sha256:{digest}", f"ghcr.io/ai-cherry/sentry-mcp@sha256:{digest}"

    def check(self, tag: str = f"release-{VERSION}") -> Result:
        return self.run("check", "--tag", tag, "--repository", "AI-Cherry/sentry-esc-sync")

    def tag(self, version: str = VERSION, images: tuple[str, str] | None = None) -> Result:
        image, server = images or self.images(version)
        return self.run("tag", "--version", version, "--image", image, "--server-image", server)

    def move(self, version: str = VERSION) -> Result:
        return self.run("move", "--version", version)

    def release(self, version: str = VERSION) -> None:
        """Run all steps for a version that is prepared."""
        for done in (self.tag(version), self.move(version)):
            assert done.code == 0, done.log
