"""GitHub: the dispatch of the deploy workflow, and the wait for its run.

Source: docs.github.com, REST API, "Create a workflow dispatch event" and "Workflow runs"; PyGithub 2.10.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from sophia_sync import github_api
from sophia_sync.deploy import Target
from sophia_sync.errors import DeployError
from sophia_sync.inputs import Settings
from sophia_sync.runtime.limits import TimeLimit

if TYPE_CHECKING:
    from github import Github
    from github.Workflow import Workflow
    from github.WorkflowRun import WorkflowRun

# A run that GitHub doesn't name is looked for this often, so many seconds apart: it may be listed late.
_LOOKS = 5
_LOOK_AGAIN = 1.0
# Seconds between two looks at a run: short at first, for tests and quick deploys, then sparing the rate limit.
_SHORTEST_POLL = 1.0
_LONGEST_POLL = 15.0

T = TypeVar("T")


@dataclass(frozen=True)
class Deployed:
    """A dispatched deploy. The run is None where GitHub doesn't tell; the conclusion where nobody waited for it."""

    target: Target
    ref: str
    run_id: int | None
    run_url: str | None
    conclusion: str | None = None


def load() -> None:
    """Load PyGithub: to be done beside something else, since it takes longer than all that we load besides."""
    import github  # noqa: F401, PLC0415


class Dispatcher:
    """GitHub, as one token or one GitHub App sees it.

    Args:
        settings: The token, or the App's id and private key.
        target: The workflow that deploys.
        api_url: Where GitHub's API is.
        deadline: When everything but the wait must be done.
    """

    def __init__(self, settings: Settings, target: Target, api_url: str, deadline: TimeLimit) -> None:
        self._settings = settings
        self._target = target
        self._api_url = api_url
        self._deadline = deadline
        self._github: Github | None = None
        self._lost_since: datetime | None = None  # when a dispatch was sent whose answer was lost

    def dispatch(self, inputs: dict[str, Any]) -> Deployed:
        """Dispatch the workflow, with at most 25 inputs (GitHub's limit).

        A dispatch whose answer was lost is looked for among the runs before it is tried again.

        Raises:
            DeployError: It was not dispatched.
        """
        return self._carefully(lambda: self._dispatch(inputs), self._deadline)

    def wait(self, deployed: Deployed, deadline: TimeLimit, tell: Callable[[str], None]) -> Deployed:
        """Wait until the dispatched run has ended; the outcome has its conclusion, such as `success`.

        Args:
            deployed: What `dispatch` returned.
            deadline: When to stop waiting.
            tell: Is given a line whenever the run's status changes.

        Raises:
            DeployError: The run isn't known, or did not end in time.
        """
        if deployed.run_id is None:
            raise DeployError(
                "The deploy was dispatched, but which run it started can't be told, so it can't be waited for.",
                "The sync stands. Look at the workflow's runs in the Actions tab.",
            )
        run_id, poll, seen = deployed.run_id, _SHORTEST_POLL, ""
        while True:
            status, conclusion = self._carefully(lambda: self._status(run_id), deadline)
            if status != seen:
                tell(f"Deploy run {run_id}: {status}{f', {conclusion}' if conclusion else ''}")
                seen = status
            if status == "completed":
                return replace(deployed, conclusion=conclusion)
            if deadline.remaining() <= poll:
                raise DeployError(
                    f"The deploy run {run_id} did not end within the {deadline.seconds:.0f} seconds of "
                    f"`deploy-timeout` (it is {status}): {deployed.run_url}.",
                    "The sync stands. Look at the run, or give a larger `deploy-timeout`.",
                )
            time.sleep(poll)
            poll = min(poll * 1.5, _LONGEST_POLL)

    def close(self) -> None:
        if self._github is not None:
            self._github.close()

    def _client(self) -> Github:
        if self._github is None:
            permissions = {"actions": "write"}
            self._github = github_api.sign_in(
                self._settings, self._target.repository, self._api_url, self._deadline, permissions
            )
        return self._github

    def _dispatch(self, inputs: dict[str, Any]) -> Deployed:
        target = self._target
        repository = self._client().get_repo(target.repository)
        ref = target.ref or repository.default_branch
        workflow = repository.get_workflow(target.workflow)
        if not isinstance(ref, str) or not isinstance(workflow.state, str):
            raise github_api.UnexpectedAnswerError
        if workflow.state != "active":
            raise DeployError(
                f"The workflow {target.workflow} in {target.repository} is disabled ({workflow.state}).",
                "The sync stands. Enable the workflow in the repository's Actions tab and run again.",
            )
        if self._lost_since is not None:
            run_id, run_url = _find_run(workflow, ref, self._lost_since)
            if run_id is not None:
                return Deployed(target, ref, run_id, run_url)
        return self._send(workflow, ref, inputs)

    def _send(self, workflow: Workflow, ref: str, inputs: dict[str, Any]) -> Deployed:
        from github import GithubException  # noqa: PLC0415

        since = _server_time(workflow.raw_headers)
        try:
            run: Any = workflow.create_dispatch(ref, inputs, throw=True, return_run_details=True)
        except GithubException as error:
            if error.status != 422 or "return_run_details" not in str(error.data):
                if error.status >= 500:
                    self._lost_since = since
                raise
        except Exception:
            self._lost_since = since
            raise
        else:
            if getattr(run, "id", None) is not None:
                return Deployed(self._target, ref, run.id, run.html_url)
            # Accepted without a word of the run: find it by its time.
            self._lost_since = since
            run_id, run_url = _find_run(workflow, ref, since)
            return Deployed(self._target, ref, run_id, run_url)
        # An older server that doesn't know the field: ask without it.
        self._lost_since = since
        workflow.create_dispatch(ref, inputs, throw=True)
        run_id, run_url = _find_run(workflow, ref, since)
        return Deployed(self._target, ref, run_id, run_url)

    def _status(self, run_id: int) -> tuple[str, str | None]:
        repository = self._client().get_repo(self._target.repository)
        run = repository.get_workflow_run(run_id)
        if not isinstance(run.status, str):
            raise github_api.UnexpectedAnswerError
        return run.status, run.conclusion

    def _carefully(self, call: Callable[[], T], deadline: TimeLimit) -> T:
        """Call GitHub, again where that may help, and tell a failure in words."""
        from github import GithubException  # noqa: PLC0415
        from requests import RequestException  # noqa: PLC0415

        try:
            return github_api.repeated(call, deadline)
        except GithubException as error:
            raise self._refused(error.status, error.data) from None
        except RequestException as error:
            raise DeployError(
                f"GitHub at {self._api_url} could not be reached for the deploy ({type(error).__name__}).",
                "The sync stands. Run again: with `deploy: changed` the deploy is made up for.",
            ) from None
        except github_api.UnusableKeyError as error:
            raise DeployError(
                f"GitHub was not asked for the deploy: {error}.",
                "The sync stands. Store the whole file that GitHub gave for the App in `github-app-private-key`, and "
                "run again.",
            ) from None
        except github_api.unexpected():
            raise DeployError(
                f"GitHub at {self._api_url} gave an answer for the deploy that makes no sense.",
                "The sync stands. Check that GITHUB_API_URL is GitHub's API, and run again.",
            ) from None

    def _refused(self, status: int, data: object) -> DeployError:
        cause, todo = _REFUSALS.get(status, ("GitHub failed", "Run again later."))
        message = github_api.message(data)
        reason = f"HTTP {status}{f': {message}' if message else ''}"
        return DeployError(
            f"The deploy by {self._target.workflow} in {self._target.repository} failed: {cause} ({reason}).",
            f"The sync stands. {todo}",
        )


