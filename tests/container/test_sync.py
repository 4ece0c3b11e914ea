"""The action as a runner runs it: its effects on ESC and GitHub, and what the runner gets from it."""

import json
import secrets
import threading
import time

import pytest

from sandbox import Sandbox
from tests.container.conftest import ENVIRONMENT, REPOSITORY, WORKFLOW, Caller
from tests.support import docker_leaks
from tests.support.docker_step import Job, action
from tests.support.runner import commands

pytestmark = pytest.mark.docker

OURS = ["SENTRY_DSN", "SENTRY_API_TOKEN", "SENTRY_ORGANIZATION_SLUG", "SENTRY_PROJECT_SLUG", "SENTRY_CLIENT_SECRET"]
ENCRYPTED = {"SENTRY_DSN", "SENTRY_API_TOKEN", "SENTRY_CLIENT_SECRET"}


def test_the_first_sync_writes_all_keys_in_one_revision(box: Sandbox, caller: Caller, job: Job) -> None:
    before, theirs = box.esc.revision(ENVIRONMENT), box.esc.decrypted(ENVIRONMENT)
    step = job.run(caller.inputs)
    assert step.code == 0, step.log
    assert box.esc.revision(ENVIRONMENT) == before + 1
    values = box.esc.values(ENVIRONMENT)
    assert {key: values[key] for key in OURS} == caller.kept
    assert {key for key in OURS if box.esc.is_secret(ENVIRONMENT, key)} == ENCRYPTED
    assert box.esc.decrypted(ENVIRONMENT).startswith(theirs)
    assert box.esc.revision_tags(ENVIRONMENT)["github-run-1658821493-1"] == before + 1


def test_the_first_sync_dispatches_the_deploy(box: Sandbox, caller: Caller, job: Job) -> None:
    step = job.run(caller.inputs | {"deploy-inputs": '{"revision": "{revision}", "run": "{run_url}"}'})
    [dispatch] = box.github.dispatches
    assert (dispatch.repository, dispatch.workflow, dispatch.ref) == (REPOSITORY, WORKFLOW, "main")
    assert dispatch.inputs == {
        "revision": str(box.esc.revision(ENVIRONMENT)),
        "run": f"https://github.com/{REPOSITORY}/actions/runs/1658821493",
    }
    assert step.outputs["deploy-run-id"] == str(dispatch.run_id)
    assert step.outputs["deploy-run-url"].endswith(f"/{REPOSITORY}/actions/runs/{dispatch.run_id}")


def test_the_outputs_are_those_that_the_action_declares(box: Sandbox, caller: Caller, job: Job) -> None:
    before = box.esc.revision(ENVIRONMENT)
    outputs = job.run(caller.inputs).outputs
    assert set(outputs) <= set(action()["outputs"])
    assert outputs["result"] == "synced"
    assert json.loads(outputs["changed-keys"]) == OURS
    assert (outputs["previous-revision"], outputs["revision"]) == (str(before), str(before + 1))
    [environment] = json.loads(outputs["environments"])
    assert environment["environment"] == ENVIRONMENT
    assert environment["changed_keys"] == OURS
    assert environment["error"] is None


