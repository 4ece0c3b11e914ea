"""Dispatch the deploy and wait for its run, with the real PyGithub against a local GitHub."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from sandbox import GitHub, Permissions
from sandbox.faults import FaultKind
from sophia_sync.github import api, dispatch
from sophia_sync.github.dispatch import Dispatcher
from sophia_sync.outcome import Deployed, Target
from sophia_sync.runtime.errors import DeployError
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.settings import inputs
from tests.support.inputs import VALID, as_runner, environment
from tests.support.paced import Paced

WORKFLOW = "deploy-sentry-mcp.yml"
DISPATCHES = r"POST /repos/.*/dispatches"
RUN = r"GET /repos/.*/actions/runs/\d+"
LISTING = r"GET /repos/.*/workflows/.*/runs"
NUMBERS = itertools.count(1)

Connect = Callable[..., Dispatcher]


@pytest.fixture
def repository(github: GitHub) -> str:
    name = f"acme/sophia-{next(NUMBERS)}"
    github.add_repository(name, default_branch="trunk", refs=["v1"])
    github.add_workflow(name, WORKFLOW)
    return name


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits between two looks for a run, or at its state."""
    monkeypatch.setattr(dispatch, "_LOOK_AGAIN", 0.05)
    monkeypatch.setattr(dispatch, "_SHORTEST_POLL", 0.05)


@pytest.fixture
def connect(github: GitHub, repository: str) -> Iterator[Connect]:
    """Yield a function that makes dispatchers for the workflow. Its keyword arguments are the action's inputs."""
    opened = []

    def dispatcher(*, seconds: float = 60, ref: str | None = None, **given: str) -> Dispatcher:
        changes = {name.replace("_", "-"): value for name, value in given.items()}
        with environment(as_runner(VALID | {"github-token": github.token} | changes)):
            settings, _ = inputs.load()
        target = Target(changes.get("deploy-repository", repository), settings.deploy_workflow, ref)
        opened.append(Dispatcher(settings, target, github.url, TimeLimit(seconds)))
        return opened[-1]

    yield dispatcher
    for each in opened:
        each.close()


def refused(dispatcher: Dispatcher) -> str:
    """Return the text of the error that a dispatch raises."""
    with pytest.raises(DeployError) as error:
        dispatcher.dispatch({})
    assert error.value.exit_code == 6
    assert error.value.changed.startswith("The sync succeeded.")
    assert "sync" not in error.value.what
    assert VALID["sentry-dsn"] not in str(error.value)
    assert error.value.__cause__ is None
    return str(error.value)


def posts(github: GitHub) -> int:
    return sum(request.method == "POST" for request in github.requests)


