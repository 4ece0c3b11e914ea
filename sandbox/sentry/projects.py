"""The routes of a project, its client keys and its releases.

Sources: docs.sentry.io/api ("Retrieve a Project", "Update a Project", "List a Project's Client Keys", "Create a New
Client Key") and, in github.com/getsentry/sentry, `src/sentry/core/endpoints/project_details.py`, `project_keys.py`,
`src/sentry/api/endpoints/project_releases.py`, `project_release_details.py`.
"""

import secrets
from collections.abc import Iterable
from http import HTTPStatus

from flask import g, request
from flask.typing import ResponseReturnValue

from sandbox.sentry.access import (
    PROJECT_WRITERS,
    RELEASE_READERS,
    SentryServer,
    asked_body,
    begin_page,
    missing,
    page,
    wrong_field,
)
from sandbox.sentry.records import Key, Project, Release, moment, project_reference
from sandbox.server import Json, Route

_PROJECT = "/api/0/projects/<organization>/<project>"
_SETTINGS = {"name": str, "platform": str, "subjectPrefix": str, "resolveAge": int, "defaultEnvironment": str}
_LONGEST_NAME = 64
_INGEST_ROUTES = (
    "csp", "security", "minidump", "nel", "unreal", "crons", "cdn", "playstation", "integration", "otlp_traces",
    "otlp_logs",
)  # fmt: skip
_UNCHANGED: Json = {
    "status": "active",
    "dateCreated": "2026-01-01T00:00:00.000000Z",
    "access": ["project:read", "event:read"],
    "allowedDomains": ["*"],
    "avatar": {"avatarType": "letter_avatar", "avatarUuid": None},
    "color": "#3fbf7f",
    "dataScrubber": True,
    "dataScrubberDefaults": True,
    "defaultEnvironment": None,
    "features": ["releases"],
    "firstEvent": None,
    "firstTransactionEvent": False,
    "hasAccess": True,
    "isBookmarked": False,
    "isInternal": False,
    "isMember": True,
    "isPublic": False,
    "latestRelease": None,
    "options": {"filters:blacklisted_ips": "203.0.113.9"},
    "platforms": ["python"],
    "resolveAge": 0,
    "safeFields": [],
    "scrubIPAddresses": False,
    "securityTokenHeader": None,
    "sensitiveFields": [],
    "subjectPrefix": "",
    "subjectTemplate": "$shortID - $title",
    "teams": [{"id": "3", "slug": "backend", "name": "Backend"}],
    "verifySSL": False,
}
"""Members of a project's JSON unless a PUT sets them, without the settings of Sentry's own pages and `has…` flags."""


