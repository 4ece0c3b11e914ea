"""`doctor` on GitHub: each check in each of its states, by the real PyGithub against a local GitHub."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sandbox import Permissions, Sandbox
from sophia_sync.console.diagnosis import Check, State
from sophia_sync.sync.bundle import SENTRY_KEYS
from tests.support.laptop import DAY, DEPLOY_WORKFLOW, HOUR, SYNC_WORKFLOW, Laptop, before
from tests.support.looking import github_checks

pytestmark = pytest.mark.pulumi

WORKFLOWS = ["sync workflow", "last sync", "schedule", "deploy workflow", "last deploy"]


def run(laptop: Laptop, ago: timedelta, conclusion: str = "success", event: str = "schedule") -> int:
    """Add a run of the sync workflow. Return its id."""
    github = laptop.box.github
    number = github.start_run(laptop.repository, SYNC_WORKFLOW, event=event, created=before(ago))
    if conclusion:
        github.complete(number, conclusion)
    return number


@pytest.fixture
def well(laptop: Laptop, box: Sandbox) -> Laptop:
    """Return a laptop with a repository in which every check passes."""
    for name, secret in SENTRY_KEYS.items():
        if secret:
            box.github.add_secret("acme", name, before(30 * DAY))
        else:
            box.github.add_variable("acme", name, "pay-ready", before(30 * DAY))
    box.github.add_secret("acme", "PULUMI_ACCESS_TOKEN", before(30 * DAY))
    run(laptop, 3 * HOUR)
    box.github.complete(box.github.start_run(laptop.repository, DEPLOY_WORKFLOW, event="workflow_dispatch"))
    return laptop


def workflows(laptop: Laptop) -> dict[str, Check]:
    return github_checks(laptop)[0]


def secrets(laptop: Laptop) -> dict[str, Check]:
    return github_checks(laptop)[1]


def test_all_is_well(well: Laptop) -> None:
    found, names = github_checks(well)
    assert {check.state for check in (*found.values(), *names.values())} == {State.GOOD}
    assert list(found) == ["repository", *WORKFLOWS]
    assert list(names) == [*SENTRY_KEYS, "PULUMI_ACCESS_TOKEN"]
    assert found["schedule"].what == "alive, last run by it 3 hours ago"
    assert found["last sync"].what.startswith(f"went well, 3 hours ago: https://github.com/{well.repository}/actions/")
    assert names["SENTRY_DSN"].what.startswith("secret of the organization, last updated 20")
    assert names["SENTRY_PROJECT_SLUG"].what.startswith("variable of the organization, last updated 20")


class TestPartsThatAreMissing:
    def test_no_token(self, laptop: Laptop) -> None:
        found, names = github_checks(laptop, GITHUB_TOKEN=None)
        assert {check.state for check in (*found.values(), *names.values())} == {State.NOT_CHECKED}
        assert "gh auth token" in found["repository"].todo
        assert laptop.box.github.requests == []

    def test_no_repository(self, laptop: Laptop) -> None:
        found, names = github_checks(laptop, GITHUB_REPOSITORY=None)
        assert {check.state for check in (*found.values(), *names.values())} == {State.NOT_CHECKED}
        assert found["repository"].todo == "Pass --repository OWNER/NAME, or set GITHUB_REPOSITORY."

    def test_no_network(self, laptop: Laptop) -> None:
        found, names = github_checks(laptop, GITHUB_API_URL="http://127.0.0.1:9", INPUT_TIMEOUT="10")
        assert {check.state for check in (*found.values(), *names.values())} == {State.NOT_CHECKED}
        assert "could not be reached" in found["repository"].what
        assert "GITHUB_API_URL" in found["repository"].todo

    def test_not_github(self, laptop: Laptop, box: Sandbox) -> None:
        box.github.fail("GET .*", kind="garbage", times=None)
        found, _ = github_checks(laptop, INPUT_TIMEOUT="10")
        assert found["repository"].state is State.NOT_CHECKED
        assert "makes no sense" in found["repository"].what

    def test_a_token_that_is_refused(self, laptop: Laptop) -> None:
        found, names = github_checks(laptop, GITHUB_TOKEN="ghp_unknown")
        assert found["repository"].state is State.BAD
        assert "Bad credentials" in found["repository"].what
        assert found["sync workflow"].state is names["SENTRY_DSN"].state is State.NOT_CHECKED

    def test_a_repository_that_the_token_does_not_see(self, laptop: Laptop) -> None:
        found, _ = github_checks(laptop, GITHUB_REPOSITORY="acme/nowhere")
        assert found["repository"].state is State.BAD
        assert "doesn't see acme/nowhere: GitHub refused it (HTTP 404" in found["repository"].what


class TestTheWorkflows:
    def test_are_missing(self, laptop: Laptop, box: Sandbox) -> None:
        bare = f"{laptop.repository}-bare"
        box.github.add_repository(bare)
        found, _ = github_checks(laptop, GITHUB_REPOSITORY=bare)
        for name, file in (("sync workflow", SYNC_WORKFLOW), ("deploy workflow", DEPLOY_WORKFLOW)):
            assert found[name].state is State.BAD
            assert found[name].what == f"there is no {file} on the default branch"
        assert {found[name].state for name in ("last sync", "schedule", "last deploy")} == {State.NOT_CHECKED}

    @pytest.mark.parametrize(
        ("state", "what"),
        [
            ("disabled_inactivity", "nobody has pushed to the repository for 60 days"),
            ("disabled_manually", "was switched off by somebody"),
            ("disabled_fork", "is disabled_fork"),
        ],
    )
    def test_are_switched_off(self, well: Laptop, box: Sandbox, state: str, what: str) -> None:
        for file in (SYNC_WORKFLOW, DEPLOY_WORKFLOW):
            box.github.set_workflow_state(well.repository, file, state)
        found = workflows(well)
        for name, file in (("sync workflow", SYNC_WORKFLOW), ("deploy workflow", DEPLOY_WORKFLOW)):
            assert found[name].state is State.BAD
            assert what in found[name].what
            assert f"gh workflow enable {file} --repo {well.repository}" in found[name].todo
        assert found["schedule"].state is State.BAD
        assert found["schedule"].what == "dead: the workflow is switched off"

    def test_may_not_be_seen(self, laptop: Laptop, box: Sandbox) -> None:
        box.github.fail("GET .*/actions/workflows/.*", status=403, times=None)
        found = workflows(laptop)
        assert {found[name].state for name in WORKFLOWS} == {State.NOT_CHECKED}
        assert found["sync workflow"].todo == "Give the token read access to Actions."

    def test_may_not_be_told_for_another_reason(self, laptop: Laptop, box: Sandbox) -> None:
        box.github.fail("GET .*/actions/.*", status=418, times=None)
        found, names = github_checks(laptop)
        assert found["sync workflow"].what == "GitHub doesn't tell: GitHub refused it (HTTP 418: I'm a Teapot)."
        assert names["SENTRY_DSN"].todo == found["sync workflow"].todo == "Run it again later."

    def test_can_not_be_asked_for_with_a_broken_key_of_an_app(self, laptop: Laptop, box: Sandbox) -> None:
        key = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----"
        asked = len(box.github.requests)
        app = {"INPUT_GITHUB-APP-ID": "12", "INPUT_GITHUB-APP-PRIVATE-KEY": key, "GITHUB_TOKEN": None}
        found, _ = github_checks(laptop, **app)
        assert found["repository"].state is State.NOT_CHECKED
        assert "The GitHub App's private key can't be used" in found["repository"].what
        assert len(box.github.requests) == asked

    def test_are_found_by_other_names_too(self, laptop: Laptop, box: Sandbox) -> None:
        box.github.add_workflow(laptop.repository, "other.yml")
        found, _ = github_checks(laptop, **{"INPUT_DEPLOY-WORKFLOW": "other.yml"})
        assert found["deploy workflow"].what == "other.yml is active"

    def test_of_the_deploy_can_not_be_dispatched(self, well: Laptop, box: Sandbox) -> None:
        box.github.add_workflow(well.repository, DEPLOY_WORKFLOW, inputs=["revision"])
        found, _ = github_checks(well, **{"INPUT_DEPLOY-INPUTS": '{"other": "x"}'})
        assert found["deploy workflow"].state is State.BAD
        assert "doesn't define the input other" in found["deploy workflow"].what
        assert "`deploy-inputs`" in found["deploy workflow"].todo

    def test_of_the_deploy_is_not_on_its_branch(self, well: Laptop) -> None:
        found, _ = github_checks(well, **{"INPUT_DEPLOY-REF": "nowhere"})
        assert "there is no branch or tag nowhere" in found["deploy workflow"].what


class TestTheLastRun:
    def test_there_is_none(self, laptop: Laptop) -> None:
        found = workflows(laptop)["last sync"]
        assert (found.state, found.what) == (State.WARNING, "it has never run")
        assert found.todo == f"gh workflow run {SYNC_WORKFLOW} --repo {laptop.repository}"

    @pytest.mark.parametrize(
        ("conclusion", "state"),
        [("failure", State.BAD), ("timed_out", State.BAD), ("cancelled", State.WARNING), ("skipped", State.WARNING)],
    )
    def test_did_not_go_well(self, well: Laptop, conclusion: str, state: State) -> None:
        number = run(well, 2 * HOUR, conclusion)
        found = workflows(well)["last sync"]
        assert found.state is state
        assert found.what.startswith(f"{conclusion.replace('_', ' ')}, 2 hours ago (the last that went well: 20")
        assert found.what.endswith(f"/actions/runs/{number}")
        assert f"gh run view {number} --log-failed --repo {well.repository}" in found.todo

    def test_none_ever_went_well(self, laptop: Laptop) -> None:
        run(laptop, HOUR, "failure")
        assert "(the last that went well: none)" in workflows(laptop)["last sync"].what

    def test_is_under_way(self, well: Laptop) -> None:
        run(well, timedelta(0), "")
        found = workflows(well)["last sync"]
        assert (found.state, found.what[:13]) == (State.WARNING, "queued, begun")
        assert found.todo.startswith("It waits")

    def test_is_running(self, well: Laptop, box: Sandbox) -> None:
        box.github.runs[run(well, timedelta(0), "")].take("in_progress")
        found = workflows(well)["last sync"]
        assert (found.state, found.what[:18]) == (State.GOOD, "in progress, begun")


class TestTheSchedule:
    def test_has_not_started_a_run_yet(self, laptop: Laptop) -> None:
        run(laptop, HOUR, event="workflow_dispatch")
        found = workflows(laptop)["schedule"]
        assert (found.state, found.what) == (State.WARNING, "GitHub has not started a run by it yet")

    def test_has_not_started_one_for_long(self, laptop: Laptop) -> None:
        run(laptop, 3 * DAY)
        run(laptop, HOUR, event="workflow_dispatch")
        found = workflows(laptop)["schedule"]
        assert (found.state, found.what) == (State.WARNING, "asleep: last run by it 3 days ago")

    @pytest.mark.parametrize(("private", "state"), [(False, State.WARNING), (True, State.GOOD)])
    def test_of_a_public_repository_that_nobody_pushes_to(self, well: Laptop, private: bool, state: State) -> None:
        repository = well.box.github.repositories[well.repository]
        repository.private, repository.pushed = private, before(55 * DAY)
        found = workflows(well)["schedule"]
        assert found.state is state
        assert ("but GitHub ends it on 20" in found.what) == (state is State.WARNING)


class TestTheSecrets:
    @pytest.mark.parametrize("name", ["SENTRY_DSN", "SENTRY_API_TOKEN"])
    def test_one_is_missing(self, well: Laptop, box: Sandbox, name: str) -> None:
        del box.github.organizations["acme"].secrets[name]
        found = secrets(well)[name]
        assert (found.state, found.what) == (State.BAD, "there is none that this repository can use")
        assert found.todo == f"gh secret set {name} --org acme --repos {well.repository.partition('/')[2]}"

    def test_a_slug_is_missing(self, well: Laptop, box: Sandbox) -> None:
        del box.github.organizations["acme"].variables["SENTRY_PROJECT_SLUG"]
        found = secrets(well)["SENTRY_PROJECT_SLUG"]
        assert found.state is State.BAD
        assert (
            found.todo == f"gh variable set SENTRY_PROJECT_SLUG --org acme --repos {well.repository.partition('/')[2]}"
        )

    def test_the_optional_one_is_missing(self, well: Laptop, box: Sandbox) -> None:
        del box.github.organizations["acme"].secrets["SENTRY_CLIENT_SECRET"]
        found = secrets(well)["SENTRY_CLIENT_SECRET"]
        assert (found.state, found.what) == (State.GOOD, "there is none; needed for webhooks only")

    def test_the_token_of_pulumi_is_missing(self, well: Laptop, box: Sandbox) -> None:
        del box.github.organizations["acme"].secrets["PULUMI_ACCESS_TOKEN"]
        found = secrets(well)["PULUMI_ACCESS_TOKEN"]
        assert found.state is State.WARNING
        assert "unless the workflow signs in by OIDC" in found.todo

    def test_a_slug_may_be_a_secret(self, well: Laptop, box: Sandbox) -> None:
        del box.github.organizations["acme"].variables["SENTRY_PROJECT_SLUG"]
        box.github.add_secret("acme", "SENTRY_PROJECT_SLUG", before(30 * DAY))
        found = secrets(well)["SENTRY_PROJECT_SLUG"]
        assert (found.state, found.what[:6]) == (State.GOOD, "secret")

    def test_one_of_the_repository_itself_counts(self, well: Laptop, box: Sandbox) -> None:
        updated = before(20 * DAY)
        box.github.add_secret(well.repository, "SENTRY_DSN", updated)
        found = secrets(well)["SENTRY_DSN"]
        assert found.what == f"secret of the repository, last updated {updated:%Y-%m-%d %H:%M} UTC"

    def test_one_was_updated_and_not_carried_over_yet(self, well: Laptop, box: Sandbox) -> None:
        box.github.add_secret("acme", "SENTRY_API_TOKEN", before(HOUR))
        found = secrets(well)
        assert found["SENTRY_API_TOKEN"].state is State.WARNING
        assert found["SENTRY_API_TOKEN"].what.endswith("after the last sync that went well")
        assert found["SENTRY_API_TOKEN"].todo == f"gh workflow run {SYNC_WORKFLOW} --repo {well.repository}"
        assert found["SENTRY_DSN"].state is State.GOOD

    def test_one_is_not_shared_with_the_repository(self, well: Laptop, box: Sandbox) -> None:
        box.github.repositories[well.repository].unshared = {"SENTRY_DSN"}
        assert secrets(well)["SENTRY_DSN"].what == "there is none that this repository can use"
        box.github.add_token(well.token, Permissions(names=True, organization_names=True))
        found = secrets(well)["SENTRY_DSN"]
        assert (found.state, found.what) == (State.BAD, "the organization has it, but this repository can't use it")
        assert "Repository access" in found.todo

    def test_the_token_may_not_list_them(self, well: Laptop, box: Sandbox) -> None:
        box.github.add_token(well.token, Permissions())
        found, names = github_checks(well)
        assert {check.state for check in found.values()} == {State.GOOD}
        assert {check.state for check in names.values()} == {State.NOT_CHECKED}
        assert "HTTP 403: Resource not accessible by integration" in names["SENTRY_DSN"].what
        assert "Secrets: read" in names["SENTRY_DSN"].todo

    def test_the_token_may_list_secrets_but_not_variables(self, well: Laptop, box: Sandbox) -> None:
        box.github.fail("GET .*variables", status=403, times=None)
        found = secrets(well)
        assert found["SENTRY_PROJECT_SLUG"].state is State.NOT_CHECKED
        assert found["SENTRY_PROJECT_SLUG"].todo == "Use a token with Variables: read."
        assert found["SENTRY_DSN"].state is State.GOOD

    @pytest.mark.parametrize(
        ("asked", "body"),
        [
            ("GET .*/runs", {"total_count": 1, "workflow_runs": [{"id": 1, "html_url": "x", "event": "schedule"}]}),
            ("GET .*secrets", {"total_count": 1, "secrets": [{"name": "SENTRY_DSN"}]}),
        ],
    )
    def test_a_time_is_missing(self, well: Laptop, box: Sandbox, asked: str, body: dict[str, Any]) -> None:
        box.github.fail(asked, status=200, body=body, times=None)
        found, names = github_checks(well)
        checks = [*found.values(), *names.values()]
        assert any(check.state is State.NOT_CHECKED for check in checks)
        assert any(check.state is State.GOOD for check in checks)

    def test_there_are_pages_of_them(self, well: Laptop, box: Sandbox) -> None:
        del box.github.organizations["acme"].secrets["SENTRY_DSN"]
        for number in range(40):
            box.github.add_secret("acme", f"ANOTHER_{number}")
        box.github.add_secret("acme", "SENTRY_DSN", before(30 * DAY))
        assert secrets(well)["SENTRY_DSN"].state is State.GOOD


def test_by_a_github_app(well: Laptop, box: Sandbox) -> None:
    app = box.github.add_app([well.repository])
    found, names = github_checks(
        well,
        **{
            "GITHUB_TOKEN": None,
            "INPUT_GITHUB-APP-ID": str(app.id),
            "INPUT_GITHUB-APP-PRIVATE-KEY": app.private_key,
        },
    )
    assert {check.state for check in found.values()} == {State.GOOD}
    assert {check.state for check in names.values()} == {State.NOT_CHECKED}