class TestDispatch:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Date": f"Mon, 01 Jan 2024 00:00:00 +{'9' * 20}"},
            {"Date": "yesterday"},
            {"X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "9" * 400},
            {"X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "none"},
        ],
    )
    def test_once_an_answer_had_headers_that_make_no_sense(
        self, github: GitHub, repository: str, connect: Connect, headers: dict[str, str]
    ) -> None:
        body = {"id": 1, "state": "active", "url": f"{github.url}/repos/{repository}/actions/workflows/{WORKFLOW}"}
        github.fail(f"GET .*/workflows/{WORKFLOW}", status=200, body=body, headers=headers)
        assert connect().dispatch({}).run_id is not None

    def test_on_the_default_branch(self, github: GitHub, repository: str, connect: Connect) -> None:
        deployed = connect().dispatch({"revision": "8", "loud": True})
        (dispatch,) = github.dispatches
        assert (dispatch.repository, dispatch.workflow, dispatch.ref) == (repository, WORKFLOW, "trunk")
        assert dispatch.inputs == {"revision": "8", "loud": True}
        assert deployed.run_id == dispatch.run_id
        assert deployed.run_url is not None
        assert deployed.run_url.endswith(f"{repository}/actions/runs/{dispatch.run_id}")
        assert (deployed.ref, deployed.conclusion) == ("trunk", None)

    def test_of_a_repository_that_was_renamed(self, github: GitHub, repository: str, connect: Connect) -> None:
        github.rename_repository(repository, f"{repository}-renamed")
        deployed = connect().dispatch({})
        assert github.dispatches[0].repository == f"{repository}-renamed"
        assert deployed.run_id == github.dispatches[0].run_id

    def test_on_a_tag(self, github: GitHub, connect: Connect) -> None:
        assert connect(ref="v1").dispatch({}).ref == "v1"
        assert github.dispatches[0].ref == "v1"

    def test_by_the_number_of_the_workflow(self, github: GitHub, repository: str, connect: Connect) -> None:
        number = github.add_workflow(repository, "numbered.yml")
        connect(deploy_workflow=str(number)).dispatch({})
        assert github.dispatches[0].workflow == "numbered.yml"

    def test_by_a_github_app(self, github: GitHub, repository: str, connect: Connect) -> None:
        app = github.add_app([repository])
        dispatcher = connect(
            github_app_id=str(app.id), github_app_private_key=app.private_key, github_token="ghs_another"
        )
        assert dispatcher.dispatch({}).run_id == github.dispatches[0].run_id

    def test_an_app_that_is_not_installed_there(self, github: GitHub, repository: str, connect: Connect) -> None:
        github.add_repository("acme/elsewhere")
        app = github.add_app(["acme/elsewhere"])
        text = refused(connect(github_app_id=str(app.id), github_app_private_key=app.private_key))
        assert f"the GitHub App isn't installed for {repository} (HTTP 404" in text
        assert "Install it there" in text
        assert app.private_key not in text

    def test_an_app_that_lacks_the_permission(self, github: GitHub, repository: str, connect: Connect) -> None:
        app = github.add_app([repository], actions="read")
        text = refused(connect(github_app_id=str(app.id), github_app_private_key=app.private_key))
        assert "the GitHub App lacks a permission there (`actions: write`) (HTTP 422" in text
        assert "Actions: Read and write" in text

    def test_an_app_with_the_key_of_another(self, github: GitHub, repository: str, connect: Connect) -> None:
        app, other = github.add_app([repository]), github.add_app([repository])
        text = refused(connect(github_app_id=str(app.id), github_app_private_key=other.private_key))
        assert "GitHub refused the sign-in of the GitHub App (HTTP 401" in text

    def test_an_app_with_a_key_that_is_none(self, github: GitHub, repository: str, connect: Connect) -> None:
        app = github.add_app([repository])
        key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEAAAA\n-----END RSA PRIVATE KEY-----"
        text = refused(connect(github_app_id=str(app.id), github_app_private_key=key))
        assert "the GitHub App's private key can't be used" in text
        assert "MIIEAAAA" not in text
        assert github.requests == []

    @pytest.mark.parametrize("line", ["GET /repos/.*/installation", "POST /app/installations/.*/access_tokens"])
    @pytest.mark.parametrize("kind", ["garbage", "empty"])
    def test_an_app_whose_sign_in_makes_no_sense(
        self, github: GitHub, repository: str, connect: Connect, line: str, kind: FaultKind
    ) -> None:
        app = github.add_app([repository])
        sign_in = {"github_app_id": str(app.id), "github_app_private_key": app.private_key}
        github.fail(line, kind=kind)
        assert connect(**sign_in).dispatch({}).run_id is not None
        github.fail(line, kind=kind, times=None)
        text = refused(connect(**sign_in, seconds=1))
        assert "an answer that makes no sense" in text
        assert app.private_key not in text


class TestAnOlderServer:
    """A server that ignores the field `return_run_details`, and so doesn't return the run."""

    @pytest.fixture(autouse=True)
    def older(self, github: GitHub) -> None:
        github.return_run_details = False

    def test_the_run_is_found_by_its_time(self, github: GitHub, repository: str, connect: Connect) -> None:
        github.start_run(repository, WORKFLOW, event="push")
        deployed = connect().dispatch({"a": "b"})
        (dispatch,) = github.dispatches
        assert deployed.run_id == dispatch.run_id
        assert deployed.run_url is not None
        assert deployed.run_url.endswith(str(dispatch.run_id))
        assert dispatch.inputs == {"a": "b"}

    def test_of_two_runs_none_is_named(self, github: GitHub, repository: str, connect: Connect) -> None:
        github.after(DISPATCHES, lambda: github.start_run(repository, WORKFLOW, event="workflow_dispatch"), times=None)
        deployed = connect().dispatch({})
        assert (deployed.run_id, deployed.run_url) == (None, None)
        assert len(github.dispatches) == 1

    def test_a_run_that_is_never_listed_is_not_named(self, github: GitHub, connect: Connect) -> None:
        github.fail(LISTING, status=200, body={"total_count": 0, "workflow_runs": []}, times=None)
        assert connect().dispatch({}).run_id is None
        assert len(github.dispatches) == 1

    def test_a_listing_that_fails_once_starts_no_second_run(self, github: GitHub, connect: Connect) -> None:
        github.fail(LISTING, status=502)
        assert connect().dispatch({}).run_id == github.dispatches[0].run_id
        assert len(github.dispatches) == 1


