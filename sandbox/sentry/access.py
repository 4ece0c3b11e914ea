"""What all routes of the local Sentry share: tokens and their scopes, projects, and pages."""

import secrets
import time
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import TypeVar

from flask import g, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from sandbox.sentry.records import Project
from sandbox.server import Json, RefusedError, Server

Row = TypeVar("Row")

DEFAULT_SCOPES = frozenset({"project:read", "project:write", "event:read", "event:write"})
PROJECT_READERS = frozenset({"project:read", "project:write", "project:admin"})
"""Any one of these scopes is enough to read a project. The sets below work likewise."""
PROJECT_WRITERS = frozenset({"project:write", "project:admin"})
RELEASE_READERS = PROJECT_READERS | {"project:releases"}
EVENT_READERS = frozenset({"event:read", "event:write", "event:admin"})
ORGANIZATION_READERS = frozenset({"org:read", "org:write", "org:admin"})
EVENT_WRITERS = frozenset({"event:write", "event:admin"})

LONGEST_PAGE = 100


class SentryServer(Server):
    def __init__(self) -> None:
        self.token = f"sntrys_{secrets.token_hex(32)}"
        self.scopes: set[str] = set(DEFAULT_SCOPES)
        """The scopes of `token`. A test may change them."""
        self.tokens: dict[str, set[str]] = {self.token: self.scopes}
        self.refused_tokens_are_anonymous = False
        """Whether the index answers an unknown token like a request without one (`"auth": null`)."""
        self.has_index = True
        """Whether the address has an index. The address of a region has none: it answers 404 without a body."""
        self.projects: dict[tuple[str, str], Project] = {}
        super().__init__()

    def error_body(self, status: int, message: str, details: Json) -> Json:  # noqa: ARG002 - not in Sentry's body
        """Return the errors of fields alone, or else the message as `detail`."""
        return details or {"detail": message}

    def admit(self) -> None:
        """Check `Authorization: Bearer T`. An unknown token gets 401, also on the index."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        g.scopes = self.tokens.get(token) if scheme.lower() == "bearer" else None
        on_index = request.path == "/api/0/"
        if on_index and not self.has_index:
            raise HTTPException(response=Response(status=HTTPStatus.NOT_FOUND))
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

    def find_project(self, organization: str, project: str, scopes: frozenset[str] = PROJECT_READERS) -> Project:
        """Return a project by its slug or id. A project that doesn't exist is 404, whatever the scopes.

        Redirect from a former slug (`src/sentry/api/bases/project.py`: `convert_args`, `handle_exception_with_details`;
        `ProjectMoved` in `src/sentry/api/exceptions.py`).
        """
        for found in self.projects.values():
            if found.organization == organization and project in (found.slug, str(found.id)):
                require(scopes)
                return found
        for found in self.projects.values():
            if found.organization == organization and project in found.former_slugs:
                require(scopes)
                raise _moved(f"projects/{organization}/", project, found.slug)
        raise missing()


def require(scopes: frozenset[str]) -> None:
    if scopes.isdisjoint(g.scopes):
        raise RefusedError(HTTPStatus.FORBIDDEN, "You do not have permission to perform this action.")


def _moved(parent: str, former: str, slug: str) -> HTTPException:
    url = request.full_path.removesuffix("?").replace(f"{parent}{former}/", f"{parent}{slug}/")
    extra = {"url": url, "slug": slug}
    detail = {"code": "resource-moved", "message": "Resource has been moved", "extra": extra}
    response = jsonify({"slug": slug, "detail": detail})
    response.status_code = HTTPStatus.FOUND
    response.headers["Location"] = url
    return HTTPException(response=response)


def missing() -> RefusedError:
    return RefusedError(HTTPStatus.NOT_FOUND, "The requested resource does not exist")


def wrong_field(name: str, error: str) -> RefusedError:
    refused = RefusedError(HTTPStatus.BAD_REQUEST, error)
    refused.details = {name: [error]}
    return refused


def asked_body() -> Json:
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "JSON parse error")
    return body


def begin_page(rows: Sequence[Row], name: str = "per_page") -> tuple[list[Row], int, int]:
    """Return the rows of the requested page, the index of the first row, and the number of rows in a page."""
    try:
        size = int(request.args.get(name, LONGEST_PAGE))
        _, offset, _ = request.args.get("cursor", "0:0:0").split(":")
        begin = int(offset)
    except ValueError:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "Invalid cursor parameter.") from None
    if not 1 <= size <= LONGEST_PAGE:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"Invalid {name} value. Must be between 1 and {LONGEST_PAGE}.")
    return list(rows[begin : begin + size]), begin, size


def page(rows: Iterable[Json], begin: int, size: int, total: int) -> Response:
    """Return a page. The header `Link` names its neighbours; `results` says whether a neighbour has rows."""
    response = jsonify(list(rows))
    cursors = {"previous": max(0, begin - size), "next": begin + size}
    more = {"previous": begin > 0, "next": begin + size < total}
    response.headers["Link"] = ", ".join(
        f'<{request.base_url}?cursor=0:{cursor}:0>; rel="{rel}"; results="{str(more[rel]).lower()}"; '
        f'cursor="0:{cursor}:0"'
        for rel, cursor in cursors.items()
    )
    return response
