"""Environments that need an approval: the run opens a change request instead, verifies it and reports it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sandbox import ChangeRequest, Sandbox
from tests.support.action import Action, Ran
from tests.support.inputs import VALID

pytestmark = pytest.mark.pulumi

DEFINITION = "# theirs\nvalues:\n  greeting: hello\n  SENTRY_PROJECT_SLUG: old\n"
CONSOLE = "app.pulumi.example"
# A CLI like v3.260, which shows ESC's refusal. Later releases report every 409 as an edit in the meantime.
SHOWS_THE_REFUSAL = """\
#!/bin/bash
said=$(mktemp)
{real} "$@" 2>"$said"
code=$?
if grep -q 'Your edits were not saved' "$said"; then
    code=1
    echo 'error: [409] This environment requires updates to be approved via change request.' >"$said"
fi
cat "$said" >&2
exit "$code"
"""


@pytest.fixture
def guarded(action: Action) -> Action:
    action.create(DEFINITION)
    action.box.esc.gate(action.environment)
    return action


def _run(action: Action, mode: str = "allowed", **inputs: str) -> Ran:
    variables = action.variables(action.inputs(change_request=mode, **inputs))
    return action.run_with({**variables, "PULUMI_CONSOLE_DOMAIN": CONSOLE})


def _only(action: Action) -> ChangeRequest:
    (request,) = action.box.esc.open_change_requests(action.environment)
    return request


def _link(action: Action, request: ChangeRequest) -> str:
    organization, _, name = action.environment.partition("/")
    return f"http://{CONSOLE}/{organization}/esc/{name}?version={request.id}"


def _untouched(action: Action) -> bool:
    esc = action.box.esc
    tags = set(esc.revision_tags(action.environment))
    return action.stored == DEFINITION and esc.revision(action.environment) == 2 and tags == {"latest"}


class TestProposed:
    def test_the_whole_way(self, guarded: Action) -> None:
        ran = _run(guarded, deploy="changed", tag_revision="true", deploy_wait="false")
        request = _only(guarded)
        assert (ran.code, request.status, request.revision) == (0, "pending", 1)
        assert _untouched(guarded)
        assert guarded.box.github.dispatches == []
        link = _link(guarded, request)
        assert ran.outputs["result"] == "proposed"
        assert (ran.outputs["change-request-id"], ran.outputs["change-request-url"]) == (request.id, link)
        (of_environment,) = json.loads(ran.outputs["environments"])
        assert (of_environment["change_request_id"], of_environment["revision"]) == (request.id, None)
        assert ran.summary.startswith("## 📝 Sentry credentials proposed")
        assert f"({link})" in ran.summary
        assert f"{request.id} ({link})" in ran.log
        assert "Deploy: due with the first sync after" in ran.summary

        guarded.box.esc.approve(request)
        guarded.box.esc.apply(request)
        guarded.box.esc.gate(guarded.environment)
        ran = _run(guarded, deploy="changed")
        assert (ran.code, ran.outputs["result"]) == (0, "unchanged")
        assert guarded.values["SENTRY_PROJECT_SLUG"] == "pay-ready-web"
        assert guarded.values["greeting"] == "hello"
        assert guarded.is_encrypted("SENTRY_DSN")
        assert not guarded.is_encrypted("SENTRY_PROJECT_SLUG")
        assert len(guarded.box.github.dispatches) == 1
        ran = _run(guarded, deploy="changed")
        assert (ran.code, len(guarded.box.github.dispatches)) == (0, 1)

    def test_the_draft_holds_every_key_and_the_rest_as_it_was(self, guarded: Action) -> None:
        ran = _run(
            guarded,
            export_environment_variables="true",
            extra_secrets="NUMBER=12345\nPLACE='a$$b'",
            extra_variables="YES=yes",
        )
        assert ran.code == 0, ran.log
        draft = _only(guarded).definition
        assert draft.startswith("# theirs\nvalues:\n  greeting: hello\n  SENTRY_PROJECT_SLUG: ")
        assert draft.count("ciphertext:") == 4
        guarded.box.esc.approve(_only(guarded))
        guarded.box.esc.apply(_only(guarded))
        assert guarded.values["PLACE"] == "a$$b"
        assert guarded.values["environmentVariables"]["NUMBER"] == "12345"

    @pytest.mark.parametrize("deploy", ["always", "changed"])
    def test_no_deploy_is_dispatched_for_any_environment(self, guarded: Action, deploy: str) -> None:
        other = f"{guarded.environment}-free"
        guarded.box.esc.create(other, DEFINITION)
        ran = _run(guarded, deploy=deploy, esc_environment=f"{guarded.environment}\n{other}")
        assert (ran.code, ran.outputs["result"]) == (0, "proposed")
        assert [one["result"] for one in json.loads(ran.outputs["environments"])] == ["proposed", "synced"]
        assert guarded.box.github.dispatches == []

    @pytest.mark.full
    def test_always_proposes_where_a_write_is_allowed(self, action: Action) -> None:
        action.create(DEFINITION)
        ran = _run(action, "always")
        assert (ran.code, ran.outputs["result"]) == (0, "proposed")
        assert _only(action).status == "ready"  # it needs no approval, only somebody who applies it
        assert _untouched(action)

    def test_approvals_that_are_switched_on_between_the_question_and_the_write(self, action: Action) -> None:
        action.create(DEFINITION)
        esc, name = action.box.esc, action.environment
        esc.before(f"PATCH /api/esc/environments/{name}", lambda: esc.gate(name))
        ran = _run(action)
        assert (ran.code, ran.outputs["result"]) == (0, "proposed")
        assert _untouched(action)

    def test_the_same_with_a_cli_that_shows_the_refusal(self, action: Action, pulumi: Path) -> None:
        (action.bin / "pulumi").write_text(SHOWS_THE_REFUSAL.format(real=pulumi))
        self.test_approvals_that_are_switched_on_between_the_question_and_the_write(action)

    @pytest.mark.full
    def test_allowed_writes_where_that_is_allowed(self, action: Action) -> None:
        action.create(DEFINITION)
        ran = _run(action)
        assert (ran.code, ran.outputs["result"]) == (0, "synced")
        assert "change-request-id" not in ran.outputs
        assert action.box.esc.open_change_requests(action.environment) == []

    def test_sentry_is_asked_first(self, guarded: Action) -> None:
        ran = _run(guarded, preflight="enforce")
        assert ran.code == 3
        assert guarded.box.esc.open_change_requests(guarded.environment) == []


class TestNever:
    def test_it_names_the_input(self, guarded: Action) -> None:
        ran = _run(guarded, "never")
        assert (ran.code, ran.commands) == (4, ["env get", "env edit"])  # no second try
        assert "Give `change-request: allowed`" in ran.annotations[0]
        assert "Nothing was written." in ran.annotations[0]
        assert _untouched(guarded)
        assert guarded.box.esc.open_change_requests(guarded.environment) == []

    def test_it_asks_nothing_more(self, action: Action) -> None:
        action.create(DEFINITION)
        assert _run(action, "never").code == 0
        assert not [seen for seen in action.box.esc.requests if seen.path.endswith("/metadata")]


class TestStillOpen:
    def test_ours_with_the_same_values(self, guarded: Action) -> None:
        first = _run(guarded)
        again = _run(guarded)
        assert (first.code, again.code, again.outputs["result"]) == (0, 0, "proposed")
        assert again.outputs["change-request-id"] == _only(guarded).id
        assert "which is still open" in again.log
        assert "which is still open" not in first.log
        assert _only(guarded).revision == 1

    @pytest.mark.full
    def test_ours_with_other_values(self, guarded: Action) -> None:
        _run(guarded)
        request = _only(guarded)
        ran = _run(guarded, sentry_project_slug="another")
        assert ran.code == 4
        assert f"change request {request.id} ({_link(guarded, request)})" in ran.annotations[0]
        assert "with other values: SENTRY_PROJECT_SLUG (another value)" in ran.annotations[0]
        assert "Apply it or close it" in ran.annotations[0]
        assert "change-request-id" not in ran.outputs
        assert _untouched(guarded)
        assert _only(guarded).revision == 1

    def test_of_somebody_else(self, guarded: Action) -> None:
        request = guarded.box.esc.propose(guarded.environment, DEFINITION)
        ran = _run(guarded)
        assert ran.code == 4
        assert f"change request {request.id} ({_link(guarded, request)})" in ran.annotations[0]
        assert f"it is {guarded.box.esc.foreign_login}'s" in ran.annotations[0]
        assert _untouched(guarded)
        assert _only(guarded) is request

    @pytest.mark.full
    def test_of_somebody_who_comes_in_between(self, guarded: Action) -> None:
        esc, name = guarded.box.esc, guarded.environment
        esc.before(f"POST /api/esc/environments/{name}/drafts", lambda: esc.propose(name, DEFINITION))
        ran = _run(guarded)
        assert ran.code == 4
        assert _only(guarded).id in ran.annotations[0]

    @pytest.mark.full
    def test_nothing_to_change_is_nothing_to_propose(self, action: Action) -> None:
        action.create(DEFINITION)
        _run(action, "never")
        action.box.esc.gate(action.environment)
        ran = _run(action)
        assert (ran.code, ran.outputs["result"]) == (0, "unchanged")


class TestFaults:
    @pytest.mark.full
    def test_a_draft_that_could_not_be_submitted_is_named(self, guarded: Action) -> None:
        guarded.box.esc.fail("POST .*/submit", status=403)
        ran = _run(guarded)
        request = _only(guarded)
        assert (ran.code, request.status) == (4, "draft")
        assert (
            f"The change request {request.id} ({_link(guarded, request)}) was created and not submitted: it blocks"
            in (ran.annotations[0])
        )
        assert ran.outputs["change-request-id"] == request.id
        again = _run(guarded)
        assert again.code == 4
        assert f"{request.id} ({_link(guarded, request)})" in again.annotations[0]
        assert "Close it" in again.annotations[0]

    def test_an_answer_to_the_submission_that_is_lost(self, guarded: Action) -> None:
        guarded.box.esc.fail("POST .*/submit", kind="close", after=True)
        ran = _run(guarded)
        assert (ran.code, ran.outputs["result"]) == (0, "proposed")
        assert ran.outputs["change-request-id"] == _only(guarded).id

    @pytest.mark.full
    def test_a_draft_that_holds_something_else(self, guarded: Action) -> None:
        def corrupt() -> None:
            request = _only(guarded)
            request.definition = request.definition.replace("pay-ready-web", "pay-ready-bew")

        guarded.box.esc.after("POST .*/submit", corrupt)
        ran = _run(guarded)
        request = _only(guarded)
        assert ran.code == 5
        assert f"{request.id} ({_link(guarded, request)})" in ran.annotations[0]
        assert "doesn't hold what was sent: SENTRY_PROJECT_SLUG (another value)" in ran.annotations[0]
        assert "don't approve it" in ran.annotations[0]
        assert ran.outputs["change-request-id"] == request.id

    def test_a_secret_that_the_draft_holds_in_plain_text(self, guarded: Action) -> None:
        def corrupt() -> None:
            request = _only(guarded)
            written = r"SENTRY_DSN:\s+fn::secret:\s+ciphertext: \S+"
            request.definition = re.sub(written, f"SENTRY_DSN: {VALID['sentry-dsn']}", request.definition)

        guarded.box.esc.after("POST .*/submit", corrupt)
        ran = _run(guarded)
        assert ran.code == 5
        assert "SENTRY_DSN (not encrypted)" in ran.annotations[0]

    @pytest.mark.full
    def test_where_opening_needs_an_approval_too(self, guarded: Action) -> None:
        guarded.box.esc.gate(guarded.environment, "update", "open")
        ran = _run(guarded)
        request = _only(guarded)
        assert ran.code == 4
        assert "opens must be approved" in ran.annotations[0]
        assert (
            f"The change request {request.id} ({_link(guarded, request)}) was submitted; it was not verified"
            in (ran.annotations[0])
        )

    def test_a_service_without_approvals(self, guarded: Action) -> None:
        guarded.box.esc.fail("POST .*/drafts", status=404, body={"code": 404, "message": "Not Found: draft"})
        ran = _run(guarded)
        assert ran.code == 4
        assert "Pro and Enterprise editions" in ran.annotations[0]
        assert "Nothing was written." in ran.annotations[0]

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_a_service_that_does_not_tell(self, guarded: Action, status: int) -> None:
        guarded.box.esc.fail("GET .*/metadata", status=status, times=None)
        ran = _run(guarded)
        assert ran.code == 4
        assert "Could not ask whether updates of" in ran.annotations[0]
        assert guarded.box.esc.open_change_requests(guarded.environment) == []

    def test_nothing_is_leaked(self, guarded: Action, box: Sandbox) -> None:
        ran = _run(guarded)
        told = "\n".join(line for line in ran.log.splitlines() if not line.startswith("::add-mask::")) + ran.summary
        assert guarded.inputs()["sentry-api-token"] not in told + json.dumps(ran.outputs)
        assert box.esc.token not in told


class TestDryRun:
    def test_it_says_that_it_would_propose(self, guarded: Action) -> None:
        ran = _run(guarded, dry_run="true")
        assert (ran.code, ran.outputs["result"]) == (0, "planned")
        assert "would change, by a change request" in ran.log
        assert "a sync would open a change request" in ran.summary
        assert guarded.box.esc.open_change_requests(guarded.environment) == []

    def test_it_says_that_it_would_fail(self, guarded: Action) -> None:
        ran = _run(guarded, "never", dry_run="true")
        assert ran.code == 0
        assert "A sync would fail: updates of" in ran.warnings[0]

    def test_it_says_what_is_in_the_way(self, guarded: Action) -> None:
        request = guarded.box.esc.propose(guarded.environment, DEFINITION)
        ran = _run(guarded, dry_run="true")
        assert ran.code == 0
        assert f"A sync would fail: The change request {request.id}" in ran.warnings[0]