class TestAServerThatTellsNoDetails:
    def test_the_run_is_found_by_its_time(self, github: GitHub, connect: Connect) -> None:
        github.fail(DISPATCHES, kind="empty", after=True)
        deployed = connect().dispatch({})
        (dispatch,) = github.dispatches
        assert deployed.run_id == dispatch.run_id
        assert deployed.run_url is not None


class TestRefusals:
    def test_a_disabled_workflow(self, github: GitHub, repository: str, connect: Connect) -> None:
        github.add_workflow(repository, "off.yml", state="disabled_inactivity")
        text = refused(connect(deploy_workflow="off.yml"))
        assert "off.yml" in text
        assert "disabled (disabled_inactivity)" in text
        assert "Enable it in the repository's Actions tab" in text
        assert posts(github) == 0

    def test_a_workflow_that_is_not_there(self, github: GitHub, repository: str, connect: Connect) -> None:
        text = refused(connect(deploy_workflow="missing.yml"))
        assert f"there is no .github/workflows/missing.yml on the default branch (trunk) of {repository}" in text
        assert "HTTP 404" in text
        assert "`deploy-workflow`" in text
        assert "set `deploy: never`" in text
        assert posts(github) == 0

    def test_a_repository_that_the_token_does_not_see(self, connect: Connect) -> None:
        text = refused(connect(deploy_repository="acme/hidden"))
        assert "there is no repository acme/hidden, or the token can't see it" in text
        assert "`deploy-repository`" in text

    def test_a_token_that_is_refused(self, connect: Connect) -> None:
        text = refused(connect(github_token="ghs_expired"))
        assert "GitHub refused the token (HTTP 401: Bad credentials)" in text
        assert "ghs_expired" not in text

    def test_a_token_that_may_only_read(self, github: GitHub, connect: Connect) -> None:
        github.add_token("ghs_reader", Permissions(actions="read"))
        text = refused(connect(github_token="ghs_reader"))
        assert "HTTP 403: Resource not accessible" in text
        assert "actions: write" in text
        assert posts(github) == 1

    def test_a_workflow_that_can_not_be_dispatched(self, github: GitHub, repository: str, connect: Connect) -> None:
        github.add_workflow(repository, "push.yml", dispatchable=False)
        text = refused(connect(deploy_workflow="push.yml"))
        assert "HTTP 422: Workflow does not have 'workflow_dispatch' trigger" in text
        assert "on: workflow_dispatch" in text

    @pytest.mark.parametrize("details", [True, False])
    def test_an_input_that_the_workflow_does_not_know(
        self, github: GitHub, repository: str, connect: Connect, details: bool
    ) -> None:
        github.return_run_details = details
        github.add_workflow(repository, "inputs.yml", inputs=["revision"])
        with pytest.raises(DeployError, match=r"422: Unexpected inputs provided: \[\"other\"\]"):
            connect(deploy_workflow="inputs.yml").dispatch({"revision": "8", "other": "x"})
        assert github.dispatches == []

    def test_a_branch_that_is_not_there(self, connect: Connect) -> None:
        assert "422: No ref found for: nowhere" in refused(connect(ref="nowhere"))

    @pytest.mark.parametrize("status", [401, 403, 404, 422])
    def test_is_not_tried_again(self, github: GitHub, connect: Connect, status: int) -> None:
        github.fail(DISPATCHES, status=status, times=None)
        assert f"HTTP {status}" in refused(connect())
        assert posts(github) == 1

    def test_an_answer_that_is_no_object_of_github(self, github: GitHub, connect: Connect) -> None:
        github.fail(r"GET /repos/.*", kind="garbage", times=None)
        assert "makes no sense" in refused(connect(seconds=0.3))
        assert posts(github) == 0

    @pytest.mark.parametrize(
        ("message", "cause", "todo"),
        [
            (
                "Resource protected by organization SAML enforcement. You must grant your OAuth token access to this "
                "organization.",
                "single sign-on (SAML)",
                "Configure SSO",
            ),
            (
                "Although you appear to have the correct authorization credentials, the `acme` organization has an IP "
                "allow list enabled, and your IP address is not permitted to access this resource.",
                "IP allow list",
                "runner's address",
            ),
            ("Repository was archived so is read-only.", "archived", "Unarchive"),
        ],
    )
    def test_with_a_reason_have_a_remedy_of_their_own(
        self, github: GitHub, connect: Connect, message: str, cause: str, todo: str
    ) -> None:
        github.fail(DISPATCHES, status=403, body={"message": message})
        text = refused(connect())
        assert cause in text
        assert todo in text
        assert "actions: write" not in text
        assert posts(github) == 1


