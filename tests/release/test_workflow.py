"""The text of `release.yml`: its trigger, the order of its steps, their permissions, and their calls of the program."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml

from release.__main__ import parser
from tests.support.docker_engine import ROOT

FILE = ROOT / ".github" / "workflows" / "release.yml"
WORKFLOW: dict[Any, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
JOBS: dict[str, Any] = WORKFLOW["jobs"]


def steps(job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = JOBS[job]["steps"]
    return found


def using(job: str, action: str) -> list[dict[str, Any]]:
    """Return the inputs of a job's steps that use an action."""
    return [step["with"] for step in steps(job) if step.get("uses", "").startswith(f"{action}@")]


def calls() -> list[tuple[str, list[str]]]:
    """Return the calls of the release program in order, each with its job."""
    found = []
    for job in JOBS:
        for step in steps(job):
            script = step.get("run", "").replace("\\\n", "")
            for line in re.findall(r"-m release (.*)", script):
                found.append((job, shlex.split(line)))
    return found


def test_a_tag_starts_it_and_nothing_else() -> None:
    assert WORKFLOW[True] == {"push": {"tags": ["release-*"]}}


def test_one_release_at_a_time_none_is_cancelled_and_none_is_dropped() -> None:
    assert WORKFLOW["concurrency"] == {"group": "release", "cancel-in-progress": False, "queue": "max"}


def test_the_images_come_first_and_v1_last() -> None:
    assert [(job, arguments[0]) for job, arguments in calls()] == [
        ("check", "check"),
        ("publish", "try"),
        ("publish", "tag"),
        ("publish", "move"),
    ]
    assert "move" in steps("publish")[-1]["run"]


def test_each_job_waits_for_what_it_needs() -> None:
    needs = {name: job.get("needs") for name, job in JOBS.items()}
    assert needs == {
        "check": None,
        "images": "check",
        "publish": ["check", "images"],
        "package": ["check", "publish"],
        "pypi": "package",
    }
    # A condition with a status function runs a job even after a failure, unless it excludes that itself.
    conditions = {name: job["if"] for name, job in JOBS.items() if "if" in job}
    always = "${{ !failure() && !cancelled() }}"
    assert conditions == {
        "images": "needs.check.outputs.image == ''",
        **dict.fromkeys(("publish", "package", "pypi"), always),
    }


def test_only_what_pushes_tags_may_write_to_the_repository_and_it_builds_nothing() -> None:
    writes = {
        name: {scope for scope, may in job["permissions"].items() if may == "write"} for name, job in JOBS.items()
    }
    assert writes == {
        "check": set(),
        "images": {"packages", "id-token", "attestations"},
        "publish": {"contents"},
        "package": set(),
        "pypi": {"id-token"},
    }
    assert (JOBS["publish"]["environment"], JOBS["pypi"]["environment"]) == ("release", "pypi")
    assert not using("publish", "docker/build-push-action")


def test_both_images_are_attested_and_tried_before_anything_is_tagged() -> None:
    built, attested = using("images", "docker/build-push-action"), using("images", "actions/attest")
    assert [each.get("file", "Dockerfile") for each in built] == ["Dockerfile", "mcp-servers/sentry/Dockerfile"]
    assert all(each["provenance"] == "mode=max" and each["sbom"].startswith("generator=") for each in built)
    assert [each["subject-digest"] for each in attested] == [
        "${{ steps.build.outputs.digest }}",
        "${{ steps.build-server.outputs.digest }}",
    ]
    assert all(each["push-to-registry"] is True for each in attested)
    [tried] = [arguments for _, arguments in calls() if arguments[0] == "try"]
    assert tried[-4:] == ["--image", "$IMAGE", "--server-image", "$SERVER_IMAGE"]


@pytest.mark.parametrize(("job", "arguments"), calls(), ids=lambda each: each[0] if isinstance(each, list) else each)
def test_the_program_has_the_options_that_the_steps_give_it(job: str, arguments: list[str]) -> None:
    assert parser().parse_args(arguments).command == arguments[0]


def test_the_images_that_build_and_emulate_are_pinned_by_digest() -> None:
    of_buildx = [each["driver-opts"].removeprefix("image=") for each in using("images", "docker/setup-buildx-action")]
    of_qemu = [each["image"] for job in ("images", "publish") for each in using(job, "docker/setup-qemu-action")]
    of_sbom = [each["sbom"].removeprefix("generator=") for each in using("images", "docker/build-push-action")]
    assert [len(each) for each in (of_buildx, of_qemu, of_sbom)] == [1, 2, 2]
    for image in (*of_buildx, *of_qemu, *of_sbom):
        assert re.fullmatch(r"docker\.io/[\w/-]+:[\w.-]+@sha256:[0-9a-f]{64}", image)


def test_no_job_signs_in_but_by_an_action_that_signs_out() -> None:
    assert "docker login" not in FILE.read_text(encoding="utf-8")
    assert {name for name in JOBS if using(name, "docker/login-action")} == {"images"}


def test_every_output_that_is_used_is_one_that_is_set() -> None:
    text = FILE.read_text(encoding="utf-8")
    for job, name in re.findall(r"needs\.(\w+)\.outputs\.(\w+)", text):
        assert name in JOBS[job]["outputs"], (job, name)
    for step, _ in re.findall(r"steps\.([\w-]+)\.outputs\.(\w+)", text):
        assert step in {each.get("id") for job in JOBS for each in steps(job)}
