"""`release.yml` from the tag to `v1`, run by act. Stand-ins for the maintained actions have the same interface.

The registry and every step of ours are real. The remote is a bare repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from tests.release.project import VERSION, Project, git
from tests.support import docker_act, docker_registry, docker_sizes, standins
from tests.support.docker_act import Run
from tests.support.docker_engine import ROOT, docker

pytestmark = pytest.mark.docker

FILE = ROOT / ".github" / "workflows" / "release.yml"
TAG = f"release-{VERSION}"

# A stand-in for GitHub's CLI, as far as the workflow uses it. It records the release to create.
GH = """\
#!/bin/sh
case "$1 $2" in
"auth setup-git") ;;
"release view") exit 1 ;;
"release create") shift 2; echo "release $*: $(cat)" >>{record} ;;
*) exit 2 ;;
esac
"""


@dataclass(frozen=True)
class Released:
    """The results of a release, and the log of its run."""

    project: Project
    registry: str
    run: Run
    record: str


def uses() -> dict[str, dict[str, object]]:
    """Return the actions that the workflow uses, by full reference, with all inputs given to each."""
    found: dict[str, dict[str, object]] = {}
    for job in yaml.safe_load(FILE.read_text(encoding="utf-8"))["jobs"].values():
        for step in job["steps"]:
            if "uses" in step:
                found.setdefault(step["uses"], {}).update(step.get("with", {}))
    return found


@pytest.fixture(scope="module")
def released(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Released]:
    folder = tmp_path_factory.mktemp("act")
    project = Project.make(folder)
    docker_act.without_what_act_lacks(project.clone)
    project.commit()
    record, programs = folder / "record", folder / "bin"
    record.touch()
    programs.mkdir()
    (programs / "gh").write_text(GH.format(record=record), encoding="utf-8")
    (programs / "gh").chmod(0o755)
    environ = {"BASE": docker_sizes.BASE, "RECORD": str(record), "SHARED": str(folder / "shared")}
    written = standins.write(folder / "standins", environ)
    platform = docker("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}").stdout.strip()
    try:
        run = docker_act.run(
            project.clone,
            FILE.name,
            "push",
            secrets={"GITHUB_TOKEN": "ghs_of_the_release"},
            variables={"RELEASE_REGISTRY": registry, "RELEASE_PLATFORMS": platform},
            environment={"GITHUB_REPOSITORY": "ai-cherry/sentry-esc-sync"},
            payload={"ref": f"refs/tags/{TAG}", "repository": {"default_branch": "main"}},
            repositories={each: written[each.partition("@")[0]] for each in uses() if "checkout" not in each},
            image=docker_act.image_with_docker(),
            mounts=[f"{folder}:{folder}", f"{programs / 'gh'}:/usr/local/bin/gh:ro"],
            timeout=500,
        )
        yield Released(project, registry, run, record.read_text(encoding="utf-8"))
    finally:
        docker_registry.drop_images(registry)


def named(released: Released, path: str) -> str:
    """Return the image that a file of `v1` names."""
    found = re.search(r"\S+@sha256:[0-9a-f]{64}", git(released.project.remote, "show", f"v1:{path}"))
    assert found
    return found[0].removeprefix("docker://").removeprefix("${SENTRY_MCP_IMAGE:-")


def test_it_ends_well(released: Released) -> None:
    assert released.run.code == 0, released.run.text[-6000:] + released.run.stderr


def test_v1_names_the_images_that_were_pushed(released: Released) -> None:
    refs = released.project.refs()
    assert refs["v1"] == refs[f"v{VERSION}"]
    for path, name, file in (
        ("action.yml", "sentry-esc-sync", "Dockerfile"),
        ("docker-compose.sentry.yml", "sentry-mcp", "mcp-servers/sentry/Dockerfile"),
    ):
        image = named(released, path)
        assert image.startswith(f"{released.registry}/ai-cherry/{name}@")
        docker("pull", image)
        assert (
            docker("image", "inspect", "--format", '{{index .Config.Labels "built-from"}}', image).stdout.strip()
            == file
        )
        assert f"attested {image}\n" in released.record


def test_strangers_could_use_them_before_anything_was_tagged(released: Released) -> None:
    said = released.run.text
    assert len(re.findall(r"Anybody can pull and start \S+ on \S+: [0-9.]+ MB, no shell", said)) == 2
    assert said.index("Anybody can pull and start") < said.index(f"v{VERSION} is ")


def test_the_notes_and_the_package_are_published(released: Released) -> None:
    assert re.search(rf"release v{VERSION} --verify-tag .*--prerelease=false: - {VERSION}!", released.record)
    published = set(re.findall(r"published (\S+)", released.record))
    assert published == {f"sentry_esc_sync-{VERSION}.tar.gz", f"sentry_esc_sync-{VERSION}-py3-none-any.whl"}


def test_no_token_is_told(released: Released) -> None:
    assert "ghs_of_the_release" not in released.run.visible()


def test_the_stand_ins_have_every_input_that_the_workflow_gives() -> None:
    for reference, given in uses().items():
        name = reference.partition("@")[0]
        if name != "actions/checkout":
            assert set(given) <= set(standins.ACTIONS[name].inputs), name
