"""Approvals of the local ESC: what the real CLI code prints, and what the service refuses."""

import json
import re
from pathlib import Path

import pytest
import requests

from sandbox import ChangeRequest, RefusedError, Sandbox
from tests.contract.conftest import Cli

ENVIRONMENT = "acme/web/production"
DEFINITION = "values:\n  greeting: hello\n  password:\n    fn::secret: correct horse\n"
EDITOR = ("--editor", "sed -i.bak s/hello/bonjour/")

pytestmark = pytest.mark.pulumi


@pytest.fixture(autouse=True)
def guarded(box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT, DEFINITION)
    box.esc.gate(ENVIRONMENT)


def _only(box: Sandbox) -> ChangeRequest:
    (request,) = box.esc.open_change_requests(ENVIRONMENT)
    return request


def _metadata(box: Sandbox) -> dict[str, object]:
    url = f"{box.esc.url}/api/esc/environments/{ENVIRONMENT}/metadata"
    answer: dict[str, object] = requests.get(
        url, headers={"Authorization": f"token {box.esc.token}"}, timeout=60
    ).json()
    return answer


def test_an_update_is_refused(box: Sandbox, cli: Cli) -> None:
    edit = cli("edit", ENVIRONMENT, *EDITOR)
    assert (edit.returncode, box.esc.revision(ENVIRONMENT)) == (0, 2)
    assert "Your edits were not saved because the definition changed after it was read." in edit.stderr
    assert "Aborting edit." in edit.stderr
    assert _metadata(box)["gatedActions"] == ["update"]


def test_an_edit_with_draft_opens_a_change_request_and_leaves_the_environment(box: Sandbox, cli: Cli) -> None:
    edit = cli("edit", ENVIRONMENT, "--draft", *EDITOR, PULUMI_CONSOLE_DOMAIN="app.pulumi.example")
    request = _only(box)
    assert edit.stdout.splitlines() == [
        f"Change request created: {request.id}",
        f"Change request URL: http://app.pulumi.example/acme/esc/web/production?version={request.id}",
        "Change request submitted",
    ]
    assert (request.status, request.author) == ("pending", box.esc.login)
    assert box.esc.revision(ENVIRONMENT) == 2
    assert _metadata(box)["activeChangeRequest"] == {"changeRequestId": request.id, "latestRevisionNumber": 1}


def test_a_draft_can_be_opened_and_holds_its_secrets_encrypted(box: Sandbox, cli: Cli) -> None:
    cli("edit", ENVIRONMENT, "--draft", *EDITOR)
    request = _only(box)
    opened = cli("open", ENVIRONMENT, f"--draft={request.id}")
    assert json.loads(opened.stdout) == {"greeting": "bonjour", "password": "correct horse"}
    shown = cli("edit", ENVIRONMENT, f"--draft={request.id}", "--editor", "cat")
    assert "correct horse" not in shown.stdout
    assert re.search(r"fn::secret:\n\s+ciphertext: ", shown.stdout)
    assert json.loads(cli("open", ENVIRONMENT).stdout)["greeting"] == "hello"


def test_only_one_draft_is_active(box: Sandbox, cli: Cli) -> None:
    first = box.esc.propose(ENVIRONMENT, DEFINITION)
    edit = cli("edit", ENVIRONMENT, "--draft", *EDITOR)
    assert (edit.returncode, _only(box)) == (1, first)
    assert "[409]" in edit.stderr
    box.esc.close(first)
    assert cli("edit", ENVIRONMENT, "--draft", *EDITOR).returncode == 0


def test_a_draft_is_made_from_what_was_read(box: Sandbox, cli: Cli) -> None:
    box.esc.before("POST .*/drafts", lambda: box.esc.save(ENVIRONMENT, DEFINITION + "  theirs: 1\n"))
    edit = cli("edit", ENVIRONMENT, "--draft", *EDITOR)
    assert (edit.returncode, box.esc.open_change_requests(ENVIRONMENT)) == (1, [])
    assert "[409]" in edit.stderr


def test_a_draft_with_errors_is_none(box: Sandbox, cli: Cli) -> None:
    edit = cli("edit", ENVIRONMENT, "--draft", "--editor", "sed -i.bak s/hello/${nobody}/")
    assert (edit.returncode, box.esc.open_change_requests(ENVIRONMENT)) == (0, [])
    assert 'unknown property "nobody"' in edit.stderr


