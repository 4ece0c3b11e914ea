"""The part of ESC's REST interface that the `pulumi env` commands and the package `pulumi-esc-sdk` use.

Paths, bodies and headers are those of `cmd/esc/cli/client/client.go` and `apitype.go` in
github.com/pulumi/pulumi/pkg/v3 v3.274.1, and of `pulumi_esc_sdk/api/esc_api.py`. Members of JSON bodies follow Pulumi
Cloud's published OpenAPI: `provider/pkg/cloud/spec.json` in github.com/pulumi/pulumi-pulumiservice.

Requests and answers carry a definition as raw YAML. The answer to a read or a save has the headers `ETag` and
`Pulumi-ESC-Revision`. A save sends its precondition in the header `If-Match`, as in the OpenAPI; releases of the CLI
up to v3.260 send it as `ETag`. An error's body is `{"code", "message"}`, with `"diagnostics"` if a definition is
refused.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Self

from flask import g, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from sandbox.esc.change_requests import ChangeRequest, ChangeRequests, refuse_gated_open, refuse_gated_update
from sandbox.esc.engine import EngineError, Evaluated
from sandbox.esc.environments import DEFAULT_PROJECT, Environment, Environments, EnvironmentTag, Revision, RevisionTag
from sandbox.esc.environments import refuse_errors as refuse_errors_of
from sandbox.esc.sign_in import Accounts
from sandbox.server import Json, RefusedError, Route, Server
from tools import esc_engine

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
# The largest int64, the type of integers in the OpenAPI.
LARGEST_INTEGER = 2**63 - 1
PAGE_OF_ENVIRONMENTS = 100
PAGE_OF_REVISIONS = 500
LAST_PAGE_OF_TAGS = "0"
_REFERRERS = ("environmentReferrerCount", "insightsAccountReferrerCount", "stackReferrerCount")

_TOKEN_EXCHANGE = "/api/oauth/token"  # noqa: S105 - a path
_ORGANIZATION = "/api/esc/environments/<organization>"
_ENVIRONMENT = _ORGANIZATION + "/<project>/<name>"
_VERSION = _ENVIRONMENT + "/versions/<version>"
_REVISION_TAGS = _ENVIRONMENT + "/versions/tags"
_TAGS = _ENVIRONMENT + "/tags"
_DRAFTS = _ENVIRONMENT + "/drafts"
_CHANGE_REQUEST = "/api/change-requests/<organization>/<identifier>"


class EscRoutes(Server):
    """The routes. Each method has the name of the client's method that calls it."""

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.environments = Environments()
        self.change_requests = ChangeRequests(self.environments)
        self._opened: dict[str, Evaluated] = {}
        super().__init__()

    def routes(self) -> Iterable[Route]:
        yield f"POST {_TOKEN_EXCHANGE}", self.exchange_token
        yield "GET /api/user", self.get_user
        yield "GET /api/user/organizations/default", self.get_default_organization
        yield "GET /api/esc/environments", self.list_environments
        yield f"GET {_ORGANIZATION}", self.list_environments
        yield f"POST {_ORGANIZATION}", self.create_environment
        yield f"POST {_ORGANIZATION}/yaml/check", self.check_yaml
        yield f"POST {_ORGANIZATION}/yaml/open", self.open_yaml
        yield f"GET {_ORGANIZATION}/yaml/open/<session>", self.read_opened
        yield f"GET {_ENVIRONMENT}", self.get_environment
        yield f"PATCH {_ENVIRONMENT}", self.update_environment
        yield f"DELETE {_ENVIRONMENT}", self.delete_environment
        yield f"POST {_ENVIRONMENT}/clone", self.clone_environment
        yield f"GET {_ENVIRONMENT}/decrypt", self.decrypt_environment
        yield f"POST {_ENVIRONMENT}/open", self.open_environment
        yield f"GET {_ENVIRONMENT}/open/<session>", self.read_opened
        yield f"GET {_ENVIRONMENT}/open//<session>", self.read_opened
        yield f"GET {_ENVIRONMENT}/versions", self.list_revisions
        yield f"GET {_VERSION}", self.get_environment
        yield f"GET {_VERSION}/decrypt", self.decrypt_environment
        yield f"POST {_VERSION}/open", self.open_environment
        yield f"GET {_REVISION_TAGS}", self.list_revision_tags
        yield f"POST {_REVISION_TAGS}", self.create_revision_tag
        yield f"GET {_REVISION_TAGS}/<tag>", self.get_revision_tag
        yield f"PATCH {_REVISION_TAGS}/<tag>", self.update_revision_tag
        yield f"DELETE {_REVISION_TAGS}/<tag>", self.delete_revision_tag
        yield f"GET {_TAGS}", self.list_tags
        yield f"POST {_TAGS}", self.create_tag
        yield f"GET {_TAGS}/<tag>", self.get_tag
        yield f"PATCH {_TAGS}/<tag>", self.update_tag
        yield f"DELETE {_TAGS}/<tag>", self.delete_tag
        yield f"GET {_ENVIRONMENT}/metadata", self.get_metadata
        yield f"POST {_DRAFTS}", self.create_draft
        yield f"GET {_DRAFTS}/<identifier>", self.get_draft
        yield f"PATCH {_DRAFTS}/<identifier>", self.update_draft
        yield f"POST {_DRAFTS}/<identifier>/open", self.open_draft
        yield f"GET {_CHANGE_REQUEST}", self.get_change_request
        yield f"POST {_CHANGE_REQUEST}/submit", self.submit_change_request
        yield f"POST {_CHANGE_REQUEST}/approve", self.approve_change_request
        yield f"POST {_CHANGE_REQUEST}/apply", self.apply_change_request
        yield f"POST {_CHANGE_REQUEST}/close", self.close_change_request

    def error_body(self, status: int, message: str, details: Json) -> Json:
        return {"code": status, "message": message, **details}

    def admit(self) -> None:
        """Require `Authorization: token T` before anything else: without a valid token the answer is 401."""
        if request.path == _TOKEN_EXCHANGE:
            return
        g.login, g.grant = self.accounts.sign_in(request.headers.get("Authorization", ""))
        organization = (request.view_args or {}).get("organization")
        if organization and not self._is_member(organization):
            raise RefusedError(HTTPStatus.NOT_FOUND, f"Organization '{organization}' not found")

    def start(self) -> Self:
        esc_engine.ensure()
        return super().start()

    def stop(self) -> None:
        super().stop()
        self.environments.engine.close()

    def _is_member(self, organization: str) -> bool:
        return g.grant is None or g.grant.organization == organization

    def exchange_token(self) -> ResponseReturnValue:
        return self.accounts.exchange(request.form)

    # The account.

    def get_user(self) -> ResponseReturnValue:
        names = [g.grant.organization] if g.grant else self._organizations()
        organizations = [{"githubLogin": name, "name": name, "avatarUrl": "", "role": "member"} for name in names]
        user: Json = {"id": g.login, "githubLogin": g.login, "name": g.login, "email": "", "avatarUrl": ""}
        user |= {"hasMFA": False, "isManagedByMultiOrg": False, "isOrgManaged": False}
        token = {"name": g.login, "organization": g.grant.organization, "team": g.grant.team or ""} if g.grant else None
        return {**user, "organizations": organizations, "identities": [], **({"tokenInfo": token} if token else {})}

    def get_default_organization(self) -> ResponseReturnValue:
        login = g.grant.organization if g.grant else self._organizations()[0]
        return {"GitHubLogin": login, "Messages": []}

    def _organizations(self) -> list[str]:
        return self.environments.organizations() or [g.login]

    # Environments.

    def list_environments(self, organization: str | None = None) -> ResponseReturnValue:
        """List environments in pages. Each page but the last has the `nextToken` that requests the next one."""
        found = [
            environment
            for environment in self.environments
            if organization in (None, environment.organization) and self._is_member(environment.organization)
        ]
        begin = _integer(request.args, "continuationToken", 0)
        size = min(_integer(request.args, "maxResults", PAGE_OF_ENVIRONMENTS), PAGE_OF_ENVIRONMENTS)
        page, rest = found[begin : begin + size], found[begin + size :]
        answer: Json = {"environments": [_listed(environment) for environment in page]}
        return answer | ({"nextToken": str(begin + size)} if rest else {})

    def create_environment(self, organization: str) -> ResponseReturnValue:
        body = _json_body()
        project = body.get("project") or DEFAULT_PROJECT
        self.environments.create(f"{organization}/{project}/{body.get('name', '')}", g.login)
        return "", HTTPStatus.OK

    def delete_environment(self, organization: str, project: str, name: str) -> ResponseReturnValue:
        self.environments.delete(f"{organization}/{project}/{name}")
        return "", HTTPStatus.OK

    def clone_environment(self, organization: str, project: str, name: str) -> ResponseReturnValue:
        body = _json_body()
        self.environments.clone(
            f"{organization}/{project}/{name}",
            f"{organization}/{body.get('project') or project}/{body.get('name', '')}",
            g.login,
            history=bool(body.get("preserveHistory")),
            tags=bool(body.get("preserveEnvironmentTags")),
            revision_tags=bool(body.get("preserveRevisionTags")),
        )
        return "", HTTPStatus.NO_CONTENT

    def get_environment(self, organization: str, project: str, name: str, version: str = "") -> ResponseReturnValue:
        revision = self._revision(f"{organization}/{project}/{name}", version)
        return _definition(revision, revision.definition)

    def decrypt_environment(self, organization: str, project: str, name: str, version: str = "") -> ResponseReturnValue:
        revision = self._revision(f"{organization}/{project}/{name}", version)
        return _definition(revision, self.environments.decrypted(revision))

    def update_environment(self, organization: str, project: str, name: str) -> ResponseReturnValue:
        refuse_gated_update(self.environments.get(f"{organization}/{project}/{name}"))
        revision, warnings = self.environments.save(
            f"{organization}/{project}/{name}", _yaml_body(), g.login, _precondition()
        )
        return {"diagnostics": warnings} if warnings else {}, HTTPStatus.OK, _headers(revision)

    def _revision(self, path: str, version: str) -> Revision:
        revision = self.environments.get(path).revision(version)
        if revision is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"Revision or tag '{version}' of environment '{path}' not found")
        return revision

    # Values.

    def check_yaml(self, organization: str) -> ResponseReturnValue:
        shown = _boolean(request.args, "showSecrets")
        checked = self.environments.check(_yaml_body(), organization, show_secrets=shown)
        refuse_errors_of(checked)
        return checked.environment or {}

    def open_yaml(self, organization: str) -> ResponseReturnValue:
        return self._open(self.environments.open(_yaml_body(), organization))

    def open_environment(self, organization: str, project: str, name: str, version: str = "") -> ResponseReturnValue:
        refuse_gated_open(self.environments.get(f"{organization}/{project}/{name}"))
        revision = self._revision(f"{organization}/{project}/{name}", version)
        return self._open(self.environments.open(revision.definition, organization, f"{project}/{name}"))

    def _open(self, evaluated: Evaluated) -> ResponseReturnValue:
        _check_duration(request.args.get("duration", "2h"))
        refuse_errors_of(evaluated)
        session = secrets.token_hex(16)
        self._opened[session] = evaluated
        return {"id": session}

    def read_opened(self, session: str, **_: str) -> ResponseReturnValue:
        """Return the whole opened environment, or one of its values with `?property=PATH`."""
        evaluated = self._opened.get(session)
        if evaluated is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"Open environment '{session}' not found")
        environment, path = evaluated.environment or {}, request.args.get("property")
        if path is None:
            return environment
        try:
            found = self.environments.engine.property(environment, path)
        except EngineError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"Bad Request: {error}") from None
        if found is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"Property '{path}' not found")
        return found

    # Revisions.

    def list_revisions(self, organization: str, project: str, name: str) -> ResponseReturnValue:
        """List at most `count` revisions below `before` (0: all), newest first."""
        environment = self.environments.get(f"{organization}/{project}/{name}")
        before = _integer(request.args, "before", 0)
        count = _integer(request.args, "count", PAGE_OF_REVISIONS)
        found = [item for item in reversed(environment.revisions) if not before or item.number < before]
        return [_revision(environment, item) for item in found[:count]]

    def list_revision_tags(self, organization: str, project: str, name: str) -> ResponseReturnValue:
        """List by name the tags after the name `after`. The CLI requests pages until one is empty."""
        environment = self.environments.get(f"{organization}/{project}/{name}")
        after = request.args.get("after", "")
        count = _integer(request.args, "count", PAGE_OF_REVISIONS)
        found = [tag for tag_name, tag in sorted(environment.revision_tags.items()) if tag_name > after][:count]
        return {"tags": [_revision_tag(tag) for tag in found], "nextToken": found[-1].name if found else ""}

    def get_revision_tag(self, organization: str, project: str, name: str, tag: str) -> ResponseReturnValue:
        return _revision_tag(self.environments.revision_tag(f"{organization}/{project}/{name}", tag))

    def create_revision_tag(self, organization: str, project: str, name: str) -> ResponseReturnValue:
        body = _json_body()
        path = f"{organization}/{project}/{name}"
        self.environments.create_revision_tag(path, body.get("name", ""), body.get("revision"), g.login)
        return "", HTTPStatus.NO_CONTENT

    def update_revision_tag(self, organization: str, project: str, name: str, tag: str) -> ResponseReturnValue:
        path = f"{organization}/{project}/{name}"
        self.environments.update_revision_tag(path, tag, _json_body().get("revision"), g.login)
        return "", HTTPStatus.NO_CONTENT

    def delete_revision_tag(self, organization: str, project: str, name: str, tag: str) -> ResponseReturnValue:
        self.environments.delete_revision_tag(f"{organization}/{project}/{name}", tag)
        return "", HTTPStatus.NO_CONTENT

    # Tags of environments.

    def list_tags(self, organization: str, project: str, name: str) -> ResponseReturnValue:
        """List all tags in one page. The CLI requests pages until `nextToken` is "0"."""
        tags = self.environments.get(f"{organization}/{project}/{name}").tags
        return {"tags": {key: _tag(tag) for key, tag in sorted(tags.items())}, "nextToken": LAST_PAGE_OF_TAGS}

    def get_tag(self, organization: str, project: str, name: str, tag: str) -> ResponseReturnValue:
        return _tag(self.environments.tag(f"{organization}/{project}/{name}", tag))

    def create_tag(self, organization: str, project: str, name: str) -> ResponseReturnValue:
        body = _json_body()
        path = f"{organization}/{project}/{name}"
        return _tag(self.environments.create_tag(path, body.get("name", ""), body.get("value", ""), g.login))

    def update_tag(self, organization: str, project: str, name: str, tag: str) -> ResponseReturnValue:
        body = _json_body()
        new, old = body.get("newTag", {}), body.get("currentTag", {})
        if not isinstance(new, dict) or not isinstance(old, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "Bad Request: a tag must be a JSON object")
        path = f"{organization}/{project}/{name}"
        current = old.get("value", "")
        to = new.get("name", ""), new.get("value", "")
        return _tag(self.environments.update_tag(path, tag, current, to, g.login))

    def delete_tag(self, organization: str, project: str, name: str, tag: str) -> ResponseReturnValue:
        self.environments.delete_tag(f"{organization}/{project}/{name}", tag)
        return "", HTTPStatus.NO_CONTENT

    # Approvals: drafts of definitions, and the change requests that carry them.

    def get_metadata(self, organization: str, project: str, name: str) -> ResponseReturnValue:
        """Return an `EnvironmentMetadata` of the OpenAPI."""
        environment = self.environments.get(f"{organization}/{project}/{name}")
        active = self.change_requests.active(environment.path)
        return {
            "id": environment.id,
            "ownedBy": _user(environment.revisions[0].author),
            "gatedActions": sorted(environment.gated),
            **({"activeChangeRequest": _reference(active)} if active else {}),
        }

    def create_draft(self, organization: str, project: str, name: str) -> ResponseReturnValue:
        path = f"{organization}/{project}/{name}"
        return _reference(self.change_requests.create(path, _yaml_body(), g.login, _precondition()))

    def get_draft(self, organization: str, project: str, name: str, identifier: str) -> ResponseReturnValue:
        draft = self.change_requests.draft(f"{organization}/{project}/{name}", identifier)
        return Response(
            draft.definition, headers={"ETag": draft.etag}, content_type="application/x-yaml; charset=utf-8"
        )

    def update_draft(self, organization: str, project: str, name: str, identifier: str) -> ResponseReturnValue:
        path = f"{organization}/{project}/{name}"
        return _reference(self.change_requests.update(path, identifier, _yaml_body(), _precondition()))

    def open_draft(self, organization: str, project: str, name: str, identifier: str) -> ResponseReturnValue:
        draft = self.change_requests.draft(f"{organization}/{project}/{name}", identifier)
        refuse_gated_open(self.environments.get(draft.path))
        return self._open(self.environments.open(draft.definition, organization, f"{project}/{name}"))

    def get_change_request(self, organization: str, identifier: str) -> ResponseReturnValue:
        """Return a `GetChangeRequestResponse` of the OpenAPI."""
        found = self.change_requests.get(identifier, organization)
        return self._change_request(found)

    def submit_change_request(self, organization: str, identifier: str) -> ResponseReturnValue:
        found = self.change_requests.get(identifier, organization)
        self.change_requests.submit(found, _json_body().get("description") or "")
        return "", HTTPStatus.NO_CONTENT

    def approve_change_request(self, organization: str, identifier: str) -> ResponseReturnValue:
        found = self.change_requests.get(identifier, organization)
        self.change_requests.approve(found, g.login, _json_body().get("revisionNumber", 0))
        return "", HTTPStatus.NO_CONTENT

    def apply_change_request(self, organization: str, identifier: str) -> ResponseReturnValue:
        found = self.change_requests.get(identifier, organization)
        self.change_requests.apply(found)
        return {"entityUrl": f"/api/esc/environments/{found.path}"}

    def close_change_request(self, organization: str, identifier: str) -> ResponseReturnValue:
        self.change_requests.close(self.change_requests.get(identifier, organization))
        return "", HTTPStatus.NO_CONTENT

    def _change_request(self, found: ChangeRequest) -> Json:
        organization, project, name = found.path.split("/")
        required = self.change_requests.required(found.path)
        rule = {
            "ruleType": "approval_required",
            "approvers": [_user(login) for login in found.approvers],
            "requiredApprovals": required,
        }
        satisfied = len(found.approvers) >= required
        gate = {"id": f"{found.path} update", "name": "updates", "ruleDetails": rule, "satisfied": satisfied}
        return {
            "id": found.id,
            "orgID": organization,
            "action": "update",
            "entity": {"entityType": "environment", "project": project, "name": name},
            "createdAt": _time(found.created),
            "createdBy": _user(found.author),
            "description": found.description,
            "latestRevisionNumber": found.revision,
            "status": found.status,
            "gateEvaluation": {"applicableGates": [gate] if required else [], "satisfied": satisfied},
        }


