"""A local Sentry: its web API for tokens, projects, client keys, releases and issues.

Sources: docs.sentry.io/api, and the endpoints in github.com/getsentry/sentry that the modules of the routes name (the
index: `src/sentry/api/endpoints/index.py`). Clients can't send events: a test adds them.
"""

import itertools
import secrets
from collections.abc import Iterable, Mapping, Sequence

from sandbox.sentry.access import DEFAULT_SCOPES
from sandbox.sentry.issues import IssueRoutes
from sandbox.sentry.projects import ProjectRoutes
from sandbox.sentry.records import (
    Activity,
    Attachment,
    Event,
    Issue,
    Key,
    Project,
    Release,
    breadcrumbs,
    stack_trace,
    user_report,
)
from sandbox.server import Json, Route

__all__ = ["DEFAULT_SCOPES", "Activity", "Event", "Issue", "Sentry"]


class Sentry(ProjectRoutes, IssueRoutes):
    """The local Sentry, with methods for tests and demonstrations. It starts with one project, client key and token."""

    organization = "pay-ready"
    project = "pay-ready"
    project_id = 4505281256090153

    def __init__(self) -> None:
        super().__init__()
        self.ingest_host = "o4504765715316736.ingest.sentry.example"
        self.issues: dict[int, Issue] = {}
        self.activities = 0
        self._issue_ids = itertools.count(6_100_000_001)
        self.add_project(self.organization, self.project, self.project_id)
        self.public_key = self.add_key(self.organization, self.project)

    def routes(self) -> Iterable[Route]:
        yield from self.project_routes()
        yield from self.issue_routes()

    @property
    def dsn(self) -> str:
        """The DSN of `public_key`."""
        return self.dsn_of(self.public_key, self.project_id)

    def add_token(self, token: str, scopes: Iterable[str]) -> None:
        self.tokens[token] = set(scopes)

    def add_project(self, organization: str, project: str, project_id: int) -> None:
        self.projects[organization, project] = Project(organization, project, project_id)

    def rename_project(self, organization: str, project: str, slug: str) -> None:
        """Give a project another slug. Requests for the former one are redirected."""
        with self.lock:
            renamed = self.projects.pop((organization, project))
            renamed.former_slugs.add(renamed.slug)
            renamed.slug = slug
            self.projects[organization, slug] = renamed

    def add_key(
        self, organization: str, project: str, public: str | None = None, *, active: bool = True, label: str = "Default"
    ) -> str:
        """Add a client key to a project. Return its public part."""
        public = public or secrets.token_hex(16)
        self.projects[organization, project].keys.append(Key(public, secrets.token_hex(16), active, label))
        return public

    def set_key_active(self, public: str, active: bool) -> None:
        for project in self.projects.values():
            for key in project.keys:
                if key.public == public:
                    key.active = active

    def add_release(self, version: str, project: str = project, ref: str | None = None, url: str | None = None) -> None:
        with self.lock:
            self.projects[self.organization, project].releases.append(Release(version, ref, url))

    def add_issue(
        self,
        title: str = "ValueError: no such card",
        culprit: str = "checkout in pay",
        *,
        project: str = project,
        level: str = "error",
    ) -> Issue:
        """Add an issue without events to a project of `organization`."""
        with self.lock:
            owner = self.projects[self.organization, project]
            owner.issues_made += 1
            short_id = f"{owner.slug.upper()}-{owner.issues_made:X}"
            issue = Issue(next(self._issue_ids), short_id, owner, title, culprit, level)
            self.issues[issue.id] = issue
            return issue

    def add_event(
        self,
        issue: Issue,
        message: str = "no such card",
        *,
        source: Sequence[str] = ("def pay(card):", "    return charge(card)", ""),
        crumbs: Sequence[str] = ("cart opened", "pay clicked"),
        tags: Mapping[str, str] | None = None,
    ) -> Event:
        """Add an event to an issue: an exception with a stack trace, and breadcrumbs."""
        with self.lock:
            entries: list[Json] = [stack_trace("ValueError", message, list(source)), breadcrumbs(*crumbs)]
            entries += [{"type": "request", "data": {"method": "POST", "url": "https://shop.example/pay"}}]
            known = {"environment": "production", "level": issue.level} if tags is None else dict(tags)
            event = Event(secrets.token_hex(16), entries, known, issue.title, message)
            issue.events.append(event)
            return event

    def add_whole_event(self, issue: Issue, body: Json) -> Event:
        """Add an event of any kind to an issue. `body` has members of Sentry's JSON, such as `entries` and `tags`."""
        with self.lock:
            tags = {row["key"]: row["value"] for row in body.get("tags", ())}
            rest = {name: value for name, value in body.items() if name != "entries"}
            event = Event(secrets.token_hex(16), body.get("entries", []), tags, issue.title, "", extra=rest)
            issue.events.append(event)
            return event

    def add_attachment(self, event: Event, name: str, content: bytes, mimetype: str = "text/plain") -> Attachment:
        with self.lock:
            attachment = Attachment(next(self._issue_ids), name, mimetype, content)
            event.attachments.append(attachment)
            return attachment

    def add_user_report(self, issue: Issue, comments: str) -> None:
        """Add what a user reported about the last event of an issue."""
        with self.lock:
            issue.reports.insert(0, user_report(issue.events[-1], comments))

    def add_activity(self, issue: Issue, kind: str, data: Json, user: Json | None = None) -> Activity:
        with self.lock:
            return self.record(issue, kind, data, user)
