"""The part of GitHub's REST API that a client uses to dispatch a workflow and wait for its run.

Routes, bodies and error texts are those of docs.github.com/en/rest ("Workflows", "Workflow runs", "Workflow jobs",
"GitHub Apps"). A token sees only the repositories that it was granted; any other is 404, as on GitHub.
"""

import itertools
import json
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from flask import abort, g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from sandbox.faults import Ending
from sandbox.github.repositories import ACTIVE, Dispatch, Named, Names, Permissions, Repository, Run, Workflow
from sandbox.github.representations import Representations, run_page, time
from sandbox.github.sign_in import App, SigningKey, id_token
from sandbox.server import Json, RefusedError, Route, Server

DOCUMENTATION = "https://docs.github.com/rest"
ID_TOKENS = "/actions/id-token"

_REPOSITORY = "/repos/<owner>/<name>"
_WORKFLOW = f"{_REPOSITORY}/actions/workflows/<workflow>"
_RUN = f"{_REPOSITORY}/actions/runs/<int:run_id>"
LEVELS = ("none", "read", "write")
MOST_INPUTS = 25
_PERMITTED_KEYS = frozenset({"ref", "inputs"})


class GitHubRoutes(Server):
    def __init__(self) -> None:
        self.tokens: dict[str, Permissions] = {}
        """The accepted tokens; remove one to revoke it."""
        self.dispatches: list[Dispatch] = []
        """The accepted dispatches, oldest first."""
        self.return_run_details = True
        """Whether a dispatch may have this field. Servers from before February 2026 refuse it with 422."""
        self.run_script: list[str] = []
        """The steps of a new run: `queued`, `in_progress`, `completed`, `completed/failure`. The run takes one each
        time a client gets it, and keeps the last one. Without steps, it stays queued until a test calls `complete`."""
        self.id_token_request_token = secrets.token_hex(20)
        """The ACTIONS_ID_TOKEN_REQUEST_TOKEN of a job that has the permission `id-token: write`."""
        self.job_repository = ""
        """The repository that such a job runs in."""
        self.id_token_key = SigningKey()
        self.repositories: dict[str, Repository] = {}
        self.organizations: dict[str, Names] = defaultdict(Names)
        """The secrets and variables of each organization."""
        self.renamed: dict[str, Repository] = {}
        """Repositories by their former full names, in lower case."""
        self.runs: dict[int, Run] = {}
        self.apps: dict[int, App] = {}
        self.ids = itertools.count(7_000_001)
        super().__init__()

    def routes(self) -> Iterable[Route]:
        yield f"GET {_REPOSITORY}", self.get_repository
        yield f"GET {_REPOSITORY}/actions/workflows", self.list_workflows
        yield f"GET {_REPOSITORY}/contents/<path:path>", self.get_contents
        yield f"GET {_WORKFLOW}", self.get_workflow
        yield f"POST {_WORKFLOW}/dispatches", self.create_dispatch
        yield f"GET {_WORKFLOW}/runs", self.list_runs
        yield f"GET {_REPOSITORY}/actions/runs", self.list_runs
        yield f"GET {_RUN}", self.get_run
        yield f"GET {_RUN}/jobs", self.list_jobs
        yield f"GET {_REPOSITORY}/actions/secrets", self.list_secrets
        yield f"GET {_REPOSITORY}/actions/variables", self.list_variables
        yield f"GET {_REPOSITORY}/actions/organization-secrets", self.list_shared_secrets
        yield f"GET {_REPOSITORY}/actions/organization-variables", self.list_shared_variables
        yield "GET /orgs/<owner>/actions/secrets", self.list_organization_secrets
        yield "GET /orgs/<owner>/actions/variables", self.list_organization_variables
        yield f"GET {_REPOSITORY}/installation", self.get_installation
        yield "POST /app/installations/<int:installation_id>/access_tokens", self.create_installation_token
        yield f"GET {ID_TOKENS}", self.create_id_token

    def error_body(self, status: int, message: str, details: Json) -> Json:
        return {"message": message, "documentation_url": DOCUMENTATION, "status": str(status), **details}

    def exchange(self, environ: dict[str, Any]) -> tuple[Response | None, Ending]:
        """Rewrite `/repositories/ID`, to which a renamed repository redirects, to the repository's current name."""
        match = re.match(r"/repositories/(\d+)(?=/|$)", environ["PATH_INFO"])
        if match is not None:
            with self.lock:
                found = [each for each in self.repositories.values() if each.id == int(match[1])]
            for repository in found:
                environ["PATH_INFO"] = f"/repos/{repository.full_name}{environ['PATH_INFO'][match.end() :]}"
        return super().exchange(environ)

    def _redirect(self) -> None:
        """Redirect from a former name with 301, or with 307 unless it's a GET (docs.github.com, "Follow redirects")."""
        match = re.match(r"/repos/([^/]+/[^/]+)", request.path)
        repository = self.renamed.get(match[1].lower()) if match else None
        if match is not None and repository is not None:
            url = f"{self.url}/repositories/{repository.id}{request.path[match.end() :]}"
            status = HTTPStatus.MOVED_PERMANENTLY if request.method == "GET" else HTTPStatus.TEMPORARY_REDIRECT
            body = {"message": status.phrase, "url": url, "documentation_url": DOCUMENTATION}
            abort(Response(json.dumps(body), status, {"Location": url}, content_type="application/json"))

    def admit(self) -> None:
        """Check `Authorization: Bearer T` or `token T`. A wrong token gets 401; without one, no repository is seen."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        g.app = next((app for app in self.apps.values() if app.has_signed(token)), None)
        if request.path == ID_TOKENS:
            if (scheme.lower(), token) != ("bearer", self.id_token_request_token):
                raise RefusedError(HTTPStatus.UNAUTHORIZED, "Bad credentials")
        elif not scheme:
            g.permissions = Permissions(actions="none", repositories=())
        elif scheme.lower() in ("bearer", "token") and token in self.tokens:
            g.permissions = self.tokens[token]
        elif g.app is None:
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "Bad credentials")
        self._redirect()

    def finish(self, response: Response) -> Response:
        response.headers["X-GitHub-Request-Id"] = secrets.token_hex(8).upper()
        response.headers.update({"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4999"})
        return response

    # Repositories and workflows.

    def get_repository(self, owner: str, name: str) -> ResponseReturnValue:
        return self._shown.full_repository(self._repository(owner, name, "none"))

    def list_workflows(self, owner: str, name: str) -> ResponseReturnValue:
        repository = self._repository(owner, name)
        rows = [self._shown.workflow(repository, workflow) for workflow in repository.workflows.values()]
        return _page("workflows", rows)

    def get_workflow(self, owner: str, name: str, workflow: str) -> ResponseReturnValue:
        repository = self._repository(owner, name)
        return self._shown.workflow(repository, _workflow(repository, workflow))

    def get_contents(self, owner: str, name: str, path: str) -> ResponseReturnValue:
        """Return a workflow's file. There are no other files."""
        repository = self._repository(owner, name, "none")
        if g.permissions.contents == "none":
            raise RefusedError(HTTPStatus.FORBIDDEN, "Resource not accessible by integration")
        ref = request.args.get("ref", repository.default_branch)
        if short(ref) not in repository.refs:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"No commit found for the ref {ref}")
        return self._shown.file(repository, _workflow(repository, path.removeprefix(".github/workflows/")), ref)

    def create_dispatch(self, owner: str, name: str, workflow: str) -> ResponseReturnValue:
        """Answer 204, or 200 with the run's id and links if the request has `return_run_details`."""
        repository = self._repository(owner, name, "write")
        found = _workflow(repository, workflow)
        body = request.get_json(force=True, silent=True)
        if not isinstance(body, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "Problems parsing JSON")
        self._check_keys(body)
        inputs = body.get("inputs") or {}
        _check_dispatch(repository, found, body["ref"], inputs)
        run = self.begin_run(repository, found, body["ref"], "workflow_dispatch")
        self.dispatches.append(Dispatch(repository.full_name, found.file, body["ref"], inputs, run.id))
        if not body.get("return_run_details"):
            return "", HTTPStatus.NO_CONTENT
        return {
            "workflow_run_id": run.id,
            "run_url": self._shown.run_url(run),
            "html_url": run_page(run),
        }

    def _check_keys(self, body: Json) -> None:
        permitted = _PERMITTED_KEYS | ({"return_run_details"} if self.return_run_details else set())
        unknown = sorted(set(body) - permitted)
        problems = []
        if unknown:
            verb = "is not a permitted key" if len(unknown) == 1 else "are not permitted keys"
            problems.append(f"{', '.join(map(json.dumps, unknown))} {verb}.")
        if not body.get("ref"):
            problems.append('"ref" wasn\'t supplied.')
        elif not isinstance(body["ref"], str):
            problems.append(f"For 'properties/ref', {json.dumps(body['ref'])} is not a string.")
        inputs = body.get("inputs")
        if inputs is not None and not isinstance(inputs, dict):
            problems.append(f"For 'properties/inputs', {json.dumps(inputs)} is not an object.")
        elif inputs and len(inputs) > MOST_INPUTS:
            problems.append("No more than 25 properties are allowed.")
        if problems:
            raise _unprocessable("Invalid request.\n\n" + "\n".join(problems))

    # Runs.

    def begin_run(self, repository: Repository, workflow: Workflow, ref: str, event: str) -> Run:
        number = 1 + sum(run.workflow is workflow for run in self.runs.values())
        run = Run(next(self.ids), repository, workflow, short(ref), number, event, list(self.run_script))
        self.runs[run.id] = run
        return run

    def list_runs(self, owner: str, name: str, workflow: str | None = None) -> ResponseReturnValue:
        """List runs, newest first, filtered by `event`, `branch`, `status` and `created`."""
        repository = self._repository(owner, name)
        only = None if workflow is None else _workflow(repository, workflow)
        accepted = _run_filter()
        runs = [
            run
            for run in reversed(self.runs.values())
            if run.repository is repository and only in (None, run.workflow) and accepted(run)
        ]
        return _page("workflow_runs", [self._shown.run(run) for run in runs])

    def get_run(self, owner: str, name: str, run_id: int) -> ResponseReturnValue:
        run = self._run(owner, name, run_id)
        run.advance()
        return self._shown.run(run)

    def list_jobs(self, owner: str, name: str, run_id: int) -> ResponseReturnValue:
        return _page("jobs", [self._shown.job(self._run(owner, name, run_id))])

    # Secrets, by name only, and variables.

    def list_secrets(self, owner: str, name: str) -> ResponseReturnValue:
        return self._page_of("secrets", self._with_names(owner, name).names.secrets)

    def list_variables(self, owner: str, name: str) -> ResponseReturnValue:
        return self._page_of("variables", self._with_names(owner, name).names.variables)

    def list_shared_secrets(self, owner: str, name: str) -> ResponseReturnValue:
        """List the organization's secrets that the repository can use."""
        return self._page_of("secrets", self.organizations[owner].secrets, self._with_names(owner, name).unshared)

    def list_shared_variables(self, owner: str, name: str) -> ResponseReturnValue:
        return self._page_of("variables", self.organizations[owner].variables, self._with_names(owner, name).unshared)

    def list_organization_secrets(self, owner: str) -> ResponseReturnValue:
        _may_list(organization=True)
        return self._page_of("secrets", self.organizations[owner].secrets, shared=True)

    def list_organization_variables(self, owner: str) -> ResponseReturnValue:
        _may_list(organization=True)
        return self._page_of("variables", self.organizations[owner].variables, shared=True)

    def _with_names(self, owner: str, name: str) -> Repository:
        repository = self._repository(owner, name, "none")
        _may_list(organization=False)
        return repository

    def _page_of(
        self, kind: str, names: Mapping[str, Named], without: Collection[str] = (), *, shared: bool = False
    ) -> Response:
        return _page(kind, [self._shown.named(one, shared=shared) for one in names.values() if one.name not in without])

    # Sign-in.

    def get_installation(self, owner: str, name: str) -> ResponseReturnValue:
        """Return the app's installation for a repository."""
        app = _signed_app()
        if f"{owner}/{name}" not in app.repositories:
            raise RefusedError(HTTPStatus.NOT_FOUND, "Not Found")
        return self._shown.installation(app)

    def create_installation_token(self, installation_id: int) -> ResponseReturnValue:
        """Create a token for all the installation's repositories, or for those in the body."""
        app = _signed_app()
        if app.installation_id != installation_id:
            raise RefusedError(HTTPStatus.NOT_FOUND, "Not Found")
        body = request.get_json(force=True, silent=True) or {}
        wanted = [f"{app.owner}/{name}" for name in body.get("repositories") or ()] or app.repositories
        if not set(wanted) <= set(app.repositories):
            raise _unprocessable("There is at least one repository that does not exist or is not accessible")
        permissions = {"metadata": "read", **_asked_of(app, body.get("permissions"))}
        token = f"ghs_{secrets.token_hex(18)}"
        self.tokens[token] = Permissions(permissions.get("actions", "none"), tuple(wanted))
        expires = time(datetime.now(UTC) + timedelta(hours=1))
        return {"token": token, "expires_at": expires, "permissions": permissions}, HTTPStatus.CREATED

    @property
    def id_token_issuer(self) -> str:
        return f"{self.url}{ID_TOKENS}"

    def create_id_token(self) -> ResponseReturnValue:
        """Create the identity token of the running job, for `audience` or else for the repository's owner."""
        repository = self.repositories.get(self.job_repository.lower())
        if repository is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "Not Found")
        audience = request.args.get("audience") or f"https://github.com/{repository.owner}"
        token = id_token(
            self.id_token_key, self.id_token_issuer, audience, repository.full_name, repository.default_branch
        )
        return {"count": len(token), "value": token}

    # Look-ups.

    @property
    def _shown(self) -> Representations:
        return Representations(self.url)

    def _repository(self, owner: str, name: str, actions: str = "read") -> Repository:
        repository = self.repositories.get(f"{owner}/{name}".lower())
        permissions: Permissions = g.get("permissions") or Permissions(repositories=())
        if repository is None or not permissions.sees(repository):
            raise RefusedError(HTTPStatus.NOT_FOUND, "Not Found")
        if LEVELS.index(permissions.actions) < LEVELS.index(actions):
            raise RefusedError(HTTPStatus.FORBIDDEN, "Resource not accessible by integration")
        return repository

    def _run(self, owner: str, name: str, run_id: int) -> Run:
        repository = self._repository(owner, name)
        run = self.runs.get(run_id)
        if run is None or run.repository is not repository:
            raise RefusedError(HTTPStatus.NOT_FOUND, "Not Found")
        return run


