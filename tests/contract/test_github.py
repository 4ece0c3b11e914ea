"""PyGithub against the local GitHub."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from github import Auth, Github, GithubException, GithubIntegration
from github.Repository import Repository

from sandbox import Dispatch, Permissions, Sandbox

REPOSITORY = "ai-cherry/sophia-ai"
WORKFLOW = "deploy-sentry-mcp.yml"
# Otherwise PyGithub waits between its requests, to spare the real service.
AT_ONCE: dict[str, Any] = {"seconds_between_requests": 0, "seconds_between_writes": 0}


def github(box: Sandbox, token: str) -> Github:
    return Github(auth=Auth.Token(token), base_url=box.github.url, retry=None, **AT_ONCE)


def integration(box: Sandbox, app_id: int, private_key: str) -> GithubIntegration:
    return GithubIntegration(auth=Auth.AppAuth(app_id, private_key), base_url=box.github.url, retry=None, **AT_ONCE)


@pytest.fixture
def repository(box: Sandbox) -> Repository:
    box.github.add_repository(REPOSITORY, default_branch="trunk", refs=["v1"])
    box.github.add_workflow(REPOSITORY, WORKFLOW, inputs=("revision",))
    return github(box, box.github.token).get_repo(REPOSITORY)


def test_a_repository_names_its_default_branch(repository: Repository) -> None:
    assert (repository.full_name, repository.default_branch) == (REPOSITORY, "trunk")


def test_a_renamed_repository_redirects(box: Sandbox, repository: Repository) -> None:
    box.github.rename_repository(REPOSITORY, "ai-cherry/sophia")
    try:
        renamed = github(box, box.github.token).get_repo(REPOSITORY)
        assert renamed.full_name == "ai-cherry/sophia"
        assert renamed.get_workflow(WORKFLOW).path == f".github/workflows/{WORKFLOW}"
        url = f"{box.github.url}/repos/{REPOSITORY}/actions/workflows/{WORKFLOW}/dispatches"
        headers = {"Authorization": f"Bearer {box.github.token}"}
        answer = requests.post(url, json={"ref": "trunk"}, headers=headers, allow_redirects=False, timeout=30)
        assert answer.status_code == 307
        assert f"/repositories/{repository.id}/actions/workflows/" in answer.headers["Location"]
    finally:
        del box.github.renamed[REPOSITORY]


def test_a_workflow_is_found_by_its_file_and_by_its_id(repository: Repository) -> None:
    workflow = repository.get_workflow(WORKFLOW)
    assert repository.get_workflow(workflow.id).path == f".github/workflows/{WORKFLOW}"
    assert [item.name for item in repository.get_workflows()] == ["deploy-sentry-mcp"]


def test_a_dispatch_returns_its_run(box: Sandbox, repository: Repository) -> None:
    workflow = repository.get_workflow(WORKFLOW)
    run = workflow.create_dispatch("trunk", {"revision": "7"}, throw=True, return_run_details=True)
    assert not isinstance(run, bool)
    assert box.github.dispatches == [Dispatch(REPOSITORY, WORKFLOW, "trunk", {"revision": "7"}, run.id)]
    assert run.html_url == f"https://github.com/{REPOSITORY}/actions/runs/{run.id}"
    assert run.status == "queued"
    box.github.complete(run.id, "failure")
    assert (run.update(), run.status, run.conclusion) == (True, "completed", "failure")
    assert [(job.name, job.conclusion) for job in run.jobs()] == [("deploy", "failure")]


def test_an_older_server_refuses_to_return_the_run(box: Sandbox, repository: Repository) -> None:
    box.github.return_run_details = False
    workflow = repository.get_workflow(WORKFLOW)
    with pytest.raises(GithubException) as refused:
        workflow.create_dispatch("trunk", throw=True, return_run_details=True)
    assert refused.value.status == 422
    assert refused.value.data["message"] == 'Invalid request.\n\n"return_run_details" is not a permitted key.'
    assert workflow.create_dispatch("trunk", throw=True) is True
    run = workflow.get_runs(event="workflow_dispatch")[0]
    assert run.id == box.github.dispatches[0].run_id


@pytest.mark.parametrize(
    ("ref", "inputs", "message"),
    [
        ("nowhere", {}, "No ref found for: nowhere"),
        ("trunk", {"colour": "red"}, 'Unexpected inputs provided: ["colour"]'),
        ("", {}, 'Invalid request.\n\n"ref" wasn\'t supplied.'),
    ],
)
def test_a_dispatch_that_makes_no_sense_is_refused(
    ref: str, inputs: dict[str, str], message: str, box: Sandbox, repository: Repository
) -> None:
    with pytest.raises(GithubException) as refused:
        repository.get_workflow(WORKFLOW).create_dispatch(ref, inputs, throw=True)
    assert (refused.value.status, refused.value.data["message"]) == (422, message)
    assert box.github.dispatches == []


@pytest.mark.parametrize(
    ("state", "dispatchable", "message"),
    [
        ("disabled_manually", True, "Cannot trigger a 'workflow_dispatch' on a disabled workflow"),
        ("active", False, "Workflow does not have 'workflow_dispatch' trigger"),
    ],
)
def test_a_workflow_that_takes_no_dispatch_says_so(
    state: str, dispatchable: bool, message: str, box: Sandbox, repository: Repository
) -> None:
    box.github.add_workflow(REPOSITORY, "other.yml", state=state, dispatchable=dispatchable)
    with pytest.raises(GithubException) as refused:
        repository.get_workflow("other.yml").create_dispatch("trunk", throw=True)
    assert (refused.value.status, refused.value.data["message"]) == (422, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"ref": 7}, "For 'properties/ref', 7 is not a string."),
        ({"ref": "trunk", "inputs": [1]}, "For 'properties/inputs', [1] is not an object."),
        ({"ref": "trunk", "inputs": dict.fromkeys("abcdefghijklmnopqrstuvwxyz", "x")}, "No more than 25 properties"),
    ],
)
def test_a_dispatch_of_wrong_types_is_422(
    body: dict[str, Any], message: str, box: Sandbox, repository: Repository
) -> None:
    url = f"{repository.url}/actions/workflows/{WORKFLOW}/dispatches"
    with pytest.raises(GithubException) as refused:
        repository.requester.requestJsonAndCheck("POST", url, input=body)
    assert refused.value.status == 422
    assert message in refused.value.data["message"]


def test_a_token_without_actions_still_sees_the_repository(box: Sandbox, repository: Repository) -> None:
    box.github.add_token("outsider", Permissions(actions="none"))
    found = github(box, "outsider").get_repo(REPOSITORY)
    assert found.default_branch == "trunk"
    with pytest.raises(GithubException) as refused:
        found.get_workflow(WORKFLOW)
    assert (refused.value.status, refused.value.data["message"]) == (403, "Resource not accessible by integration")


def test_a_token_of_an_app_has_the_permissions_that_were_asked_for(box: Sandbox, repository: Repository) -> None:
    app = box.github.add_app([REPOSITORY])
    client = integration(box, app.id, app.private_key)
    installation = client.get_repo_installation(*REPOSITORY.split("/"))
    reader = client.get_github_for_installation(installation.id, {"actions": "read"})
    with pytest.raises(GithubException) as refused:
        reader.get_repo(REPOSITORY).get_workflow(WORKFLOW).create_dispatch("trunk", throw=True)
    assert refused.value.status == 403
    with pytest.raises(GithubException) as refused:
        client.get_access_token(installation.id, {"contents": "read"})
    assert refused.value.status == 422
    assert "permissions requested are not granted" in refused.value.data["message"]


def test_a_run_names_its_branch_without_a_prefix(box: Sandbox, repository: Repository) -> None:
    workflow = repository.get_workflow(WORKFLOW)
    run = workflow.create_dispatch("refs/heads/trunk", throw=True, return_run_details=True)
    assert repository.get_workflow_run(run.id).head_branch == "trunk"


def test_a_workflow_s_file_can_be_read_on_its_branches(repository: Repository) -> None:
    found = repository.get_contents(f".github/workflows/{WORKFLOW}", ref="refs/tags/v1")
    assert not isinstance(found, list)
    assert found.decoded_content == b"on:\n  workflow_dispatch:\n    inputs:\n      revision: {type: string}\n"
    with pytest.raises(GithubException) as refused:
        repository.get_contents(f".github/workflows/{WORKFLOW}", ref="nowhere")
    assert (refused.value.status, refused.value.data["message"]) == (404, "No commit found for the ref nowhere")


def test_a_workflow_that_isnt_there_is_404(repository: Repository) -> None:
    with pytest.raises(GithubException) as refused:
        repository.get_workflow("nothing.yml")
    assert (refused.value.status, refused.value.data["message"]) == (404, "Not Found")


def test_tokens_see_and_do_what_they_may(box: Sandbox, repository: Repository) -> None:
    box.github.add_token("reader", Permissions(actions="read"))
    box.github.add_token("stranger", Permissions(repositories=["someone/else"]))
    with pytest.raises(GithubException) as refused:
        github(box, "reader").get_repo(REPOSITORY).get_workflow(WORKFLOW).create_dispatch("trunk", throw=True)
    assert (refused.value.status, refused.value.data["message"]) == (403, "Resource not accessible by integration")
    for token, status in (("stranger", 404), ("wrong", 401)):
        with pytest.raises(GithubException) as refused:
            github(box, token).get_repo(REPOSITORY)
        assert refused.value.status == status


def test_runs_are_listed_newest_first_and_filtered(box: Sandbox, repository: Repository) -> None:
    box.github.add_workflow(REPOSITORY, "test.yml")
    tests = [box.github.start_run(REPOSITORY, "test.yml", ref="v1") for _ in range(3)]
    deploy = box.github.start_run(REPOSITORY, WORKFLOW, event="workflow_dispatch")
    box.github.complete(tests[0])

    def listed(**filters: Any) -> list[int]:
        return [run.id for run in repository.get_workflow_runs(**filters)]

    now = datetime.now(UTC)
    assert listed() == [deploy, *reversed(tests)]
    assert listed(event="workflow_dispatch") == listed(branch="trunk") == [deploy]
    assert listed(status="completed") == listed(status="success") == [tests[0]]
    assert len(listed(created=f">={now - timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}")) == 4
    assert len(listed(created=f"{now - timedelta(days=1):%Y-%m-%d}..{now:%Y-%m-%d}")) == 4
    assert listed(created=f"<{now - timedelta(days=1):%Y-%m-%d}") == []
    assert [run.id for run in repository.get_workflow(WORKFLOW).get_runs()] == [deploy]


def test_a_long_list_of_runs_comes_in_pages(box: Sandbox, repository: Repository) -> None:
    runs = {box.github.start_run(REPOSITORY, WORKFLOW) for _ in range(70)}
    assert {run.id for run in repository.get_workflow_runs()} == runs
    pages = [seen.query.get("page") for seen in box.github.requests if seen.path.endswith("/runs")]
    assert pages == [None, "2", "3"]


def test_a_run_takes_the_steps_of_its_script(box: Sandbox, repository: Repository) -> None:
    box.github.run_script = ["queued", "in_progress", "in_progress", "completed/cancelled"]
    run_id = box.github.start_run(REPOSITORY, WORKFLOW)
    seen = [(run.status, run.conclusion) for run in (repository.get_workflow_run(run_id) for _ in range(5))]
    assert seen == [
        ("queued", None),
        ("in_progress", None),
        ("in_progress", None),
        ("completed", "cancelled"),
        ("completed", "cancelled"),
    ]


def test_an_app_dispatches_with_a_token_of_its_installation(box: Sandbox, repository: Repository) -> None:
    box.github.add_repository("ai-cherry/other")
    app = box.github.add_app([REPOSITORY])
    installation = integration(box, app.id, app.private_key).get_repo_installation(*REPOSITORY.split("/"))
    client = installation.get_github_for_installation()
    assert client.get_repo(REPOSITORY).get_workflow(WORKFLOW).create_dispatch("trunk", throw=True) is True
    with pytest.raises(GithubException) as refused:
        client.get_repo("ai-cherry/other")
    assert refused.value.status == 404


def test_an_app_with_another_key_is_refused(box: Sandbox, repository: Repository) -> None:
    app, other = box.github.add_app([REPOSITORY]), box.github.add_app([REPOSITORY])
    with pytest.raises(GithubException) as refused:
        integration(box, app.id, other.private_key).get_repo_installation(*REPOSITORY.split("/"))
    assert refused.value.status == 401


class TestSecretsAndVariables:
    @pytest.fixture(autouse=True)
    def some(self, box: Sandbox) -> None:
        box.github.add_repository(REPOSITORY)
        at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        box.github.add_secret("ai-cherry", "SHARED", at)
        box.github.add_secret("ai-cherry", "KEPT", at)
        box.github.add_secret(REPOSITORY, "OWN", at)
        box.github.add_variable("ai-cherry", "SHARED_VARIABLE", "a value", at)
        box.github.add_variable(REPOSITORY, "OWN_VARIABLE", "another", at)
        box.github.repositories[REPOSITORY].unshared = {"KEPT"}
        box.github.add_token("lister", Permissions(names=True, organization_names=True))

    def test_of_a_repository(self, box: Sandbox) -> None:
        repository = github(box, "lister").get_repo(REPOSITORY)
        (secret,) = repository.get_secrets()
        (variable,) = repository.get_variables()
        assert (secret.name, secret.updated_at) == ("OWN", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
        assert (variable.name, variable.value) == ("OWN_VARIABLE", "another")

    def test_of_an_organization(self, box: Sandbox) -> None:
        answer = requests.get(
            f"{box.github.url}/orgs/ai-cherry/actions/secrets", headers={"Authorization": "Bearer lister"}, timeout=60
        ).json()
        assert answer["total_count"] == 2
        assert [set(row) for row in answer["secrets"]] == [{"name", "created_at", "updated_at", "visibility"}] * 2

    @pytest.mark.parametrize(("kind", "names"), [("secrets", ["SHARED"]), ("variables", ["SHARED_VARIABLE"])])
    def test_of_an_organization_that_a_repository_can_use(self, box: Sandbox, kind: str, names: list[str]) -> None:
        requester = github(box, "lister").requester
        _, answer = requester.requestJsonAndCheck("GET", f"/repos/{REPOSITORY}/actions/organization-{kind}")
        assert [row["name"] for row in answer[kind]] == names

    def test_are_not_for_the_token_of_a_job(self, box: Sandbox) -> None:
        requester = github(box, box.github.token).requester
        for path in (f"/repos/{REPOSITORY}/actions/secrets", "/orgs/ai-cherry/actions/variables"):
            with pytest.raises(GithubException) as refused:
                requester.requestJsonAndCheck("GET", path)
            assert (refused.value.status, refused.value.data["message"]) == (
                403,
                "Resource not accessible by integration",
            )


def test_a_repository_tells_when_somebody_last_pushed_to_it(box: Sandbox, repository: Repository) -> None:
    box.github.repositories[REPOSITORY].pushed = datetime(2026, 1, 2, tzinfo=UTC)
    found = github(box, box.github.token).get_repo(REPOSITORY)
    assert (found.pushed_at, found.private) == (datetime(2026, 1, 2, tzinfo=UTC), True)


def test_a_workflow_can_be_switched_off(box: Sandbox, repository: Repository) -> None:
    box.github.set_workflow_state(REPOSITORY, WORKFLOW, "disabled_inactivity")
    assert repository.get_workflow(WORKFLOW).state == "disabled_inactivity"
