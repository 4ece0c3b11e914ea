"""What the local Sentry keeps: projects with their client keys and releases, issues with their events and activity."""

import itertools
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sandbox.server import Json

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
_seconds = itertools.count(60)
_MEMBER: Json = {"id": "7", "name": "Jane", "email": "jane@example.com", "username": "jane@example.com"}
"""A member of the organization, whose e-mail address is private."""


def moment() -> str:
    """Return a time as Sentry writes it, a minute after the previous one, so that times sort in one order."""
    at = datetime.fromtimestamp(_BEGIN + 60 * next(_seconds), UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class Key:
    """A client key, from which the DSN is made. `extra` overrides members of its JSON."""

    public: str
    secret: str
    active: bool
    label: str
    rate_limit: Json | None = None
    extra: Json = field(default_factory=dict)


@dataclass
class Release:
    version: str
    ref: str | None
    url: str | None
    created: str = field(default_factory=moment)


@dataclass
class Project:
    organization: str
    slug: str
    id: int
    keys: list[Key] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    settings: Json = field(default_factory=dict)
    """The settings that a PUT has changed."""
    issues_made: int = 0
    former_slugs: set[str] = field(default_factory=set)
    security_token: str = field(default_factory=lambda: secrets.token_hex(16))
    """The project's secret that Sentry sends when it fetches source maps."""


@dataclass
class Attachment:
    """A file that came with an event."""

    id: int
    name: str
    mimetype: str
    content: bytes
    created: str = field(default_factory=moment)


@dataclass
class Event:
    """An event; `extra` overrides members of its JSON."""

    id: str
    entries: list[Json]
    tags: dict[str, str]
    title: str
    message: str
    created: str = field(default_factory=moment)
    attachments: list[Attachment] = field(default_factory=list)
    extra: Json = field(default_factory=dict)


@dataclass
class Activity:
    id: int
    type: str
    data: Json
    user: Json | None
    created: str = field(default_factory=moment)


@dataclass
class Issue:
    """An issue; `extra` overrides members of its JSON."""

    id: int
    short_id: str
    project: Project
    title: str
    culprit: str
    level: str
    status: str = "unresolved"
    status_details: Json = field(default_factory=dict)
    substatus: str | None = "ongoing"
    priority: str = "high"
    assigned_to: Json | None = None
    events: list[Event] = field(default_factory=list)
    """Oldest first."""
    activity: list[Activity] = field(default_factory=list)
    """Newest first."""
    reports: list[Json] = field(default_factory=list)
    """What users reported, newest first."""
    extra: Json = field(default_factory=dict)
    created: str = field(default_factory=moment)

    @property
    def last_seen(self) -> str:
        return self.events[-1].created if self.events else self.created

    def json(self, url: str) -> Json:
        return {
            "id": str(self.id),
            "shareId": None,
            "shortId": self.short_id,
            "title": self.title,
            "culprit": self.culprit,
            "permalink": f"{url}/organizations/{self.project.organization}/issues/{self.id}/",
            "logger": None,
            "level": self.level,
            "status": self.status,
            "statusDetails": self.status_details,
            "substatus": self.substatus,
            "isPublic": False,
            "platform": "python",
            "project": project_reference(self.project),
            "type": "error",
            "metadata": {"type": self.title.partition(":")[0], "value": self.title.partition(": ")[2]},
            "numComments": sum(entry.type == "note" for entry in self.activity),
            "assignedTo": self.assigned_to,
            "issueType": "error",
            "issueCategory": "error",
            "priority": self.priority,
            "isUnhandled": True,
            "annotations": [],
            "hasSeen": False,
            "isBookmarked": False,
            "isSubscribed": False,
            "subscriptionDetails": None,
            "priorityLockedAt": None,
            "seerFixabilityScore": None,
            "seerAutofixLastTriggered": None,
            "seerExplorerAutofixLastTriggered": None,
            "count": str(len(self.events)),
            "userCount": 1,
            "firstSeen": self.created,
            "lastSeen": self.last_seen,
            **self.extra,
        }

    def details(self, url: str) -> Json:
        """Return the JSON of the issue's own route, which shows more."""
        releases = [{"version": event.tags["release"]} for event in self.events if "release" in event.tags]
        return {
            "activity": [activity_json(entry) for entry in self.activity[:100]],
            "firstRelease": releases[0] if releases else None,
            "lastRelease": releases[-1] if releases else None,
            "participants": [_MEMBER],
            "seenBy": [_MEMBER],
            "userReportCount": len(self.reports),
            **self.json(url),
        }

    def tag_values(self, key: str) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = {}
        for event in self.events:
            if key in event.tags:
                found.setdefault(event.tags[key], []).append(event)
        return found


def project_reference(project: Project) -> Json:
    return {"id": str(project.id), "slug": project.slug, "name": project.slug, "platform": "python"}


def activity_json(activity: Activity) -> Json:
    return {
        "id": str(activity.id),
        "type": activity.type,
        "user": activity.user,
        "data": activity.data,
        "dateCreated": activity.created,
    }


def event_summary(issue: Issue, event: Event) -> Json:
    """Return an event as a list shows it."""
    return {
        "id": event.id,
        "eventID": event.id,
        "groupID": str(issue.id),
        "projectID": str(issue.project.id),
        "title": event.title,
        "message": event.message,
        "location": "checkout.py",
        "metadata": {"filename": "checkout.py", "function": "pay", "type": "ValueError", "value": event.message},
        "crashFile": None,
        "culprit": issue.culprit,
        "platform": "python",
        "user": {"id": "7", "email": "jane@example.com", "ip_address": "203.0.113.7", "username": None, "name": None},
        "tags": [{"key": key, "value": value} for key, value in event.tags.items()],
        "dateCreated": event.created,
    }


def event_json(issue: Issue, event: Event) -> Json:
    """Return an event as its own route shows it."""
    at = issue.events.index(event)
    return {
        **event_summary(issue, event),
        "dist": None,
        "size": 4096,
        "entries": event.entries,
        "contexts": {"runtime": {"type": "runtime", "name": "CPython", "version": "3.13.1"}},
        "sdk": {"name": "sentry.python", "version": "2.40.0"},
        "context": {},
        "packages": {},
        "type": "error",
        "_meta": {},
        "dateReceived": event.created,
        "errors": [],
        "resolvedWith": [],
        "sdkUpdates": [],
        "release": {"version": event.tags["release"]} if "release" in event.tags else None,
        "fingerprints": [secrets.token_hex(16)],
        "nextEventID": issue.events[at + 1].id if at + 1 < len(issue.events) else None,
        "previousEventID": issue.events[at - 1].id if at else None,
        "occurrence": None,
        "userReport": None,
        **event.extra,
    }


def attachment_json(event: Event, attachment: Attachment) -> Json:
    return {
        "id": str(attachment.id),
        "event_id": event.id,
        "type": "event.attachment",
        "name": attachment.name,
        "mimetype": attachment.mimetype,
        "dateCreated": attachment.created,
        "size": len(attachment.content),
        "headers": {"Content-Type": attachment.mimetype},
        "sha1": None,
    }


def user_report(event: Event, comments: str) -> Json:
    return {
        "id": str(abs(hash(comments)) % 10**9),
        "eventID": event.id,
        "name": "Jane",
        "email": "jane@example.com",
        "comments": comments,
        "dateCreated": moment(),
        "user": None,
        "event": {"id": event.id, "eventID": event.id},
        "issue": None,
    }


def stack_trace(kind: str, value: str, lines: list[str]) -> Json:
    """Return the entry of an exception, which was raised at the middle one of these source lines.

    The innermost frame shows the lines. The frame around it is a library's.
    """
    middle = len(lines) // 2
    context = [[40 + at - middle, line] for at, line in enumerate(lines)]
    frame: dict[str, Any] = {"filename": "checkout.py", "absPath": "/app/checkout.py", "module": "checkout"}
    frame |= {"function": "pay", "lineNo": 40, "colNo": None, "context": context, "inApp": True, "vars": {"card": "4"}}
    outer = {"filename": "flask/app.py", "module": "flask.app", "function": "dispatch", "lineNo": 7, "inApp": False}
    exception = {"type": kind, "value": value, "mechanism": {"type": "flask", "handled": False}, "module": None}
    exception |= {"stacktrace": {"frames": [outer | {"context": [], "vars": None}, frame]}}
    return {"type": "exception", "data": {"values": [exception], "hasSystemFrames": True, "excOmitted": None}}


def breadcrumbs(*messages: str) -> Json:
    rows = [
        {"type": "default", "timestamp": moment(), "level": "info", "message": message, "category": "log", "data": None}
        for message in messages
    ]
    return {"type": "breadcrumbs", "data": {"values": rows}}
