"""A local GitHub: repositories, workflows, dispatches and runs.

The routes, bodies and error texts of GitHub's REST API for Actions (docs.github.com/en/rest/actions:
"Workflows", "Workflow runs", "Workflow jobs"), as far as a client that dispatches a workflow and waits for it
uses them. Tokens see only the repositories that they were given; what a token can't see is 404, as on GitHub.
"""

import itertools
import json
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha1
from http import HTTPStatus

from flask import g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from sandbox.server import Json, RefusedError, Route, Server

DOCUMENTATION = "https://docs.github.com/rest"
WEB = "https://github.com"
"""Links for people lead to the web site, not to the API."""

_DISPATCH_KEYS = frozenset({"ref", "inputs"})
_REPOSITORY = "/repos/<owner>/<name>"


@dataclass(frozen=True)
class Dispatch:
    """A dispatch that was accepted."""

    repository: str
    workflow: str
    """The file name."""
    ref: str
    inputs: dict[str, object]
    run_id: int


@dataclass
class Workflow:
    id: int
    file: str
    state: str
    """`active`, or why not: `disabled_manually`, `disabled_inactivity`, …"""
    dispatchable: bool
    """Whether it has the trigger `workflow_dispatch`."""
    inputs: tuple[str, ...] | None
    """The inputs that it defines; None: any are accepted."""

    @property
    def name(self) -> str:
        return self.file.rsplit(".", 1)[0]


@dataclass
class Run:
    id: int
    repository: "Repository"
    workflow: Workflow
    ref: str
    number: int
    event: str
    created: datetime
    updated: datetime
    script: list[str]
    """What is still to come: each time the run is asked for, it takes on the next of these statuses."""
    status: str = "queued"
    conclusion: str | None = None


@dataclass
class Repository:
    id: int
    owner: str
    name: str
    default_branch: str
    refs: set[str]
    workflows: dict[str, Workflow] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"


@dataclass
class Permissions:
    """What a token may do, and where."""

    actions: str = "write"
    """`write`, `read` or `none`."""
    repositories: set[str] | None = None
    """None: all."""