def _workflow(repository: Repository, reference: str) -> Workflow:
    workflow = repository.workflow(reference)
    if workflow is None:
        raise RefusedError(HTTPStatus.NOT_FOUND, "Not Found")
    return workflow


def short(ref: str) -> str:
    """Return the name of a branch or tag as `head_branch` of its runs shows it."""
    return re.sub(r"^refs/(heads|tags)/", "", ref)


def _check_dispatch(repository: Repository, workflow: Workflow, ref: str, inputs: dict[str, object]) -> None:
    if short(ref) not in repository.refs:
        raise _unprocessable(f"No ref found for: {ref}")
    if workflow.state != ACTIVE:
        raise _unprocessable("Cannot trigger a 'workflow_dispatch' on a disabled workflow")
    if not workflow.dispatchable:
        raise _unprocessable("Workflow does not have 'workflow_dispatch' trigger")
    unexpected = workflow.unexpected(inputs)
    if unexpected:
        raise _unprocessable(f"Unexpected inputs provided: {json.dumps(unexpected)}")


def _unprocessable(message: str) -> RefusedError:
    url = f"{DOCUMENTATION}/actions/workflows#create-a-workflow-dispatch-event"
    return RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, message, documentation_url=url)


def _may_list(*, organization: bool) -> None:
    permissions: Permissions = g.get("permissions") or Permissions()
    if not (permissions.organization_names if organization else permissions.names):
        raise RefusedError(HTTPStatus.FORBIDDEN, "Resource not accessible by integration")


