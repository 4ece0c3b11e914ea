"""A whole release, once: out of the tree as it is, to the sync of somebody who uses `@v1`.

Each step is the program's, as the workflow calls it. The base images come from the registry, so that they have digests.
The second platform's image is the first one's under another name: nothing here could run a real one.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from release import bases, sbom
from release.registry import Content
from release.settings import PLATFORMS
from sandbox import Sandbox
from tests.deploy.program import Result
from tests.release.project import VERSION, Project, as_content, git, images_of
from tests.support import docker_act, docker_engine
from tests.support.docker_engine import ROOT, docker
from tests.support.docker_registry import drop_images

pytestmark = pytest.mark.docker

DOCKERFILES = ("Dockerfile", "mcp-servers/sentry/Dockerfile")
LOCAL = "sentry-esc-sync:release-test"
ENVIRONMENT = "acme/default/production"
REPOSITORY = "acme/sophia"


@dataclass(frozen=True)
class Released:
    """What a release left, and what its steps said."""

    project: Project
    steps: dict[str, Result]
    image: str
    digests: dict[str, str]

    @property
    def digest(self) -> str:
        return self.image.partition("@")[2]


def push_base_images(project: Project) -> None:
    """Let the base images come from the registry."""
    for image in bases.named((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        here = f"{project.registry}/bases/{image.rpartition('/')[2]}"
        docker("tag", image, here)
        docker("push", here)
        for name in DOCKERFILES:
            text = (project.clone / name).read_text(encoding="utf-8")
            (project.clone / name).write_text(text.replace(f"FROM {image}", f"FROM {here}"), encoding="utf-8")
    project.commit()


def as_if_for(platform: str, project: Project, digest: str) -> str:
    """An image of the registry as if it were for another platform, on this engine; its name."""
    manifest = project.images.manifest(digest)
    said = manifest.json
    config = project.images.blob(said["config"]["digest"]).json
    changed = as_content(said["config"]["mediaType"], {**config, "architecture": platform.rpartition("/")[2]})
    project.images.put_blob(changed)
    project.images.put_manifest(as_content(manifest.media_type, {**said, "config": changed.descriptor()}), "other")
    name = f"{project.repository}:other"
    docker("pull", "--platform", platform, name)
    return name


@pytest.fixture(scope="module")
def released(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Released]:
    docker_engine.provide_base_images()
    project = Project(tmp_path_factory.mktemp("release"), registry, "sentry-esc-sync")
    push_base_images(project)
    native = docker("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}").stdout.strip()
    [other] = set(PLATFORMS) - {native}
    steps: dict[str, Result] = {}
    version, to = ("--version", VERSION), ("--to", project.repository)

    def step(name: str, *arguments: str, **environ: str) -> dict[str, str]:
        done = project.run(name, *arguments, **environ)
        assert done.code == 0, done.log
        steps[f"{name} {len(steps)}"] = done
        return done.outputs

    try:
        step("check", "--tag", f"release-{VERSION}")
        found = ("--bases", step("bases")["bases"])
        step("build", *version, "--platform", native, "--image", LOCAL, *found)
        digests = {}
        image = LOCAL
        for platform in (native, other):
            options = ("--platform", platform, "--image", image, *to, *found)
            pushed = step("push", *version, *options, DOCKER_DEFAULT_PLATFORM=platform)
            digests[platform] = pushed[platform.rpartition("/")[2]]
            image = as_if_for(other, project, digests[native])
        manifests = [f"--manifest={platform}={digest}" for platform, digest in digests.items()]
        index = step("index", *version, *to, *found, "--sboms", str(project.folder / "sboms"), *manifests)
        step("tag", *version, "--image", index["image"])
        step("move", *version)
        yield Released(project, steps, index["image"], digests)
    finally:
        docker("image", "rm", LOCAL, check=False)
        drop_images(registry)


def test_v1_is_the_release_commit_with_the_index_that_was_pushed(released: Released) -> None:
    refs = released.project.refs()
    assert refs["v1"] == refs[f"v{VERSION}"]
    action = git(released.project.remote, "show", "v1:action.yml")
    assert f"\n  image: docker://{released.image}" in action
    index = released.project.images.manifest(released.digest).json
    assert {each["digest"] for each in index["manifests"]} == set(released.digests.values())


def test_the_image_is_built_on_base_images_by_digest(released: Released) -> None:
    [found] = [json.loads(each.outputs["bases"]) for name, each in released.steps.items() if name.startswith("bases")]
    assert len(found) == 2
    for image, digest in found.items():
        assert images_of(image.rpartition(":")[0]).manifest(image.rpartition(":")[2]).digest == digest
    [build] = [each for name, each in released.steps.items() if name.startswith("build")]
    assert "is built, and starts" in build.log
    for digest in released.digests.values():
        manifest = released.project.images.manifest(digest).json
        labels = released.project.images.blob(manifest["config"]["digest"]).json["config"]["Labels"]
        assert labels["org.opencontainers.image.revision"] == released.project.source
        assert labels["org.opencontainers.image.version"] == VERSION
        assert labels["org.opencontainers.image.base.digest"] == found[labels["org.opencontainers.image.base.name"]]


def test_a_maintainer_can_pin_the_base_images_in_the_dockerfiles_themselves(released: Released) -> None:
    project = released.project
    [found] = [json.loads(each.outputs["bases"]) for name, each in released.steps.items() if name.startswith("bases")]
    done = project.run("pin")
    assert done.code == 0, done.log
    for name in DOCKERFILES:
        pinned = bases.named((project.clone / name).read_text(encoding="utf-8"))
        assert pinned == [f"{image}@{digest}" for image, digest in found.items()]
    again = project.run("bases")
    git(project.clone, "checkout", "--quiet", *DOCKERFILES)
    assert json.loads(again.outputs["bases"]) == {f"{image}@{digest}": digest for image, digest in found.items()}


def test_code_that_breaks_the_build_or_the_start_is_not_pushed(released: Released) -> None:
    project = released.project
    [found] = [each.outputs["bases"] for name, each in released.steps.items() if name.startswith("bases")]
    options = ("--version", VERSION, "--platform", PLATFORMS[0], "--image", f"{LOCAL}-broken", "--bases", found)
    refs = project.refs()
    for path, pattern, broken in (
        ("Dockerfile", r"^WORKDIR /$", "RUN false"),
        ("entrypoint.py", r"^import .*$", "import nothing_of_that_name"),
    ):
        project.edit(path, pattern, broken)
        done = project.run("build", *options)
        git(project.clone, "checkout", "--quiet", path)
        assert done.code == 3, done.log
        assert "nothing was pushed" in done.error
    docker("image", "rm", f"{LOCAL}-broken", check=False)
    assert project.refs() == refs


def test_a_registry_that_is_down_gets_nothing_and_no_tag_moves(released: Released) -> None:
    project = released.project
    [found] = [each.outputs["bases"] for name, each in released.steps.items() if name.startswith("bases")]
    refs = project.refs()
    nowhere = "127.0.0.1:1/ai-cherry/sentry-esc-sync"
    options = ("--version", VERSION, "--platform", PLATFORMS[0], "--image", LOCAL, "--bases", found)
    done = project.run("push", *options, "--to", nowhere)
    docker("image", "rm", f"{nowhere}:{VERSION}-amd64")
    assert done.code == 4, done.log
    assert done.outputs == {}
    assert project.refs() == refs


def test_each_platforms_sbom_is_valid_and_attached_to_the_index(released: Released) -> None:
    attached = [
        each for each in released.project.images.referrers(released.digest) if each["artifactType"] == sbom.MEDIA_TYPE
    ]
    assert {each["annotations"]["platform"] for each in attached} == set(PLATFORMS)
    for each in attached:
        manifest = released.project.images.manifest(each["digest"]).json
        assert manifest["subject"]["digest"] == released.digest
        content = released.project.images.blob(manifest["layers"][0]["digest"])
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.data.decode()) is None
        assert described(content) == each["annotations"]["platform"]
        assert {component["name"] for component in content.json["components"]} >= {"pulumi", "PyGithub", "libc6"}


def described(content: Content) -> str:
    """The platform of the image that an SBOM is about."""
    [platform] = [each["value"] for each in content.json["metadata"]["component"]["properties"]]
    return str(platform)


def readme_workflow() -> str:
    """The workflow that the README says to copy, with an environment filled in."""
    [first, *_] = re.findall(r"```yaml\n(name: .*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert "uses: ai-cherry/sentry-esc-sync@v1" in first
    assert "esc-environment: your-org/default/production" in first
    assert first.endswith("          deploy: changed\n")
    # The local services' addresses, which nobody else has to give.
    local = "          pulumi-cloud-url: ${{ vars.PULUMI_BACKEND_URL }}\n          sentry-url: ${{ vars.SENTRY_URL }}\n"
    return str(first).replace("your-org/default/production", ENVIRONMENT) + local


def images_here() -> set[str]:
    return set(docker("image", "ls", "--all", "--quiet", "--no-trunc").stdout.split())


def test_who_uses_v1_gets_the_image_that_was_pushed_and_builds_nothing(
    released: Released, registry: str, tmp_path: Path
) -> None:
    docker("image", "rm", LOCAL)
    drop_images(registry)
    before = images_here()
    checkout, mine = tmp_path / "action", tmp_path / "mine"
    git(tmp_path, "clone", "--quiet", "--branch", "v1", str(released.project.remote), str(checkout))
    (mine / ".github" / "workflows").mkdir(parents=True)
    (mine / ".github" / "workflows" / "sync.yml").write_text(readme_workflow(), encoding="utf-8")
    git(mine, "init", "--quiet")
    began = datetime.datetime.now(datetime.UTC).isoformat()
    with Sandbox() as box:
        box.esc.create(ENVIRONMENT, "values: {}\n")
        box.github.add_repository(REPOSITORY)
        box.github.add_workflow(REPOSITORY, "deploy-sentry-mcp.yml")
        run = docker_act.run(
            mine,
            "sync.yml",
            "workflow_dispatch",
            secrets={
                "SENTRY_DSN": box.sentry.dsn,
                "SENTRY_API_TOKEN": box.sentry.token,
                "PULUMI_ACCESS_TOKEN": box.esc.token,
                "GITHUB_TOKEN": box.github.token,
            },
            variables={
                "SENTRY_ORGANIZATION_SLUG": box.sentry.organization,
                "SENTRY_PROJECT_SLUG": box.sentry.project,
                "PULUMI_BACKEND_URL": box.esc.url,
                "SENTRY_URL": box.sentry.url,
            },
            environment={"GITHUB_API_URL": box.github.url, "GITHUB_REPOSITORY": REPOSITORY},
            repositories={"ai-cherry/sentry-esc-sync@v1": checkout},
        )
        assert run.code == 0, run.text
        assert run.outputs["result"] == "synced"
        assert box.esc.values(ENVIRONMENT)["SENTRY_API_TOKEN"] == box.sentry.token
        assert box.esc.is_secret(ENVIRONMENT, "SENTRY_API_TOKEN")
        assert [dispatch.workflow for dispatch in box.github.dispatches] == ["deploy-sentry-mcp.yml"]
    [new] = images_here() - before
    [details] = json.loads(docker("image", "inspect", new).stdout)
    assert details["RepoDigests"] == [released.image]
    assert released.image in containers_since(began)


def containers_since(began: str) -> set[str]:
    """The images of which containers were made."""
    until = datetime.datetime.now(datetime.UTC).isoformat()
    options = ("--filter", "type=container", "--filter", "event=create", "--format", "{{json .Actor.Attributes}}")
    lines = docker("events", "--since", began, "--until", until, *options).stdout.splitlines()
    return {json.loads(line)["image"] for line in lines}


def test_to_run_it_all_again_from_the_tag_on_changes_nothing(released: Released) -> None:
    project = released.project
    before = project.refs()
    again = project.run("check", "--tag", f"release-{VERSION}")
    assert (again.code, again.outputs["image"]) == (0, released.image)
    assert project.tag(released.image).code == 0
    assert project.move().outputs == {"moved": "false"}
    assert project.refs() == before
