"""GitHub: whether a deploy is due, its dispatch, and the mark in ESC that tells what was last deployed.

`deploy: changed` must not lose a deploy whose dispatch failed after its write. So each dispatch is followed by a
revision tag in ESC; a later run compares what ESC held at that tag with what it should hold now. Where the mark can't
be read or set, the deploy runs once too often rather than once too few.

Source: docs.github.com, REST API, "Create a workflow dispatch event".
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from sophia_sync.bundle import Bundle
from sophia_sync.errors import DeployError, SyncError
from sophia_sync.esc.cli import Pulumi
from sophia_sync.inputs import DeployWhen, RunContext, Settings
from sophia_sync.plan import make_plan
from sophia_sync.process import Deadline
from sophia_sync.sync import Result, Synced, read

if TYPE_CHECKING:
    from github import GithubException
    from github.Workflow import Workflow
    from github.WorkflowRun import WorkflowRun

# A run that GitHub doesn't name is looked for this often, a second apart.
_LOOKS = 5


@dataclass(frozen=True)
class Target:
    """The workflow that deploys. `ref` None is the repository's default branch."""

    repository: str
    workflow: str
    ref: str | None

    @property
    def mark(self) -> str:
        """The name of the revision tag that says what this workflow last deployed."""
        digest = hashlib.sha256(f"{self.repository}/{self.workflow}@{self.ref or ''}".encode()).hexdigest()
        return f"sentry-esc-sync-deployed-{digest[:12]}"


@dataclass(frozen=True)
class Deployed:
    """A dispatched deploy. The run is None where GitHub doesn't tell."""

    target: Target
    ref: str
    run_id: int | None
    run_url: str | None


def target_of(settings: Settings) -> Target:
    """The workflow that the settings name; only for settings that ask for a deploy."""
    assert settings.deploy_repository is not None  # noqa: S101 - `inputs.load` has seen to it
    return Target(settings.deploy_repository, settings.deploy_workflow, settings.deploy_ref)


def is_due(settings: Settings, synced: Synced, bundle: Bundle, pulumi: Pulumi, warn: Callable[[str], None]) -> bool:
    """Whether a verified sync is to be followed by a deploy."""
    if synced.result is Result.PLANNED or settings.deploy is DeployWhen.NEVER:
        return False
    if settings.deploy is DeployWhen.ALWAYS or synced.result is Result.SYNCED:
        return True
    try:
        deployed = read(pulumi, synced.environment, target_of(settings).mark)
    except SyncError as error:
        warn(f"What was last deployed isn't known, so the deploy runs: {error.what}")
        return True
    return bool(make_plan(bundle, deployed).changed_keys)


def needs_revision(inputs: dict[str, Any]) -> bool:
    """Whether an input asks for the revision's number, which an unchanged sync has to look up."""
    return any("{revision}" in value for value in inputs.values() if isinstance(value, str))


def fill(inputs: dict[str, Any], revision: int | None, environment: str, run_url: str | None) -> dict[str, Any]:
    """The workflow's inputs with `{revision}`, `{environment}` and `{run_url}` filled in, empty where unknown."""
    values = {
        "{revision}": "" if revision is None else str(revision),
        "{environment}": environment,
        "{run_url}": run_url or "",
    }

    def filled(text: str) -> str:
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        return text

    return {name: filled(value) if isinstance(value, str) else value for name, value in inputs.items()}


def dispatch(
    target: Target, inputs: dict[str, Any], token: SecretStr, context: RunContext, deadline: Deadline
) -> Deployed:
    """Dispatch the deploy workflow.

    Args:
        target: The workflow.
        inputs: Its inputs, at most 25 (GitHub's limit).
        token: Needs `actions: write` in the target's repository.
        context: Where GitHub's API is.
        deadline: Each request gets what is left of it, at most 30 seconds.

    Raises:
        DeployError: It was not dispatched.
    """
    # PyGithub costs half a second to import: only when a dispatch is due.
    from github import Auth, Github, GithubException, GithubRetry  # noqa: PLC0415
    from requests import RequestException  # noqa: PLC0415

    # Only reads are repeated: a dispatch whose answer was lost may have started a run.
    retry = GithubRetry(total=3, backoff_factor=0.5, allowed_methods={"GET"}, max_rate_limit_wait=deadline.remaining())
    client = Github(
        auth=Auth.Token(token.get_secret_value()),
        base_url=context.api_url,
        timeout=max(1, min(30, int(deadline.remaining()))),
        retry=retry,
        seconds_between_requests=None,
        seconds_between_writes=None,
    )
    try:
        return _dispatch(client, target, inputs)
    except GithubException as error:
        raise _refused(target, error) from None
    except RequestException as error:
        raise DeployError(
            f"GitHub at {context.api_url} could not be reached for the deploy ({type(error).__name__}).",
            "The sync stands. Run again: with `deploy: changed` the deploy is made up for.",
        ) from None
    finally:
        client.close()


def _dispatch(client: Any, target: Target, inputs: dict[str, Any]) -> Deployed:
    from github import GithubException  # noqa: PLC0415

    repository = client.get_repo(target.repository, lazy=target.ref is not None)
    ref = target.ref or repository.default_branch
    workflow: Workflow = repository.get_workflow(target.workflow)
    if workflow.state != "active":
        raise DeployError(
            f"The workflow {target.workflow} in {target.repository} is disabled ({workflow.state}).",
            "The sync stands. Enable the workflow in the repository's Actions tab and run again.",
        )
    try:
        run = workflow.create_dispatch(ref, inputs, throw=True, return_run_details=True)
    except GithubException as error:
        if error.status != 422 or "return_run_details" not in str(error.data):
            raise
    else:
        return Deployed(target, ref, getattr(run, "id", None), getattr(run, "html_url", None))
    # An older server that doesn't know the field: ask without it, and find the run by its time.
    since = datetime.now(UTC) - timedelta(minutes=5)
    before = _runs(workflow, since)
    workflow.create_dispatch(ref, inputs, throw=True)
    run_id, run_url = _find_run(workflow, before, since)
    return Deployed(target, ref, run_id, run_url)


def _runs(workflow: Workflow, since: datetime) -> dict[int, str]:
    """The addresses of the newest dispatched runs of a workflow, by their id."""
    runs: Iterable[WorkflowRun] = workflow.get_runs(event="workflow_dispatch", created=f">={since:%Y-%m-%dT%H:%M:%SZ}")[
        :30
    ]
    return {run.id: run.html_url for run in runs}


def _find_run(workflow: Workflow, before: dict[int, str], since: datetime) -> tuple[int | None, str | None]:
    """The one run that is new; None where there is none yet, or more than one."""
    for look in range(_LOOKS):
        if look:
            time.sleep(1)
        new = [(run_id, url) for run_id, url in _runs(workflow, since).items() if run_id not in before]
        if new:
            return new[0] if len(new) == 1 else (None, None)
    return None, None


def _refused(target: Target, error: GithubException) -> DeployError:
    message = error.data.get("message", "") if isinstance(error.data, dict) else ""
    causes = {
        401: ("GitHub refused the token", "Check `github-token`."),
        403: (
            "the token may not dispatch workflows there",
            "Give the job `permissions: actions: write`; for another repository a token of its own is needed.",
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
    cause, todo = causes.get(error.status, ("GitHub failed", "Run again later."))
    what = f"{target.workflow} in {target.repository} was not dispatched: {cause} (HTTP {error.status}"
    return DeployError(f"{what}{': ' + message if message else ''}).", f"The sync stands. {todo}")