def _signed_app() -> App:
    app: App | None = g.app
    if app is None:
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "A JSON web token could not be decoded")
    return app


def _asked_of(app: App, asked: object) -> dict[str, str]:
    """Return the permissions of a token: those in the body, else all that the app has."""
    has = app.permissions
    if not asked:
        return has
    levels = ("read", "write")
    if not isinstance(asked, dict) or not set(asked.values()) <= set(levels):
        raise _unprocessable("Invalid request.")
    for name, level in asked.items():
        if name not in has or levels.index(level) > levels.index(has[name]):
            raise _unprocessable("The permissions requested are not granted to this installation.")
    return dict(asked)


def _run_filter() -> Callable[[Run], bool]:
    """Return the filter that the query of a listing asks for."""
    event, branch, status = (request.args.get(key) for key in ("event", "branch", "status"))
    since, until = _period(request.args.get("created", ""))

    def accepted(run: Run) -> bool:
        return (
            event in (None, run.event)
            and branch in (None, run.ref)
            and status in (None, run.status, run.conclusion)
            and since <= run.created.replace(microsecond=0) < until
        )

    return accepted


def _period(created: str) -> tuple[datetime, datetime]:
    """Return the start and end of the period that `>=T`, `>T`, `<=T`, `<T`, `T..T` or `T` means.

    T is a date, or a time to the second.
    """
    ever = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    if not created:
        return ever
    operator = created[: len(created) - len(created.lstrip("<>="))]
    begin, _, end = created.removeprefix(operator).partition("..")
    first, after_first = _moment(begin)
    match operator:
        case ">=":
            return first, ever[1]
        case ">":
            return after_first, ever[1]
        case "<=":
            return ever[0], after_first
        case "<":
            return ever[0], first
        case _:
            return first, _moment(end)[1] if end else after_first


def _moment(text: str) -> tuple[datetime, datetime]:
    """Return the begin and the end of a date or a second."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _unprocessable(f"Invalid date: {text}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment, moment + (timedelta(days=1) if len(text) == len("2026-01-01") else timedelta(seconds=1))


def _page(name: str | None, rows: list[Json]) -> Response:
    """Return a page of a listing. The header `Link` leads to the next one. Without a name, the page is an array."""
    size = max(1, min(100, request.args.get("per_page", 30, type=int)))
    number = max(1, request.args.get("page", 1, type=int))
    shown = rows[(number - 1) * size : number * size]
    response = jsonify(shown if name is None else {"total_count": len(rows), name: shown})
    if number * size < len(rows):
        query = {**request.args.to_dict(), "page": str(number + 1)}
        pairs = "&".join(f"{key}={value}" for key, value in query.items())
        response.headers["Link"] = f'<{request.base_url}?{pairs}>; rel="next"'
    return response
