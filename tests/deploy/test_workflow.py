"""The text of the reusable deploy workflow, of its caller here and of its action."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from deploy import rollout, sentry_mcp, ssh
from tests.docs.pages import sections
from tests.support.docker_engine import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
CALLER = WORKFLOWS / "deploy-sentry-mcp.yml"
CALLED = WORKFLOWS / "deploy.yml"
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "actions" / "deploy" / "action.yml").read_text(encoding="utf-8"))


def load(name: str) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))
    return loaded


def job() -> dict[str, Any]:
    [found] = load(CALLED.name)["jobs"].values()
    return dict(found)


def program_steps() -> list[dict[str, Any]]:
    return [step for step in job()["steps"] if step.get("uses") == "$/actions/deploy"]


def on_the_page() -> dict[Any, Any]:
    """Return the calling workflow that docs/deploy.md shows."""
    [text] = re.findall(r"```yaml\n(.*?)```", sections("docs/deploy.md")["Your workflow"], re.DOTALL)
    loaded: dict[Any, Any] = yaml.safe_load(text)
    return loaded


def test_the_caller_is_what_a_sync_dispatches() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert action["inputs"]["deploy-workflow"]["default"] == CALLER.name


@pytest.mark.parametrize("caller", [load(CALLER.name), on_the_page()], ids=["ours", "a stranger's"])
def test_a_caller_takes_what_the_sync_hands_over_and_nothing_else_starts_it(caller: dict[Any, Any]) -> None:
    inputs = caller[True]["workflow_dispatch"]["inputs"]
    sync = [step for step in load("sync-sentry-secrets.yml")["jobs"]["sync"]["steps"] if step.get("uses") == "./"]
    handed = json.loads(sync[0]["with"]["deploy-inputs"])
    assert handed == {"environment": "{environment}", "revision": "{revision}"}
    assert set(inputs) == set(handed)
    assert not [name for name, said in inputs.items() if said.get("required")], "a dispatch without inputs must do"
    assert list(caller[True]) == ["workflow_dispatch"]


@pytest.mark.parametrize("caller", [load(CALLER.name), on_the_page()], ids=["ours", "a stranger's"])
def test_a_caller_gives_what_the_workflow_takes_and_grants_what_it_needs(caller: dict[Any, Any]) -> None:
    [calling] = caller["jobs"].values()
    declared = load(CALLED.name)[True]["workflow_call"]
    assert set(calling["with"]) <= set(declared["inputs"])
    assert calling["secrets"] == "inherit" or set(calling["secrets"]) <= set(declared["secrets"])
    assert calling["permissions"] == job()["permissions"]
    assert re.search(r"(^\./|^ai-cherry/sentry-esc-sync/)\.github/workflows/deploy\.yml", calling["uses"])


def test_a_strangers_job_has_ten_lines() -> None:
    [text] = code_in_yaml("Your workflow")
    assert len(text.partition("jobs:\n")[2].splitlines()) <= 10


def code_in_yaml(heading: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", sections("docs/deploy.md")[heading], re.DOTALL)


def test_one_deploy_at_a_time_none_is_cancelled_and_none_is_dropped() -> None:
    concurrency = job()["concurrency"]
    assert (concurrency["cancel-in-progress"], concurrency["queue"]) == (False, "max")


def test_it_needs_no_checkout_and_no_scope_but_to_pull() -> None:
    assert job()["permissions"] == {"packages": "read"}
    assert not [step for step in job()["steps"] if "checkout" in step.get("uses", "")]


def test_no_token_stays_behind_on_the_runner() -> None:
    signed_in = [step for step in job()["steps"] if step.get("uses", "").startswith("docker/login-action@")]
    assert [step["if"] for step in signed_in] == ["inputs.registry != ''"]
    assert "docker login" not in CALLED.read_text(encoding="utf-8")


def test_hosts_are_secrets_and_the_inputs_of_the_dispatch_are_no_variables() -> None:
    shown = {**job()["env"], **program_steps()[0]["env"]}
    for name in ("DEPLOY_DOCKER_HOST", *ssh.VARIABLES):
        assert re.fullmatch(r"\$\{\{ secrets\.\w+ \}\}", shown[name])
    assert not [value for value in shown.values() if "inputs." in value]


def test_what_it_uses_is_what_it_declares() -> None:
    declared = load(CALLED.name)[True]["workflow_call"]
    text = CALLED.read_text(encoding="utf-8")
    assert set(re.findall(r"secrets\.(\w+)", text)) == set(declared["secrets"])
    assert set(re.findall(r"inputs\.(\w+)", text)) == set(declared["inputs"])


def test_the_program_has_a_use_for_each_variable_that_it_is_given() -> None:
    given = {*job()["env"], *program_steps()[0]["env"]}
    others = {rollout.IMAGE, rollout.PUBLISHED_PORT, sentry_mcp.DOCKER_HOST, *ssh.VARIABLES}
    assert given <= {*rollout.VARIABLES, *others}


def test_a_deploy_that_is_cancelled_is_told_so_itself_and_then_undone() -> None:
    deploy, recover = program_steps()
    assert job()["steps"][-2:] == [deploy, recover]
    assert recover["if"] == f"cancelled() && steps.{deploy['id']}.outcome != 'skipped'"
    assert recover["with"] == {"command": "recover"}
    assert recover["env"].items() <= deploy["env"].items()
    [step] = ACTION["runs"]["steps"]
    assert 'exec "$RUNNER_TEMP' in step["run"].splitlines()[-1]


def test_the_action_gives_the_outputs_of_the_program() -> None:
    [step] = ACTION["runs"]["steps"]
    named = {value["value"] for value in ACTION["outputs"].values()}
    assert named == {f"${{{{ steps.{step['id']}.outputs.{name} }}}}" for name in ("image", "former-image", "changed")}
    assert "--require-hashes" in step["run"]
