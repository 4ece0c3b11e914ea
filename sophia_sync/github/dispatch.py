"""Dispatch the deploy workflow, wait for its run, and check beforehand that it can be dispatched.

Source: docs.github.com, REST API, "Create a workflow dispatch event" and "Workflow runs"; PyGithub 2.10.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from sophia_sync.github import api
from sophia_sync.github.api import GitHubError
from sophia_sync.outcome import DISPATCHED, NOT_STARTED, Deployed, Target
from sophia_sync.runtime.errors import DeployError
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.settings.inputs import Access

if TYPE_CHECKING:
    from github import Github
    from github.Repository import Repository
    from github.Workflow import Workflow
    from github.WorkflowRun import WorkflowRun

# Number of looks for a run that GitHub doesn't name, and seconds in between: GitHub may list it late.
_LOOKS = 5
_LOOK_AGAIN = 1.0
# Seconds between two looks at a run: short at first, for quick deploys, then longer, for the rate limit.
_SHORTEST_POLL = 1.0
_LONGEST_POLL = 15.0
# Number of refusals in a row that end the wait: a revoked token stays revoked.
_REFUSALS = 5

_NEVER = "set `deploy: never` to sync without a deploy."

T = TypeVar("T")


@dataclass(frozen=True)
class _Sent:
    """A dispatch that may have started a run since a time on GitHub's clock; `accepted` if GitHub confirmed it."""

    since: datetime
    accepted: bool = False


def load() -> None:
    """Load PyGithub, which takes half a second, while something else waits."""
    import github  # noqa: F401, PLC0415


