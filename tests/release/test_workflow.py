"""`release.yml` as it is written: what starts it, the order of its steps, what each may do and hands to the program."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml
from release.settings import PLATFORMS

from release import settings
from tests.support.docker_engine import ROOT

FILE = ROOT / ".github" / "workflows" / "release.yml"
WORKFLOW: dict[Any, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
JOBS: dict[str, Any] = WORKFLOW["jobs"]


def steps(job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = JOBS[job]["steps"]
    return found


def calls() -> list[tuple[str, list[str]]]:
    """The calls of the release program in their order, each with its job."""
    found = []
    for job in JOBS:
        for step in steps(job):
            script = step.get("run", "").replace("\\\n", "")
            for line in re.findall(r"-m release (.*)", script):
                found.append((job, shlex.split(line)))
    return found


def test_a_tag_starts_it_and_nothing_else() -> None:
    assert WORKFLOW[True] == {"push": {"tags": ["release-*"]}}


def test_one_release_at_a_time_and_none_is_cancelled() -> None:
    assert WORKFLOW["concurrency"] == {"group": "release", "cancel-in-progress": False}


def test_the_image_comes_first_and_v1_last() -> None:
    assert [(job, arguments[0]) for job, arguments in calls()] == [
        ("check", "check"),
        ("check", "bases"),
        ("build", "build"),
        ("build", "push"),
        ("image", "index"),
        ("publish", "tag"),
        ("publish", "move"),
    ]
    assert "move" in steps("publish")[-1]["run"]


def test_each_job_waits_for_what_it_needs() -> None:
    needs = {name: job.get("needs") for name, job in JOBS.items()}
    assert needs == {"check": None, "build": "check", "image": ["check", "build"], "publish": ["check", "image"]}
    # A job with a condition of its own runs although one before it failed, unless the condition says that too.
    conditions = {name: job["if"] for name, job in JOBS.items() if "if" in job}
    assert conditions == {
        "build": "needs.check.outputs.image == ''",
        "publish": "${{ !failure() && !cancelled() }}",
    }


def test_only_the_last_job_may_write_to_the_repository_and_it_builds_nothing() -> None:
    writes = {
        name: {scope for scope, may in job["permissions"].items() if may == "write"} for name, job in JOBS.items()
    }
    assert writes == {
        "check": set(),
        "build": {"packages"},
        "image": {"packages", "id-token", "attestations"},
        "publish": {"contents"},
    }
    assert JOBS["publish"]["environment"] == "release"


def test_each_platform_is_built_on_a_machine_of_its_kind() -> None:
    built = JOBS["build"]["strategy"]["matrix"]["include"]
    assert [each["platform"] for each in built] == list(PLATFORMS)
    assert [each["system"].endswith("-arm") for each in built] == [False, True]
    assert {name.rpartition("/")[2] for name in PLATFORMS} == set(JOBS["build"]["outputs"])


def test_provenance_and_sboms_are_attested_and_seen_before_anything_is_tagged() -> None:
    attested = [step["with"] for step in steps("image") if step.get("uses", "").startswith("actions/attest@")]
    assert [each.get("sbom-path", "").rpartition("/")[2] for each in attested] == [
        "",
        *(f"{platform.replace('/', '-')}.cdx.json" for platform in PLATFORMS),
    ]
    for each in attested:
        assert each["subject-digest"] == "${{ steps.index.outputs.digest }}"
        assert each["push-to-registry"] is True
    scripts = [step.get("run", "") for step in steps("publish")]
    [verify] = [place for place, script in enumerate(scripts) if "gh attestation verify" in script]
    [tag] = [place for place, script in enumerate(scripts) if "-m release tag" in script]
    assert verify < tag
    assert f'--signer-workflow "$GITHUB_REPOSITORY/.github/workflows/{FILE.name}"' in scripts[verify]
    assert "https://slsa.dev/provenance/v1 https://cyclonedx.org/bom" in scripts[verify]


@pytest.mark.parametrize(("job", "arguments"), calls(), ids=lambda each: each[0] if isinstance(each, list) else each)
def test_the_program_has_the_options_that_the_steps_give_it(job: str, arguments: list[str]) -> None:
    given = [re.sub(r"^\$PLATFORM$", PLATFORMS[0], argument) for argument in arguments]
    assert settings.parser().parse_args(given).command == arguments[0]


def test_every_output_that_is_used_is_one_that_is_set() -> None:
    text = FILE.read_text(encoding="utf-8")
    for job, name in re.findall(r"needs\.(\w+)\.outputs\.(\w+)", text):
        assert name in JOBS[job]["outputs"], (job, name)
    for step, _ in re.findall(r"steps\.(\w+)\.outputs\.(\w+)", text):
        assert step in {each.get("id") for job in JOBS for each in steps(job)}