def test_a_draft_that_is_not_submitted_is_named_and_blocks(box: Sandbox, cli: Cli) -> None:
    box.esc.fail("POST .*/submit", status=503)
    edit = cli("edit", ENVIRONMENT, "--draft", *EDITOR)
    request = _only(box)
    assert (edit.returncode, request.status) == (1, "draft")
    assert f"Change request created: {request.id}" in edit.stdout
    assert "submitting change request: [503]" in edit.stderr


def test_it_is_applied_once_enough_others_approved(box: Sandbox, cli: Cli) -> None:
    cli("edit", ENVIRONMENT, "--draft", *EDITOR)
    request = _only(box)
    with pytest.raises(RefusedError):
        box.esc.apply(request)
    with pytest.raises(RefusedError):  # nobody may approve their own
        box.esc.change_requests.approve(request, box.esc.login, request.revision)
    box.esc.approve(request)
    assert request.status == "ready"
    assert box.esc.apply(request) == box.esc.revision(ENVIRONMENT) == 3
    assert box.esc.values(ENVIRONMENT)["greeting"] == "bonjour"
    assert "activeChangeRequest" not in _metadata(box)


def test_somebody_else_approves_and_applies_it_with_the_cli(box: Sandbox, cli: Cli, tmp_path: Path) -> None:
    cli("edit", ENVIRONMENT, "--draft", *EDITOR)
    request = _only(box)
    box.esc.tokens["pul-reviewer"] = box.esc.reviewer
    reviewer = {"PULUMI_ACCESS_TOKEN": "pul-reviewer", "PULUMI_HOME": str(tmp_path / "reviewer")}
    for step in ("approve", "apply"):
        done = cli("change-request", step, request.id, "-o", "acme", "--yes", **reviewer)
        assert done.returncode == 0, done.stderr
    assert request.status == "applied"
    assert box.esc.values(ENVIRONMENT)["greeting"] == "bonjour"


def test_an_edit_of_a_draft_takes_its_approvals_away(box: Sandbox, cli: Cli) -> None:
    request = box.esc.propose(ENVIRONMENT, DEFINITION)
    box.esc.approve(request)
    edit = cli("edit", ENVIRONMENT, f"--draft={request.id}", *EDITOR)
    assert edit.stdout.startswith("Change request updated\n")
    assert (request.status, request.revision, request.approvers) == ("pending", 2, [])


def test_a_change_request_conflicts_with_a_later_revision(box: Sandbox) -> None:
    request = box.esc.propose(ENVIRONMENT, DEFINITION)
    box.esc.approve(request)
    box.esc.save(ENVIRONMENT, DEFINITION + "  theirs: 1\n")
    with pytest.raises(RefusedError, match="changed"):
        box.esc.apply(request)


def test_an_environment_whose_opening_is_gated(box: Sandbox, cli: Cli) -> None:
    box.esc.gate(ENVIRONMENT, "open")
    opened = cli("open", ENVIRONMENT)
    assert (opened.returncode, opened.stdout) == (1, "")
    assert "opens must be approved" in opened.stderr
    assert cli("get", ENVIRONMENT, "--show-secrets").returncode == 0


@pytest.mark.parametrize("step", ["submit", "approve", "apply", "close"])
def test_the_steps_are_routes_of_the_service(box: Sandbox, step: str) -> None:
    request = box.esc.propose(ENVIRONMENT, DEFINITION, author=box.esc.login)
    request.status, request.approvers = ("draft" if step == "submit" else "pending"), []
    box.esc.tokens["pul-reviewer"] = "reviewer"
    if step == "apply":
        box.esc.approve(request)
    url = f"{box.esc.url}/api/change-requests/acme/{request.id}"
    headers = {"Authorization": "token pul-reviewer"}
    before = requests.get(url, headers=headers, timeout=60).json()
    done = requests.post(f"{url}/{step}", json={"revisionNumber": 1}, headers=headers, timeout=60)
    assert done.ok
    after = requests.get(url, headers=headers, timeout=60).json()
    statuses = {"submit": "pending", "approve": "ready", "apply": "applied", "close": "closed"}
    assert (before["status"] != after["status"], after["status"]) == (True, statuses[step])
    assert after["createdBy"]["githubLogin"] == box.esc.login
    assert after["gateEvaluation"]["satisfied"] is (step in ("approve", "apply"))
