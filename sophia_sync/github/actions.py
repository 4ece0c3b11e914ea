"""Read what GitHub Actions knows of a repository: workflows, their last runs, and the names of secrets.

Source: docs.github.com, REST API, "Workflows", "Workflow runs", "Actions secrets" and "Actions variables".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeVar

from sophia_sync.github import api
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.settings.inputs import Access

if TYPE_CHECKING:
    from github import Github
    from github.Repository import Repository
    from github.WorkflowRun import WorkflowRun

T = TypeVar("T")


class ReadingError(Exception):
    """GitHub gave no usable answer. The text is the cause, as a part of a sentence.

    Args:
        why: The cause.
        status: The status of the response, if there was one.
        todo: What to do about it; empty if the caller knows better.
    """

    def __init__(self, why: str, status: int | None = None, todo: str = "") -> None:
        super().__init__(why)
        self.status = status
        self.todo = todo


@dataclass(frozen=True)
class Facts:
    """A repository. `pushed` is the time of the last push."""

    full_name: str
    private: bool
    pushed: datetime | None


@dataclass(frozen=True)
class Run:
    """A run of a workflow. The conclusion is None until the run has ended."""

    id: int
    url: str
    event: str
    status: str
    conclusion: str | None
    created: datetime


@dataclass(frozen=True)
class Workflow:
    """A workflow, and its newest, newest scheduled and newest successful runs.

    Attributes:
        file: The name of its file, or its number.
        state: `active`, `disabled_inactivity`, `disabled_manually`, …
        last: The newest run.
        scheduled: The newest run that the schedule started.
        succeeded: The newest run with the conclusion `success`.
    """

    file: str
    state: str
    last: Run | None
    scheduled: Run | None
    succeeded: Run | None


@dataclass(frozen=True)
class Named:
    """The name of a secret or variable, and its owner: `organization` or `repository`."""

    name: str
    updated: datetime
    owner: str
    secret: bool


class Reader:
    """The Actions of one repository, as a token or a GitHub App sees them.

    Args:
        access: The token, or the App's id and private key.
        repository: `owner/name`.
        api_url: The address of GitHub's API.
        deadline: The time limit for all requests.
    """

    def __init__(self, access: Access, repository: str, api_url: str, deadline: TimeLimit) -> None:
        self._access = access
        self._name = repository
        self._api_url = api_url
        self._deadline = deadline
        self._github: Github | None = None

    def close(self) -> None:
        if self._github is not None:
            self._github.close()

    def facts(self) -> Facts:
        """Return the repository.

        Raises:
            ReadingError: GitHub gave no answer to use.
        """

        def ask() -> Facts:
            found = self._repository()
            if not isinstance(found.private, bool):  # unlike the name, which PyGithub takes from the address
                raise api.UnexpectedAnswerError
            return Facts(_text(found.full_name), found.private, found.pushed_at)

        return self._told(ask)

    def workflow(self, file: str) -> Workflow | None:
        """Return a workflow by its file's name or number; None if it doesn't exist.

        Raises:
            ReadingError: GitHub gave no answer to use.
        """

        def ask() -> Workflow:
            found = self._repository().get_workflow(file)
            runs = found.get_runs(), found.get_runs(event="schedule"), found.get_runs(status="success")
            return Workflow(file, _text(found.state), *map(_newest, runs))

        try:
            return self._told(ask)
        except ReadingError as error:
            if error.status == 404:
                return None
            raise

    def names(self, kind: Literal["secrets", "variables"], owner: Literal["organization", "repository"]) -> list[Named]:
        """Return the names of the secrets or variables that the repository's workflows can use.

        Args:
            kind: `secrets` or `variables`.
            owner: `organization` or `repository`.

        Raises:
            ReadingError: The token may not see them.
        """

        place = f"organization-{kind}" if owner == "organization" else kind
        return self._told(lambda: self._named(f"{self._repository().url}/actions/{place}", kind, owner))

    def of_organization(self, kind: Literal["secrets", "variables"]) -> list[Named]:
        """Return the names of all secrets or variables of the repository's organization.

        Raises:
            ReadingError: The token may not see them, as is usual.
        """
        owner = self._name.partition("/")[0]
        return self._told(lambda: self._named(f"/orgs/{owner}/actions/{kind}", kind, "organization"))

    def _named(self, url: str, kind: str, owner: str) -> list[Named]:
        from github.PaginatedList import PaginatedList  # noqa: PLC0415
        from github.Secret import Secret  # noqa: PLC0415
        from github.Variable import Variable  # noqa: PLC0415

        # PyGithub has methods for only some of these addresses. All answers have the same form.
        requester = self._repository().requester
        rows: PaginatedList[Secret] | PaginatedList[Variable] = (
            PaginatedList(Secret, requester, url, None, list_item=kind)
            if kind == "secrets"
            else PaginatedList(Variable, requester, url, None, list_item=kind)
        )
        return [Named(_text(row.name), _time(row.updated_at), owner, kind == "secrets") for row in rows]

    def _repository(self) -> Repository:
        if self._github is None:
            self._github = api.sign_in(self._access, self._name, self._api_url, self._deadline, None)
        return self._github.get_repo(self._name)

    def _told(self, call: Callable[[], T]) -> T:
        """Call GitHub. Raise a failure as `ReadingError`."""
        try:
            return api.ask(call, self._deadline, self._api_url)
        except api.GitHubError as error:
            raise ReadingError(error.what, error.status, error.todo) from None


def _newest(runs: Iterable[WorkflowRun]) -> Run | None:
    # Not `runs[0]`: PyGithub's slice of a list that is empty raises IndexError.
    for run in runs:
        return Run(
            run.id,
            _text(run.html_url),
            _text(run.event),
            _text(run.status or "unknown"),
            run.conclusion,
            _time(run.created_at),
        )
    return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise api.UnexpectedAnswerError
    return value


def _time(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise api.UnexpectedAnswerError
    return value