class TestARateLimit:
    MESSAGE = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."

    def dispatcher(self, connect: Connect, seconds: float) -> tuple[Dispatcher, Paced]:
        dispatcher, deadline = connect(), Paced(seconds)
        dispatcher._deadline = deadline
        return dispatcher, deadline

    @pytest.mark.parametrize("status", [403, 429])
    def test_that_asks_for_no_wait_gets_a_minute(self, github: GitHub, connect: Connect, status: int) -> None:
        github.fail(DISPATCHES, status=status, body={"message": self.MESSAGE})
        dispatcher, deadline = self.dispatcher(connect, 300)
        assert dispatcher.dispatch({}).run_id == github.dispatches[0].run_id
        assert deadline.waits == [60]

    def test_that_asks_for_a_wait_gets_it(self, github: GitHub, connect: Connect) -> None:
        github.fail(DISPATCHES, status=403, body={"message": self.MESSAGE}, headers={"Retry-After": "7"})
        dispatcher, deadline = self.dispatcher(connect, 300)
        dispatcher.dispatch({})
        assert deadline.waits == [7]

    def test_that_is_longer_than_the_time_is_told(self, github: GitHub, connect: Connect) -> None:
        github.fail(DISPATCHES, status=403, body={"message": self.MESSAGE})
        dispatcher, deadline = self.dispatcher(connect, 50)
        text = refused(dispatcher)
        assert "GitHub limits the rate of requests (HTTP 403" in text
        assert "actions: write" not in text
        assert deadline.waits == []


class TestFailuresThatMayPass:
    @pytest.mark.parametrize("ref", ["refs/heads/trunk", "refs/tags/v1"])
    def test_a_lost_answer_is_looked_for_by_the_short_name_of_the_ref(
        self, github: GitHub, connect: Connect, ref: str
    ) -> None:
        github.fail(DISPATCHES, kind="close", after=True)
        assert connect(ref=ref).dispatch({}).run_id == github.dispatches[0].run_id
        assert len(github.dispatches) == 1

    def test_a_lost_answer_beside_another_run_starts_no_second_one(
        self, github: GitHub, repository: str, connect: Connect
    ) -> None:
        github.fail(DISPATCHES, kind="close", after=True)
        github.after(DISPATCHES, lambda: github.start_run(repository, WORKFLOW, event="workflow_dispatch"))
        assert connect().dispatch({}).run_id is None
        assert len(github.dispatches) == 1

    def test_an_accepted_dispatch_whose_run_is_never_listed_is_not_sent_again(
        self, github: GitHub, connect: Connect
    ) -> None:
        github.return_run_details = False
        github.fail(LISTING, status=502)
        github.fail(LISTING, status=200, body={"total_count": 0, "workflow_runs": []}, times=None)
        assert connect().dispatch({}).run_id is None
        assert len(github.dispatches) == 1

    def test_a_server_that_is_away_for_most_of_the_time(self, github: GitHub, connect: Connect) -> None:
        dispatcher, deadline = connect(), Paced(300)
        dispatcher._deadline = deadline
        github.fail(DISPATCHES, status=502, times=15)
        assert dispatcher.dispatch({}).run_id == github.dispatches[0].run_id
        assert len(github.dispatches) == 1

    def test_a_server_that_is_away_for_a_moment(self, github: GitHub, connect: Connect) -> None:
        github.fail(r"GET /repos/.*", status=503)
        github.fail(DISPATCHES, status=502)
        assert connect().dispatch({}).run_id == github.dispatches[0].run_id
        assert len(github.dispatches) == 1

    @pytest.mark.parametrize("kind", ["close", "truncate"])
    def test_a_dispatch_whose_answer_was_lost_is_not_made_twice(
        self, github: GitHub, connect: Connect, kind: str
    ) -> None:
        github.fail(DISPATCHES, kind=kind, after=True)  # type: ignore[arg-type]
        assert connect().dispatch({}).run_id == github.dispatches[0].run_id
        assert len(github.dispatches) == 1

    def test_a_limit_that_says_when_to_come_back(self, github: GitHub, connect: Connect) -> None:
        github.fail(DISPATCHES, status=403, headers={"Retry-After": "0"})
        github.fail(DISPATCHES, status=429, headers={"Retry-After": "0"})
        assert connect().dispatch({}).run_id == github.dispatches[0].run_id
        assert posts(github) == 3

    def test_a_server_that_fails_for_ever(self, github: GitHub, connect: Connect) -> None:
        github.fail(DISPATCHES, status=500, times=None)
        text = refused(connect(seconds=0.3))
        assert "GitHub failed (HTTP 500" in text
        assert "Run again" in text

    def test_a_server_that_can_not_be_reached(self, github: GitHub, connect: Connect) -> None:
        github.down()
        text = refused(connect(seconds=0.3))
        assert f"GitHub at {github.url} could not be reached" in text
        assert github.token not in text