class GitHub(Server):
    """The service, with what a test or a demonstration does to it."""

    def __init__(self) -> None:
        self.token = f"ghs_{secrets.token_hex(18)}"
        self.tokens: dict[str, Permissions] = {self.token: Permissions()}
        self.dispatches: list[Dispatch] = []
        """The accepted ones, oldest first."""
        self.return_run_details = True
        """False: a server from before February 2026, which refuses that field with 422."""
        self.run_script: list[str] = []
        """The statuses that a new run takes on, one each time it is asked for: `queued`, `in_progress`,
        `completed`, which may name its conclusion, `completed/failure`. The last one stays; without any it
        stays queued until `complete` is called."""
        self._repositories: dict[str, Repository] = {}
        self._runs: dict[int, Run] = {}
        self._ids = itertools.count(7_000_001)
        super().__init__()

    def add_token(self, token: str, permissions: Permissions) -> None:
        with self.lock:
            self.tokens[token] = permissions

    def add_repository(self, full_name: str, default_branch: str = "main", refs: Iterable[str] = ()) -> None:
        """Add a repository; `refs` are branches and tags besides the default branch."""
        owner, name = full_name.split("/")
        with self.lock:
            repository = Repository(next(self._ids), owner, name, default_branch, {default_branch, *refs})
            self._repositories[full_name.lower()] = repository

    def add_workflow(
        self,
        full_name: str,
        file: str,
        state: str = "active",
        dispatchable: bool = True,
        inputs: Sequence[str] | None = None,
    ) -> int:
        """Add a workflow; gives its id. `inputs` are those that it defines, None accepts any."""
        with self.lock:
            known = None if inputs is None else tuple(inputs)
            workflow = Workflow(next(self._ids), file, state, dispatchable, known)
            self._repositories[full_name.lower()].workflows[file] = workflow
            return workflow.id

    def start_run(self, full_name: str, file: str, ref: str | None = None, event: str = "push") -> int:
        """Start a run as something else than our dispatch does; gives its id."""
        with self.lock:
            repository = self._repositories[full_name.lower()]
            return self._start(repository, repository.workflows[file], ref or repository.default_branch, event).id

    def complete(self, run_id: int, conclusion: str = "success") -> None:
        """End a run."""
        with self.lock:
            run = self._runs[run_id]
            run.script.clear()
            _advance(run, f"completed/{conclusion}")

    def _start(self, repository: Repository, workflow: Workflow, ref: str, event: str) -> Run:
        now = datetime.now(UTC)
        number = 1 + sum(run.workflow is workflow for run in self._runs.values())
        script = list(self.run_script)
        run = Run(next(self._ids), repository, workflow, ref, number, event, now, now, script)
        self._runs[run.id] = run
        return run

    # The routes.

    def routes(self) -> Iterable[Route]:
        workflow = f"{_REPOSITORY}/actions/workflows/<workflow>"
        yield f"GET {_REPOSITORY}", self.get_repository
        yield f"GET {_REPOSITORY}/actions/workflows", self.list_workflows
        yield f"GET {workflow}", self.get_workflow
        yield f"POST {workflow}/dispatches", self.create_dispatch
        yield f"GET {workflow}/runs", self.list_runs
        yield f"GET {_REPOSITORY}/actions/runs", self.list_runs
        yield f"GET {_REPOSITORY}/actions/runs/<int:run_id>", self.get_run
        yield f"GET {_REPOSITORY}/actions/runs/<int:run_id>/jobs", self.list_jobs

    def error_body(self, status: int, message: str, details: Json) -> Json:
        return {"message": message, "documentation_url": DOCUMENTATION, "status": str(status), **details}

    def admit(self) -> None:
        """`Authorization: Bearer T` or `token T`. A wrong one is 401, none at all sees nothing."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            g.permissions = Permissions(actions="none", repositories=set())
        elif scheme.lower() in ("bearer", "token") and token in self.tokens:
            g.permissions = self.tokens[token]
        else:
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "Bad credentials")

    def finish(self, response: Response) -> Response:
        response.headers["X-GitHub-Request-Id"] = secrets.token_hex(8).upper()
        response.headers.update({"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4999"})
        return response

    def get_repository(self, owner: str, name: str) -> ResponseReturnValue:
        return self._repository_json(self._repository(owner, name))

    def list_workflows(self, owner: str, name: str) -> ResponseReturnValue:
        repository = self._repository(owner, name)
        rows = [self._workflow_json(repository, workflow) for workflow in repository.workflows.values()]
        return _page("workflows", rows)

    def get_workflow(self, owner: str, name: str, workflow: str) -> ResponseReturnValue:
        repository = self._repository(owner, name)
        return self._workflow_json(repository, _workflow(repository, workflow))

    def create_dispatch(self, owner: str, name: str, workflow: str) -> ResponseReturnValue:
        """204, or 200 with the run's id and links if `return_run_details` was asked for."""
        repository = self._repository(owner, name, write=True)
        found = _workflow(repository, workflow)
        body = request.get_json(force=True, silent=True)
        if not isinstance(body, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "Problems parsing JSON")
        inputs = body.get("inputs") or {}
        self._check_dispatch(repository, found, body, inputs)
        run = self._start(repository, found, body["ref"], "workflow_dispatch")
        self.dispatches.append(Dispatch(repository.full_name, found.file, body["ref"], dict(inputs), run.id))
        if not body.get("return_run_details"):
            return "", HTTPStatus.NO_CONTENT
        return {
            "workflow_run_id": run.id,
            "run_url": self._run_url(run),
            "html_url": _run_page(run),
        }

    def _check_dispatch(self, repository: Repository, workflow: Workflow, body: Json, inputs: Json) -> None:
        permitted = _DISPATCH_KEYS | ({"return_run_details"} if self.return_run_details else set())
        unknown = sorted(set(body) - permitted)
        problems = []
        if unknown:
            names = ", ".join(json.dumps(key) for key in unknown)
            verb = "is not a permitted key" if len(unknown) == 1 else "are not permitted keys"
            problems.append(f"{names} {verb}.")
        if not body.get("ref"):
            problems.append('"ref" wasn\'t supplied.')
        if problems:
            raise _unprocessable("Invalid request.\n\n" + "\n".join(problems))
        ref = re.sub(r"^refs/(heads|tags)/", "", body["ref"])
        if ref not in repository.refs:
            raise _unprocessable(f"No ref found for: {body['ref']}")
        if workflow.state != "active":
            raise _unprocessable("Cannot trigger a 'workflow_dispatch' on a disabled workflow")
        if not workflow.dispatchable:
            raise _unprocessable("Workflow does not have 'workflow_dispatch' trigger")
        unexpected = [] if workflow.inputs is None else sorted(set(inputs) - set(workflow.inputs))
        if unexpected:
            raise _unprocessable(f"Unexpected inputs provided: {json.dumps(unexpected)}")

    def list_runs(self, owner: str, name: str, workflow: str | None = None) -> ResponseReturnValue:
        """Newest first, filtered by `event`, `branch`, `status` and `created`. Looking is no step of a run's
        script."""
        repository = self._repository(owner, name)
        only = None if workflow is None else _workflow(repository, workflow)
        accepted = _run_filter()
        runs = [
            run
            for run in reversed(self._runs.values())
            if run.repository is repository and only in (None, run.workflow) and accepted(run)
        ]
        return _page("workflow_runs", [self._run_json(run) for run in runs])

    def get_run(self, owner: str, name: str, run_id: int) -> ResponseReturnValue:
        run = self._run(owner, name, run_id)
        if run.script:
            _advance(run, run.script.pop(0))
        return self._run_json(run)

    def list_jobs(self, owner: str, name: str, run_id: int) -> ResponseReturnValue:
        """Each run has one job, `deploy`."""
        return _page("jobs", [self._job_json(self._run(owner, name, run_id))])

    # What they look up.

    def _repository(self, owner: str, name: str, *, write: bool = False) -> Repository:
        repository = self._repositories.get(f"{owner}/{name}".lower())
        permissions: Permissions = g.permissions
        visible = permissions.repositories is None or f"{owner}/{name}" in permissions.repositories
        if repository is None or not visible:
            raise RefusedError(HTTPStatus.NOT_FOUND, "Not Found")
        if permissions.actions == "none" or (write and permissions.actions != "write"):
            raise RefusedError(HTTPStatus.FORBIDDEN, "Resource not accessible by integration")
        return repository

    def _run(self, owner: str, name: str, run_id: int) -> Run:
        run = self._runs.get(run_id)
        if run is None or run.repository is not self._repository(owner, name):
            raise RefusedError(HTTPStatus.NOT_FOUND, "Not Found")
        return run

    def _api(self, repository: Repository) -> str:
        return f"{self.url}/repos/{repository.full_name}"

    def _run_url(self, run: Run) -> str:
        return f"{self._api(run.repository)}/actions/runs/{run.id}"

    def _repository_json(self, repository: Repository) -> Json:
        return {
            "id": repository.id,
            "name": repository.name,
            "full_name": repository.full_name,
            "private": True,
            "owner": {"login": repository.owner, "type": "Organization", "url": f"{self.url}/users/{repository.owner}"},
            "html_url": f"{WEB}/{repository.full_name}",
            "url": self._api(repository),
            "default_branch": repository.default_branch,
        }

    def _workflow_json(self, repository: Repository, workflow: Workflow) -> Json:
        return {
            "id": workflow.id,
            "name": workflow.name,
            "path": f".github/workflows/{workflow.file}",
            "state": workflow.state,
            "url": f"{self._api(repository)}/actions/workflows/{workflow.id}",
            "html_url": f"{WEB}/{repository.full_name}/blob/main/.github/workflows/{workflow.file}",
        }

    def _run_json(self, run: Run) -> Json:
        url = self._run_url(run)
        return {
            "id": run.id,
            "name": run.workflow.name,
            "head_branch": run.ref,
            "head_sha": sha1(run.ref.encode(), usedforsecurity=False).hexdigest(),
            "path": f".github/workflows/{run.workflow.file}",
            "display_title": run.workflow.name,
            "run_number": run.number,
            "run_attempt": 1,
            "event": run.event,
            "status": run.status,
            "conclusion": run.conclusion,
            "workflow_id": run.workflow.id,
            "url": url,
            "html_url": _run_page(run),
            "created_at": _time(run.created),
            "updated_at": _time(run.updated),
            "run_started_at": _time(run.created),
            "jobs_url": f"{url}/jobs",
            "workflow_url": f"{self._api(run.repository)}/actions/workflows/{run.workflow.id}",
            "repository": self._repository_json(run.repository),
        }

    def _job_json(self, run: Run) -> Json:
        return {
            "id": run.id + 1_000_000_000,
            "run_id": run.id,
            "run_url": self._run_url(run),
            "name": "deploy",
            "status": run.status,
            "conclusion": run.conclusion,
            "html_url": f"{_run_page(run)}/job/{run.id + 1_000_000_000}",
            "started_at": _time(run.created),
            "completed_at": _time(run.updated) if run.conclusion else None,
            "steps": [],
        }