def test_the_summary_tells_what_happened_to_each_key(caller: Caller, job: Job) -> None:
    summary = job.run(caller.inputs).summary
    heading, *_ = summary.splitlines()
    assert heading.startswith("## ")
    rows = [line for line in summary.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == OURS
    assert {row.split("`")[1] for row in rows if "encrypted |" in row} == ENCRYPTED
    assert WORKFLOW in summary


def test_an_unchanged_sync_writes_nothing(box: Sandbox, caller: Caller, job: Job) -> None:
    inputs = caller.inputs | {"deploy": "changed"}
    first = job.run(inputs)
    definition, revision = box.esc.definition(ENVIRONMENT), box.esc.revision(ENVIRONMENT)
    second = job.run(inputs)
    assert (first.code, second.code) == (0, 0), second.log
    assert second.outputs["result"] == "unchanged"
    assert second.outputs["changed-keys"] == "[]"
    assert box.esc.definition(ENVIRONMENT) == definition
    assert box.esc.revision(ENVIRONMENT) == revision
    assert len(box.github.dispatches) == 1


def test_a_rotated_token_is_the_one_key_that_changes(box: Sandbox, caller: Caller, job: Job) -> None:
    job.run(caller.inputs)
    revision = box.esc.revision(ENVIRONMENT)
    rotated = f"sntrys_{secrets.token_hex(32)}"
    box.sentry.add_token(rotated, box.sentry.scopes)
    step = job.run(caller.inputs | {"sentry-api-token": rotated, "deploy": "changed"})
    assert step.code == 0, step.log
    assert json.loads(step.outputs["changed-keys"]) == ["SENTRY_API_TOKEN"]
    assert box.esc.revision(ENVIRONMENT) == revision + 1
    assert box.esc.values(ENVIRONMENT)["SENTRY_API_TOKEN"] == rotated
    assert box.esc.is_secret(ENVIRONMENT, "SENTRY_API_TOKEN")
    assert len(box.github.dispatches) == 2


def test_a_slug_that_was_encrypted_is_in_plain_text_afterwards(box: Sandbox, caller: Caller, job: Job) -> None:
    slug = box.sentry.project
    box.esc.save(ENVIRONMENT, f"values:\n  SENTRY_PROJECT_SLUG: # ours\n    fn::secret: {slug}\n  region: eu\n")
    assert box.esc.is_secret(ENVIRONMENT, "SENTRY_PROJECT_SLUG")
    step = job.run(caller.inputs)
    assert step.code == 0, step.log
    assert "SENTRY_PROJECT_SLUG" in json.loads(step.outputs["changed-keys"])
    assert not box.esc.is_secret(ENVIRONMENT, "SENTRY_PROJECT_SLUG")
    assert box.esc.values(ENVIRONMENT)["SENTRY_PROJECT_SLUG"] == slug


def test_a_dry_run_writes_and_dispatches_nothing(box: Sandbox, caller: Caller, job: Job) -> None:
    before = box.esc.revision(ENVIRONMENT)
    step = job.run(caller.inputs | {"dry-run": "true"})
    assert step.code == 0, step.log
    assert step.outputs["result"] == "planned"
    assert json.loads(step.outputs["changed-keys"]) == OURS
    assert box.esc.revision(ENVIRONMENT) == before
    assert box.github.dispatches == []


def test_a_missing_secret_fails_the_step_before_anything_is_contacted(box: Sandbox, caller: Caller, job: Job) -> None:
    step = job.run(caller.inputs | {"sentry-api-token": "", "sentry-dsn": ""})
    assert step.code == 2
    [error] = step.errors
    assert "sentry-api-token" in error.data
    assert "sentry-dsn" in error.data
    assert step.summary.startswith("## ❌")
    assert [server.requests for server in box.servers] == [[], [], []]


def test_a_credential_that_sentry_refuses_is_not_stored(box: Sandbox, caller: Caller, job: Job) -> None:
    definition = box.esc.definition(ENVIRONMENT)
    step = job.run(caller.inputs | {"sentry-api-token": f"sntrys_{secrets.token_hex(32)}"})
    assert step.code == 3
    assert len(step.errors) == 1
    assert box.esc.definition(ENVIRONMENT) == definition
    assert box.github.dispatches == []


def test_without_a_stored_token_the_jobs_identity_is_exchanged_for_one(box: Sandbox, caller: Caller, job: Job) -> None:
    identity = {
        "ACTIONS_ID_TOKEN_REQUEST_URL": box.github.id_token_url,
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": box.github.id_token_request_token,
    }
    step = job.run(caller.inputs | {"pulumi-access-token": ""}, identity)
    assert step.code == 0, step.log
    assert box.esc.values(ENVIRONMENT)["SENTRY_DSN"] == box.sentry.dsn
    [exchanged] = box.esc.accounts.grants
    assert exchanged in [mask.data for mask in commands(step.log, "add-mask")]
    assert docker_leaks.held_by(step.visible(), [exchanged, box.github.id_token_request_token]) == []


def test_a_refused_sign_in_fails_the_step_and_changes_nothing(box: Sandbox, caller: Caller, job: Job) -> None:
    definition = box.esc.definition(ENVIRONMENT)
    step = job.run(caller.inputs | {"pulumi-access-token": f"pul-{secrets.token_hex(20)}"})
    assert step.code == 4
    assert len(step.errors) == 1
    assert step.summary.startswith("## ❌")
    [environment] = json.loads(step.outputs["environments"])
    assert environment["error"]
    assert box.esc.definition(ENVIRONMENT) == definition
    assert box.github.dispatches == []


def test_a_deploy_that_is_refused_fails_the_step_and_the_sync_stands(box: Sandbox, caller: Caller, job: Job) -> None:
    step = job.run(caller.inputs | {"deploy-workflow": "gone.yml"})
    assert step.code == 6
    [error] = step.errors
    assert "gone.yml" in error.data
    assert step.outputs["result"] == "synced"
    assert {key: box.esc.values(ENVIRONMENT)[key] for key in OURS} == caller.kept
    assert box.github.dispatches == []


@pytest.mark.parametrize(("signal", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_cancelled_job_ends_the_step_at_once(box: Sandbox, caller: Caller, job: Job, signal: str, code: int) -> None:
    """The action is the container's first process, for which the kernel ignores signals without a handler."""
    definition = box.esc.definition(ENVIRONMENT)
    reading = threading.Event()
    box.esc.before(f"GET /api/esc/environments/{ENVIRONMENT}/decrypt", reading.set)
    box.esc.fail(f"GET /api/esc/environments/{ENVIRONMENT}/decrypt", kind="hang", times=None)
    step = job.start(caller.inputs)
    try:
        assert reading.wait(60)
        step.signal(signal)
        began = time.monotonic()
    finally:
        result = step.finish(timeout=30)
    assert result.code == code, result.log
    assert result.ended - began < 5
    assert len(result.errors) == 1
    assert result.summary.startswith("## ❌")
    assert box.esc.definition(ENVIRONMENT) == definition
