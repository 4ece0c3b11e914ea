"""The image: built, started once, pushed, known by its digest, and found again by its sources."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import ClassVar

import httpx2
import pytest

from deploy import sources
from deploy.settings import DOCKERFILE
from tests.deploy import program
from tests.deploy.conftest import Built
from tests.deploy.images import LATEST_DERIVED, Derived
from tests.deploy.program import Result
from tests.support import docker_leaks
from tests.support.docker_engine import ROOT, docker

pytestmark = pytest.mark.docker


def test_the_image_is_built_and_started(built: Built) -> None:
    assert built.result.code == 0, built.result.log
    assert "It starts, and is alive." in built.result.log
    assert built.result.outputs == {"image": built.image}


def test_nothing_of_the_start_is_left(built: Built) -> None:
    assert docker("ps", "--all", "--quiet", "--filter", "name=sentry-mcp-build").stdout == ""
    assert docker("network", "ls", "--quiet", "--filter", "name=sentry-mcp-build").stdout == ""


def test_the_registry_has_it_by_the_digest_that_is_told(pushed: Result, registry: str) -> None:
    assert pushed.code == 0, pushed.log
    name, digest = pushed.outputs["name"], pushed.outputs["digest"]
    assert pushed.outputs["image"] == f"{name}@{digest}"
    assert name == f"{registry}/ai-cherry/sentry-mcp"
    with httpx2.Client(trust_env=False) as http:
        accepted = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
        manifest = http.get(f"http://{registry}/v2/ai-cherry/sentry-mcp/manifests/{digest}", headers=accepted)
    assert (manifest.status_code, manifest.headers["Docker-Content-Digest"]) == (200, digest)


def test_to_push_again_gives_the_same_digest(built: Built, pushed: Result, registry: str) -> None:
    again = program.run("push", "--image", built.image, "--to", f"{registry}/ai-cherry/sentry-mcp:again")
    assert again.outputs["digest"] == pushed.outputs["digest"]


def test_a_registry_that_is_not_there_is_told(built: Built, registry: str) -> None:
    result = program.run("push", "--image", built.image, "--to", "127.0.0.1:1/ai-cherry/sentry-mcp:test")
    assert result.code == 4
    assert re.search("`docker push .*` failed", result.error)
    assert result.outputs == {}
    docker("image", "rm", "127.0.0.1:1/ai-cherry/sentry-mcp:test")


def test_an_image_that_is_not_there_is_told(registry: str) -> None:
    result = program.run("push", "--image", "sentry-mcp:never-built", "--to", f"{registry}/ai-cherry/sentry-mcp:test")
    assert result.code == 4
    assert "never-built" in result.error


@pytest.fixture(scope="module")
def by_sources(built: Built, registry: str) -> Result:
    """The image under the tag of its sources."""
    assert built.result.code == 0, built.result.log
    return program.run("push", "--image", built.image, "--to", f"{registry}/ai-cherry/by-sources")


class TestFinding:
    """`find`: an image of these sources in the registry, so that none has to be built."""

    origin = ("--signer-workflow", "acme/app/.github/workflows/deploy.yml", "--source-ref", "refs/heads/main")
    github: ClassVar = {"GH_TOKEN": "ghs_0123456789abcdef"}

    @pytest.fixture
    def gh(self, tmp_path: Path) -> Path:
        """A `gh` before the real one on PATH, which says yes; what it was asked and with which token is kept."""
        (tmp_path / "gh").write_text(
            f'#!/bin/sh\necho "$GH_TOKEN $*" >{shlex.quote(str(tmp_path / "asked"))}\n', encoding="utf-8"
        )
        (tmp_path / "gh").chmod(0o755)
        return tmp_path

    def find(self, to: str, *arguments: str, gh: Path | None = None) -> Result:
        path = program.path_with(gh) if gh else {}
        return program.run("find", "--to", to, *arguments, environ={**self.github, **path})

    def test_what_was_pushed_is_found(self, by_sources: Result) -> None:
        assert by_sources.code == 0, by_sources.log
        found = self.find(by_sources.outputs["name"])
        assert (found.code, found.outputs) == (0, by_sources.outputs), found.log

    def test_the_tag_is_that_of_the_sources(self, by_sources: Result) -> None:
        tag = sources.tag(ROOT, DOCKERFILE)
        assert docker("pull", f"{by_sources.outputs['name']}:{tag}").returncode == 0

    def test_where_there_is_none_that_is_said(self, registry: str) -> None:
        found = self.find(f"{registry}/ai-cherry/empty")
        assert (found.code, found.outputs) == (0, {})
        assert "There is none, it has to be built" in found.log

    def test_a_registry_that_is_not_there_costs_no_more_than_a_build(self) -> None:
        assert (found := self.find("127.0.0.1:1/ai-cherry/sentry-mcp")).code == 0, found.log
        assert "it has to be built" in found.log

    def test_an_image_of_other_sources_is_not_used_whatever_its_tag(self, derive: Derived, registry: str) -> None:
        derive("LABEL sentry-mcp.sources=sources-of-others")
        tag = f"{registry}/ai-cherry/others:{sources.tag(ROOT, DOCKERFILE)}"
        assert program.run("push", "--image", LATEST_DERIVED, "--to", tag).code == 0
        found = self.find(f"{registry}/ai-cherry/others")
        assert (found.code, found.outputs) == (0, {})
        assert "it is made of other sources" in found.log

    def test_github_is_asked_where_it_comes_from(self, by_sources: Result, gh: Path) -> None:
        found = self.find(by_sources.outputs["name"], *self.origin, gh=gh)
        assert (found.code, found.outputs) == (0, by_sources.outputs), found.log
        token, *asked = (gh / "asked").read_text(encoding="utf-8").split()
        image = f"oci://{by_sources.outputs['image']}"
        assert (token, asked) == (
            self.github["GH_TOKEN"], ["attestation", "verify", image, "--repo", "acme/app", *self.origin],
        )  # fmt: skip
        assert docker_leaks.held_by(found.visible(), [token]) == []

    def test_without_an_attestation_it_is_not_used(self, by_sources: Result, gh: Path) -> None:
        (gh / "gh").write_text("#!/bin/sh\necho no attestations found >&2\nexit 1\n", encoding="utf-8")
        found = self.find(by_sources.outputs["name"], *self.origin, gh=gh)
        assert (found.code, found.outputs) == (0, {})
        assert "a new one has to be built: no attestations found" in found.log

    def test_an_image_that_does_not_say_what_it_is_made_of_needs_a_tag(self, derive: Derived, registry: str) -> None:
        derive("LABEL sentry-mcp.sources=")
        result = program.run("push", "--image", LATEST_DERIVED, "--to", f"{registry}/ai-cherry/silent")
        assert result.code == 2
        assert "doesn't say what it is made of" in result.error