def _workflow(repository: Repository, reference: str) -> Workflow:
    """By file name or id."""
    for workflow in repository.workflows.values():
        if reference in (workflow.file, str(workflow.id)):
            return workflow
    raise RefusedError(HTTPStatus.NOT_FOUND, "Not Found")


def _advance(run: Run, step: str) -> None:
    run.status, _, conclusion = step.partition("/")
    run.conclusion = (conclusion or "success") if run.status == "completed" else None
    run.updated = datetime.now(UTC)


def _run_filter() -> Callable[[Run], bool]:
    """The filter that the query of a listing asks for."""
    event, branch, status = (request.args.get(key) for key in ("event", "branch", "status"))
    since, until = _period(request.args.get("created", ""))

    def accepted(run: Run) -> bool:
        created = _time(run.created)
        return (
            event in (None, run.event)
            and branch in (None, run.ref)
            and status in (None, run.status, run.conclusion)
            and since <= created <= until
        )

    return accepted


def _period(created: str) -> tuple[str, str]:
    """`>=T`, `>T`, `<=T`, `<T`, `T..T` or `T`, where T is a date or a time to the second."""
    earliest, latest = "0", "9"
    moment = created.lstrip("<>=").replace("+00:00", "Z")
    if ".." in created:
        begin, end = created.split("..")
        return (begin if begin != "*" else earliest), (_to_the_end(end) if end != "*" else latest)
    if created.startswith(">="):
        return moment, latest
    if created.startswith(">"):
        return _to_the_end(moment) + "~", latest
    if created.startswith("<="):
        return earliest, _to_the_end(moment)
    if created.startswith("<"):
        return earliest, moment[:-1] + chr(ord(moment[-1]) - 1) + "~"
    return (moment, _to_the_end(moment)) if moment else (earliest, latest)


def _to_the_end(moment: str) -> str:
    return moment + "~" if len(moment) == len("2026-01-01") else moment


def _page(name: str, rows: list[Json]) -> Response:
    """One page of a listing, with the link to the next in the header `Link`."""
    size = max(1, min(100, request.args.get("per_page", 30, type=int)))
    number = max(1, request.args.get("page", 1, type=int))
    response = jsonify({"total_count": len(rows), name: rows[(number - 1) * size : number * size]})
    if number * size < len(rows):
        query = "&".join(f"{key}={value}" for key, value in {**request.args, "page": str(number + 1)}.items())
        response.headers["Link"] = f'<{request.base_url}?{query}>; rel="next"'
    return response


def _unprocessable(message: str) -> RefusedError:
    url = f"{DOCUMENTATION}/actions/workflows#create-a-workflow-dispatch-event"
    return RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, message, documentation_url=url)


def _run_page(run: Run) -> str:
    return f"{WEB}/{run.repository.full_name}/actions/runs/{run.id}"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
