"""The routes of issues: search, details, changes, notes, activity, events, tags.

Sources: docs.sentry.io/api ("List an Organization's Issues", "Retrieve an Issue", "Update an Issue", "Retrieve an Issue
Event", "List a Tag's Values for an Issue") and, in github.com/getsentry/sentry, `src/sentry/issues/endpoints/`:
`organization_group_index.py`, `group_details.py`, `group_notes.py`, `group_activities.py`, `group_events.py`,
`group_event_details.py`, `project_event_details.py`.

As in Sentry, an organization's routes reach the issues of all its projects. A search for an event's id finds the event
in any project, whatever `project` says.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterable
from http import HTTPStatus

from flask import request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from sandbox.sentry.access import (
    EVENT_READERS,
    EVENT_WRITERS,
    ORGANIZATION_READERS,
    SentryServer,
    asked_body,
    begin_page,
    missing,
    page,
    require,
    wrong_field,
)
from sandbox.sentry.records import Activity, Event, Issue, activity_json, attachment_json, event_json, event_summary
from sandbox.server import Json, RefusedError, Route

_ISSUES = "/api/0/organizations/<organization>/issues"
_ISSUE = f"{_ISSUES}/<issue_id>"
_EVENTS = "/api/0/organizations/<organization>/events"
_EVENT = "/api/0/projects/<organization>/<project>/events/<event_id>"

_STATUSES = frozenset({"resolved", "resolvedInNextRelease", "unresolved", "ignored"})
LONGEST_WINDOW = 10_080
"""Longest `ignoreWindow`, in minutes."""
_PRIORITIES = frozenset({"low", "medium", "high"})
_SORTS: dict[str, Callable[[Issue], str | int]] = {
    "date": lambda issue: issue.last_seen,
    "new": lambda issue: issue.created,
    "freq": lambda issue: len(issue.events),
    "user": lambda issue: issue.id,
    "trends": lambda issue: issue.id,
    "recommended": lambda issue: issue.last_seen,
}


class IssueRoutes(SentryServer):
    issues: dict[int, Issue]
    activities: int

    def issue_routes(self) -> Iterable[Route]:
        yield f"GET {_ISSUES}/", self.search_issues
        yield f"GET {_ISSUE}/", self.get_issue
        yield f"PUT {_ISSUE}/", self.update_issue
        yield f"POST {_ISSUE}/notes/", self.add_note
        yield f"GET {_ISSUE}/activities/", self.list_activity
        yield f"GET {_ISSUE}/events/", self.list_events
        yield f"GET {_ISSUE}/events/<event_id>/", self.get_issue_event
        yield f"GET {_ISSUE}/tags/<key>/values/", self.list_tag_values
        yield f"GET {_ISSUE}/user-reports/", self.list_user_reports
        yield f"GET {_EVENT}/", self.get_event
        yield f"GET {_EVENT}/attachments/", self.list_attachments
        yield f"GET {_EVENT}/attachments/<attachment_id>/", self.get_attachment
        yield f"GET {_EVENTS}/", self.search_events

    def search_issues(self, organization: str) -> ResponseReturnValue:
        require(EVENT_READERS)
        found = [issue for issue in self.issues.values() if issue.project.organization == organization]
        if not any(key[0] == organization for key in self.projects):
            raise missing()
        query = request.args.get("query", "is:unresolved").strip()
        if hit := [issue for issue in found if any(event.id == query for event in issue.events)]:
            return page([issue.json(self.url) for issue in hit], 0, len(hit), len(hit))
        if request.args.get("shortIdLookup") == "1" and (
            hit := [issue for issue in found if issue.short_id.lower() == query.lower()]
        ):
            return page([issue.json(self.url) for issue in hit], 0, len(hit), len(hit))
        asked = request.args.getlist("project")
        if asked and "-1" not in asked:
            found = [issue for issue in found if str(issue.project.id) in asked]
        words = _words(query)
        found = [issue for issue in found if _matches(issue, words) and _in_environment(issue)]
        sort = request.args.get("sort", "date")
        if sort not in _SORTS:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"Invalid sort: {sort}")
        if not re.fullmatch(r"\d+[mhdw]", request.args.get("statsPeriod", "14d")):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "Invalid statsPeriod")
        found.sort(key=_SORTS[sort], reverse=True)
        shown, begin, size = begin_page(found, "limit")
        # Only the rows of a list have these members. `expand` would add more.
        within: Json = {"lifetime": {}, "filtered": None, "stats": {}, "matchingEventId": None}
        return page([{**issue.json(self.url), **within} for issue in shown], begin, size, len(found))

    def get_issue(self, organization: str, issue_id: str) -> ResponseReturnValue:
        issue = self.find_issue(organization, issue_id, EVENT_READERS)
        return issue.details(self.url)

    def update_issue(self, organization: str, issue_id: str) -> ResponseReturnValue:
        issue = self.find_issue(organization, issue_id, EVENT_WRITERS)
        body = asked_body()
        for name, choices in {"status": _STATUSES, "priority": _PRIORITIES}.items():
            if body.get(name, next(iter(choices))) not in choices:
                raise wrong_field(name, f'"{body[name]}" is not a valid choice.')
        if "status" in body:
            _set_status(issue, body)
            self.record(issue, f"set_{issue.status}", {})
        if "priority" in body:
            issue.priority = body["priority"]
        if "assignedTo" in body:
            issue.assigned_to = _assignee(body["assignedTo"])
        return issue.json(self.url)

    def add_note(self, organization: str, issue_id: str) -> ResponseReturnValue:
        """Add a note. Refuse one that the issue has already."""
        issue = self.find_issue(organization, issue_id, EVENT_WRITERS)
        text = asked_body().get("text")
        if not isinstance(text, str) or not text.strip():
            raise wrong_field("text", "This field may not be blank.")
        if any(entry.data == {"text": text} for entry in issue.activity):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "You have already posted that comment.")
        return activity_json(self.record(issue, "note", {"text": text})), HTTPStatus.CREATED

    def list_activity(self, organization: str, issue_id: str) -> ResponseReturnValue:
        issue = self.find_issue(organization, issue_id, EVENT_READERS)
        return {"activity": [activity_json(entry) for entry in issue.activity[:100]]}

    def list_events(self, organization: str, issue_id: str) -> ResponseReturnValue:
        """List the events of an issue, newest first."""
        issue = self.find_issue(organization, issue_id, EVENT_READERS)
        words = _words(request.args.get("query", ""))
        events = [event for event in reversed(issue.events) if _event_matches(event, words)]
        shown, begin, size = begin_page(events)
        rows = [{**event_summary(issue, event), "event.type": "error"} for event in shown]
        return page(rows, begin, size, len(events))

    def get_issue_event(self, organization: str, issue_id: str, event_id: str) -> ResponseReturnValue:
        issue = self.find_issue(organization, issue_id, EVENT_READERS)
        places = {"latest": -1, "recommended": -1, "oldest": 0}
        if event_id in places and issue.events:
            return event_json(issue, issue.events[places[event_id]])
        return _event(event_id, [issue])

    def get_event(self, organization: str, project: str, event_id: str) -> ResponseReturnValue:
        found = self.find_project(organization, project)
        return _event(event_id, [issue for issue in self.issues.values() if issue.project is found])

    def search_events(self, organization: str) -> ResponseReturnValue:
        """Return a table of events. Source: `organization_events.py`."""
        require(ORGANIZATION_READERS)
        asked, words = request.args.getlist("project"), _words(request.args.get("query", ""))
        found = [
            (issue, event)
            for issue in self.issues.values()
            if issue.project.organization == organization and (not asked or str(issue.project.id) in asked)
            for event in issue.events
            if _event_matches(event, words)
        ]
        found.sort(key=lambda pair: pair[1].created, reverse=True)
        shown, begin, size = begin_page(found)
        response = page([], begin, size, len(found))
        response.set_data(json.dumps({"data": [_table_row(*pair) for pair in shown], "meta": {}}))
        return response

    def list_attachments(self, organization: str, project: str, event_id: str) -> ResponseReturnValue:
        event = self._find_event(organization, project, event_id)
        return page([attachment_json(event, one) for one in event.attachments], 0, 100, len(event.attachments))

    def get_attachment(self, organization: str, project: str, event_id: str, attachment_id: str) -> ResponseReturnValue:
        """Return an attachment's metadata, or its content if the query has `download`, whatever its value."""
        event = self._find_event(organization, project, event_id)
        for attachment in event.attachments:
            if str(attachment.id) == attachment_id:
                if "download" in request.args:
                    return Response(attachment.content, mimetype=attachment.mimetype)
                return attachment_json(event, attachment)
        raise missing()

    def list_user_reports(self, organization: str, issue_id: str) -> ResponseReturnValue:
        issue = self.find_issue(organization, issue_id, EVENT_READERS)
        shown, begin, size = begin_page(issue.reports)
        return page(shown, begin, size, len(issue.reports))

    def _find_event(self, organization: str, project: str, event_id: str) -> Event:
        found = self.find_project(organization, project)
        for issue in self.issues.values():
            for event in issue.events if issue.project is found else ():
                if event.id == event_id:
                    return event
        raise missing()

    def list_tag_values(self, organization: str, issue_id: str, key: str) -> ResponseReturnValue:
        issue = self.find_issue(organization, issue_id, EVENT_READERS)
        values = issue.tag_values(key)
        if not values:
            raise missing()
        rows = [_tag_value(key, value, events) for value, events in values.items()]
        shown, begin, size = begin_page(rows)
        return page(shown, begin, size, len(rows))

    def find_issue(self, organization: str, issue_id: str, scopes: frozenset[str]) -> Issue:
        """Return an issue by number or short id, from any project of the organization."""
        for issue in self.issues.values():
            if issue.project.organization == organization and issue_id in (str(issue.id), issue.short_id):
                require(scopes)
                return issue
        raise missing()

    def record(self, issue: Issue, kind: str, data: Json, user: Json | None = None) -> Activity:
        self.activities += 1
        activity = Activity(self.activities, kind, data, user)
        issue.activity.insert(0, activity)
        return activity