class TestWaiting:
    def wait(self, dispatcher: Dispatcher, deployed: Deployed, seconds: float = 60) -> tuple[str | None, list[str]]:
        told: list[str] = []
        return dispatcher.wait(deployed, TimeLimit(seconds), told.append).conclusion, told

    @pytest.mark.parametrize("conclusion", ["success", "failure", "cancelled"])
    def test_tells_how_the_run_ended(self, github: GitHub, connect: Connect, conclusion: str) -> None:
        dispatcher = connect()
        deployed = dispatcher.dispatch({})
        github.complete(github.dispatches[0].run_id, conclusion)
        ended, told = self.wait(dispatcher, deployed)
        assert ended == conclusion
        assert told == [f"Deploy run {deployed.run_id}: completed, {conclusion}"]

    def test_tells_each_status_once(self, github: GitHub, connect: Connect) -> None:
        github.run_script = ["queued", "in_progress", "completed/success"]
        dispatcher = connect()
        try:
            deployed = dispatcher.dispatch({})
        finally:
            github.run_script = []
        ended, told = self.wait(dispatcher, deployed)
        assert ended == "success"
        assert [line.split(": ")[1] for line in told] == ["queued", "in_progress", "completed, success"]

    def test_is_for_the_run_that_was_dispatched(self, github: GitHub, repository: str, connect: Connect) -> None:
        dispatcher = connect()
        before = github.start_run(repository, WORKFLOW, event="workflow_dispatch")
        deployed = dispatcher.dispatch({})
        after = github.start_run(repository, WORKFLOW, event="workflow_dispatch")
        github.complete(before, "failure")
        github.complete(after, "failure")
        github.complete(github.dispatches[0].run_id, "success")
        assert self.wait(dispatcher, deployed)[0] == "success"

    def test_does_not_end_for_a_server_that_is_away_for_a_moment(self, github: GitHub, connect: Connect) -> None:
        dispatcher = connect()
        deployed = dispatcher.dispatch({})
        github.complete(github.dispatches[0].run_id)
        github.fail(r"GET /repos/.*/actions/runs/\d+", status=502)
        assert self.wait(dispatcher, deployed)[0] == "success"

    @pytest.mark.parametrize("kind", ["garbage", "close"])
    def test_a_look_that_fails_is_skipped_until_the_deadline(
        self, github: GitHub, connect: Connect, kind: FaultKind
    ) -> None:
        dispatcher = connect()
        deployed = dispatcher.dispatch({})
        github.complete(github.dispatches[0].run_id)
        github.fail(RUN, kind=kind, times=30)
        deadline = Paced(900)
        assert dispatcher.wait(deployed, deadline, lambda _: None).conclusion == "success"
        assert sum(deadline.waits) > 60

    def test_a_run_without_a_status_is_looked_at_again(self, github: GitHub, connect: Connect) -> None:
        dispatcher = connect()
        deployed = dispatcher.dispatch({})
        github.complete(github.dispatches[0].run_id)
        github.fail(RUN, status=200, body={"id": deployed.run_id, "status": None, "conclusion": None})
        ended, told = self.wait(dispatcher, deployed)
        assert ended == "success"
        assert told[0] == f"Deploy run {deployed.run_id}: without a status"

    def test_the_last_look_is_at_the_deadline(self, github: GitHub, connect: Connect) -> None:
        dispatcher = connect()
        deployed = dispatcher.dispatch({})
        deadline = Paced(20)

        def complete_at_the_deadline() -> None:
            if not deadline.remaining():
                github.complete(github.dispatches[0].run_id)

        github.before(RUN, complete_at_the_deadline, times=None)
        assert dispatcher.wait(deployed, deadline, lambda _: None).conclusion == "success"
        assert sum(deadline.waits) == 20

    def test_a_token_that_is_revoked_meanwhile_ends_it(self, github: GitHub, connect: Connect) -> None:
        dispatcher = connect()
        deployed = dispatcher.dispatch({})
        github.fail(RUN, status=401, times=None)
        deadline = Paced(900)
        with pytest.raises(DeployError, match="GitHub refused the token"):
            dispatcher.wait(deployed, deadline, lambda _: None)
        assert deadline.remaining() > 800

    def test_an_answer_that_comes_byte_by_byte_is_left(
        self, github: GitHub, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api, "_LONGEST_ATTEMPT", 0.3)
        dispatcher = connect()
        deployed = dispatcher.dispatch({})
        github.complete(github.dispatches[0].run_id)
        github.fail(RUN, kind="hang")
        ended, told = self.wait(dispatcher, deployed)
        assert ended == "success"
        assert "gave no complete answer in time" in told[0]

    def test_ends_in_time(self, connect: Connect) -> None:
        dispatcher = connect()
        deployed = dispatcher.dispatch({})
        with pytest.raises(DeployError) as error:
            dispatcher.wait(deployed, TimeLimit(0.5), lambda _: None)
        assert "`deploy-timeout` (it is queued)" in error.value.what
        assert error.value.changed == "The sync succeeded, and the deploy was dispatched."
        assert str(deployed.run_url) in str(error.value)

    def test_is_not_possible_for_a_run_that_is_not_known(self, connect: Connect) -> None:
        with pytest.raises(DeployError, match="which run the dispatch started"):
            connect().wait(Deployed(Target("a/b", "c.yml", None), "main", None, None), TimeLimit(5), lambda _: None)