class ProjectRoutes(SentryServer):
    ingest_host: str

    def project_routes(self) -> Iterable[Route]:
        yield "GET /api/0/", self.index
        yield f"GET {_PROJECT}/", self.get_project
        yield f"PUT {_PROJECT}/", self.update_project
        yield f"GET {_PROJECT}/keys/", self.list_keys
        yield f"POST {_PROJECT}/keys/", self.create_key
        yield f"GET {_PROJECT}/releases/", self.list_releases
        yield f"GET {_PROJECT}/releases/<version>/", self.get_release

    def index(self) -> ResponseReturnValue:
        """Return the scopes of the token; `auth` is null for a request without one."""
        auth = None if g.scopes is None else {"scopes": sorted(g.scopes)}
        return {"version": "0", "auth": auth, "user": None}

    def get_project(self, organization: str, project: str) -> ResponseReturnValue:
        return _project_json(self.find_project(organization, project))

    def update_project(self, organization: str, project: str) -> ResponseReturnValue:
        found = self.find_project(organization, project, PROJECT_WRITERS)
        body = asked_body()
        for name, kind in _SETTINGS.items():
            if name in body and not isinstance(body[name], kind):
                raise wrong_field(name, "Not a valid value.")
        if not body.get("name", "-"):
            raise wrong_field("name", "This field may not be blank.")
        found.settings |= {name: value for name, value in body.items() if name in _SETTINGS}
        return _project_json(found)

    def list_keys(self, organization: str, project: str) -> ResponseReturnValue:
        found = self.find_project(organization, project)
        status = request.args.get("status")
        keys = [key for key in found.keys if status is None or key.active == (status == "active")]
        shown, begin, size = begin_page(keys)
        return page([self.key_json(found, key) for key in shown], begin, size, len(keys))

    def create_key(self, organization: str, project: str) -> ResponseReturnValue:
        found = self.find_project(organization, project, PROJECT_WRITERS)
        body = asked_body()
        name = body.get("name") or secrets.token_hex(4)
        if not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise wrong_field("name", f"Ensure this field has no more than {_LONGEST_NAME} characters.")
        key = Key(secrets.token_hex(16), secrets.token_hex(16), True, name, body.get("rateLimit"))
        found.keys.append(key)
        return self.key_json(found, key), HTTPStatus.CREATED

    def list_releases(self, organization: str, project: str) -> ResponseReturnValue:
        """List releases, newest first. `query` is a part of the version."""
        found = self.find_project(organization, project, RELEASE_READERS)
        query = request.args.get("query", "").lower()
        releases = [one for one in reversed(found.releases) if query in one.version.lower()]
        shown, begin, size = begin_page(releases)
        return page([_release_json(found, release) for release in shown], begin, size, len(releases))

    def get_release(self, organization: str, project: str, version: str) -> ResponseReturnValue:
        found = self.find_project(organization, project, RELEASE_READERS)
        for release in found.releases:
            if release.version == version:
                return _release_json(found, release)
        raise missing()

    def dsn_of(self, public_key: str, project_id: int) -> str:
        return f"https://{public_key}@{self.ingest_host}/{project_id}"

    def key_json(self, project: Project, key: Key) -> Json:
        secret = f"https://{key.public}:{key.secret}@{self.ingest_host}/{project.id}"
        ingest = f"https://{self.ingest_host}/api/{project.id}"
        routes = {name: f"{ingest}/{name}/?sentry_key={key.public}" for name in _INGEST_ROUTES}
        return {
            "id": key.public,
            "name": key.label,
            "label": key.label,
            "public": key.public,
            "secret": key.secret,
            "projectId": project.id,
            "isActive": key.active,
            "rateLimit": key.rate_limit,
            "dsn": {"public": self.dsn_of(key.public, project.id), "secret": secret, **routes},
            "browserSdkVersion": "10.x",
            "browserSdk": {"choices": [["10.x", "10.x"]]},
            "dynamicSdkLoaderOptions": {"hasReplay": True, "hasPerformance": True, "hasDebug": False},
            "dateCreated": "2026-01-01T00:00:00.000000Z",
            **key.extra,
        }


def _project_json(project: Project) -> Json:
    return {
        **project_reference(project),
        **_UNCHANGED,
        "securityToken": project.security_token,
        "organization": {"id": "1", "slug": project.organization, "name": project.organization},
        **project.settings,
    }


def _release_json(project: Project, release: Release) -> Json:
    return {
        "id": abs(hash(release.version)) % 10**9,
        "version": release.version,
        "shortVersion": release.version,
        "status": "open",
        "ref": release.ref,
        "url": release.url,
        "dateCreated": release.created,
        "dateReleased": release.created,
        "firstEvent": release.created,
        "lastEvent": moment(),
        "newGroups": 2,
        "commitCount": 3,
        "deployCount": 1,
        "authors": [],
        "data": {},
        "versionInfo": None,
        "projects": [
            {
                "id": project.id,
                "slug": project.slug,
                "name": project.slug,
                "newGroups": 2,
                "platform": "python",
                "platforms": ["python"],
                "hasHealthData": False,
            }
        ],
    }
