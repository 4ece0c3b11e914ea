"""A local Sentry: what its web API tells about a token, a project and the project's client keys.

After docs.sentry.io/api ("Auth Tokens", "Retrieve a Project", "List a Project's Client Keys") and the
endpoints' source in github.com/getsentry/sentry (`src/sentry/api/endpoints/index.py`,
`src/sentry/core/endpoints/project_details.py`, `project_keys.py`). Events are not taken.
"""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus

from flask import g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from sandbox.server import Json, RefusedError, Route, Server

DEFAULT_SCOPES = frozenset({"project:read", "project:write", "event:read", "event:write"})
PROJECT_READERS = frozenset({"project:read", "project:write", "project:admin"})
"""Any of these scopes opens the project's endpoints."""

PAGE_OF_KEYS = 100


@dataclass
class Key:
    """A client key; the DSN is made of it."""

    public: str
    secret: str
    active: bool
    label: str


@dataclass
class Project:
    organization: str
    slug: str
    id: int
    keys: list[Key] = field(default_factory=list)


class Sentry(Server):
    """The service, with what a test or a demonstration does to it. It begins with one project, one key, one token."""

    organization = "pay-ready"
    project = "pay-ready"
    project_id = 4505281256090153

    def __init__(self) -> None:
        self.token = f"sntrys_{secrets.token_hex(32)}"
        self.scopes: set[str] = set(DEFAULT_SCOPES)
        """Of `token`; change them as you like."""
        self.tokens: dict[str, set[str]] = {self.token: self.scopes}
        self.ingest_host = "o4504765715316736.ingest.sentry.example"
        self.refused_tokens_are_anonymous = False
        """True: the index answers a token that it doesn't know like a call without one (`"auth": null`)."""
        self._projects: dict[tuple[str, str], Project] = {}
        self.add_project(self.organization, self.project, self.project_id)
        self.public_key = self.add_key(self.organization, self.project)
        super().__init__()

    @property
    def dsn(self) -> str:
        """The DSN of `public_key`."""
        return self.dsn_of(self.public_key, self.project_id)

    def dsn_of(self, public_key: str, project_id: int) -> str:
        return f"https://{public_key}@{self.ingest_host}/{project_id}"

    def add_token(self, token: str, scopes: Iterable[str]) -> None:
        self.tokens[token] = set(scopes)

    def add_project(self, organization: str, project: str, project_id: int) -> None:
        self._projects[organization, project] = Project(organization, project, project_id)

    def add_key(
        self, organization: str, project: str, public: str | None = None, *, active: bool = True, label: str = "Default"
    ) -> str:
        """Add a client key to a project; gives its public part."""
        key = Key(public or secrets.token_hex(16), secrets.token_hex(16), active, label)
        self._projects[organization, project].keys.append(key)
        return key.public

    def set_key_active(self, public: str, active: bool) -> None:
        for project in self._projects.values():
            for key in project.keys:
                if key.public == public:
                    key.active = active

    # The routes.

    def routes(self) -> Iterable[Route]:
        yield "GET /api/0/", self.index
        yield "GET /api/0/projects/<organization>/<project>/", self.get_project
        yield "GET /api/0/projects/<organization>/<project>/keys/", self.list_keys

    def error_body(self, status: int, message: str, details: Json) -> Json:  # noqa: ARG002 - not in Sentry's body
        return {"detail": message, **details}

    def admit(self) -> None:
        """`Authorization: Bearer T`. A token that isn't known is 401, also on the index."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        g.scopes = self.tokens.get(token) if scheme.lower() == "bearer" else None
        on_index = request.path == "/api/0/"
        if token and g.scopes is None and not (on_index and self.refused_tokens_are_anonymous):
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "Invalid token")
        if g.scopes is None and not on_index:
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "Authentication credentials were not provided.")

    def finish(self, response: Response) -> Response:
        response.headers.update(
            {
                "X-Sentry-Rate-Limit-Limit": "40",
                "X-Sentry-Rate-Limit-Remaining": "39",
                "X-Sentry-Rate-Limit-Reset": str(int(time.time()) + 1),
            }
        )
        return response

    def index(self) -> ResponseReturnValue:
        """The scopes of the token; `auth` is null for a call without one."""
        auth = None if g.scopes is None else {"scopes": sorted(g.scopes)}
        return {"version": "0", "auth": auth, "user": None}

    def get_project(self, organization: str, project: str) -> ResponseReturnValue:
        found = self._project(organization, project)
        return {
            "id": str(found.id),
            "slug": found.slug,
            "name": found.slug,
            "status": "active",
            "organization": {"id": "1", "slug": found.organization, "name": found.organization},
        }

    def list_keys(self, organization: str, project: str) -> ResponseReturnValue:
        """In pages, whose neighbours the header `Link` gives; `results` there says whether the neighbour has any."""
        found = self._project(organization, project)
        status = request.args.get("status")
        rows = [key for key in found.keys if status is None or key.active == (status == "active")]
        _, _, offset = request.args.get("cursor", "0:0:0").partition(":")
        begin = int(offset.split(":")[0])
        response = jsonify([self._key_json(found, key) for key in rows[begin : begin + PAGE_OF_KEYS]])
        cursors = {"previous": max(0, begin - PAGE_OF_KEYS), "next": begin + PAGE_OF_KEYS}
        more = {"previous": begin > 0, "next": begin + PAGE_OF_KEYS < len(rows)}
        response.headers["Link"] = ", ".join(
            f'<{request.base_url}?cursor=0:{cursor}:0>; rel="{rel}"; results="{str(more[rel]).lower()}"; '
            f'cursor="0:{cursor}:0"'
            for rel, cursor in cursors.items()
        )
        return response

    def _project(self, organization: str, project: str) -> Project:
        """By slug or id. What isn't there is 404 before the scopes are looked at."""
        for found in self._projects.values():
            if found.organization == organization and project in (found.slug, str(found.id)):
                if PROJECT_READERS.isdisjoint(g.scopes):
                    raise RefusedError(HTTPStatus.FORBIDDEN, "You do not have permission to perform this action.")
                return found
        raise RefusedError(HTTPStatus.NOT_FOUND, "The requested resource does not exist")

    def _key_json(self, project: Project, key: Key) -> Json:
        secret = f"https://{key.public}:{key.secret}@{self.ingest_host}/{project.id}"
        return {
            "id": key.public,
            "name": key.label,
            "label": key.label,
            "public": key.public,
            "secret": key.secret,
            "projectId": project.id,
            "isActive": key.active,
            "rateLimit": None,
            "dsn": {"public": self.dsn_of(key.public, project.id), "secret": secret},
            "dateCreated": "2026-01-01T00:00:00.000000Z",
        }