class Dispatcher:
    """The deploy workflow, as one token or one GitHub App sees it.

    Args:
        access: The token, or the App's id and private key.
        target: The workflow that deploys.
        api_url: The address of GitHub's API.
        deadline: The time limit for everything but the wait.
    """

    def __init__(self, access: Access, target: Target, api_url: str, deadline: TimeLimit) -> None:
        self._access = access
        self._target = target
        self._api_url = api_url
        self._deadline = deadline
        self._github: Github | None = None
        self._sent: _Sent | None = None

    def dispatch(self, inputs: dict[str, Any]) -> Deployed:
        """Dispatch the workflow.

        If the answer to a dispatch was lost, look for its run before sending it again.

        Raises:
            DeployError: GitHub refused it, or it isn't known whether GitHub took it.
        """
        try:
            return api.ask(lambda: self._dispatch(inputs), self._deadline, self._api_url)
        except GitHubError as error:
            lost = self._sent is not None
            what = "GitHub didn't confirm the dispatch of the deploy" if lost else "The deploy could not be dispatched"
            changed = "The sync succeeded. Whether the deploy started isn't known." if lost else NOT_STARTED
            raise DeployError(f"{what}: {error.what}.", error.todo or "Run again later.", changed) from None

    def check(self, inputs: Mapping[str, Any]) -> list[GitHubError]:
        """Return what would keep a dispatch with these inputs from starting a run. Dispatch nothing.

        A file that the token may not read counts as fit: a dispatch doesn't need that permission.
        """

        def look() -> list[str]:
            repository, workflow, ref = self._find()
            text = _file_on(repository, workflow, ref)
            return [] if text is None else _unfit(text, inputs)

        try:
            unfit = api.ask(look, self._deadline, self._api_url)
        except GitHubError as error:
            return [error]
        todo = "Change the workflow's `on: workflow_dispatch`, or `deploy-inputs`."
        return [GitHubError(f"{self._target.workflow} in {self._target.repository} {why}", todo) for why in unfit]

    def wait(self, deployed: Deployed, deadline: TimeLimit, tell: Callable[[str], None]) -> Deployed:
        """Wait until the dispatched run has ended. Return it with its conclusion, such as `success`.

        If a look at the run fails, look again later. Several refusals in a row end the wait.

        Args:
            deployed: What `dispatch` returned.
            deadline: When to stop waiting.
            tell: Called with a line whenever the run's status changes.

        Raises:
            DeployError: GitHub doesn't name the run, refuses to show it, or the run did not end in time.
        """
        if deployed.run_id is None:
            raise DeployError(
                "GitHub doesn't tell which run the dispatch started, so the action can't wait for it.",
                "Look at the workflow's runs in the Actions tab.",
                DISPATCHED,
            )
        run_id, poll, seen, refusals = deployed.run_id, _SHORTEST_POLL, "", 0
        while True:
            is_last = not deadline.remaining()
            pause = poll
            try:
                status, conclusion = api.ask(lambda: self._look(run_id), deadline, self._api_url, once=True)
                refusals = 0
            except GitHubError as error:
                status, conclusion = f"not known: {error.what}", None
                refusals += error.is_final
                pause = max(poll, error.wait or 0)
            if status != seen:
                tell(f"Deploy run {run_id}: {status}{f', {conclusion}' if conclusion else ''}")
                seen = status
            if status == "completed":
                return replace(deployed, conclusion=conclusion)
            if refusals >= _REFUSALS:
                raise DeployError(
                    f"How the deploy run {run_id} ends is {status} ({deployed.run_url}).",
                    "Look at the run.",
                    DISPATCHED,
                )
            if is_last:
                raise DeployError(
                    f"The deploy run {run_id} did not end within the {deadline.seconds:.0f} seconds of "
                    f"`deploy-timeout` (it is {status}): {deployed.run_url}.",
                    "Look at the run, or give a larger `deploy-timeout`.",
                    DISPATCHED,
                )
            deadline.sleep(min(pause, deadline.remaining()))
            poll = min(poll * 1.5, _LONGEST_POLL)

    def close(self) -> None:
        """Close the connections."""
        if self._github is not None:
            self._github.close()

    def _client(self) -> Github:
        if self._github is None:
            self._github = api.sign_in(
                self._access, self._target.repository, self._api_url, self._deadline, {"actions": "write"}
            )
        return self._github

    def _find(self) -> tuple[Repository, Workflow, str]:
        """Return the repository, the active workflow, and the name of the branch or tag.

        Raises:
            GitHubError: One of them doesn't exist, or the token can't see it.
        """
        target = self._target

        def see() -> Repository:
            found = self._client().get_repo(target.repository)
            if not isinstance(found.default_branch, str):  # asks GitHub
                raise api.UnexpectedAnswerError
            return found

        repository = _told(
            see,
            {
                404: (
                    f"there is no repository {target.repository}, or the token can't see it",
                    "Check `deploy-repository`; another repository needs `github-app-id` and `github-app-private-key`, "
                    f"or a token of its own. Or {_NEVER}",
                ),
                403: _forbidden("read"),
            },
        )
        ref = target.ref or repository.default_branch
        is_number = target.workflow.isdecimal()
        there = f"on the default branch ({repository.default_branch}) of {target.repository}"
        missing = (
            f"there is no workflow with the number {target.workflow} in {target.repository}"
            if is_number
            else f"there is no .github/workflows/{target.workflow} {there}"
        )
        add = "Check `deploy-workflow`" if is_number else "Add the file there, or name yours in `deploy-workflow`"

        def read() -> Workflow:
            found = repository.get_workflow(target.workflow)
            if not isinstance(found.state, str):
                raise api.UnexpectedAnswerError
            return found

        workflow = _told(read, {404: (missing, f"{add}; or {_NEVER}"), 403: _forbidden("read")})
        if workflow.state != "active":
            raise GitHubError(
                f"the workflow {target.workflow} in {target.repository} is disabled ({workflow.state})",
                f"Enable it in the repository's Actions tab and run again, or {_NEVER}",
            )
        return repository, workflow, ref

    def _dispatch(self, inputs: dict[str, Any]) -> Deployed:
        _, workflow, ref = self._find()
        if self._sent is not None:
            found = self._runs_since(workflow, ref, self._sent.since)
            # If there are several, all of them began after the sync, so each deploys it.
            if found or self._sent.accepted:
                return self._deployed(ref, found)
            self._sent = None
        since = _server_time(workflow.raw_headers)
        run = self._send(workflow, ref, inputs, since)
        if getattr(run, "id", None) is not None:
            return Deployed(self._target, ref, run.id, run.html_url)
        self._sent = _Sent(since, accepted=True)
        return self._deployed(ref, self._runs_since(workflow, ref, since))

    def _deployed(self, ref: str, runs: Sequence[tuple[int, str]]) -> Deployed:
        return Deployed(self._target, ref, *(runs[0] if len(runs) == 1 else (None, None)))

    def _send(self, workflow: Workflow, ref: str, inputs: dict[str, Any], since: datetime) -> Any:
        """Send the dispatch. Set `_sent` if the answer is lost. Return the run if GitHub names it."""
        from github import GithubException  # noqa: PLC0415

        refusals = {
            403: _forbidden("write"),
            422: (
                "GitHub refused the dispatch",
                "The workflow needs `on: workflow_dispatch` with the inputs that `deploy-inputs` gives, and "
                "`deploy-ref` must exist.",
            ),
        }

        def send(ask: Callable[[], Any]) -> Any:
            self._sent = _Sent(since)
            try:
                run = ask()
            except GithubException as error:
                if error.status < 500:
                    self._sent = None  # refused
                raise
            self._sent = None
            return run

        try:
            return send(lambda: workflow.create_dispatch(ref, inputs, throw=True, return_run_details=True))
        except GithubException as error:
            if error.status != 422 or "return_run_details" not in str(error.data):
                raise _specific(error, refusals) from None
        # An older server doesn't know the field: dispatch without it.
        return _told(lambda: send(lambda: workflow.create_dispatch(ref, inputs, throw=True)), refusals)

    def _runs_since(self, workflow: Workflow, ref: str, since: datetime) -> list[tuple[int, str]]:
        """Return the runs on a branch or tag that were dispatched since a time. Look again while there are none."""
        for look in range(_LOOKS):
            if look:
                self._deadline.sleep(_LOOK_AGAIN)
            runs = workflow.get_runs(event="workflow_dispatch", created=f">={since:%Y-%m-%dT%H:%M:%SZ}")
            # Not `runs[:30]`: PyGithub's slice of a list that is empty raises IndexError.
            newest: Iterable[WorkflowRun] = islice(runs, 30)
            found = [(run.id, run.html_url) for run in newest if run.head_branch == short(ref)]
            if found:
                return found
        return []

    def _look(self, run_id: int) -> tuple[str, str | None]:
        run = self._client().get_repo(self._target.repository).get_workflow_run(run_id)
        if run.status is None:
            return "without a status", None
        if not isinstance(run.status, str):
            raise api.UnexpectedAnswerError
        return run.status, run.conclusion