def _set_status(issue: Issue, body: Json) -> None:
    """Set the status, its details and the substatus. Source: `src/sentry/api/helpers/group_index/validators`."""
    details = dict(body.get("statusDetails") or {})
    if body["status"] == "resolvedInNextRelease":
        details = {"inNextRelease": True}
    if (window := details.get("ignoreWindow", 0)) and window > LONGEST_WINDOW:
        raise wrong_field("ignoreWindow", f"Ensure this value is less than or equal to {LONGEST_WINDOW}.")
    if "inCommit" in details:
        details["inCommit"] = details["inCommit"]["commit"]
    issue.status = body["status"].removesuffix("InNextRelease")
    issue.status_details = details
    default = {"unresolved": "ongoing", "ignored": "archived_forever"}.get(issue.status)
    issue.substatus = body.get("substatus", default)


def _event_matches(event: Event, words: Iterable[str]) -> bool:
    known = {**event.tags, "id": event.id, "title": event.title}
    for word in words:
        key, colon, value = word.partition(":")
        if known.get(key) != value if colon else word.lower() not in f"{event.title} {event.message}".lower():
            return False
    return True


def _table_row(issue: Issue, event: Event) -> Json:
    return {
        "id": event.id,
        "timestamp": event.created,
        "title": event.title,
        "issue": issue.short_id,
        "issue.id": issue.id,
        "project.id": issue.project.id,
        "project.name": issue.project.slug,
        "release": event.tags.get("release"),
        "environment": event.tags.get("environment"),
        "level": issue.level,
    }


