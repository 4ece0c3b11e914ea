"""`deploy-sentry-mcp.yml` as it is written: what dispatches it, what it may do, and what it hands to the program."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
import yaml

from deploy import settings
from tests.support.docker_engine import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
FILE = WORKFLOWS / "deploy-sentry-mcp.yml"
DIGEST = f"ghcr.io/ai-cherry/sentry-mcp@sha256:{'0' * 64}"


def load(name: str) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))
    return loaded


def steps() -> list[dict[str, Any]]:
    return [step for job in load(FILE.name)["jobs"].values() for step in job["steps"]]


def program_calls() -> dict[str, dict[str, Any]]:
    """The steps that call the deploy program, by its command."""
    calls = ((re.search(r"-m deploy\.sentry_mcp (\w+)", step.get("run", "")), step) for step in steps())
    return {match[1]: step for match, step in calls if match}


def test_it_is_what_a_sync_dispatches() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert action["inputs"]["deploy-workflow"]["default"] == FILE.name


def test_it_takes_what_the_sync_hands_over() -> None:
    inputs = load(FILE.name)[True]["workflow_dispatch"]["inputs"]
    sync = [step for step in load("sync-sentry-secrets.yml")["jobs"]["sync"]["steps"] if step.get("uses") == "./"]
    handed = json.loads(sync[0]["with"]["deploy-inputs"])
    assert handed == {"environment": "{environment}", "revision": "{revision}"}
    assert set(inputs) == {*handed, "image", "rebuild"}
    assert not [name for name, said in inputs.items() if said.get("required")], "a dispatch without inputs must do"


def test_nothing_but_a_dispatch_starts_it() -> None:
    assert list(load(FILE.name)[True]) == ["workflow_dispatch"]


def test_one_deploy_at_a_time_and_none_is_cancelled() -> None:
    assert load(FILE.name)["concurrency"] == {"group": "deploy-sentry-mcp", "cancel-in-progress": False}


def test_only_the_build_may_push_and_only_the_deploy_sees_credentials() -> None:
    jobs = load(FILE.name)["jobs"]
    writes = {
        name: [scope for scope, may in job["permissions"].items() if may == "write"] for name, job in jobs.items()
    }
    assert writes == {"build": ["packages", "id-token", "attestations"], "deploy": []}
    assert "secrets." not in json.dumps(jobs["build"])
    assert jobs["deploy"]["environment"] == "sentry-mcp"


def test_an_image_is_deployed_only_if_this_workflow_made_it_on_this_branch() -> None:
    runs = [step.get("run", "") for step in load(FILE.name)["jobs"]["deploy"]["steps"]]
    [verify] = [run for run in runs if "attestation verify" in run]
    assert f'--signer-workflow "$GITHUB_REPOSITORY/.github/workflows/{FILE.name}"' in verify
    assert '--source-ref "$GITHUB_REF"' in verify
    assert runs.index(verify) < runs.index(program_calls()["deploy"]["run"])


def test_no_image_is_deployed_but_of_the_name_that_the_build_pushes_to() -> None:
    push, deploy = (program_calls()[command] for command in ("push", "deploy"))
    [name] = re.findall('--to ("ghcr.io/[^"]+")', push["run"])
    assert f"--from {name}" in deploy["run"]
    assert push["env"]["OWNER"] == deploy["env"]["OWNER"] == "${{ github.repository_owner }}"


def test_an_image_that_was_found_is_not_built_pushed_and_attested_again() -> None:
    job = load(FILE.name)["jobs"]["build"]
    assert job["outputs"]["image"] == "${{ steps.find.outputs.image || steps.push.outputs.image }}"
    calls = program_calls()
    assert "inputs.rebuild" in calls["find"]["if"]
    [attest] = [step for step in job["steps"] if "actions/attest" in step.get("uses", "")]
    for step in (calls["build"], calls["push"], attest):
        assert "steps.find.outputs.image == ''" in step["if"]


def test_an_image_is_found_only_if_this_workflow_made_it_on_this_branch() -> None:
    find = program_calls()["find"]
    assert f'--signer-workflow "$GITHUB_REPOSITORY/.github/workflows/{FILE.name}"' in find["run"]
    assert '--source-ref "$GITHUB_REF"' in find["run"]
    assert "vars.SENTRY_MCP_ATTESTATIONS != 'off'" in find["if"], "a tag alone is no proof"


@pytest.mark.parametrize("command", ["find", "build", "push", "deploy", "recover"])
def test_the_program_has_the_options_that_the_steps_give_it(command: str) -> None:
    [line] = [text for text in program_calls()[command]["run"].replace("\\\n", "").splitlines() if command in text]
    arguments = shlex.split(line.partition("deploy.sentry_mcp ")[2])
    parsed = settings.parser().parse_args(arguments)
    assert parsed.command == command


def test_the_program_has_a_use_for_each_variable_that_it_is_given() -> None:
    given = set(program_calls()["deploy"]["env"]) - {"OWNER", "ESC_ENVIRONMENT", "ESC_REVISION", "DOCKER_HOST"}
    known = {*settings.SERVER_VARIABLES, settings.PUBLISHED_PORT, settings.KNOWN_HOSTS, settings.PRIVATE_KEY}
    assert given <= known


def test_a_deploy_that_is_cancelled_is_told_so_itself_and_then_undone() -> None:
    step, after = (program_calls()[command] for command in ("deploy", "recover"))
    assert load(FILE.name)["jobs"]["deploy"]["steps"][-2:] == [step, after]
    assert all(each["run"].startswith('exec "$RUNNER_TEMP/venv/bin/python" ') for each in (step, after))
    assert after["if"] == f"cancelled() && steps.{step['id']}.outcome != 'skipped'"
    needed = {settings.ACCESS_TOKEN, "DOCKER_HOST", settings.KNOWN_HOSTS, settings.PRIVATE_KEY}
    assert after["env"] == {name: step["env"][name] for name in needed}


def test_the_inputs_of_a_dispatch_reach_the_program() -> None:
    step = program_calls()["deploy"]
    assert step["env"]["ESC_ENVIRONMENT"] == "${{ inputs.environment }}"
    assert step["env"]["ESC_REVISION"] == "${{ inputs.revision }}"
    assert load(FILE.name)["jobs"]["deploy"]["env"]["IMAGE"] == "${{ inputs.image || needs.build.outputs.image }}"