_REFUSALS = {
    401: ("GitHub refused the token", "Check `github-token`, or the GitHub App's id and private key."),
    403: (
        "the token may not do that there",
        "Give the job `permissions: actions: write`; another repository needs `github-app-id` and "
        "`github-app-private-key`, or a token of its own.",
    ),
    404: (
        "there is no such workflow, or the token can't see it",
        "Check `deploy-workflow` and `deploy-repository`; the file must be on the default branch.",
    ),
    422: (
        "GitHub refused the dispatch",
        "The workflow needs `on: workflow_dispatch` with the inputs that `deploy-inputs` gives, and "
        "`deploy-ref` must exist.",
    ),
}


def _server_time(headers: Mapping[str, Any]) -> datetime:
    """What GitHub's clock said in its last answer; ours may be wrong."""
    try:
        return parsedate_to_datetime(str(headers["date"]))
    except (KeyError, ValueError):
        return datetime.now(UTC) - timedelta(minutes=1)


def _find_run(workflow: Workflow, ref: str, since: datetime) -> tuple[int | None, str | None]:
    """The one run that was dispatched since then; None where there is none yet, or more than one."""
    for look in range(_LOOKS):
        if look:
            time.sleep(_LOOK_AGAIN)
        runs = workflow.get_runs(event="workflow_dispatch", created=f">={since:%Y-%m-%dT%H:%M:%SZ}")
        # Not `runs[:30]`: PyGithub's slice of a list that is empty raises IndexError.
        newest: Iterable[WorkflowRun] = islice(runs, 30)
        found = [(run.id, run.html_url) for run in newest if run.head_branch == ref]
        if found:
            return found[0] if len(found) == 1 else (None, None)
    return None, None
