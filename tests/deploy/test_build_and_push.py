"""The image: built, started once, pushed, and known by its digest."""

from __future__ import annotations

import re

import httpx2
import pytest

from tests.deploy import program
from tests.deploy.conftest import Built
from tests.deploy.program import Result
from tests.support.docker_engine import docker

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