def _words(query: str) -> list[str]:
    try:
        return shlex.split(query)
    except ValueError:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"Error parsing search query: {query}") from None


def _matches(issue: Issue, words: Iterable[str]) -> bool:
    """Return whether an issue matches a query in Sentry's language: `is:`, other `key:value`, and words."""
    for word in words:
        key, colon, value = word.partition(":")
        negated = key.startswith("!")
        known = {"is": issue.status, "level": issue.level, "project": issue.project.slug, "issue": issue.short_id}
        if colon and key.removeprefix("!") in known:
            fits = known[key.removeprefix("!")] == value
        elif colon:
            fits = value in issue.tag_values(key.removeprefix("!"))
        else:
            fits = word.lower() in f"{issue.title} {issue.culprit}".lower()
        if fits == negated:
            return False
    return True


def _in_environment(issue: Issue) -> bool:
    asked = request.args.getlist("environment")
    return not asked or not issue.tag_values("environment").keys().isdisjoint(asked)


def _assignee(name: str) -> Json | None:
    if not name:
        return None
    kind, colon, number = name.partition(":")
    if colon and (kind not in ("user", "team") or not number.isdigit()):
        raise wrong_field("assignedTo", "Unknown actor input")
    return {"type": kind, "id": number, "name": name} if colon else {"type": "user", "id": "7", "name": name}


def _event(event_id: str, issues: Iterable[Issue]) -> ResponseReturnValue:
    for issue in issues:
        for event in issue.events:
            if event.id == event_id:
                return event_json(issue, event)
    raise RefusedError(HTTPStatus.NOT_FOUND, "Event not found")


def _tag_value(key: str, value: str, events: list[Event]) -> Json:
    return {
        "key": key,
        "name": value,
        "value": value,
        "count": len(events),
        "firstSeen": events[0].created,
        "lastSeen": events[-1].created,
    }