class TestCheck:
    """The check finds what would keep a dispatch from starting a run, and dispatches nothing."""

    def found(self, dispatcher: Dispatcher, **given: object) -> str:
        return "; ".join(f"{one.what}. {one.todo}" for one in dispatcher.check(given))

    def test_nothing(self, github: GitHub, repository: str, connect: Connect) -> None:
        github.add_workflow(repository, "inputs.yml", inputs=["revision"])
        assert self.found(connect(deploy_workflow="inputs.yml", ref="v1"), revision="8") == ""
        assert posts(github) == 0

    def test_no_workflow(self, connect: Connect) -> None:
        assert "there is no .github/workflows/missing.yml" in self.found(connect(deploy_workflow="missing.yml"))

    def test_a_workflow_that_is_disabled(self, github: GitHub, repository: str, connect: Connect) -> None:
        github.add_workflow(repository, "off.yml", state="disabled_manually")
        assert "is disabled (disabled_manually)" in self.found(connect(deploy_workflow="off.yml"))

    def test_a_workflow_without_the_trigger(self, github: GitHub, repository: str, connect: Connect) -> None:
        github.add_workflow(repository, "push.yml", dispatchable=False)
        assert "has no `on: workflow_dispatch`" in self.found(connect(deploy_workflow="push.yml"))

    def test_inputs_that_it_does_not_define(self, github: GitHub, repository: str, connect: Connect) -> None:
        github.add_workflow(repository, "inputs.yml", inputs=["revision"])
        found = self.found(connect(deploy_workflow="inputs.yml"), revision="8", other="x")
        assert "doesn't define the input other of `deploy-inputs`" in found

    def test_inputs_that_it_requires(self) -> None:
        text = (
            "on:\n  workflow_dispatch:\n    inputs:\n      a: {required: true}\n      b: {required: true, default: 1}\n"
        )
        assert dispatch._unfit(text, {}) == ["requires the input a, which `deploy-inputs` doesn't give"]

    @pytest.mark.parametrize(
        "text", ["on: workflow_dispatch", "on: [push, workflow_dispatch]", '"on": {workflow_dispatch: }']
    )
    def test_no_input_is_needed_for_a_trigger_of_any_form(self, text: str) -> None:
        assert dispatch._unfit(text, {}) == []

    def test_a_branch_that_is_not_there(self, connect: Connect) -> None:
        found = self.found(connect(ref="nowhere"))
        assert "there is no branch or tag nowhere" in found
        assert "`deploy-ref`" in found

    def test_what_the_token_may_not_read_is_not_counted(self, github: GitHub, connect: Connect) -> None:
        github.fail(r"GET /repos/.*/contents/.*", status=403)
        assert self.found(connect()) == ""