def short(ref: str) -> str:
    """Return a ref as a run's `head_branch` has it: `main` for `refs/heads/main`."""
    return re.sub(r"^refs/(heads|tags)/", "", ref)


_Reasons = Mapping[int, tuple[str, str]]


def _told(call: Callable[[], T], reasons: _Reasons) -> T:
    """Call GitHub. If it doesn't explain a refusal, add the cause and remedy for the status."""
    from github import GithubException  # noqa: PLC0415

    try:
        return call()
    except GithubException as error:
        raise _specific(error, reasons) from None


def _specific(error: Any, reasons: _Reasons) -> Exception:
    if api.may_pass(error) or error.status not in reasons:
        return error  # type: ignore[no-any-return]
    known = api.refused(error)
    if known.todo:
        return known
    cause, todo = reasons[error.status]
    return GitHubError(f"{cause} ({api.reason(error)})", todo, error.status)


def _forbidden(level: str) -> tuple[str, str]:
    return (
        "the token may not do that there",
        f"Give the job `permissions: actions: {level}`; another repository needs `github-app-id` and "
        f"`github-app-private-key`, or a token of its own. Or {_NEVER}",
    )


def _server_time(headers: Mapping[str, Any]) -> datetime:
    """Return the time of GitHub's clock in its last answer, because ours may be wrong."""
    try:
        return parsedate_to_datetime(str(headers["date"]))
    except (KeyError, ValueError, OverflowError):
        return datetime.now(UTC) - timedelta(minutes=1)


def _file_on(repository: Repository, workflow: Workflow, ref: str) -> str | None:
    """Return the workflow's file on a branch or tag; None if the token may not read it.

    Raises:
        GitHubError: There is no such branch or tag, or the file isn't on it.
    """
    from github import GithubException  # noqa: PLC0415

    try:
        found = repository.get_contents(workflow.path, ref=ref)
    except GithubException as error:
        said = api.message(error.data)
        if error.status == 404 and "No commit found" in said:
            raise GitHubError(
                f"there is no branch or tag {ref} in {repository.full_name} ({api.reason(error)})",
                "Check `deploy-ref`.",
                404,
            ) from None
        if error.status in (403, 404) and not api.may_pass(error):
            return None
        raise
    if isinstance(found, list):
        raise api.UnexpectedAnswerError
    return found.decoded_content.decode(errors="replace")


def _unfit(text: str, given: Mapping[str, Any]) -> list[str]:
    """Return the reasons why a workflow's file doesn't take these inputs, each as the rest of a sentence.

    Source: docs.github.com, "Workflow syntax for GitHub Actions", `on.workflow_dispatch.inputs`.
    """
    import yaml  # noqa: PLC0415 - only where a deploy is checked

    try:
        # Every scalar is text: YAML 1.1 would read the key `on` as true.
        workflow = yaml.load(text, Loader=yaml.CBaseLoader)  # noqa: S506 - it makes text, lists and mappings alone
    except yaml.YAMLError:
        return ["isn't YAML"]
    triggers = workflow.get("on") if isinstance(workflow, dict) else None
    if isinstance(triggers, str):
        triggers = [triggers]
    if not isinstance(triggers, list | dict) or "workflow_dispatch" not in triggers:
        return ["has no `on: workflow_dispatch`"]
    options = triggers["workflow_dispatch"] if isinstance(triggers, dict) else None
    defined = options.get("inputs") if isinstance(options, dict) else None
    defined = defined if isinstance(defined, dict) else {}
    unknown = sorted(set(given) - set(defined))
    missing = sorted(
        name
        for name, about in defined.items()
        if isinstance(about, dict) and about.get("required") == "true" and "default" not in about and name not in given
    )
    problems = []
    if unknown:
        problems.append(f"doesn't define {_listed(unknown)} of `deploy-inputs`")
    if missing:
        problems.append(f"requires {_listed(missing)}, which `deploy-inputs` doesn't give")
    return problems


def _listed(names: Sequence[str]) -> str:
    return f"the input{'s' if len(names) > 1 else ''} {', '.join(names)}"
