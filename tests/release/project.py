"""The repository that is released: a clone as the workflow has it, its remote, and images in a real registry."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from release import bases, sbom
from release.registry import DOCKER_MANIFEST, Content, Credentials, Registry
from release.settings import PLATFORMS
from sophia_sync.process import Deadline
from sophia_sync.redact import Redactor
from tests.deploy import program
from tests.deploy.program import Result
from tests.support import docker_act
from tests.support.docker_engine import ROOT

COMMAND = (sys.executable, "-m", "release")
VERSION = "1.2.0"
DATE = "2026-11-24"
_NAMED = bases.named((ROOT / "Dockerfile").read_text(encoding="utf-8"))
BASES = {image: f"sha256:{str(number) * 64}" for number, image in enumerate(_NAMED)}
PYTHON = _NAMED[-1]
_AUTHOR = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.com", "-c", "commit.gpgsign=false")


def git(folder: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


@dataclass
class Project:
    """A clone of this tree as it is now, on a commit that is tagged for a release, and its remote.

    Args:
        folder: Where both are made.
        registry: The address of the registry.
    """

    folder: Path
    registry: str
    name: str = field(default_factory=lambda: f"sentry-esc-sync-{secrets.token_hex(4)}")

    def __post_init__(self) -> None:
        self.clone.mkdir()
        docker_act.check_out(self.clone)
        subprocess.run(["git", "init", "--quiet", "--bare", self.remote], check=True, timeout=60)
        git(self.clone, "remote", "add", "origin", str(self.remote))
        (self.clone / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n", encoding="utf-8")
        self.prepare(VERSION)

    @property
    def clone(self) -> Path:
        return self.folder / "clone"

    @property
    def remote(self) -> Path:
        return self.folder / "remote.git"

    @property
    def repository(self) -> str:
        """Where this project's images are."""
        return f"{self.registry}/ai-cherry/{self.name}"

    @property
    def images(self) -> Registry:
        return images_of(self.repository)

    @property
    def source(self) -> str:
        return git(self.clone, "rev-parse", "HEAD")

    def prepare(self, version: str) -> str:
        """A commit on main that states a version, with the tag that starts its release; returns the tag."""
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

    def seem_released(self) -> None:
        """Put the tags of a release where a release would: on a commit beside main that names an image."""
        git(self.clone, "checkout", "--quiet", "--detach")
        image = f"{self.repository}@sha256:{'f' * 64}"
        self.edit("action.yml", r"^  image: Dockerfile$", f"  image: docker://{image}")
        git(self.clone, *_AUTHOR, "commit", "--quiet", "--all", "--message", "The action uses its image")
        git(self.clone, "push", "--quiet", "origin", f"HEAD:refs/tags/v{VERSION}", "HEAD:refs/tags/v1")
        git(self.clone, "checkout", "--quiet", "main")

    def run(self, *arguments: str, **environ: str) -> Result:
        """One step of the release."""
        return program.Process(arguments, environ, command=COMMAND, tree=self.clone).finish()

    def refs(self) -> dict[str, str]:
        """The remote's tags, each with its commit."""
        lines = git(self.remote, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/tags").splitlines()
        return {name: commit for name, commit in map(str.split, lines) if not name.startswith("release-")}

    def hook(self, name: str, script: str, *, of: Path | None = None) -> None:
        """Let the remote, or the clone, run a hook."""
        file = (of or self.remote) / "hooks" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        file.chmod(0o755)

    def push_image(self, platform: str, **labels: str) -> str:
        """An image that says of itself what a real one does, with an SBOM; its digest."""
        system, _, architecture = platform.partition("/")
        stated = {
            "org.opencontainers.image.version": VERSION,
            "org.opencontainers.image.revision": self.source,
            "org.opencontainers.image.base.name": PYTHON,
            "org.opencontainers.image.base.digest": BASES[PYTHON],
            **{f"org.opencontainers.image.{name}": value for name, value in labels.items()},
        }
        said = {"os": system, "architecture": architecture, "config": {"Labels": stated}}
        config = as_content("application/vnd.docker.container.image.v1+json", said)
        self.images.put_blob(config)
        manifest = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config.descriptor(), "layers": []}
        pushed = as_content(DOCKER_MANIFEST, manifest)
        self.images.put_manifest(pushed)
        self.images.attach(pushed, as_content(sbom.MEDIA_TYPE, {"bomFormat": "CycloneDX", "of": platform}), {})
        return pushed.digest

    def index(self, version: str = VERSION, **digests: str) -> Result:
        """The step that makes one image of all; by default of images that are pushed here."""
        manifests = []
        for platform in PLATFORMS:
            digest = digests.get(platform.rpartition("/")[2]) or self.push_image(platform, version=version)
            manifests.append(f"--manifest={platform}={digest}")
        options = ["--version", version, "--to", self.repository, "--bases", json.dumps(BASES)]
        options += ["--sboms", str(self.folder / "sboms")]
        return self.run("index", *options, *manifests)

    def pushed(self, version: str = VERSION) -> str:
        """An image that is complete, by its digest."""
        done = self.index(version)
        assert done.code == 0, done.log
        return done.outputs["image"]

    def tag(self, image: str, version: str = VERSION) -> Result:
        return self.run("tag", "--version", version, "--image", image)

    def move(self, version: str = VERSION) -> Result:
        return self.run("move", "--version", version)

    def release(self, version: str = VERSION) -> None:
        """All steps for a version that is prepared."""
        for done in (self.tag(self.pushed(version), version), self.move(version)):
            assert done.code == 0, done.log


def images_of(repository: str, credentials: Credentials | None = None, seconds: float = 60) -> Registry:
    return Registry(repository, credentials, Deadline(seconds), Redactor())


def as_content(media_type: str, said: Mapping[str, Any]) -> Content:
    return Content(media_type, json.dumps(said).encode())