def _json_body() -> Json:
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "Bad Request: the body must be a JSON object")
    return body


def _yaml_body() -> str:
    try:
        return request.get_data().decode()
    except UnicodeDecodeError:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "Bad Request: the definition must be UTF-8") from None


def _integer(arguments: Mapping[str, str], name: str, default: int) -> int:
    text = arguments.get(name) or str(default)
    if not text.isdecimal() or int(text) > LARGEST_INTEGER:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"Bad Request: '{name}' must be a number")
    return int(text)


def _boolean(arguments: Mapping[str, str], name: str) -> bool:
    """Parse a parameter as Go's `strconv.ParseBool` does."""
    text = arguments.get(name) or "false"
    if text not in _TRUE | _FALSE:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"Bad Request: '{name}' must be a boolean")
    return text in _TRUE


def _check_duration(text: str) -> None:
    """Check that a duration is written in Go's units, which the OpenAPI requires."""
    if re.fullmatch(r"(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+", text) is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"Bad Request: invalid duration '{text}'")


def _precondition() -> str | None:
    """Return the ETag that a write depends on."""
    return request.headers.get("If-Match") or request.headers.get("ETag")


def _headers(revision: Revision) -> dict[str, str]:
    return {"ETag": revision.etag, "Pulumi-ESC-Revision": str(revision.number)}


def _definition(revision: Revision, text: str) -> Response:
    return Response(text, headers=_headers(revision), content_type="application/x-yaml; charset=utf-8")


def _user(login: str) -> Json:
    return {"githubLogin": login, "name": login, "avatarUrl": ""}


def _reference(found: ChangeRequest) -> Json:
    """Return a `ChangeRequestRef` of the OpenAPI."""
    return {"changeRequestId": found.id, "latestRevisionNumber": found.revision}


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _listed(environment: Environment) -> Json:
    return {
        "organization": environment.organization,
        "project": environment.project,
        "name": environment.name,
        "created": _time(environment.revisions[0].created),
        "modified": _time(environment.latest.created),
        "id": environment.id,
        "ownedBy": _user(environment.revisions[0].author),
        "referrerMetadata": dict.fromkeys(_REFERRERS, 0),
        "settings": {"deletionProtected": False},
        "tags": {name: tag.value for name, tag in sorted(environment.tags.items())},
    }


def _revision(environment: Environment, revision: Revision) -> Json:
    row: Json = {
        "number": revision.number,
        "created": _time(revision.created),
        "creatorLogin": revision.author,
        "creatorName": revision.author,
        "tags": environment.tags_of(revision),
    }
    if revision.replacement is not None:
        row["retracted"] = {"replacement": revision.replacement, "at": _time(revision.created)}
    return row


def _revision_tag(tag: RevisionTag) -> Json:
    return {
        "name": tag.name,
        "revision": tag.revision,
        "created": _time(tag.created),
        "modified": _time(tag.modified),
        "editorLogin": tag.editor,
        "editorName": tag.editor,
    }


def _tag(tag: EnvironmentTag) -> Json:
    return {
        "id": tag.id,
        "name": tag.name,
        "value": tag.value,
        "created": _time(tag.created),
        "modified": _time(tag.modified),
        "editorLogin": tag.editor,
        "editorName": tag.editor,
    }
